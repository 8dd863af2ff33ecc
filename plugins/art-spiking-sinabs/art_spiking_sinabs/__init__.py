# SPDX-License-Identifier: MIT
"""Sinabs models in art-spiking.

Nothing is imported here: the entry point imports this package for every command, help included.
"""
