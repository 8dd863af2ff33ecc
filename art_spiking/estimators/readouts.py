# SPDX-License-Identifier: MIT
"""What turns a network's output over time into logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from art_spiking.errors import UnknownName


@dataclass(frozen=True)
class Readout:
    """A way from (N, T, K) to logits (N, K).

    Attributes:
        name: what suites and records call it.
        membrane: whether it reads the membrane potential of the last neuron layer rather than the output.
        reduce: (N, T, K) -> (N, K), differentiable.
        summary: one sentence.
    """

    name: str
    membrane: bool
    reduce: Callable[[torch.Tensor], torch.Tensor]
    summary: str


def _total(values: torch.Tensor) -> torch.Tensor:
    return values.sum(dim=1)


def _mean(values: torch.Tensor) -> torch.Tensor:
    return values.mean(dim=1)


def _maximum(values: torch.Tensor) -> torch.Tensor:
    return values.amax(dim=1)


READOUTS: dict[str, Readout] = {
    readout.name: readout
    for readout in (
        Readout("spike-count", False, _total, "The number of output spikes over the recording."),
        Readout(
            "membrane-mean", True, _mean, "The mean potential of the last neuron layer before its reset."
        ),
        Readout(
            "membrane-max", True, _maximum, "The highest potential of the last neuron layer before its reset."
        ),
    )
}
"""The readouts by name. What a network returns as (N, K) is passed on by `spike-count` unchanged."""


def readout_named(name: str) -> Readout:
    """Returns the readout called `name`.

    Raises:
        UnknownName: there is none of that name.
    """
    if name not in READOUTS:
        raise UnknownName("unknown readout", asked=repr(name), accepted=", ".join(READOUTS))
    return READOUTS[name]
