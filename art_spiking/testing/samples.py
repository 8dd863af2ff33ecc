# SPDX-License-Identifier: MIT
"""A small spiking classifier and samples for it, on which the contract checks run in seconds."""

from __future__ import annotations

import numpy as np
import torch

from art_spiking.building import Conv, Dense, Flat, LayerPlan, Neurons
from art_spiking.datasets import EventData
from art_spiking.estimators import SpikingClassifier
from art_spiking.events import Grid
from art_spiking.network import SpikingNetwork

GRID = Grid(steps=5, dt_us=1000, height=8, width=8)
CLASSES = 3


def small_classifier(*, seed: int = 0) -> SpikingClassifier:
    """A convolution, a full connection and two layers of neurons with random weights.

    It takes (5, 2, 8, 8) and tells three classes apart.
    """
    layers: list[LayerPlan] = [
        Conv(4, 3, padding=1, gain=2.0),
        Neurons(),
        Flat(),
        Dense(CLASSES, gain=2.0),
        Neurons(),
    ]
    network = SpikingNetwork.sequential(
        (GRID.polarities, GRID.height, GRID.width),
        layers,
        semantics="snntorch",
        dt_us=GRID.dt_us,
        generator=torch.Generator().manual_seed(seed),
    )
    return SpikingClassifier(network, input_shape=GRID.shape)


def small_data(samples: int = 6, *, split: str = "test", seed: int = 1) -> EventData:
    """Random events on the small classifier's grid, labelled as it predicts them."""
    x = (np.random.default_rng(seed).random((samples, *GRID.shape)) < 0.2).astype(np.float32)
    y = small_classifier().predict(x).argmax(axis=1).astype(np.int64)
    return EventData(x, y, GRID, "noise", split, classes=CLASSES)
