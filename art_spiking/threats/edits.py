# SPDX-License-Identifier: MIT
"""EventEdits: insert and delete single events, within a budget and what a sensor can emit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from art_spiking.errors import InvalidInput
from art_spiking.threats.base import Broken, Counts, Edits, EventThreat
from art_spiking.threats.checking import check_choice, check_flags, check_whole
from art_spiking.threats.selection import keep_apart, keep_strongest, keep_within_step, window_max

Polarity = Literal["free", "on", "off", "same"]


@dataclass(frozen=True, repr=False)
class EventEdits(EventThreat):
    """Events may be inserted and deleted; those that are kept keep their time and polarity.

    The constraints of event sparsity and spike-timing integrity, as a sensor would impose them. The
    refractory rule binds inserted events alone: each must lie `refractory_us` or more from every other event
    of its pixel, of either polarity. Steps k apart are k * dt_us apart; within one step a pixel holds at most
    max(1, floor(dt_us / refractory_us)) events once one was inserted there. Recordings that break the rule
    themselves are left as they are. On a binary grid the rule sees the cells, not the events behind them.

    Attributes:
        max_edits: an int is the most insertions and deletions together per sample; a float in (0, 1] is the
            same as a share of the sample's own events, rounded down.
        insert: whether events may be inserted.
        delete: whether events may be deleted.
        max_count: the most events that a cell may hold after an insertion; kept events may be more.
        refractory_us: least time in µs between an inserted event and any other of its pixel; None for no
            rule.
        polarity: of inserted events: "free", "on" (channel 1), "off" (channel 0), or "same": one that the
            sample itself emits at that pixel.
        dt_us: width of a step in µs; needed by `refractory_us` alone.

    Raises:
        InvalidInput: a budget of 0 or less, a share above 1, nothing allowed, or another value that does not
            fit.
    """

    max_edits: int | float
    insert: bool = True
    delete: bool = True
    max_count: int = 1
    refractory_us: int | None = None
    polarity: Polarity = "free"
    dt_us: int | None = None

    kind: ClassVar[str] = "event-edits"
    restrict_order: ClassVar[int] = 2

    def __post_init__(self) -> None:
        """Checks the fields, and turns numpy's numbers into Python's."""
        object.__setattr__(self, "max_edits", _checked_budget(self.max_edits))
        object.__setattr__(self, "max_count", check_whole("max_count", self.max_count))
        check_flags(self.insert, self.delete)
        check_choice("polarity", self.polarity, get_args(Polarity))
        for name in ("refractory_us", "dt_us"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_whole(name, getattr(self, name)))
        if self.refractory_us is not None and self.dt_us is None:
            raise InvalidInput(
                "a refractory period needs the width of a step",
                asked=f"refractory_us={self.refractory_us}",
                remedy="pass dt_us as well, the µs of one step",
            )

    def budget(self, own: int, cells: int) -> int:
        """The most edits of a sample with `own` events on a grid of `cells`.

        Raises:
            InvalidInput: more edits than the grid could ever take.
        """
        if isinstance(self.max_edits, float):
            # 0.29 * 100 is 28.999... in floating point, and 29 is meant.
            return int(np.floor(self.max_edits * own + 1e-9))
        if self.max_edits > cells * self.max_count:
            raise InvalidInput(
                "the budget is larger than the input",
                asked=f"max_edits={self.max_edits}",
                found=f"{cells} cells of at most {self.max_count} events",
                remedy="lower max_edits, or give a share of the sample's events as a float in (0, 1]",
            )
        return self.max_edits

    def cell_limits(self, clean: Tensor) -> tuple[Tensor, Tensor]:
        """Room up to `max_count` where the polarity is allowed; what there is to delete."""
        added = (self.max_count - clean).clamp(min=0) * self._polarity_mask(clean)
        return added * self.insert, clean * self.delete

    def restrict(self, edits: Edits) -> Edits:
        """Drops insertions that come too close to other events, and edits over the budget.

        What is left is maximal: no single edit that was dropped could be made beside it.
        """
        budgets = self._budgets(edits.clean)
        if self.refractory_us is None:
            return _strongest(edits, budgets)
        # First as if every deletion were made; one that the budget cuts leaves no room for its insertion.
        kept = _strongest(self._apart(edits, edits.clean - edits.removed), budgets)
        kept = self._apart(kept, kept.clean - kept.removed)
        while True:
            rest = budgets - kept.units.abs().flatten(1).sum(1)
            asked = (edits.units - kept.units) * (rest > 0).view(-1, 1, 1, 1, 1)
            if not bool(asked.any()):
                return kept
            more = Edits(edits.clean, edits.strength - kept.units.abs(), asked)
            more = _strongest(self._apart(more, kept.clean + kept.units), rest)
            if not bool(more.units.any()):
                return kept
            kept = kept.with_units(kept.units + more.units)

    def _allowed(self, clean: Tensor) -> tuple[Tensor, Tensor]:
        insertable, deletable = super()._allowed(clean)
        affordable = (self._budgets(clean) > 0).view(-1, 1, 1, 1, 1)
        if self.refractory_us is not None:
            present = clean.sum(2)
            room = present < self._capacity
            if self._radius:
                reach = min(self._radius, clean.shape[1] - 1)
                room = window_max((present > 0).to(torch.int8), reach) == 0
            insertable = insertable & room.unsqueeze(2)
        return insertable & affordable, deletable & affordable

    @property
    def _capacity(self) -> int:
        """Events of one pixel that fit in one step."""
        return max(1, (self.dt_us or 0) // (self.refractory_us or 1))

    @property
    def _radius(self) -> int:
        """Steps on either side of an event that its refractory period reaches."""
        return -(-(self.refractory_us or 1) // (self.dt_us or 1)) - 1

    def _apart(self, edits: Edits, staying: Tensor) -> Edits:
        """Drops insertions that come too close to stronger ones, or to the events that stay."""
        present = staying.sum(2).flatten(2)
        strength, added = edits.strength.flatten(3), edits.added.flatten(3)
        if self._radius:
            kept = keep_apart(strength, added, present, self._radius)
        else:
            kept = keep_within_step(strength, added, present, self._capacity)
        return edits.with_units(torch.where(edits.units > 0, kept.view_as(edits.units), edits.units))

    def _budgets(self, clean: Tensor) -> Tensor:
        own = clean.flatten(1).sum(1, dtype=torch.float64).tolist()
        limits = [self.budget(int(events), clean[0].numel()) for events in own]
        return torch.tensor(limits, device=clean.device)

    def _polarity_mask(self, clean: Tensor) -> Tensor:
        self._check_channels(clean.shape[2])
        if self.polarity == "free":
            return clean.new_ones((1, 1, 1, 1, 1))
        if self.polarity == "same":
            return (clean > 0).any(1, keepdim=True).to(clean.dtype)
        mask = clean.new_tensor([self.polarity == "off", self.polarity == "on"])
        return mask.view(1, 1, 2, 1, 1)

    def _check_channels(self, channels: int) -> None:
        if self.polarity in ("on", "off") and channels != 2:
            raise InvalidInput(
                "inserted events of one polarity need two polarity channels",
                asked=f"polarity={self.polarity!r}",
                found=f"{channels} channel",
                remedy='use polarity="free"',
            )

    def broken(self, after: Counts, before: Counts) -> Iterator[Broken]:
        """Checks budget, direction, counts, polarity and refractory period of one sample."""
        self._check_channels(before.shape[1])
        change = after - before
        spent, budget = int(np.abs(change).sum()), self.budget(int(before.sum()), before.size)
        if spent > budget:
            yield "budget", budget, spent, f"{spent} events were edited; at most {budget} may be"
        added, removed = int(change[change > 0].sum()), -int(change[change < 0].sum())
        if added and not self.insert:
            yield "insert", 0, added, f"{added} events were inserted; none may be"
        if removed and not self.delete:
            yield "delete", 0, removed, f"{removed} events were deleted; none may be"
        fullest = int(after[change > 0].max(initial=0))
        if fullest > self.max_count:
            text = f"an insertion left {fullest} events in a cell; at most {self.max_count} may be there"
            yield "max_count", self.max_count, fullest, text
        wrong = self._wrong_polarity(change, before)
        if wrong:
            yield (
                "polarity",
                0,
                wrong,
                f"{wrong} inserted events have a polarity other than {self.polarity!r}",
            )
        if self.refractory_us is not None:
            yield from self._too_close(after, change)

    def _wrong_polarity(self, change: Counts, before: Counts) -> int:
        inserted = np.argwhere(change > 0)
        if self.polarity == "free":
            return 0
        if self.polarity == "same":
            silent = before.sum(0) == 0
            return int(sum(silent[c, row, column] for _, c, row, column in inserted))
        return int((inserted[:, 1] != (1 if self.polarity == "on" else 0)).sum())

    def _too_close(self, after: Counts, change: Counts) -> Iterator[Broken]:
        """Looks at the times of each pixel's events, between its inserted ones and all others."""
        period, width = self.refractory_us or 1, self.dt_us or 1
        inserted: npt.NDArray[np.bool_] = np.any(change > 0, axis=1)
        closest, crowded = period, 0
        for row, column in np.argwhere(inserted.any(0)):
            counts = after[:, :, row, column].sum(1)
            ours = np.flatnonzero(inserted[:, row, column])
            crowded = max(crowded, int(counts[ours].max()))
            times = np.flatnonzero(counts) * width
            gaps = np.abs(times[None, :] - ours[:, None] * width)
            closest = min(closest, int(gaps[gaps > 0].min(initial=period)))
        if crowded > max(1, width // period):
            text = f"a pixel with an insertion holds {crowded} events in one step of {width} µs"
            yield "refractory", max(1, width // period), crowded, text
        if closest < period:
            text = (
                f"an inserted event lies {closest} µs from another of its pixel; at least {period} µs are due"
            )
            yield "refractory", period, closest, text


def _strongest(edits: Edits, budgets: Tensor) -> Edits:
    units = edits.units.flatten(1)
    kept = keep_strongest(edits.strength.flatten(1), units.abs(), budgets)
    return edits.with_units((kept * units.sign()).view_as(edits.units))


def _checked_budget(value: int | float) -> int | float:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    share = isinstance(value, float | np.floating)
    if not ((whole and value >= 1) or (share and 0 < value <= 1)):
        raise InvalidInput(
            "a budget of edits does not fit",
            asked=f"max_edits={value!r}",
            accepted="an int of 1 or more events, or a float in (0, 1] of the sample's own events",
        )
    return int(value) if whole else float(value)
