# SPDX-License-Identifier: MIT
"""A tutorial plugin for art-spiking: the attack hot-pixels.

Nothing is imported here: the entry point imports this package for every command, help included.
"""
