# SPDX-License-Identifier: MIT
"""What compiled kernels of every device ask of a layer: the order of its features, and its choices."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from art_spiking.neurons import Coefficients, NeuronSemantics, reset_kind

RESETS = ("none", "subtract", "value", "subtract-later", "blank-later")
"""What `neurons.reset_kind` returns, by the number that compiled kernels know it by."""

PARAMETERS = ("decay", "gain", "offset", "v_reset", "synapse_decay", "synapse_gain")
"""The coefficients in the order of the kernels; threshold and least potential that fires follow."""


class Choices(NamedTuple):
    """What a kernel branches on.

    Attributes:
        synapse: Whether there is a synaptic current.
        several: Whether a neuron may fire several times a step.
        strict: Whether it fires above its threshold only. u > threshold is u >= the next number, so that one
            comparison serves both.
        reset: The place of the reset's kind in `RESETS`.
        low: The lower clamp of the potential; minus infinity without one.
    """

    synapse: bool
    several: bool
    strict: bool
    reset: int
    low: float

    @classmethod
    def of(cls, c: Coefficients, semantics: NeuronSemantics) -> Choices:
        """Those of a layer under a semantics."""
        spiking = c.fires and not c.stateless
        clamp = semantics.v_min if spiking else None
        return cls(
            synapse=c.synapse_decay is not None,
            several=semantics.spikes == "several" and spiking,
            strict=semantics.fires == "gt",
            reset=RESETS.index(reset_kind(semantics, c)),
            low=-math.inf if clamp is None else clamp,
        )


def memory_order(current: Tensor) -> tuple[int, ...]:
    """The order of feature axes in memory, as a permutation for (N, T, *F); empty if they are in order."""
    if current.dim() < 4 or current.is_contiguous():
        return ()
    axes = (*range(3, current.dim()), 2)
    return axes if current.permute(0, 1, *axes).is_contiguous() else ()


def in_features_order(ordered: Tensor, axes: tuple[int, ...]) -> Tensor:
    """A tensor whose axes were permuted by `memory_order`, seen as (N, T, *F) again."""
    return ordered.permute(0, 1, len(axes) + 1, *range(2, len(axes) + 1)) if axes else ordered
