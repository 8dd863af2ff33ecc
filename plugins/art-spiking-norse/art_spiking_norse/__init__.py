# SPDX-License-Identifier: MIT
"""Norse models in art-spiking.

Nothing is imported here: the entry point imports this package for every command, help included.
"""
