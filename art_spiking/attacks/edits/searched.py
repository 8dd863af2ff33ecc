# SPDX-License-Identifier: MIT
"""What attacks on single samples by gradients share: the loss, the spike derivative, fewer edits at last."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, final

import torch
from torch import Tensor

from art_spiking.attacks.base import EventAttack
from art_spiking.attacks.edits.reduction import Reduction, edits_of
from art_spiking.attacks.edits.space import EditSpace, budgets_of, is_plain, lifted
from art_spiking.attacks.objectives import Objective, objective_named
from art_spiking.attacks.options import check_flag
from art_spiking.attacks.paths import OneSurrogate, attack_views, checked_surrogates
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.threats import EventThreat

_WON = 1e-3


class EditAttack(EventAttack):
    """An attack that collects edits of each sample without a budget, and then undoes what is not needed.

    A subclass writes `collect`. What it returns may exceed the budget of edits, and no other rule of the
    threat: `allowed_edits` sees to that. Of a fooled sample bisection keeps the most valuable edits that
    still fool it. If these exceed the budget, or with `fewest`, trials undo what else is not needed. A sample
    that is not fooled within the budget keeps as many of its most valuable edits as that allows.
    """

    attack_params: ClassVar[list[str]] = [*EventAttack.attack_params, "objective", "surrogate", "fewest"]

    def __init__(
        self,
        estimator: SpikingClassifier,
        threat: EventThreat,
        *,
        objective: str,
        surrogate: OneSurrogate | None,
        fewest: bool,
        targeted: bool,
        seed: int,
        batch_size: int,
    ) -> None:
        """Takes what the attacks of this kind share; a subclass calls `_check_params` when it has its own."""
        super().__init__(estimator, threat, seed=seed, batch_size=batch_size)
        self.objective = objective
        self.surrogate = surrogate
        self.fewest = fewest
        self.targeted = targeted

    def _check_params(self) -> None:
        super()._check_params()
        if not hasattr(self, "fewest"):
            return
        objective_named(self.objective)
        check_flag("fewest", self.fewest)
        if isinstance(self.surrogate, list | tuple):
            raise InvalidInput("this attack takes one surrogate", asked=repr(self.surrogate))
        checked_surrogates(self.surrogate)

    @abstractmethod
    def collect(self, space: EditSpace, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Collects edits.

        Args:
            space: what may be edited, without a budget.
            y: int64 (N,).
            generator: the only source of randomness.

        Returns:
            The edited batch, like `space.clean`, and what each edit is worth, like it.
        """

    @final
    def run(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """See `EventAttack.run`."""
        allowed = budgets_of(self.threat, x)
        free = lifted(self.threat, x)
        found, value = self.collect(EditSpace.of(free, x), y, generator)

        def probe(edited: Tensor, samples: Tensor) -> Tensor:
            return won(self, edited, y[samples])

        rows = torch.nonzero(probe(found, torch.arange(len(x), device=x.device)) > 0)[:, 0]
        reduction = Reduction(free, x, probe, torch.ones_like(allowed) if self.fewest else allowed)
        found[rows] = reduction.by_trial(reduction.by_value(found[rows], rows, value[rows]), rows)
        over = edits_of(found, x) > allowed
        ranked = torch.where(found != x, value - value.flatten(1).amin(1).view(-1, *[1] * (x.ndim - 1)), 0.0)
        space = EditSpace(self.threat, x, (found - x).sign(), allowed)
        cut = x + space.best((ranked + 1e-6) * space.direction)
        return torch.where(over.view(-1, *[1] * (x.ndim - 1)), cut, found)

    def view(self) -> SpikingClassifier:
        """The model as the attack differentiates it."""
        return attack_views(self.estimator, self.surrogate)[0]

    def loss(self) -> Objective:
        """What the attack ascends."""
        return objective_named(self.objective, targeted=self.targeted)


def won(attack: EventAttack, x_adv: Tensor, y: Tensor) -> Tensor:
    """Returns by how much each sample is what the attacker wants, (N,): above 0 exactly where it is."""
    lead, fooled = attack.lead(x_adv, y)
    return torch.where(fooled, lead.abs() + _WON, -lead.abs())


def allowed_edits(space: EditSpace, wanted: Tensor, value: Tensor) -> Tensor:
    """Returns the wanted edits (N, ...) bool that are allowed together; the most valuable stay.

    Args:
        space: what may be edited; only cells that it allows are wanted.
        wanted: like `space.clean`, bool.
        value: like it; ranks edits that exclude each other.
    """
    if is_plain(space.threat):
        return wanted
    low, high = (edge.view(-1, *[1] * (value.ndim - 1)) for edge in value.flatten(1).aminmax(dim=1))
    # The projection ranks changes by size, and reads 1.5 or more as several events.
    strength = 1e-3 + (value - low) / (high - low).clamp(min=1e-30)
    asked = space.clean + wanted * strength.clamp(max=1.0) * space.direction
    return space.threat.project(asked, space.clean) != space.clean
