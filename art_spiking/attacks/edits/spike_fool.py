# SPDX-License-Identifier: MIT
"""SpikeFool: flips along the normal of the decision boundary, largest slope first."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from art_spiking.attacks.edits.searched import EditAttack, allowed_edits, won
from art_spiking.attacks.edits.space import EditSpace
from art_spiking.attacks.objectives import gap
from art_spiking.attacks.options import check_whole
from art_spiking.attacks.paths import SAMPLE_SURROGATE, OneSurrogate
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.threats import EventThreat

_OVERSHOOT = 0.02
_LEAST_STEP = 0.15
_PATIENCE, _FARTHER = 5, 2.0


class SpikeFool(EditAttack):
    """Walks to the decision boundary, takes its normal, and flips the cells along which it is steepest.

    SparseFool (Modas et al., CVPR 2019) on spikes, as SPAA describes it (Büchel et al., arXiv 2110.02929).
    A round walks from the flipped sample to the boundary by DeepFool's steps over soft edits, goes `reach`
    times as far, and flips the cells of largest slope, one after the other, until the plane through that
    point is crossed; flips of earlier rounds may be taken back. Then the flipped sample is tried. What
    differs: the walk follows one objective over all rivals of the class, where SPAA takes a gradient for each
    rival; after every five rounds in vain `reach` doubles; every flip obeys the threat model; and flips that
    are not needed are undone in the end.

    White box: needs gradients. Budget in events. Serves EventEdits, PixelRate and PatchRegion, and several
    joined by &.
    """

    attack_params: ClassVar[list[str]] = [*EditAttack.attack_params, "rounds", "steps", "reach"]

    def __init__(  # noqa: PLR0913 (six hyper-parameters, and what ART attacks)
        self,
        estimator: SpikingClassifier,
        threat: EventThreat,
        *,
        rounds: int = 20,
        steps: int = 5,
        reach: float = 1.0,
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
            rounds: walks to the boundary, at most.
            steps: gradients of a walk, at most.
            reach: how far the plane lies, in lengths of the walk to the boundary; SPAA's lambda.
            objective: "soft-gap", "gap" or "cross-entropy".
            surrogate: gradient path, its dict or its name, or "sweep"; None for the estimator's own.
            fewest: go on to fewer edits, rather than stop within the budget.
            targeted: whether `y` holds classes to reach.
            seed: unused by this attack, which draws nothing.
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
        self.rounds = rounds
        self.steps = steps
        self.reach = reach
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        if not hasattr(self, "reach"):
            return
        check_whole("rounds", self.rounds)
        check_whole("steps", self.steps)
        number = isinstance(self.reach, int | float) and not isinstance(self.reach, bool)
        if not number or not 1 <= self.reach < float("inf"):
            raise InvalidInput(
                "reach does not fit", asked=repr(self.reach), accepted="a number of at least 1"
            )

    def collect(self, space: EditSpace, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """See `EditAttack.collect`."""
        result, worth = space.clean.clone(), torch.zeros_like(space.clean)
        edits = torch.zeros_like(space.clean)
        open_ = torch.arange(len(y), device=y.device)
        for number in range(self.rounds):
            part = space.part(open_)
            normal, rise = self._boundary(part, edits[open_], y[open_])
            flipped = _crossing(edits[open_], normal, self.reach * _FARTHER ** (number // _PATIENCE) * rise)
            value = worth[open_] = torch.where(flipped > 0, worth[open_].maximum(normal), 0.0)
            kept = allowed_edits(part, flipped > 0, value)
            edits[open_] = kept.to(edits.dtype)
            result[open_] = part.clean + edits[open_] * part.direction
            open_ = open_[won(self, result[open_], y[open_]) <= 0]
            if not len(open_):
                break
        return result, worth

    def _boundary(self, space: EditSpace, edits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Walks over soft edits to the boundary.

        Returns:
            The slope of the objective along each edit there, scaled to unit length, (N, ...); and how far
            the walk came along it, (N,).
        """
        view, objective = self.view(), self.loss()
        soft, normal = edits.clone(), torch.zeros_like(edits)
        walking = torch.arange(len(y), device=y.device)
        for _ in range(self.steps):
            x = space.clean[walking] + soft[walking] * space.direction[walking]
            gradient, logits = view.input_gradient(x, y[walking], objective=objective)
            slope = gradient * space.direction[walking]
            slope = torch.where(
                ((slope > 0) & (soft[walking] < 1)) | ((slope < 0) & (soft[walking] > 0)), slope, 0.0
            )
            length = slope.flatten(1).norm(dim=1)
            # Where a saturated output has no slope left, the one that led there is the normal.
            told = length > 0
            normal[walking[told]] = slope[told] / _beside(length[told], slope)
            lead = gap(logits, y[walking]) * (-1 if self.targeted else 1)
            step = (1 + _OVERSHOOT) * (-lead / length.clamp(min=1e-30)).clamp(min=_LEAST_STEP)
            moved = soft[walking] + _beside(step, slope) * normal[walking]
            soft[walking] = moved.clamp(0, 1)
            walking = walking[(lead <= 0) & told]
            if not len(walking):
                break
        return normal, (normal * (soft - edits)).flatten(1).sum(1)


def _crossing(edits: Tensor, normal: Tensor, target: Tensor) -> Tensor:
    """Flips the edits of largest slope until they rise by `target` (N,) together; at least one."""
    flat, slope = edits.flatten(1), normal.flatten(1)
    room = torch.where(slope > 0, 1 - flat, flat)
    size = slope.abs() * room
    order = size.argsort(1, descending=True)
    risen = size.gather(1, order).cumsum(1)
    needed = torch.cat([torch.zeros_like(risen[:, :1]), risen[:, :-1]], 1) < target[:, None].clamp(min=1e-12)
    chosen = torch.zeros_like(needed).scatter_(1, order, needed) & (size > 0)
    return torch.where(chosen, (slope > 0).to(flat.dtype), flat).view_as(edits)


def _beside(per_sample: Tensor, like: Tensor) -> Tensor:
    """A value per sample, shaped to act on a batch."""
    return per_sample.view(-1, *[1] * (like.ndim - 1))
