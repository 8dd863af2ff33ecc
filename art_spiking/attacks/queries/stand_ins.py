# SPDX-License-Identifier: MIT
"""Small spiking networks that learn to answer as another model does, for attacks to differentiate."""

from __future__ import annotations

import torch
from torch import Tensor

from art_spiking.building import Conv, Dense, Flat, LayerPlan, Neurons
from art_spiking.estimators import SpikingClassifier
from art_spiking.network import SpikingNetwork

_BATCH = 32
_RATE = 5e-3
_SHIFT = 1
_NEURONS = Neurons("LIF", tau_us=5.0, r=5.0)
"""A leak of a fifth per step: the length of a step does not matter to a network that is trained on it."""


def trained_stand_in(
    x: Tensor, y: Tensor, classes: int, *, epochs: int, width: int, generator: torch.Generator
) -> SpikingClassifier:
    """Returns a spiking network trained on samples and the classes that another model gave them.

    Two strided convolutions, or two full connections for features, of leaky neurons, with spike counts as
    logits; Adam on the cross entropy, the learning rate falling to 0; images are moved by up to a pixel.

    Args:
        x: (M, T, C, H, W) or (M, T, F) event counts.
        y: int64 (M,).
        classes: of the other model.
        epochs: passes over the samples.
        width: channels of the first layer; the second has twice as many.
        generator: draws weights, order and shifts.
    """
    network = SpikingNetwork.sequential(
        tuple(x.shape[2:]),
        _plans(x.ndim, classes, width),
        semantics="snntorch",
        dt_us=1.0,
        generator=generator,
    )
    model = SpikingClassifier(network, input_shape=tuple(x.shape[1:]))
    with model.trainable():
        optimizer = torch.optim.Adam(network.parameters(), lr=_RATE)
        schedule = torch.optim.lr_scheduler.LinearLR(
            optimizer, 1.0, 0.0, total_iters=max(1, epochs * -(-len(y) // _BATCH))
        )
        for _ in range(epochs):
            for chosen in torch.split(torch.randperm(len(y), generator=generator), _BATCH):
                logits = model.logits(_moved(x[chosen], generator))
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(logits, y[chosen]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
    return model


def _plans(axes: int, classes: int, width: int) -> list[LayerPlan]:
    if axes == 3:
        return [
            Dense(4 * width, gain=3.0),
            _NEURONS,
            Dense(4 * width, gain=2.0),
            _NEURONS,
            Dense(classes, gain=2.0),
            _NEURONS,
        ]
    return [
        Conv(width, 5, stride=2, padding=2, gain=3.0),
        _NEURONS,
        Conv(2 * width, 3, stride=2, padding=1, gain=2.0),
        _NEURONS,
        Flat(),
        Dense(classes, gain=2.0),
        _NEURONS,
    ]


def _moved(x: Tensor, generator: torch.Generator) -> Tensor:
    """The batch moved by up to a pixel along each axis; what leaves the sensor is lost."""
    if x.ndim == 3:
        return x
    down, right = (int(n) for n in torch.randint(0, 2 * _SHIFT + 1, (2,), generator=generator))
    height, width = x.shape[-2:]
    padded = torch.nn.functional.pad(x, (_SHIFT,) * 4)
    return padded[..., down : down + height, right : right + width]
