# SPDX-License-Identifier: MIT
"""Tiny spiking modules and event data that the tests of the estimator share."""

import numpy as np
import torch

from art_spiking.building import Conv, Dense, Flat, Neurons
from art_spiking.network import SpikingNetwork

SHAPE = (6, 2, 8, 8)
CLASSES = 4


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, potential):
        ctx.save_for_backward(potential)
        return (potential >= 0).to(potential.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (potential,) = ctx.saved_tensors
        return gradient / (1 + 5 * potential.abs()) ** 2


class TinyNetwork(torch.nn.Module):
    """(N, T, C, H, W) to spikes (N, T, K): convolution, IF, linear, IF; nothing is kept between calls."""

    def __init__(self, classes: int = CLASSES, seed: int = 0) -> None:
        super().__init__()
        generator_state = torch.random.get_rng_state()
        torch.manual_seed(seed)
        self.conv = torch.nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.neurons = torch.nn.Identity()
        self.linear = torch.nn.Linear(4 * 4 * 4, classes)
        torch.random.set_rng_state(generator_state)

    def currents(self, x: torch.Tensor) -> torch.Tensor:
        hidden = fire(self.conv(x.flatten(0, 1)).unflatten(0, x.shape[:2]))[0]
        return self.linear(self.neurons(hidden).flatten(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return fire(self.currents(x))[0]

    def membrane(self, x: torch.Tensor) -> torch.Tensor:
        return fire(self.currents(x))[1]


def fire(currents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Integrates and fires along axis 1; returns spikes and the potentials before reset."""
    potential = torch.zeros_like(currents[:, 0])
    spikes, potentials = [], []
    for current in currents.unbind(1):
        potential = potential + current
        potentials.append(potential)
        spikes.append(Spike.apply(potential - 0.5))
        potential = potential - 0.5 * spikes[-1].detach()
    return torch.stack(spikes, 1), torch.stack(potentials, 1)


def spiking_network() -> SpikingNetwork:
    """A SpikingNetwork of the same shapes."""
    plans = [
        Conv(4, 3, stride=2, padding=1, gain=2.0),
        Neurons(),
        Flat(),
        Dense(CLASSES, gain=3.0),
        Neurons(),
    ]
    return SpikingNetwork.sequential(SHAPE[1:], plans, generator=torch.Generator().manual_seed(0))


class KeepsState(torch.nn.Module):
    """Keeps its potential between calls until it is reset, as layers of stateful frameworks do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(2 * 8 * 8, CLASSES)
        self.potential: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = self.linear(x.flatten(2)).sum(1)
        self.potential = total if self.potential is None else self.potential + total
        return self.potential


def forget(network: torch.nn.Module) -> None:
    """Resets a KeepsState."""
    network.potential = None


def events(samples: int, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> tuple[np.ndarray, np.ndarray]:
    """Binary events whose label is the quadrant of the sensor that is busiest: a learnable toy task."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, CLASSES, samples)
    rate = np.full((samples, *shape), 0.05)
    half = shape[-1] // 2
    for sample, label in enumerate(labels):
        row, column = divmod(int(label), 2)
        rate[sample, ..., row * half : (row + 1) * half, column * half : (column + 1) * half] = 0.4
    return (draw.random(rate.shape) < rate).astype(np.float32), labels
