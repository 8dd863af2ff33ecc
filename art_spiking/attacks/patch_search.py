# SPDX-License-Identifier: MIT
"""The form of a patch under a threat model, and the search for one by gradients."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from art_spiking.attacks.base import shuffled
from art_spiking.attacks.edit_space import members_of
from art_spiking.attacks.movements import draw_locations, draw_shifts
from art_spiking.attacks.objectives import Objective
from art_spiking.attacks.perturbations import Patch, overlay
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.threats import EventThreat, PatchRegion

Place = tuple[int, int] | None
"""Top and left of a patch in pixels, or None for a place drawn for each sample."""

_MOMENTUM = 0.8
_LEAST_RATE = 0.05


@dataclass(frozen=True)
class PatchForm:
    """All of a patch but its events.

    Attributes:
        threat: the rules of a sample; a PatchRegion is among them.
        place: where it lies.
        max_shift: most steps by which it is turned in time.
    """

    threat: EventThreat
    place: Place
    max_shift: int

    def patch(self, soft: Tensor) -> Patch:
        """The patch whose events are where soft cells (T, C, h, w) in [0, 1] reach a half."""
        region = self.threat
        harmless = isinstance(region, PatchRegion) and region.insert and region.delete
        return Patch(
            events=hard_events(soft).cpu().numpy(),
            location=self.place,
            max_shift=self.max_shift,
            # A patch of the region's size breaks no rule of a region that allows every edit.
            threat=None if harmless else self.threat,
        )


class PatchSearch:
    """Soft cells of a patch on their way, as `UniversalAttack.race` runs it."""

    def __init__(
        self,
        view: SpikingClassifier,
        form: PatchForm,
        objective: Objective,
        start: Tensor,
        *,
        batch_size: int,
    ) -> None:
        """Starts from soft cells (T, C, h, w) in [0, 1].

        Args:
            view: the model as the attacker differentiates it.
            form: of the patch.
            objective: to ascend.
            start: soft cells.
            batch_size: samples of a gradient.
        """
        self._view, self._form, self._objective, self._batch_size = view, form, objective, batch_size
        self._region = region_of(form.threat)
        self._soft = start
        self._velocity = torch.zeros_like(start)
        self._steps = 0

    def epoch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Patch:
        """See `Search.epoch`."""
        for part in shuffled(len(x), self._batch_size, generator):
            gain = self._gain(x[part], y[part], generator)
            self._velocity = _MOMENTUM * self._velocity + gain / gain.norm().clamp(min=1e-30)
            corner = torch.where(self._velocity == 0, self._soft, (self._velocity > 0).to(gain.dtype))
            self._soft = self._soft + max(1 / (self._steps + 2), _LEAST_RATE) * (corner - self._soft)
            self._steps += 1
        return self._form.patch(self._soft)

    def _gain(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """What an event more in each cell of the patch is worth to a batch."""
        height, width = self._soft.shape[2:]
        places = draw_locations(len(x), x.shape[3:], (height, width), generator, fixed=self._form.place)
        shifts = draw_shifts(len(x), self._form.max_shift, generator)
        edited = overlay(x, hard_events(self._soft), places, shifts)
        if not self._region.insert:
            edited = torch.minimum(edited, x)
        if not self._region.delete:
            edited = torch.maximum(edited, x)
        gradient, _ = self._view.input_gradient(edited, y, objective=self._objective)
        gain = torch.zeros_like(self._soft)
        for sample, (top, left) in enumerate(places.tolist()):
            window = (sample, slice(None), slice(None), slice(top, top + height), slice(left, left + width))
            own = gradient[window]
            if not self._region.insert:
                own = own * (x[window] > 0)
            if not self._region.delete:
                own = own * (x[window] == 0)
            gain += own if shifts is None else own.roll(-int(shifts[sample]), 0)
        return gain


def hard_events(soft: Tensor) -> Tensor:
    """Returns 1 where soft cells reach a half, else 0."""
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


def places_on_grid(sensor: tuple[int, ...], side: int) -> list[tuple[int, int]]:
    """Returns evenly spread (top, left) of a patch on a sensor (H, W): some four fifths of its side apart."""
    apart = max(1, 4 * side // 5)
    rows, columns = (
        np.linspace(0, whole - side, 1 - (side - whole) // apart).round().astype(int).tolist()
        for whole in sensor
    )
    return list(product(rows, columns))
