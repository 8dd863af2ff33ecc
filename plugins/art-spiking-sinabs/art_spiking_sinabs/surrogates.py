# SPDX-License-Identifier: MIT
"""Sinabs' surrogates as specifications of art-spiking, and ours as functions that Sinabs calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from art_spiking.surrogates import Gaussian, Surrogate


@dataclass(frozen=True)
class SingleExponential(Surrogate):
    """h(u) = scale / width * exp(-|u| / width) (Shrestha and Orchard, NeurIPS 2018); Sinabs' default.

    Sinabs' width is in thresholds, this one in units of the potential. The fused kernels do not have it:
    networks under it run on the reference kernel.
    """

    width: float = 0.5
    scale: float = 1.0
    name: ClassVar[str] = "sinabs-single-exponential"

    def derivative(self, u: Tensor) -> Tensor:
        """See the class."""
        return self.scale / self.width * torch.exp(-u.abs() / self.width)


@dataclass(frozen=True)
class DerivativeAtThreshold:
    """A surrogate as Sinabs calls it.

    Attributes:
        surrogate: The derivative.
        several: Whether the layer may fire several times in a step: the counts then step at every multiple of
            the threshold, and the derivative is taken at the nearest, as in `art_spiking.neurons.distance`.
    """

    surrogate: Surrogate
    several: bool

    def __call__(self, v_mem: Tensor, spike_threshold: Tensor) -> Tensor:
        """The derivative of the spikes by the potential."""
        nearest = spike_threshold * (v_mem / spike_threshold).round().clamp(min=1)
        return self.surrogate.derivative(v_mem - (nearest if self.several else spike_threshold))


@dataclass(frozen=True)
class ResetGradient:
    """Sinabs' reset with another gradient: through the spikes, or cut off there; the same potentials.

    Attributes:
        reset: MembraneSubtract, which lets the gradient through, or MembraneReset, which does not.
        through: Whether it flows.
    """

    reset: Any
    through: bool

    def __call__(self, spikes: Tensor, state: dict[str, Tensor], threshold: Tensor) -> dict[str, Tensor]:
        """The state after the reset."""
        after: dict[str, Tensor] = self.reset(spikes if self.through else spikes.detach(), state, threshold)
        value = getattr(self.reset, "reset_value", None)
        if self.through and value is not None:
            # MembraneReset compares, which has no derivative; the bracket is zero.
            path = (value - state["v_mem"]).detach() * (spikes - spikes.detach())
            after = {**after, "v_mem": after["v_mem"] + path}
        return after


def told_surrogate(layer: Any) -> Surrogate | None:
    """The specification of a layer's own surrogate, or None.

    None for every layer that fires several times: Sinabs looks at the first threshold alone, where
    art-spiking looks at the nearest multiple.
    """
    from sinabs import activation

    own, reset = layer.surrogate_grad_fn, layer.reset_fn
    through = isinstance(reset, activation.MembraneSubtract)
    if layer.spike_fn is not activation.SingleSpike:
        return None
    if type(own) is activation.SingleExponential and layer.spike_threshold.numel() == 1:
        width = float(layer.spike_threshold) * own.grad_width
        return SingleExponential(width=width, scale=own.grad_scale, through_reset=through)
    if type(own) is activation.Gaussian and own.mu == 0 and own.grad_scale == 1:
        return Gaussian(sigma=own.sigma, through_reset=through)
    return None
