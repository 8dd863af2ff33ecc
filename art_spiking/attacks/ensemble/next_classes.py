# SPDX-License-Identifier: MIT
"""Restarts towards the classes next in line, one after the other."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from art_spiking.attacks.base import EventAttack
from art_spiking.attacks.edits.gradient import EventGradientAttack
from art_spiking.attacks.options import check_whole
from art_spiking.attacks.paths import SAMPLE_SURROGATE, Surrogates
from art_spiking.attacks.retiming import SpikeRetiming
from art_spiking.estimators import SpikingClassifier
from art_spiking.threats import EventThreat, Retiming, ThreatModel


class NextClasses(EventAttack[ThreatModel]):
    """Attacks each sample towards the classes that come next, nearest first, until one is reached.

    The gap's gradient follows whichever class leads among the others, and may leave one for another midway;
    an attack with a fixed target does not. APGD-T and FAB-T (Croce and Hein, ICML 2020) do so on images. For
    edits it restarts `EventGradientAttack`, for retiming `SpikeRetiming`; any wrong class is a success.
    """

    threats: ClassVar[tuple[type[ThreatModel], ...]] = (EventThreat, Retiming)
    attack_params: ClassVar[list[str]] = [
        *EventAttack.attack_params,
        "classes",
        "steps",
        "objective",
        "surrogate",
    ]

    def __init__(
        self,
        estimator: SpikingClassifier,
        threat: ThreatModel,
        *,
        classes: int = 4,
        steps: int = 30,
        objective: str = "soft-gap",
        surrogate: Surrogates = SAMPLE_SURROGATE,
        seed: int = 0,
        batch_size: int = 50,
    ) -> None:
        """Takes the hyper-parameters.

        Args:
            estimator: the model under attack.
            threat: what may be changed: edits or retiming.
            classes: how many classes to try, at most.
            steps: gradients per sample and class, at most.
            objective: "soft-gap", "gap" or "cross-entropy".
            surrogate: spike derivative, or its dict; None for the estimator's own.
            seed: unused by this attack, which draws nothing.
            batch_size: samples attacked at once.

        Raises:
            InvalidInput: an option that does not fit.
            UnknownName: no such objective.
        """
        super().__init__(estimator, threat, seed=seed, batch_size=batch_size)
        self.classes = classes
        self.steps = steps
        self.objective = objective
        self.surrogate = surrogate
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        if not hasattr(self, "surrogate"):
            return
        check_whole("classes", self.classes)
        self._towards()

    def _towards(self) -> EventAttack[Any]:
        options: dict[str, Any] = {
            "steps": self.steps,
            "objective": self.objective,
            "surrogate": self.surrogate,
            "targeted": True,
            "batch_size": self.batch_size,
        }
        if isinstance(self.threat, Retiming):
            return SpikeRetiming(self.estimator, self.threat, **options)
        return EventGradientAttack(self.estimator, self.threat, **options)  # type: ignore[arg-type]

    def run(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """See `EventAttack.run`."""
        attack = self._towards()
        logits = self.estimator.predict_torch(x, self.batch_size)
        order = logits.scatter(1, y[:, None], -torch.inf).argsort(dim=1, descending=True, stable=True)
        result, lead = x.clone(), torch.full((len(x),), -torch.inf, device=x.device)
        open_ = torch.arange(len(x), device=x.device)
        for place in range(min(self.classes, logits.shape[1] - 1)):
            found = attack.run(x[open_], order[open_, place], generator)
            found = self.threat.project(found, x[open_])
            reached, fooled = self.lead(found, y[open_])
            better = fooled | (reached > lead[open_])
            result[open_[better]], lead[open_[better]] = found[better], reached[better]
            open_ = open_[~fooled]
            if not len(open_):
                break
        return result
