# SPDX-License-Identifier: MIT
"""The form of a patch under a threat model, and the search for one by gradients."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from art_spiking.attacks.edits.space import members_of
from art_spiking.attacks.objectives import Objective
from art_spiking.attacks.universal.attack import shuffled
from art_spiking.attacks.universal.movements import draw_locations, draw_shifts
from art_spiking.attacks.universal.perturbations import Patch
from art_spiking.attacks.universal.windows import Windows, at_rest, turned
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.threats import AllOf, EventEdits, EventThreat, ObjectRegion, PatchRegion

Place = tuple[int, int] | None
"""Top and left of a patch in pixels, or None for a place drawn for each sample."""

_MOMENTUM = 0.8
_LEAST_RATE = 0.05
_SHARED = 0.25


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
        """The patch nearest to soft cells (T, C, h, w) in [0, 1]: see `hard`."""
        region = self.threat
        harmless = type(region) is PatchRegion and region.insert and region.delete
        moves = self.moves
        return Patch(
            events=self.hard(soft).cpu().numpy(),
            location=self.place,
            path=moves.path(len(soft)) if moves else None,
            max_shift=self.max_shift,
            # A patch of the region's size breaks no rule of a region that allows every edit.
            threat=None if harmless else self.threat,
        )

    @property
    def moves(self) -> ObjectRegion | None:
        """The region of the threat where it is an object's that moves."""
        region = region_of(self.threat)
        return region if isinstance(region, ObjectRegion) and any(region.velocity) else None

    def path(self, steps: int) -> Tensor:
        """The patch's way over the sensor, int64 (T, 2)."""
        return torch.from_numpy(self.moves.path(steps)) if self.moves else at_rest(steps)

    def hard(self, soft: Tensor) -> Tensor:
        """Returns 1 where soft cells reach a half, else 0.

        Where a rate or a budget of insertions makes cells compete, they share their weight: from a quarter on
        they are there, and the weakest that break a rule are dropped.
        """
        if region_of(self.threat).delete or not self._cells_compete:
            return (soft >= 0.5).to(soft.dtype)
        return self._lawful(soft * (soft >= _SHARED))

    def best(self, gain: Tensor) -> Tensor:
        """The events 0 and 1 that a linear gain (T, C, h, w) asks for, of those that go together."""
        if region_of(self.threat).delete or not self._cells_compete:
            return (gain > 0).to(gain.dtype)
        return self._lawful(gain.clamp(min=0) / gain.amax().clamp(min=1e-30))

    def edges(self, gain: Tensor) -> Tensor | None:
        """The cells (T, C, 1, 1) that a flicker fills, of the best phase for a gain; None without one."""
        region = region_of(self.threat)
        if not isinstance(region, ObjectRegion) or region.flicker_hz is None:
            return None
        steps, channels = gain.shape[:2]
        masks = [
            region.emitted(steps, channels, phase, gain.device).to(gain.dtype)
            for phase in range(region.phases(steps))
        ]
        return max(masks, key=lambda mask: float((gain.clamp(min=0) * mask).sum()))

    @property
    def _cells_compete(self) -> bool:
        return not all(isinstance(member, PatchRegion) for member in members_of(self.threat))

    def _lawful(self, strength: Tensor) -> Tensor:
        """The strongest events that can all be inserted into silence, by strength in [0, 1]."""
        steps, channels, height, width = strength.shape
        path = self.path(steps)
        reach = int(path.abs().max())
        # In a frame where nothing leaves the sensor, so that no place is favoured.
        silence = strength.new_zeros((1, steps, channels, height + 2 * reach, width + 2 * reach))
        window = Windows.at(torch.tensor([[reach, reach]]), (height, width), path)
        rules = _in_frame(self.threat, silence, height)
        return window.take(rules.project(window.put(silence, strength[None]), silence))[0]


class PatchSearch:
    """Soft cells of a patch on their way, as `UniversalAttack.race` runs it.

    Attributes:
        label: by what it is differentiated, as plain data.
    """

    def __init__(
        self,
        view: SpikingClassifier,
        form: PatchForm,
        objective: Objective,
        start: Tensor,
        *,
        batch_size: int,
        label: Mapping[str, Any],
    ) -> None:
        """Starts from soft cells (T, C, h, w) in [0, 1].

        Args:
            view: the model as the attacker differentiates it.
            form: of the patch.
            objective: to ascend.
            start: soft cells.
            batch_size: samples of a gradient.
            label: by what it is differentiated, as plain data.
        """
        self.label = label
        self._view, self._form, self._objective, self._batch_size = view, form, objective, batch_size
        self._region = region_of(form.threat)
        self._soft = start
        self._velocity = torch.zeros_like(start)
        self._steps = 0
        self._edges: Tensor | None = None

    def epoch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Patch:
        """See `Search.epoch`; what flickers keeps the phase that the first gradient chose."""
        for part in shuffled(len(x), self._batch_size, generator):
            gain = self._gain(x[part], y[part], generator)
            if self._steps == 0:
                self._edges = self._form.edges(gain)
            if self._edges is not None:
                gain, self._soft = gain * self._edges, self._soft * self._edges
            self._velocity = _MOMENTUM * self._velocity + gain / gain.norm().clamp(min=1e-30)
            corner = torch.where(self._velocity == 0, self._soft, self._form.best(self._velocity))
            self._soft = self._soft + max(1 / (self._steps + 2), _LEAST_RATE) * (corner - self._soft)
            self._steps += 1
        return self._form.patch(self._soft)

    def _gain(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """What an event more in each cell of the patch is worth to a batch."""
        height, width = self._soft.shape[2:]
        places = draw_locations(len(x), x.shape[3:], (height, width), generator, fixed=self._form.place)
        shifts = draw_shifts(len(x), self._form.max_shift, generator)
        windows = Windows.at(places, (height, width), self._form.path(x.shape[1]))
        edited = windows.put(x, turned(self._form.hard(self._soft), shifts, len(x)))
        if not self._region.insert:
            edited = torch.minimum(edited, x)
        if not self._region.delete:
            edited = torch.maximum(edited, x)
        gradient, _ = self._view.input_gradient(edited, y, objective=self._objective)
        gain, there = windows.take(gradient), windows.take(x)
        if not self._region.insert:
            gain = gain * (there > 0)
        if not self._region.delete:
            gain = gain * (there == 0)
        if shifts is None:
            return gain.sum(0)
        return torch.stack([one.roll(-turn, 0) for one, turn in zip(gain, shifts.tolist(), strict=True)]).sum(
            0
        )


def _in_frame(threat: EventThreat, frame: Tensor, side: int) -> EventThreat:
    """The rules of a threat that bind insertions among each other, on a frame (1, T, C, H, W) of silence."""
    cells, area = frame[0].numel(), side**2 / (frame.shape[3] * frame.shape[4])

    def fitted(member: EventThreat) -> EventThreat:
        if isinstance(member, PatchRegion):
            return dataclasses.replace(member, area=area)
        if isinstance(member, EventEdits):
            # A share of a sample's events is not known here.
            most = min(member.max_edits, cells) if isinstance(member.max_edits, int) else cells
            polarity = "free" if member.polarity == "same" else member.polarity
            return dataclasses.replace(member, max_edits=most, insert=True, delete=False, polarity=polarity)
        return member

    members = tuple(fitted(member) for member in members_of(threat))
    return AllOf(members) if len(members) > 1 else members[0]


def has_region(threat: EventThreat) -> bool:
    """Whether a threat confines edits to a region."""
    return any(isinstance(member, PatchRegion) for member in members_of(threat))


def region_of(threat: EventThreat) -> PatchRegion:
    """Returns the region that a threat confines edits to.

    Raises:
        InvalidInput: there is none.
    """
    for member in members_of(threat):
        if isinstance(member, PatchRegion):
            return member
    raise InvalidInput(
        "a patch needs a region",
        asked=repr(threat),
        remedy="use PatchRegion(area) or ObjectRegion(area), alone or joined by &",
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
