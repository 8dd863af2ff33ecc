# SPDX-License-Identifier: MIT
"""AutoSpike: a fixed ensemble of complementary attacks, without a parameter to tune."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from art_spiking.attacks.base import EventAttack
from art_spiking.attacks.edit_space import members_of
from art_spiking.attacks.gradient import EventGradientAttack
from art_spiking.attacks.retiming import SpikeRetiming
from art_spiking.attacks.square import EventSquare
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.surrogates import Atan
from art_spiking.threats import EventEdits, EventThreat, Retiming, ThreatModel

VERSION = 1
"""Of the ensembles; any change of a member is a new one."""

Build = Callable[..., EventAttack[Any]]

_EDITS: tuple[tuple[str, Build, dict[str, Any]], ...] = (
    ("gradient, narrow", EventGradientAttack, {"steps": 30, "surrogate": Atan(3.0, through_reset=True)}),
    ("gradient, no reset path", EventGradientAttack, {"steps": 30, "surrogate": Atan(2.0)}),
    (
        "gradient, wide, hard gap",
        EventGradientAttack,
        {"steps": 30, "surrogate": Atan(1.0, through_reset=True), "objective": "gap"},
    ),
    ("square", EventSquare, {"queries": 1000}),
)
_RETIMING: tuple[tuple[str, Build, dict[str, Any]], ...] = (
    ("retiming, wide", SpikeRetiming, {"steps": 30, "surrogate": Atan(1.0, through_reset=True)}),
    ("retiming, narrow", SpikeRetiming, {"steps": 30, "surrogate": Atan(3.0, through_reset=True)}),
    ("retiming, no reset path", SpikeRetiming, {"steps": 30, "surrogate": Atan(2.0)}),
)


@dataclass(frozen=True)
class MemberOutcome:
    """What one attack of the ensemble did.

    Attributes:
        name: of the member.
        tried: samples that it attacked.
        fooled: how many of these it fooled.
        alone: how many samples no other member fooled; None unless the run was exhaustive.
        forwards: samples passed forward.
        backwards: samples passed back.
        seconds: by the clock.
    """

    name: str
    tried: int
    fooled: int
    alone: int | None
    forwards: int
    backwards: int
    seconds: float


class AutoSpike(EventAttack[ThreatModel]):
    """The strongest of several attacks per sample, in a fixed order from cheap to dear.

    What AutoAttack (Croce and Hein, ICML 2020) is for images: attacks that fail for different reasons, no
    parameter to tune, and a black-box search last, which no masked gradient misleads. For edits: gradients
    under three spike derivatives and two objectives, then `EventSquare`; for retiming: three derivatives.
    Samples that are fooled leave. What differs: budgets in events, and no attack with random restarts.

    What a member finds for a sample does not depend on the samples beside it, as long as the model's logits
    do not; so on no sample is AutoSpike weaker than any member alone.

    Attributes:
        outcomes: what each member did in the last `generate`; empty before.
    """

    threats: ClassVar[tuple[type[ThreatModel], ...]] = (EventThreat, Retiming)
    attack_params: ClassVar[list[str]] = [*EventAttack.attack_params, "exhaustive"]

    def __init__(
        self,
        estimator: SpikingClassifier,
        threat: ThreatModel,
        *,
        exhaustive: bool = False,
        targeted: bool = False,
        seed: int = 0,
        batch_size: int = 50,
    ) -> None:
        """Takes the model and the threat; there is nothing to tune.

        Args:
            estimator: the model under attack.
            threat: EventEdits, alone or joined with others, or Retiming.
            exhaustive: let every member attack every sample, to learn what each contributes alone.
            targeted: whether `y` holds classes to reach.
            seed: the same seed gives the same result.
            batch_size: samples attacked at once.

        Raises:
            InvalidInput: an option or a threat that does not fit.
        """
        super().__init__(estimator, threat, seed=seed, batch_size=batch_size)
        self.exhaustive = exhaustive
        self.targeted = targeted
        self.outcomes: tuple[MemberOutcome, ...] = ()
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        edits = isinstance(self.threat, EventThreat)
        if edits and not any(isinstance(m, EventEdits) for m in members_of(self.threat)):  # type: ignore[arg-type]
            raise InvalidInput(
                "nothing limits the number of edits",
                asked=repr(self.threat),
                remedy="join it with a budget: threat & EventEdits(200)",
            )

    def members(self) -> Iterator[tuple[str, EventAttack[Any]]]:
        """The attacks, in the order in which they run."""
        options = {"targeted": self.targeted, "seed": self.seed, "batch_size": self.batch_size}
        for name, build, parameters in _RETIMING if isinstance(self.threat, Retiming) else _EDITS:
            yield name, build(self.estimator, self.threat, **parameters, **options)

    def run(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """See `EventAttack.run`; AutoSpike hands whole sets to its members instead."""
        return self._generate(x, y, None)

    def _generate(self, clean: Tensor, labels: Tensor, predicted: Tensor | None) -> Tensor:
        if predicted is None:
            predicted = self.estimator.predict_torch(clean, self.batch_size).argmax(1)
        start = self.fooled(predicted, labels).cpu()
        result, open_ = clean.clone(), ~start
        table, costs = [], []
        for name, attack in self.members():
            rows = torch.nonzero(~start if self.exhaustive else open_)[:, 0]
            begin = time.perf_counter()
            fooled = torch.zeros_like(start)
            with self.estimator.counting() as counted:
                if len(rows):
                    found = torch.from_numpy(attack.generate(*self._arrays(clean, labels, rows)))
                    scored = self.estimator.predict_torch(found.to(clean), self.batch_size).argmax(1)
                    fooled[rows] = self.fooled(scored, labels[rows]).cpu()
                    # A sample that nothing fools keeps the last attempt.
                    better = open_[rows]
                    result[rows[better]] = found.to(clean)[better]
            open_ = open_ & ~fooled
            table.append(fooled)
            costs.append((name, len(rows), counted.forwards, counted.backwards, time.perf_counter() - begin))
        self.outcomes = tuple(self._outcome(k, table, cost) for k, cost in enumerate(costs))
        return result

    def _outcome(
        self, place: int, table: list[Tensor], cost: tuple[str, int, int, int, float]
    ) -> MemberOutcome:
        name, tried, forwards, backwards, seconds = cost
        others = [fooled for k, fooled in enumerate(table) if k != place]
        alone = int((table[place] & ~torch.stack(others).any(0)).sum()) if self.exhaustive else None
        return MemberOutcome(name, tried, int(table[place].sum()), alone, forwards, backwards, seconds)

    @staticmethod
    def _arrays(clean: Tensor, labels: Tensor, rows: Tensor) -> tuple[Any, Any]:
        return clean[rows].cpu().numpy(), labels[rows].cpu().numpy()
