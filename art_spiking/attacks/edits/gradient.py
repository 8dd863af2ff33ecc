# SPDX-License-Identifier: MIT
"""EventGradientAttack: the fewest, best placed insertions and deletions of one recording."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from art_spiking.attacks.base import EventAttack
from art_spiking.attacks.edits.search import EditSearch
from art_spiking.attacks.edits.space import EditSpace, budgets_of, widened
from art_spiking.attacks.objectives import objective_named
from art_spiking.attacks.options import check_flag, check_whole
from art_spiking.attacks.paths import SAMPLE_SURROGATE, OneSurrogate, attack_views, checked_surrogates
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.threats import EventThreat

_WIDER = 4
_WON = 1e-3


class EventGradientAttack(EventAttack):
    """Inserts and deletes the events of each sample that gradients rank highest, within the budget.

    Frank and Wolfe's method (1956) on the convex hull of allowed edits. Each step ranks all cells anew by a
    gradient with momentum, taken at the softly edited sample, and moves the soft edits towards the hard ones
    that this ranking asks for. The soft edits, rounded, are tried on the model. The search starts with a
    budget several times the allowed one, where most samples are fooled at once; each time a sample is
    fooled, bisection finds how few of its highest ranked edits do it, and the budget shrinks below that,
    down to the allowed one. Samples fooled within it are done, or, with `fewest`, go on to fewer edits.

    Sparse attacks on spikes that were published grow the set of edits and never take one back before the end:
    SPAA's SparseFool (Büchel et al., arXiv 2110.02929), SDA (arXiv 2503.03272), or draw them at random
    (Liang et al., arXiv 2001.01587).
    """

    attack_params: ClassVar[list[str]] = [
        *EventAttack.attack_params,
        "steps",
        "objective",
        "surrogate",
        "fewest",
    ]

    def __init__(  # noqa: PLR0913 (seven hyper-parameters, and what ART attacks)
        self,
        estimator: SpikingClassifier,
        threat: EventThreat,
        *,
        steps: int = 30,
        objective: str = "soft-gap",
        surrogate: OneSurrogate | None = SAMPLE_SURROGATE,
        fewest: bool = False,
        targeted: bool = False,
        seed: int = 0,
        batch_size: int = 50,
    ) -> None:
        """Takes the hyper-parameters.

        Args:
            estimator: the model under attack.
            threat: what may be changed; EventEdits, alone or joined with others.
            steps: gradients per sample, at most.
            objective: "soft-gap", "gap" or "cross-entropy".
            surrogate: gradient path, its dict or its name; "sweep" for the strongest on a craft split, which
                `tune` takes; None for the estimator's own.
            fewest: use all steps to find fewer edits, rather than stop at the first success.
            targeted: whether `y` holds classes to reach.
            seed: unused by this attack, which draws nothing.
            batch_size: samples attacked at once.

        Raises:
            InvalidInput: an option that does not fit.
            UnknownName: no such objective.
        """
        super().__init__(estimator, threat, seed=seed, batch_size=batch_size)
        self.steps = steps
        self.objective = objective
        self.surrogate = surrogate
        self.fewest = fewest
        self.targeted = targeted
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        if not hasattr(self, "fewest"):
            return
        check_whole("steps", self.steps)
        objective_named(self.objective)
        check_flag("fewest", self.fewest)
        if isinstance(self.surrogate, list | tuple):
            raise InvalidInput("this attack takes one surrogate", asked=repr(self.surrogate))
        checked_surrogates(self.surrogate)

    def run(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """See `EventAttack.run`."""
        (view,) = attack_views(self.estimator, self.surrogate)
        objective = objective_named(self.objective, targeted=self.targeted)
        wide = EditSpace.of(widened(self.threat, _WIDER, x), x)
        search = EditSearch(wide, allowed=budgets_of(self.threat, x), fewest=self.fewest)

        def probe(edited: Tensor, samples: Tensor) -> Tensor:
            lead, fooled = self.lead(edited, y[samples])
            return torch.where(fooled, lead.abs() + _WON, -lead.abs())

        for _ in range(self.steps):
            gradient, _ = view.input_gradient(search.soft_input(), y[search.open], objective=objective)
            search.move(gradient)
            search.attempt(probe)
            if not len(search.open):
                break
        return search.result
