# SPDX-License-Identifier: MIT
"""TernaryGradientAttack: flips drawn with the gradient as their probability."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from art_spiking.attacks.edits.searched import EditAttack, allowed_edits, won
from art_spiking.attacks.edits.space import EditSpace
from art_spiking.attacks.options import check_share, check_whole
from art_spiking.attacks.paths import SAMPLE_SURROGATE, OneSurrogate
from art_spiking.estimators import SpikingClassifier
from art_spiking.threats import EventThreat

_MEMORY = 0.7


class TernaryGradientAttack(EditAttack):
    """Turns each gradient into flips: a cell's slope is the probability that it flips, its sign the way.

    Gradient-to-spike (G2S) and restricted spike flipping (RSF) of Liang et al. (arXiv 2001.01587). Each step
    divides the gradient by its largest entry, draws a mask with these probabilities, keeps the sign, and
    drops what would leave the domain; flips of earlier steps may be taken back. A sample whose gradient is
    zero everywhere flips each cell with probability `blind`. What differs: `rate` scales the probabilities,
    flips obey the threat model, and those that are not needed are undone in the end. The paper also sets the
    firing threshold of the victim's penultimate layer, which is not the attacker's to change.

    White box: needs gradients. Budget in events. Serves EventEdits, PixelRate and PatchRegion, and several
    joined by &.
    """

    attack_params: ClassVar[list[str]] = [*EditAttack.attack_params, "steps", "rate", "blind"]

    def __init__(  # noqa: PLR0913 (six hyper-parameters, and what ART attacks)
        self,
        estimator: SpikingClassifier,
        threat: EventThreat,
        *,
        steps: int = 50,
        rate: float = 0.1,
        blind: float = 0.001,
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
            rate: probability that the cell of largest slope flips in a step, in (0, 1]; 1 is the paper's.
            blind: probability that a cell flips in a step where no cell has a slope, in (0, 1].
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
        self.rate = rate
        self.blind = blind
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        if not hasattr(self, "blind"):
            return
        check_whole("steps", self.steps)
        check_share("rate", self.rate)
        check_share("blind", self.blind)

    def collect(self, space: EditSpace, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """See `EditAttack.collect`."""
        view, objective = self.view(), self.loss()
        result, worth = space.clean.clone(), torch.zeros_like(space.clean)
        open_ = torch.arange(len(y), device=y.device)
        for _ in range(self.steps):
            part = space.part(open_)
            gradient, _ = view.input_gradient(result[open_], y[open_], objective=objective)
            edits = result[open_] != part.clean
            flips, slope = self._drawn(gradient * part.direction, edits, part.direction != 0, generator)
            value = _MEMORY * worth[open_] + slope
            kept = allowed_edits(part, edits ^ flips, value)
            worth[open_] = value
            result[open_] = part.clean + kept * part.direction
            open_ = open_[won(self, result[open_], y[open_]) <= 0]
            if not len(open_):
                break
        return result, worth

    def _drawn(
        self, slope: Tensor, edits: Tensor, editable: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The cells to flip, bool, and the slope along each edit as a share of the largest."""
        largest = slope.abs().flatten(1).amax(1).view(-1, *[1] * (slope.ndim - 1))
        share = slope / largest.clamp(min=1e-30)
        # An edit may be made where it rises, and taken back where it falls.
        chance = self.rate * torch.where(edits, -share, share).clamp(min=0)
        chance = torch.where(largest > 0, chance, self.blind * editable)
        return torch.rand(slope.shape, generator=generator).to(slope) < chance, share
