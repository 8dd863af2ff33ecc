# SPDX-License-Identifier: MIT
"""Spiking networks as ART estimators."""

from art_spiking.estimators.blackbox import BlackBoxEventClassifier
from art_spiking.estimators.classifier import NO_GRADIENT, Objective, SpikingClassifier, cross_entropy
from art_spiking.estimators.counting import QueryCounter, QueryWindow
from art_spiking.estimators.folding import FoldedClassifier
from art_spiking.estimators.module import SpikingModule
from art_spiking.estimators.own_surrogate import OwnSurrogateWarning, warn_of_own_surrogate
from art_spiking.estimators.readouts import READOUTS, Readout, readout_named

EventClassifier = SpikingClassifier | BlackBoxEventClassifier
"""What an attack that takes no gradient works on."""

__all__ = [
    "NO_GRADIENT",
    "READOUTS",
    "BlackBoxEventClassifier",
    "EventClassifier",
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
