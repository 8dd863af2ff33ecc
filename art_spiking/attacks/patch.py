# SPDX-License-Identifier: MIT
"""SpikingAdversarialPatch: a small region of events that makes a network err wherever it is put."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from art_spiking.attacks.base import (
    UNIVERSAL_SURROGATE,
    UniversalAttack,
    attack_view,
    check_flag,
    check_whole,
    checked_surrogate,
    shuffled,
)
from art_spiking.attacks.edit_space import members_of
from art_spiking.attacks.objectives import Objective, Towards, soft_gap
from art_spiking.attacks.perturbations import Patch, draw_locations, draw_shifts, overlay
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.surrogates import Surrogate
from art_spiking.threats import EventThreat, PatchRegion

Location = Literal["random", "best"] | tuple[int, int]

_MOMENTUM = 0.8
_LEAST_RATE = 0.05
_SCANNED = 50


class SpikingAdversarialPatch(UniversalAttack):
    """Fits one time-varying patch of binary events that replaces the pixels it covers.

    The model always sees a binary patch, at a place and a time shift drawn anew for each sample (expectation
    over transformations, Athalye et al. 2018). Soft cells in [0, 1] move towards the corner that the gradient
    with momentum points to, by Frank and Wolfe's shrinking steps; an event is there from a half on, and the
    derivative of that step is taken to be 1. After each epoch the patch is scored on the whole craft split,
    at other places than it was fitted at; the best one is returned, the random patch of the start being the
    first candidate.

    Adversarial patches are by Brown et al. (2017), for spikes by SPAA (Büchel et al., arXiv 2110.02929: the
    patch is rounded each step, lies at a place set by hand and carries a penalty on its events) and AE-Patch
    (Knowledge-Based Systems 2024, which rounds once an epoch and selects on the test set). ART's patches for
    images are static and not binary.
    """

    attack_params: ClassVar[list[str]] = [
        *UniversalAttack.attack_params,
        "location",
        "epochs",
        "max_shift",
        "surrogate",
    ]

    def __init__(  # noqa: PLR0913 (seven hyper-parameters, and what ART attacks)
        self,
        estimator: SpikingClassifier,
        threat: EventThreat,
        *,
        location: Location = "random",
        epochs: int = 8,
        max_shift: int = 0,
        surrogate: Surrogate | Mapping[str, Any] | None = UNIVERSAL_SURROGATE,
        targeted: bool = False,
        seed: int = 0,
        batch_size: int = 50,
    ) -> None:
        """Takes the hyper-parameters.

        Args:
            estimator: the model under attack; its input is (T, C, H, W).
            threat: PatchRegion, alone or joined with others; it sets the patch's size.
            location: "random" for a place drawn for each sample; (top, left) for a fixed one; "best" for the
                fixed one that serves best, found half way through the epochs.
            epochs: passes over the craft split.
            max_shift: most steps by which each patch is turned in time at random; see `Perturbation`.
            surrogate: spike derivative, or its dict; None for the estimator's own.
            targeted: whether `y` holds classes to reach.
            seed: the same seed gives the same result.
            batch_size: samples of a gradient.

        Raises:
            InvalidInput: an option that does not fit, or a threat without a region.
        """
        super().__init__(estimator, threat, seed=seed, batch_size=batch_size)
        self.location = location
        self.epochs = epochs
        self.max_shift = max_shift
        self.surrogate = surrogate
        self.targeted = targeted
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        if not hasattr(self, "surrogate"):
            return
        check_patch_options(self.location, self.max_shift, choices=("random", "best"))
        check_whole("epochs", self.epochs)
        check_flag("targeted", self.targeted)
        if self.surrogate is not None:
            checked_surrogate(self.surrogate)
        region_of(self.threat)

    def fit_tensors(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Patch:
        """See `UniversalAttack.fit`."""
        view = attack_view(self.estimator, self.surrogate)
        objective: Objective = Towards(soft_gap) if self.targeted else soft_gap
        side = patch_side(self.threat, x)
        # Cells are in the patch from a half on; the start is a random patch.
        soft = torch.rand((*x.shape[1:3], side, side), generator=generator).to(x.device)
        location = None if isinstance(self.location, str) else (self.location[0], self.location[1])
        best = self._patch(soft, location)
        best_value = self.craft_score(best, x, y)
        velocity = torch.zeros_like(soft)
        step = 0
        for epoch in range(self.epochs):
            if self.location == "best" and epoch == self.epochs // 2:
                location = self._best_place(soft, x, y)
                best = self._patch(soft, location)
                best_value = self.craft_score(best, x, y)
            for part in shuffled(len(x), self.batch_size, generator):
                places = draw_locations(len(part), x.shape[3:], soft.shape[2:], generator, fixed=location)
                shifts = draw_shifts(len(part), self.max_shift, generator)
                edited = self._edited(x[part], _events(soft), places, shifts)
                gradient, _ = view.input_gradient(edited, y[part], objective=objective)
                gain = self._gathered(gradient, x[part], soft, places=places, shifts=shifts)
                velocity = _MOMENTUM * velocity + gain / gain.norm().clamp(min=1e-30)
                corner = torch.where(velocity == 0, soft, (velocity > 0).to(soft.dtype))
                soft = soft + max(1 / (step + 2), _LEAST_RATE) * (corner - soft)
                step += 1
            candidate = self._patch(soft, location)
            value = self.craft_score(candidate, x, y)
            if value < best_value:
                best, best_value = candidate, value
        return best

    def _patch(self, soft: Tensor, location: tuple[int, int] | None) -> Patch:
        return Patch(
            events=_events(soft).cpu().numpy(),
            location=location,
            max_shift=self.max_shift,
            threat=rules_of_patch(self.threat),
        )

    def _edited(self, x: Tensor, events: Tensor, places: Tensor, shifts: Tensor | None) -> Tensor:
        """The batch under the patch, of which only what the region allows is done."""
        region = region_of(self.threat)
        edited = overlay(x, events, places, shifts)
        if not region.insert:
            edited = torch.minimum(edited, x)
        return edited if region.delete else torch.maximum(edited, x)

    def _gathered(
        self, gradient: Tensor, x: Tensor, soft: Tensor, *, places: Tensor, shifts: Tensor | None
    ) -> Tensor:
        """The gradient with respect to the patch: the sum over where each sample has it."""
        region = region_of(self.threat)
        height, width = soft.shape[2:]
        gain = torch.zeros_like(soft)
        for sample, (top, left) in enumerate(places.tolist()):
            window = (sample, slice(None), slice(None), slice(top, top + height), slice(left, left + width))
            own = gradient[window]
            if not region.insert:
                own = own * (x[window] > 0)
            if not region.delete:
                own = own * (x[window] == 0)
            gain += own if shifts is None else own.roll(-int(shifts[sample]), 0)
        return gain

    def _best_place(self, soft: Tensor, x: Tensor, y: Tensor) -> tuple[int, int]:
        """The place on a grid, half a patch apart, where the patch so far fools most craft samples."""
        side = soft.shape[2]
        few = slice(0, _SCANNED)
        rows, columns = (
            sorted({*range(0, room, max(1, side // 2)), room})
            for room in (x.shape[3] - side, x.shape[4] - side)
        )
        places = [(top, left) for top in rows for left in columns]
        return min(places, key=lambda place: self.craft_score(self._patch(soft, place), x[few], y[few]))


def _events(soft: Tensor) -> Tensor:
    return (soft >= 0.5).to(soft.dtype)


def region_of(threat: EventThreat) -> PatchRegion:
    """Returns the region that a threat confines edits to.

    Raises:
        InvalidInput: there is none.
    """
    for member in members_of(threat):
        if isinstance(member, PatchRegion):
            return member
    raise InvalidInput(
        "a patch needs a region", asked=repr(threat), remedy="use PatchRegion(area), alone or joined by &"
    )


def patch_side(threat: EventThreat, x: Tensor) -> int:
    """Returns the side in pixels of the patch on a batch (N, T, C, H, W).

    Raises:
        InvalidInput: data without rows and columns, or an area that does not fit.
    """
    if x.ndim != 5:
        raise InvalidInput(
            "a patch needs rows and columns", found=f"shape {tuple(x.shape)}", accepted="(N, T, C, H, W)"
        )
    return region_of(threat).side(x.shape[3], x.shape[4])


def rules_of_patch(threat: EventThreat) -> EventThreat | None:
    """Returns the threat if a patch of its size could break its rules, else None."""
    if isinstance(threat, PatchRegion) and threat.insert and threat.delete:
        return None
    return threat


def check_patch_options(location: object, max_shift: object, *, choices: tuple[str, ...]) -> None:
    """Raises InvalidInput unless a patch's place and shift fit."""
    check_whole("max_shift", max_shift, least=0)
    if isinstance(location, str) and location in choices:
        return
    if isinstance(location, tuple | list) and len(location) == 2:
        for value in location:
            check_whole("location", value, least=0)
        return
    named = ", ".join(map(repr, choices))
    raise InvalidInput("location does not fit", asked=repr(location), accepted=f"{named} or (top, left)")
