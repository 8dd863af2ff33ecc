# SPDX-License-Identifier: MIT
"""Submitted code as a service in a sandbox; attack, labels and scoring stay outside."""
