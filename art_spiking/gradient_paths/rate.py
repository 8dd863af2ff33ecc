# SPDX-License-Identifier: MIT
"""Gradients through firing rates: RGA and BPTR."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from art_spiking.gradient_paths.base import SILENT, LayerPath, borrowed, check_number
from art_spiking.kernels import Backend, scan
from art_spiking.neurons import Coefficients, NeuronSemantics


@dataclass(frozen=True)
class RatePath(LayerPath):
    """A path that takes a layer for a function of rates: mean drive in, mean number of spikes a step out.

    Every step of the output gets the derivative of the mean output, and every step of the input the same
    gradient, so such a path tells an attack where to change a recording, and not when. A neuron's mean drive
    is z = (gain * mean current + offset) / threshold; a synapse passes on what it makes of each step.
    The gradient of a potential, where a readout asks for it, goes back through time.
    """

    @abstractmethod
    def slope(self, drive: Tensor, rate: Tensor, c: Coefficients, semantics: NeuronSemantics) -> Tensor:
        """The derivative of the rate by the drive, for drives z and rates a step, all (N, 1, *F)."""

    def scan(
        self,
        current: Tensor,
        c: Coefficients,
        semantics: NeuronSemantics,
        *,
        membrane: bool = False,
        backend: Backend = "auto",
    ) -> tuple[Tensor, Tensor | None]:
        """See `LayerPath`."""
        if current.shape[1] == 0:
            return scan(current, c, semantics, SILENT, membrane=membrane, backend=backend)
        spikes, potential = scan(current, c, semantics, SILENT, membrane=membrane, backend=backend)
        spikes = spikes.detach()
        drive = (c.gain * mean_current(current, c) + c.offset) / c.threshold
        with torch.no_grad():
            slope = self.slope(drive, spikes.mean(1, keepdim=True), c, semantics)
        return borrowed(spikes, (slope * drive).expand_as(spikes)), potential


def mean_current(current: Tensor, c: Coefficients) -> Tensor:
    """What arrives at the membrane, mean over the steps, (N, 1, *F): the input, or the synaptic current."""
    if c.synapse_decay is None or c.synapse_gain is None:
        return current.mean(1, keepdim=True)
    steps = current.shape[1]
    # An input of step t is worth gain * (1 + decay + decay^2 + ...) up to the last step.
    left = torch.arange(steps, device=current.device).view(-1, *[1] * (current.dim() - 2))
    weights = (c.synapse_decay**left).cumsum(0).flip(0)
    return (c.synapse_gain * weights * current).sum(1, keepdim=True) / steps


@dataclass(frozen=True)
class RateGradient(RatePath):
    """RGA: a fixed piecewise linear rate of the mean drive (Bu et al., CVPR 2023).

    With tau the share of the potential that a step keeps, d rate / d z is gamma for 0 <= z <= 1 - tau, below
    the drive at which a neuron fires at all; (1 - gamma + gamma tau) / (1 + tau) from there up to z = 2; else
    0. Published for thresholds of 1 and one spike a step; here drives are in thresholds, and neurons that may
    fire several times a step have no upper end.
    """

    gamma: float = 0.2
    name: ClassVar[str] = "rga"

    def __post_init__(self) -> None:
        """Checks the slope."""
        check_number(self, "gamma", most=1.0)

    def slope(self, drive: Tensor, rate: Tensor, c: Coefficients, semantics: NeuronSemantics) -> Tensor:
        """See the class."""
        steep = (1 - self.gamma + self.gamma * c.decay) / (1 + c.decay)
        steep = steep.expand_as(drive)
        several = semantics.spikes == "several" and not c.stateless
        above = steep if several else torch.where(drive <= 2, steep, torch.zeros_like(steep))
        below = torch.where(drive >= 0, torch.full_like(steep, self.gamma), torch.zeros_like(steep))
        return torch.where(drive <= 1 - c.decay, below, above)


@dataclass(frozen=True)
class ThroughRate(RatePath):
    """BPTR: the rate of neurons that fire passes the gradient as if it were the drive (Ding et al., 2022).

    d rate / d z is 1 where the neuron fired at all, else 0. Published for thresholds of 1; here drives are in
    thresholds.
    """

    name: ClassVar[str] = "bptr"

    def slope(self, drive: Tensor, rate: Tensor, c: Coefficients, semantics: NeuronSemantics) -> Tensor:
        """See the class."""
        return (rate > 0).to(drive.dtype)
