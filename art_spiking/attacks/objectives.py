# SPDX-License-Identifier: MIT
"""What an attack ascends: per-sample losses of the logits, high where the model errs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from art_spiking.errors import UnknownName

Objective = Callable[[Tensor, Tensor], Tensor]
"""(logits (N, K), labels (N,)) -> loss (N,) to ascend."""


def gap(logits: Tensor, y: Tensor) -> Tensor:
    """Returns how far the best other class lies above class `y`, (N,): above 0 where `y` has lost.

    Carlini and Wagner (2017), equation of f6 with its sign turned.
    """
    own = logits.gather(1, y[:, None])[:, 0]
    return _without(logits, y).amax(1) - own


def soft_gap(logits: Tensor, y: Tensor) -> Tensor:
    """Returns `gap` with a soft maximum (log-sum-exp) over the other classes, (N,).

    Spike counts are whole numbers and tie often; the soft maximum lets every close rival pull, where the
    hard one would follow whichever comes first. Unlike cross entropy it does not fade for a class that leads
    by far.
    """
    own = logits.gather(1, y[:, None])[:, 0]
    return _without(logits, y).logsumexp(1) - own


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Returns the cross entropy of each sample, (N,)."""
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


@dataclass(frozen=True)
class CappedGap:
    """`soft_gap` up to a cap, above which a sample is fooled safely and pulls no more, (N,).

    A universal perturbation serves many samples: without the cap the ones that are fooled already would spend
    the budget on being fooled further. The gradient of a sample above the cap is exactly 0.

    Attributes:
        cap: in units of the logits.
    """

    cap: float

    def __call__(self, logits: Tensor, y: Tensor) -> Tensor:
        """See the class."""
        return soft_gap(logits, y).clamp(max=self.cap)


@dataclass(frozen=True)
class Towards:
    """An objective for a target class: the loss of the target, turned round, (N,)."""

    objective: Objective

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """See the class; `target` takes the place of the labels."""
        return -self.objective(logits, target)


@dataclass(frozen=True)
class CappedLead:
    """How far a target class leads the soft maximum of the others, up to a cap, (N,)."""

    cap: float

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        """See the class."""
        return (-soft_gap(logits, target)).clamp(max=self.cap)


OBJECTIVES: dict[str, Objective] = {
    "gap": gap,
    "soft-gap": soft_gap,
    "cross-entropy": cross_entropy,
}
"""The objectives that an attack takes by name."""


def objective_named(name: str, *, targeted: bool = False) -> Objective:
    """Returns the objective called `name`, turned towards a target class if `targeted`.

    Raises:
        UnknownName: there is none of that name.
    """
    if name not in OBJECTIVES:
        raise UnknownName("unknown objective", asked=repr(name), accepted=", ".join(OBJECTIVES))
    return Towards(OBJECTIVES[name]) if targeted else OBJECTIVES[name]


def _without(logits: Tensor, y: Tensor) -> Tensor:
    return logits.scatter(1, y[:, None], -torch.inf)
