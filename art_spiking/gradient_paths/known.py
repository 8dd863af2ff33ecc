# SPDX-License-Identifier: MIT
"""Back-propagation through time of a layer whose derivatives d spike / d u are known, in plain torch."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import torch
from torch import Tensor

from art_spiking.neurons import Coefficients, NeuronSemantics, State, reset_kind, step
from art_spiking.surrogates import Surrogate


@dataclasses.dataclass(frozen=True)
class Run:
    """A layer that has been run.

    Attributes:
        current: Input (N, T, *F).
        spikes: Output (N, T, *F).
        u: Potentials before the reset, (N, T, *F).
        c: Its coefficients.
        semantics: Its semantics.
    """

    current: Tensor
    spikes: Tensor
    u: Tensor
    c: Coefficients
    semantics: NeuronSemantics


def gradient(
    run: Run, h: Tensor, by_spikes: Tensor | None, by_u: Tensor | None, *, through_reset: bool
) -> Tensor:
    """The gradient by the current, (N, T, *F), of a loss whose gradients by spikes and potentials are given.

    Args:
        run: The layer.
        h: The derivative of each spike by its potential, (N, T, *F).
        by_spikes: (N, T, *F), or None for zeros.
        by_u: The same for the potentials.
        through_reset: As in `Surrogate`.
    """
    if not run.u.shape[1]:
        return torch.zeros_like(run.u)
    if by_spikes is None:
        by_spikes = torch.zeros_like(run.u)
    # Neurons in fixed point round, and a blanked step keeps a candidate: both are left to autograd.
    if run.c.grid is not None or reset_kind(run.semantics, run.c) == "blank-later":
        return _by_autograd(run, h, by_spikes, by_u, through_reset=through_reset)
    return _by_hand(run, h, by_spikes, by_u, through_reset=through_reset)


def _by_hand(run: Run, h: Tensor, by_spikes: Tensor, by_u: Tensor | None, *, through_reset: bool) -> Tensor:
    """The equations of `kernels.loops.backward`, step by step from the last."""
    c, kind = run.c, reset_kind(run.semantics, run.c)
    low = None if c.stateless else run.semantics.v_min
    result = torch.empty_like(run.u)
    carried, by_current = (torch.zeros_like(run.u[:, 0]) for _ in range(2))
    for t in range(run.u.shape[1] - 1, -1, -1):
        u, leaked = run.u[:, t], c.decay * carried
        by_fired = by_spikes[:, t]
        if through_reset and kind == "subtract":
            by_fired = by_fired - c.threshold * leaked
        elif through_reset and kind == "subtract-later":
            by_fired = by_fired - c.threshold * carried
        elif through_reset and kind == "value":
            by_fired = by_fired + (c.v_reset - u) * leaked
        if kind == "value":
            leaked.masked_fill_(run.spikes[:, t] > 0, 0)
        carried = torch.addcmul(leaked, h[:, t], by_fired)
        if by_u is not None:
            carried += by_u[:, t]
        if low is not None:
            carried.masked_fill_(u <= low, 0)
        by_current = c.gain * carried + (0 if c.synapse_decay is None else c.synapse_decay * by_current)
        result[:, t] = by_current if c.synapse_gain is None else c.synapse_gain * by_current
    return result


def _by_autograd(
    run: Run, h: Tensor, by_spikes: Tensor, by_u: Tensor | None, *, through_reset: bool
) -> Tensor:
    """Steps the layer once more by `neurons.step`."""
    with torch.enable_grad():
        current = run.current.detach().requires_grad_()
        state = State.start(current[:, 0], run.c)
        spikes, potentials = [], []
        for x, values in zip(current.unbind(1), h.unbind(1), strict=True):
            known = _Known(values, through_reset)
            fired, potential, state = step(x, state, run.c, run.semantics, known)
            spikes.append(fired)
            potentials.append(potential)
        outputs, asked = [torch.stack(spikes, 1)], [by_spikes]
        if by_u is not None:
            outputs.append(torch.stack(potentials, 1))
            asked.append(by_u)
        (result,) = torch.autograd.grad(outputs, current, asked)
    return result


class _Known(Surrogate):
    """A derivative that is given, for one step."""

    name: ClassVar[str] = "known"
    values: Any

    def __init__(self, values: Tensor, through_reset: bool) -> None:
        super().__init__(through_reset=through_reset)
        object.__setattr__(self, "values", values)

    def derivative(self, u: Tensor) -> Tensor:
        """The given values."""
        known: Tensor = self.values
        return known
