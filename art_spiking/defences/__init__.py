# SPDX-License-Identifier: MIT
"""Defences of spiking classifiers, as ART preprocessors."""

from art_spiking.defences.activity_mask import MaskFilter
from art_spiking.defences.background_activity import BackgroundActivityFilter

__all__ = ["BackgroundActivityFilter", "MaskFilter"]
