# SPDX-License-Identifier: MIT
"""Attacks that ask a model and see no gradient."""
