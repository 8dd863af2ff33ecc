# SPDX-License-Identifier: MIT
"""Spiking networks as ART estimators."""

from art_spiking.estimators.classifier import Objective, SpikingClassifier, cross_entropy
from art_spiking.estimators.counting import QueryCounter, QueryWindow
from art_spiking.estimators.folding import FoldedClassifier
from art_spiking.estimators.module import SpikingModule
from art_spiking.estimators.own_surrogate import OwnSurrogateWarning, warn_of_own_surrogate
from art_spiking.estimators.readouts import READOUTS, Readout, readout_named

__all__ = [
    "READOUTS",
    "FoldedClassifier",
    "Objective",
    "OwnSurrogateWarning",
    "QueryCounter",
    "QueryWindow",
    "Readout",
    "SpikingClassifier",
    "SpikingModule",
    "cross_entropy",
    "readout_named",
    "warn_of_own_surrogate",
]
