# SPDX-License-Identifier: MIT
"""A tutorial plugin for art-spiking: the attack hot-pixels."""

from art_spiking_example.hot_pixels import HotPixels

__all__ = ["HotPixels"]
