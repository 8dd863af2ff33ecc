# SPDX-License-Identifier: MIT
"""AutoSpike: a fixed ensemble of complementary attacks, without a parameter to tune."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from art_spiking.attacks.base import Array, EventAttack
from art_spiking.attacks.edits.space import members_of
from art_spiking.attacks.ensemble.allowance import Allowance, Clock
from art_spiking.attacks.ensemble.members import VERSION, Member, ensemble_for
from art_spiking.attacks.ensemble.outcomes import LeftOut, MemberOutcome
from art_spiking.attacks.ensemble.run import GRADIENT_DRAWS, PREDICTION_DRAWS, EnsembleRun
from art_spiking.attacks.ensemble.tuning import chosen_member
from art_spiking.attacks.ensemble.twins import averaged, averaged_answers, takes, with_derivative
from art_spiking.attacks.options import check_flag
from art_spiking.attacks.paths import SAMPLE_SURROGATE
from art_spiking.errors import InvalidInput
from art_spiking.estimators import BlackBoxEventClassifier, EventClassifier, SpikingClassifier
from art_spiking.surroundings import own_surroundings
from art_spiking.threats import EventEdits, EventThreat, Retiming, ThreatModel

__all__ = ["VERSION", "AutoSpike", "LeftOut", "MemberOutcome"]

TUNING_SHARE = 0.125
"""Of the minutes given, the most that choosing on the craft split takes."""


class AutoSpike(EventAttack[ThreatModel]):
    """The strongest of several attacks per sample, in a fixed order from cheap to dear.

    What AutoAttack (Croce and Hein, ICML 2020) is for images: attacks that fail for different reasons, no
    parameter to tune, and a black-box search last, which no masked gradient misleads. `members` lists them.
    For edits: gradients under four spike derivatives and two objectives, one that `tune` chose, a long run,
    two that exchange edits by trials, restarts towards the next classes, then `EventSquare`; for retiming
    gradients, restarts, and `RetimingSquare` last. Samples that are fooled leave. What differs: budgets in
    events.

    Of a model that is a black box the members without gradients alone run, and `left_out` says so.

    A model whose surrogate cannot be exchanged is differentiated by a twin, see `twins.with_derivative`, and
    by its own derivative too. Of a model that draws random numbers, members average several draws, and a
    sample counts as fooled where the majority of `DECISION_DRAWS` fresh ones is.

    What a member finds for a sample does not depend on the samples beside it, as long as the model's logits
    do not; so on no sample is AutoSpike weaker than any member alone, unless `minutes` ran out.

    Attributes:
        outcomes: what each member did in the last `generate`; empty before.
        left_out: what it did not do, for want of time or of gradients.
        chosen: how the gradient paths did that `tune` chose from; empty before.
    """

    threats: ClassVar[tuple[type[ThreatModel], ...]] = (EventThreat, Retiming)
    gradients: ClassVar[bool] = False
    attack_params: ClassVar[list[str]] = [*EventAttack.attack_params, "exhaustive", "fewest", "minutes"]
    clock: ClassVar[Clock] = staticmethod(time.perf_counter)

    def __init__(
        self,
        estimator: EventClassifier,
        threat: ThreatModel,
        *,
        exhaustive: bool = False,
        fewest: bool = False,
        minutes: float | None = None,
        targeted: bool = False,
        seed: int = 0,
        batch_size: int = 50,
    ) -> None:
        """Takes the model and the threat; there is nothing to tune.

        Args:
            estimator: the model under attack.
            threat: EventEdits, alone or joined with others, or Retiming.
            exhaustive: let every member attack every sample, to learn what each contributes alone.
            fewest: of each sample keep the success with the fewest edits; members go on to fewer where they
                can, and every one attacks every sample.
            minutes: most time for the members. What goes first where it is too short: `exhaustive`, the
                restarts, queries of the black-box search, later members; `left_out` says what went.
            targeted: whether `y` holds classes to reach.
            seed: the same seed gives the same result.
            batch_size: samples attacked at once.

        Raises:
            InvalidInput: an option or a threat that does not fit.
        """
        super().__init__(estimator, threat, seed=seed, batch_size=batch_size)
        self.exhaustive = exhaustive
        self.fewest = fewest
        self.minutes = minutes
        self.targeted = targeted
        self.outcomes: tuple[MemberOutcome, ...] = ()
        self.left_out: tuple[LeftOut, ...] = ()
        self._tuned: tuple[Member, ...] = ()
        self._tuning = 0.0
        self._check_params()

    @classmethod
    def serves(cls, threat: ThreatModel) -> bool:
        """See `EventAttack.serves`; of edits there must be a budget."""
        if isinstance(threat, EventThreat):
            return any(isinstance(member, EventEdits) for member in members_of(threat))
        return super().serves(threat)

    def _check_params(self) -> None:
        super()._check_params()
        if not self.serves(self.threat):
            raise InvalidInput(
                "nothing limits the number of edits",
                asked=repr(self.threat),
                remedy="join it with a budget: threat & EventEdits(200)",
            )
        if not hasattr(self, "minutes"):
            return
        check_flag("exhaustive", self.exhaustive)
        check_flag("fewest", self.fewest)
        minutes = self.minutes
        if minutes is not None and (
            isinstance(minutes, bool)
            or not isinstance(minutes, int | float)
            or not 0 < minutes < float("inf")
        ):
            raise InvalidInput(
                "minutes does not fit", asked=repr(minutes), accepted="a number above 0, or None"
            )

    def tune(self, x: Array, y: Array) -> None:
        """Adds a member: the gradient path that fools most of what the first member leaves of a craft split.

        A few dozen samples are used. A network that cannot exchange its surrogate leaves nothing to choose.

        Args:
            x: (N, T, C, H, W) event counts.
            y: labels, or targets where the attack is targeted.
        """
        self._tuned, self.chosen, begin = (), {}, type(self).clock()
        if self.estimator.exchanges_surrogate:
            most = None if self.minutes is None else 60.0 * self.minutes * TUNING_SHARE
            with own_surroundings(self.seed):
                found = chosen_member(self, x, y, Allowance(most, type(self).clock))
            if found is not None:
                self._tuned, self.chosen = (found[0],), found[1].to_dict()
        self._tuning = type(self).clock() - begin

    @property
    def differentiable(self) -> bool:
        """Whether the model is one that may give gradients, rather than a black box."""
        return isinstance(self.estimator, SpikingClassifier)

    def ensemble(self) -> tuple[Member, ...]:
        """The members, in the order in which they run."""
        fixed = ensemble_for(
            self.threat,
            targeted=self.targeted,
            exchanges=self.estimator.exchanges_surrogate,
            gradients=self.differentiable,
        )
        if isinstance(self.estimator, SpikingClassifier):
            model = self.estimator
            fixed = tuple(one for one in fixed if one.surrogate is None or takes(model, one.surrogate))
        return (*fixed[:1], *self._tuned, *fixed[1:])

    def members(self) -> Iterator[tuple[str, EventAttack[Any]]]:
        """The attacks, in the order in which they run; those that find no gradient are missing."""
        for member in self.ensemble():
            attack = self.member_attack(member)
            if attack is not None:
                yield member.name, attack

    def run(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """See `EventAttack.run`; AutoSpike hands whole sets to its members instead."""
        return self._generate(x, y, None)

    def member_attack(self, member: Member, *, random: bool = False) -> EventAttack[Any] | None:
        """The attack; None where no gradient can be had for it."""
        options: dict[str, Any] = {"seed": self.seed, "batch_size": self.batch_size, **member.parameters}
        keywords = inspect.signature(member.build).parameters
        if "targeted" in keywords:
            options["targeted"] = self.targeted
        if self.fewest and "fewest" in keywords:
            options["fewest"] = True
        view: EventClassifier | None = self.estimator
        if member.gradients:
            options["surrogate"] = None
            if member.surrogate is not None and self.estimator.exchanges_surrogate and not random:
                options["surrogate"] = member.surrogate
            elif member.surrogate is not None:
                view = with_derivative(self.estimator, member.surrogate)
        elif isinstance(self.estimator, SpikingClassifier) and not self.estimator.exchanges_surrogate:
            # A search is led by scores: a twin tells those from before they were squashed.
            view = with_derivative(self.estimator, SAMPLE_SURROGATE) or self.estimator
        if view is None:
            return None
        if random and isinstance(view, BlackBoxEventClassifier):
            view = averaged_answers(view, predictions=PREDICTION_DRAWS)
        elif random:
            view = averaged(view, gradients=GRADIENT_DRAWS, predictions=PREDICTION_DRAWS)
        return member.build(view, self.threat, **options)

    def _generate(self, clean: Tensor, labels: Tensor, predicted: Tensor | None) -> Tensor:
        with own_surroundings(self.seed):
            return self._run_all(clean, labels)

    def _run_all(self, clean: Tensor, labels: Tensor) -> Tensor:
        seconds = None if self.minutes is None else 60.0 * self.minutes - self._tuning
        run = EnsembleRun(self, clean, labels, allowance=Allowance(seconds, type(self).clock))
        run.all()
        self.outcomes, self.left_out = run.outcomes(), tuple(run.left_out)
        return run.result
