# SPDX-License-Identifier: MIT
"""Event data sets: labelled spike tensors with the grid they were binned on."""

from art_spiking.datasets.data import EventData
from art_spiking.datasets.factories import SPLITS, digits_dvs, load_data, nmnist

__all__ = ["SPLITS", "EventData", "digits_dvs", "load_data", "nmnist"]
