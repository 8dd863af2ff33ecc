# SPDX-License-Identifier: MIT
"""GumbelEventAttack: edits drawn from learnt odds, over a sample's own events and those of donors."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from art_spiking.attacks.edits.searched import EditAttack, allowed_edits
from art_spiking.attacks.edits.space import EditSpace
from art_spiking.attacks.options import check_share, check_whole
from art_spiking.attacks.paths import SAMPLE_SURROGATE, OneSurrogate
from art_spiking.estimators import SpikingClassifier
from art_spiking.threats import EventThreat

_RATE = 1.0
_MOST = 4.0
_MEMORY = 0.7


class GumbelEventAttack(EditAttack):
    """Learns the odds of each candidate edit by a straight-through Gumbel estimate, and draws edits by them.

    The raw-event attack of Yao et al. (ECCV 2024). Candidates are the sample's own events, which may be
    deleted, and the events of `donors` other samples, which may be inserted. Each has log-odds of being
    edited; a step draws hard edits with Gumbel noise, differentiates the model there, and moves the odds as
    if the draw had been its soft relaxation at temperature `temperature`. What differs: a cell has two
    choices, kept or edited, because no allowed edit doubles an event of a binary grid; the odds start low and
    move in proportion to the slope, with momentum, where Adam moves all alike and edits thousands of cells;
    every draw obeys the threat model, and edits that are not needed are undone in the end.

    Donors are samples of the same batch: those that the model takes for the target or, untargeted, for any
    other class, and of these the ones with most events in common. Where the batch has none, every cell that
    the threat allows is a candidate.

    White box: needs gradients. Budget in events. Serves EventEdits, PixelRate and PatchRegion, and several
    joined by &.
    """

    attack_params: ClassVar[list[str]] = [
        *EditAttack.attack_params,
        "steps",
        "donors",
        "temperature",
        "sparsity",
    ]

    def __init__(  # noqa: PLR0913 (seven hyper-parameters, and what ART attacks)
        self,
        estimator: SpikingClassifier,
        threat: EventThreat,
        *,
        steps: int = 50,
        donors: int = 4,
        temperature: float = 2.0,
        sparsity: float = 0.01,
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
            threat: what may be changed.
            steps: gradients per sample, at most.
            donors: samples whose events may be inserted.
            temperature: of the soft relaxation, above 0.
            sparsity: slope that an edit must have to be worth making, as a share of the largest, in (0, 1].
            objective: "soft-gap", "gap" or "cross-entropy".
            surrogate: gradient path, its dict or its name, or "sweep"; None for the estimator's own.
            fewest: go on to fewer edits, rather than stop within the budget.
            targeted: whether `y` holds classes to reach.
            seed: the same seed gives the same result.
            batch_size: samples attacked at once.

        Raises:
            InvalidInput: an option that does not fit.
            UnknownName: no such objective.
        """
        super().__init__(
            estimator,
            threat,
            objective=objective,
            surrogate=surrogate,
            fewest=fewest,
            targeted=targeted,
            seed=seed,
            batch_size=batch_size,
        )
        self.steps = steps
        self.donors = donors
        self.temperature = temperature
        self.sparsity = sparsity
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        if not hasattr(self, "sparsity"):
            return
        check_whole("steps", self.steps)
        check_whole("donors", self.donors)
        check_share("temperature", self.temperature, most=float("inf"))
        check_share("sparsity", self.sparsity)

    def collect(self, space: EditSpace, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """See `EditAttack.collect`."""
        view, objective = self.view(), self.loss()
        candidates = self._candidates(space, y)
        result = space.clean.clone()
        odds = torch.where(candidates, -_MOST, -torch.inf)
        velocity = torch.zeros_like(odds)
        open_ = torch.arange(len(y), device=y.device)
        for _ in range(self.steps):
            part = space.part(open_)
            uniform = torch.rand(part.clean.shape, generator=generator).to(part.clean)
            # The difference of two Gumbel variables is logistic.
            noisy = odds[open_] + uniform.clamp(1e-6, 1 - 1e-6).logit()
            kept = allowed_edits(part, noisy > 0, odds[open_].clamp(min=-_MOST))
            result[open_] = part.clean + kept * part.direction
            gradient, logits = view.input_gradient(result[open_], y[open_], objective=objective)
            soft = torch.sigmoid(noisy / self.temperature)
            slope = gradient * part.direction
            largest = slope.abs().flatten(1).amax(1).clamp(min=1e-30)
            slope = slope / largest.view(-1, *[1] * (slope.ndim - 1)) - self.sparsity
            # The derivative of the soft draw, 1 where it is even.
            slope = 4 * soft * (1 - soft) * slope
            velocity[open_] = _MEMORY * velocity[open_] + slope
            odds[open_] = (odds[open_] + _RATE * velocity[open_]).clamp(-_MOST, _MOST)
            odds[open_] = odds[open_].masked_fill(~candidates[open_], -torch.inf)
            open_ = open_[~self.fooled(logits.argmax(1), y[open_])]
            if not len(open_):
                break
        return result, odds.clamp(min=-_MOST)

    def _candidates(self, space: EditSpace, y: Tensor) -> Tensor:
        """The cells that may be edited, bool: own events, and those of donors."""
        predicted = self.estimator.predict_torch(space.clean, self.batch_size).argmax(1)
        flat = (space.clean > 0).to(space.clean.dtype).flatten(1)
        suits = (predicted == y[:, None]) if self.targeted else (predicted != y[:, None])
        common = (flat @ flat.T).masked_fill(~suits, -1.0)
        best = common.topk(min(self.donors, len(y)), 1)
        given = flat[best.indices] * (best.values >= 0)[..., None]
        donated = (given.amax(1) > 0) | ~suits.any(1, keepdim=True)
        candidates: Tensor = (flat > 0) | donated
        return candidates.view(space.clean.shape) & (space.direction != 0)
