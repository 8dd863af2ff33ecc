# SPDX-License-Identifier: MIT
"""PixelRate, PatchRegion and AllOf: rules on where and how often, joined with others by `&`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from art_spiking.errors import InvalidInput
from art_spiking.threats.base import Broken, Counts, Edits, EventThreat
from art_spiking.threats.checking import check_flags, check_positive, check_whole
from art_spiking.threats.selection import keep_strongest


@dataclass(frozen=True, repr=False)
class PixelRate(EventThreat):
    """A ceiling on the rate at which a pixel gains events, over the whole recording and both polarities.

    A pixel gains at most floor(max_rate_hz * T * dt_us / 1e6) events. Deletions and a pixel's own events are
    not limited; join it with `EventEdits` for that.

    Attributes:
        max_rate_hz: most added events per pixel and second.
        dt_us: width of a step in µs.
    """

    max_rate_hz: float
    dt_us: int

    kind: ClassVar[str] = "pixel-rate"

    def __post_init__(self) -> None:
        """Checks the fields."""
        object.__setattr__(self, "max_rate_hz", check_positive("max_rate_hz", self.max_rate_hz))
        object.__setattr__(self, "dt_us", check_whole("dt_us", self.dt_us))

    def most_added(self, steps: int) -> int:
        """Events that a pixel may gain in a recording of `steps` steps."""
        return math.floor(self.max_rate_hz * steps * self.dt_us / 1e6 + 1e-9)

    def cell_limits(self, clean: Tensor) -> tuple[Tensor, Tensor]:
        """No cell gains more than its pixel may."""
        return torch.full_like(clean, self.most_added(clean.shape[1])), clean

    def restrict(self, edits: Edits) -> Edits:
        """Keeps each pixel's strongest insertions."""
        samples, steps, channels, height, width = edits.units.shape
        rows = (samples * height * width, steps * channels)
        strength = edits.strength.permute(0, 3, 4, 1, 2).reshape(rows)
        added = edits.added.permute(0, 3, 4, 1, 2).reshape(rows)
        limit = torch.full((rows[0],), self.most_added(steps), device=added.device)
        kept = keep_strongest(strength, added, limit).view(samples, height, width, steps, channels)
        return edits.with_units(torch.where(edits.units > 0, kept.permute(0, 3, 4, 1, 2), edits.units))

    def broken(self, after: Counts, before: Counts) -> Iterator[Broken]:
        """Sums each pixel's added events."""
        gained = int(np.maximum(after - before, 0).sum(axis=(0, 1)).max())
        limit = self.most_added(len(before))
        if gained > limit:
            text = f"a pixel gained {gained} events; at {self.max_rate_hz:g} Hz at most {limit} may be added"
            yield "pixel_rate", limit, gained, text


@dataclass(frozen=True, repr=False)
class PatchRegion(EventThreat):
    """Changes lie inside one square window per sample, at any place, the same at all steps.

    Attributes:
        area: the window's share of the sensor in (0, 1]; its side is floor(sqrt(area * H * W)) pixels.
        max_count: the most events that a cell may hold after an insertion; kept events may be more.
        insert: whether events may be inserted.
        delete: whether events may be deleted.
    """

    area: float
    max_count: int = 1
    insert: bool = True
    delete: bool = True

    kind: ClassVar[str] = "patch-region"
    restrict_order: ClassVar[int] = 0

    def __post_init__(self) -> None:
        """Checks the fields."""
        object.__setattr__(self, "area", check_positive("area", self.area, most=1.0))
        object.__setattr__(self, "max_count", check_whole("max_count", self.max_count))
        check_flags(self.insert, self.delete)

    def side(self, height: int, width: int) -> int:
        """The window's side in pixels on a sensor of this size.

        Raises:
            InvalidInput: the area is less than a pixel, or its square is larger than the sensor's shorter
                side.
        """
        side = math.floor(math.sqrt(self.area * height * width) + 1e-9)
        if not 1 <= side <= min(height, width):
            raise InvalidInput(
                "a patch of this area does not fit the sensor",
                asked=f"area={self.area:g}",
                found=f"a sensor of {height} x {width} pixels and a side of {side}",
                accepted=f"a side of 1 to {min(height, width)} pixels",
            )
        return side

    def cell_limits(self, clean: Tensor) -> tuple[Tensor, Tensor]:
        """Room up to `max_count`; what there is to delete."""
        return (self.max_count - clean).clamp(min=0) * self.insert, clean * self.delete

    def restrict(self, edits: Edits) -> Edits:
        """Keeps the edits inside the window where they are strongest in sum; the first of equals, by row."""
        height, width = edits.units.shape[3:]
        side = self.side(height, width)
        # In float64 the sums are exact for whole strengths, so that a window that holds all edits wins.
        weight = (edits.strength * (edits.units != 0)).sum((1, 2), dtype=torch.float64)
        total = torch.nn.functional.pad(weight.cumsum(1).cumsum(2), (1, 0, 1, 0))
        sums = (
            total[:, side:, side:]
            - total[:, :-side, side:]
            - total[:, side:, :-side]
            + total[:, :-side, :-side]
        )
        best = sums.flatten(1).argmax(1)
        top, left = (best // sums.shape[2])[:, None, None], (best % sums.shape[2])[:, None, None]
        row = torch.arange(height, device=top.device)[None, :, None]
        column = torch.arange(width, device=top.device)[None, None, :]
        inside = (row >= top) & (row < top + side) & (column >= left) & (column < left + side)
        return edits.with_units(edits.units * inside[:, None, None])

    def broken(self, after: Counts, before: Counts) -> Iterator[Broken]:
        """Measures the box around all changes, and checks direction and counts."""
        side = self.side(*before.shape[2:])
        change = after - before
        rows, columns = np.nonzero((change != 0).any(axis=(0, 1)))
        if rows.size:
            extent = 1 + int(max(rows.max() - rows.min(), columns.max() - columns.min()))
            if extent > side:
                yield "region", side, extent, f"changes span {extent} pixels; the window has {side}"
        added, removed = int((change > 0).sum()), int((change < 0).sum())
        if added and not self.insert:
            yield "insert", 0, added, f"{added} cells gained events; none may"
        if removed and not self.delete:
            yield "delete", 0, removed, f"{removed} cells lost events; none may"
        over = (change > 0) & (after > self.max_count)
        if over.any():
            most = int(after[over].max())
            text = f"an insertion left {most} events in a cell; at most {self.max_count} may be there"
            yield "max_count", self.max_count, most, text


@dataclass(frozen=True, repr=False)
class AllOf(EventThreat):
    """All of several threat models of events at once; `a & b` makes one.

    Every member's projection only drops edits, and an unedited sample satisfies each: applied in turn until
    none drops any more, they end where all are satisfied.

    Attributes:
        members: two or more threat models of events; a conjunction among them is taken apart.
    """

    members: tuple[EventThreat, ...]

    kind: ClassVar[str] = "all-of"

    def __post_init__(self) -> None:
        """Checks and flattens the members."""
        flat: list[EventThreat] = []
        for member in self.members:
            if not isinstance(member, EventThreat):
                raise InvalidInput(
                    "only threat models of whole events can be joined",
                    found=repr(member),
                    accepted="EventThreat",
                )
            flat += member.members if isinstance(member, AllOf) else [member]
        if len(flat) < 2:
            raise InvalidInput("a conjunction joins two or more threat models", found=len(flat))
        object.__setattr__(self, "members", tuple(flat))

    def cell_limits(self, clean: Tensor) -> tuple[Tensor, Tensor]:
        """The least that any member allows."""
        limits = [member.cell_limits(clean) for member in self.members]
        added, removed = zip(*limits, strict=True)
        return (
            torch.stack([limit.expand_as(clean) for limit in added]).amin(0),
            torch.stack([limit.expand_as(clean) for limit in removed]).amin(0),
        )

    def restrict(self, edits: Edits) -> Edits:
        """Applies the members until none drops any more."""
        while True:
            before = edits.units
            for member in sorted(self.members, key=lambda m: m.restrict_order):
                edits = member.restrict(edits)
            if torch.equal(before, edits.units):
                return edits

    def _allowed(self, clean: Tensor) -> tuple[Tensor, Tensor]:
        insertable, deletable = zip(*(member._allowed(clean) for member in self.members), strict=True)
        return torch.stack(insertable).all(0), torch.stack(deletable).all(0)

    def broken(self, after: Counts, before: Counts) -> Iterator[Broken]:
        """What any member finds."""
        for member in self.members:
            yield from member.broken(after, before)

    def to_dict(self) -> dict[str, Any]:
        """The kind and the members' own forms."""
        return {"kind": self.kind, "members": [member.to_dict() for member in self.members]}

    def __repr__(self) -> str:
        """The members, joined by `&`."""
        return " & ".join(map(repr, self.members))
