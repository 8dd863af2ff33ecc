# SPDX-License-Identifier: MIT
"""What a check of the battery looks at and what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from art_spiking.attacks.edits.gradient import EventGradientAttack
from art_spiking.attacks.ensemble.run import GRADIENT_DRAWS, PREDICTION_DRAWS
from art_spiking.attacks.ensemble.twins import averaged, with_derivative
from art_spiking.attacks.retiming import SpikeRetiming
from art_spiking.errors import InvalidInput, InvalidModel
from art_spiking.estimators import EventClassifier, SpikingClassifier
from art_spiking.estimators.draws import DECISION_DRAWS, decide
from art_spiking.records import Flag
from art_spiking.surrogates import GradientPath
from art_spiking.threats import Retiming, ThreatModel


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        check: its name.
        text: what was done and what came out, in words.
        code: of the flag that it raises; None where there is no doubt.
        value: the figure that decided.
        samples: that it looked at.
        forwards: samples passed forward.
        backwards: samples passed back.
        seconds: by the clock.
    """

    check: str
    text: str
    code: str | None = None
    value: float | None = None
    samples: int = 0
    forwards: int = 0
    backwards: int = 0
    seconds: float = 0.0

    def flag(self) -> Flag | None:
        """The flag that it raises, if it does."""
        return None if self.code is None else Flag(code=self.code, text=self.text, value=self.value)


@dataclass(frozen=True)
class Subject:
    """What all checks of one model look at.

    Attributes:
        estimator: the model.
        threat: what an attacker may change.
        x: samples that are classified right, (N, ...).
        y: their labels, (N,).
        survivors: which of them withstood the attack whose number is in doubt, bool (N,); None if unknown.
        robust: the accuracy that is in doubt, of all samples; None if unknown.
        random: whether the model draws random numbers.
        seed: of what is drawn.
    """

    estimator: EventClassifier
    threat: ThreatModel
    x: Tensor
    y: Tensor
    survivors: Tensor | None
    robust: float | None
    random: bool
    seed: int

    def view(self, surrogate: GradientPath | None = None) -> SpikingClassifier | None:
        """The model as it is differentiated: by itself, or with another derivative; None if it cannot be.

        Raises:
            InvalidInput: it is a black box, so that no check by gradients applies.
        """
        if not isinstance(self.estimator, SpikingClassifier):
            raise InvalidInput("the model is a black box, which gives no gradients")
        view = self.estimator if surrogate is None else with_derivative(self.estimator, surrogate)
        if view is None or not self.random:
            return view
        return averaged(view, gradients=GRADIENT_DRAWS, predictions=PREDICTION_DRAWS)

    def fooled(self, x_adv: Tensor, y: Tensor) -> Tensor:
        """Whether samples are misclassified, bool (N,)."""
        draws = DECISION_DRAWS if self.random else 1
        return (decide(self.estimator, x_adv, draws=draws)[0] != y).cpu()

    def fooled_by_gradients(
        self,
        surrogate: GradientPath | None,
        x: Tensor,
        y: Tensor,
        *,
        threat: ThreatModel,
        steps: int,
    ) -> Tensor:
        """Which samples a gradient attack fools through a derivative; none where there is no gradient."""
        view = self.view(surrogate)
        if view is None or not len(x):
            return torch.zeros(len(x), dtype=torch.bool)
        options: dict[str, Any] = {"steps": steps, "surrogate": None}
        attack: EventGradientAttack | SpikeRetiming
        if isinstance(threat, Retiming):
            attack = SpikeRetiming(view, threat, **options)
        else:
            attack = EventGradientAttack(view, threat, **options)  # type: ignore[arg-type]
        try:
            found = attack.generate(x.cpu().numpy(), y.cpu().numpy())
        except InvalidModel:
            return torch.zeros(len(x), dtype=torch.bool)
        return self.fooled(torch.from_numpy(found).to(x), y)
