# SPDX-License-Identifier: MIT
"""SpikeRetiming: moves events in time alone; and its random control."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from art_spiking.attacks.base import EventAttack
from art_spiking.attacks.objectives import Objective, objective_named
from art_spiking.attacks.options import check_whole
from art_spiking.attacks.paths import Surrogates, attack_views, checked_surrogates
from art_spiking.estimators import SpikingClassifier
from art_spiking.surrogates import Atan
from art_spiking.threats import Retiming, ThreatModel

RETIMING_SURROGATES = (Atan(alpha=1.0, through_reset=True), Atan(alpha=3.0, through_reset=True))

_MOMENTUM = 0.7


class SpikeRetiming(EventAttack[Retiming]):
    """Moves the events of each sample in time, so that the model errs; none is added or removed.

    Frank and Wolfe's method (1956) on the convex hull of all allowed retimings: `Retiming.best` finds the
    retiming of most value for the gradient with momentum, exactly, and the soft sample moves towards it. At
    each step that retiming and the allowed one nearest to the soft sample are tried on the model; samples
    that are fooled are done. Samples that no step fooled start anew with the next surrogate.

    Spike retiming (arXiv 2602.03284) learns logits of every event's shifts by signed gradients, rounds them
    greedily and punishes what leaves the budget; here every iterate keeps the budget by construction.
    """

    threats: ClassVar[tuple[type[ThreatModel], ...]] = (Retiming,)
    attack_params: ClassVar[list[str]] = [
        *EventAttack.attack_params,
        "steps",
        "objective",
        "surrogate",
    ]

    def __init__(
        self,
        estimator: SpikingClassifier,
        threat: Retiming,
        *,
        steps: int = 30,
        objective: str = "soft-gap",
        surrogate: Surrogates = RETIMING_SURROGATES,
        targeted: bool = False,
        seed: int = 0,
        batch_size: int = 50,
    ) -> None:
        """Takes the hyper-parameters.

        Args:
            estimator: the model under attack.
            threat: how far, and how many, events may move.
            steps: gradients per sample and surrogate, at most.
            objective: "soft-gap", "gap" or "cross-entropy".
            surrogate: gradient path, its dict or its name; of several each in turn, on the samples that are
                left; "sweep" for the strongest on a craft split, which `tune` takes; None for the estimator's
                own.
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
        self.targeted = targeted
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        if not hasattr(self, "surrogate"):
            return
        check_whole("steps", self.steps)
        objective_named(self.objective)
        checked_surrogates(self.surrogate)

    def run(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """See `EventAttack.run`."""
        objective = objective_named(self.objective, targeted=self.targeted)
        result, lead = x.clone(), torch.full((len(x),), -torch.inf, device=x.device)
        for view in attack_views(self.estimator, self.surrogate):
            open_ = torch.nonzero(lead <= 0)[:, 0]
            if len(open_):
                self._search(view, objective, x, y, open_, result=result, lead=lead)
        return result

    def _search(
        self,
        view: SpikingClassifier,
        objective: Objective,
        x: Tensor,
        y: Tensor,
        open_: Tensor,
        *,
        result: Tensor,
        lead: Tensor,
    ) -> None:
        """Searches for the open samples; writes the best retimings to `result`, their leads to `lead`."""
        soft = x[open_]
        velocity = torch.zeros_like(soft)
        for step in range(self.steps):
            clean = x[open_]
            gradient, _ = view.input_gradient(soft, y[open_], objective=objective)
            length = gradient.flatten(1).norm(dim=1).clamp(min=1e-30)
            velocity = _MOMENTUM * velocity + gradient / length.view(-1, *[1] * (x.ndim - 1))
            corner = self.threat.best(velocity, clean)
            soft = soft + 2 / (step + 2) * (corner - soft)
            for candidate in (corner, self.threat.project(soft, clean)):
                found = self._lead(candidate, y[open_])
                better = found > lead[open_]
                lead[open_[better]] = found[better]
                result[open_[better]] = candidate[better]
            left = lead[open_] <= 0
            open_, soft, velocity = open_[left], soft[left], velocity[left]
            if not len(open_):
                return

    def _lead(self, x_adv: Tensor, y: Tensor) -> Tensor:
        """By how much each sample is what the attacker wants; above 0 where it is, ties decided by argmax."""
        lead, fooled = self.lead(x_adv, y)
        least = torch.finfo(lead.dtype).tiny
        return torch.where(fooled, lead.clamp(min=least), lead.clamp(max=0))


class RandomRetiming(EventAttack[Retiming]):
    """Moves events at random, as far and as many as the threat allows: the control of `SpikeRetiming`."""

    threats: ClassVar[tuple[type[ThreatModel], ...]] = (Retiming,)
    gradients: ClassVar[bool] = False
    leaves_fooled: ClassVar[bool] = False

    def run(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """See `EventAttack.run`."""
        return self.threat.best(torch.rand(x.shape, generator=generator).to(x), x)
