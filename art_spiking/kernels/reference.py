# SPDX-License-Identifier: MIT
"""The time scan in plain torch: slow, differentiated by autograd, and the truth for the other kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from art_spiking.neurons import Coefficients, NeuronSemantics, State, step
from art_spiking.surrogates import Surrogate


def reference_scan(
    current: Tensor,
    c: Coefficients,
    semantics: NeuronSemantics,
    surrogate: Surrogate,
    *,
    membrane: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """`neurons.step` over the time axis; see `kernels.scan`."""
    if current.shape[1] == 0:
        nothing = torch.zeros_like(current)
        return nothing, nothing if membrane else None
    state = State.start(current[:, 0], c)
    spikes, potentials = [], []
    for x in current.unbind(1):
        fired, potential, state = step(x, state, c, semantics, surrogate)
        spikes.append(fired)
        potentials.append(potential)
    if not c.fires:
        output = torch.stack(potentials, 1)
        return output, output if membrane else None
    return torch.stack(spikes, 1), torch.stack(potentials, 1) if membrane else None
