# SPDX-License-Identifier: MIT
"""Gradient paths: every way in which a gradient may go back through spiking neurons, by name."""

from art_spiking.gradient_paths.adaptive import AdaptiveSharpness, AdaptiveSurrogate, PotentialWidth
from art_spiking.gradient_paths.base import LayerPath, scan_by
from art_spiking.gradient_paths.hybrid import Hart
from art_spiking.gradient_paths.mixtures import Mixture, Pooled
from art_spiking.gradient_paths.names import PATHS, path_from_dict, path_named, path_text
from art_spiking.gradient_paths.rate import RateGradient, RatePath, ThroughRate
from art_spiking.surrogates import GradientPath

__all__ = [
    "PATHS",
    "AdaptiveSharpness",
    "AdaptiveSurrogate",
    "GradientPath",
    "Hart",
    "LayerPath",
    "Mixture",
    "Pooled",
    "PotentialWidth",
    "RateGradient",
    "RatePath",
    "ThroughRate",
    "path_from_dict",
    "path_named",
    "path_text",
    "scan_by",
]
