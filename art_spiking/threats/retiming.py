# SPDX-License-Identifier: MIT
"""Retiming: events change their time and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from art_spiking.errors import InvalidInput
from art_spiking.threats.base import (
    Array,
    Broken,
    Cost,
    Counts,
    ThreatModel,
    Violation,
    as_array,
    check_same_shape,
    malformed,
    violations_by_sample,
)
from art_spiking.threats.checking import check_choice, check_positive, check_whole
from art_spiking.threats.retiming_lines import best_times, matched_shifts

Unit = Literal["steps", "us"]

_BISECTIONS = 24
_NEAR = 0.98
"""A retiming that uses this much of its budget ends the search for a price."""
_SMALL = 1e-6


@dataclass(frozen=True, repr=False)
class Retiming(ThreatModel):
    """Events may move in time; pixel, polarity and number of events stay.

    The timing-only threat of spike retiming (arXiv 2602.03284), with its three budgets, which may be joined:
    the largest shift of an event, the sum of all shifts, and the number of events that move. Events of one
    pixel and polarity cannot be told apart and are matched in order, which makes both the largest and the
    total shift least. A cell takes one event; one that holds more keeps its room.

    Attributes:
        max_shift: most that an event moves, in `unit`; None for no bound of its own.
        max_total_shift: most that all events of a sample move together, in `unit`; None for no bound.
        max_moved: most events that move: an int, or as a float in (0, 1] a share of the sample's own, rounded
            down; None for no bound.
        unit: "steps", or "us" for µs, of which a shift takes dt_us a step.
        max_count: the most events that a cell may hold after a move into it.
        dt_us: width of a step in µs; needed by the unit "us" alone.

    Raises:
        InvalidInput: no budget at all, or a value that does not fit.
    """

    max_shift: float | None = None
    max_total_shift: float | None = None
    max_moved: int | float | None = None
    unit: Unit = "steps"
    max_count: int = 1
    dt_us: int | None = None

    kind: ClassVar[str] = "retiming"

    def __post_init__(self) -> None:
        """Checks the fields, and turns numpy's numbers into Python's."""
        check_choice("unit", self.unit, get_args(Unit))
        object.__setattr__(self, "max_count", check_whole("max_count", self.max_count))
        for name in ("max_shift", "max_total_shift"):
            value = getattr(self, name)
            if value is not None:
                checked = check_whole(name, value) if self.unit == "steps" else check_positive(name, value)
                object.__setattr__(self, name, checked)
        if self.dt_us is not None:
            object.__setattr__(self, "dt_us", check_whole("dt_us", self.dt_us))
        elif self.unit == "us":
            raise InvalidInput(
                "a shift in µs needs the width of a step",
                asked="unit='us'",
                remedy="pass dt_us as well, the µs of one step",
            )
        if self.max_moved is not None:
            if isinstance(self.max_moved, float | np.floating):
                object.__setattr__(self, "max_moved", check_positive("max_moved", self.max_moved, most=1.0))
            else:
                object.__setattr__(self, "max_moved", check_whole("max_moved", self.max_moved))
        if self.max_shift is None and self.max_total_shift is None and self.max_moved is None:
            raise InvalidInput(
                "a retiming without any budget allows everything",
                accepted="max_shift, max_total_shift, max_moved, or several of them",
            )
        if self.max_shift is not None and self._steps(self.max_shift) == 0:
            raise InvalidInput(
                "the largest shift is less than a step",
                asked=f"max_shift={self.max_shift:g} µs",
                found=f"steps of {self.dt_us} µs",
            )

    def largest_shift(self, steps: int) -> int:
        """Steps that an event may move in a recording of `steps` steps."""
        limit = min((b for b in (self.max_shift, self.max_total_shift) if b is not None), default=None)
        return steps if limit is None else min(steps, self._steps(limit))

    def budgets(self, own: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The most events that move, and the most steps that they move together.

        Args:
            own: the events of each sample, (N,).

        Returns:
            Both float64 (N,), infinite where nothing bounds them.
        """
        moved = np.full(len(own), np.inf)
        if isinstance(self.max_moved, float):
            moved = np.floor(self.max_moved * own.astype(np.float64) + 1e-9)
        elif self.max_moved is not None:
            moved[:] = self.max_moved
        total = np.inf if self.max_total_shift is None else self._steps(self.max_total_shift)
        return moved, np.full(len(own), float(total))

    @torch.no_grad()
    def best(self, gain: Tensor, x: Tensor) -> Tensor:
        """The allowed retiming of most value for a linear gain.

        The linear oracle of the Frank-Wolfe method: exact, by dynamic programming over each line, where only
        the largest shift is bounded. The other budgets enter as a price of moving, found by bisection, so
        that the result is the best one for its own number of moves, which may be a little less than allowed.

        Args:
            gain: like `x`, any real numbers: what an event in the cell is worth.
            x: (N, T, C, H, W) or (N, T, F), whole counts.
        """
        return self._placed(gain, x, crowding=0.0)

    @torch.no_grad()
    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The allowed batch nearest to `x_adv` in the Euclidean sense; `x_adv` itself where it is allowed.

        Exactly so where only the largest shift is bounded; see `best` for the other budgets. NaN counts as 0.

        Args:
            x_adv: (N, T, C, H, W) or (N, T, F), any real numbers.
            x: the clean batch: whole counts, the same shape.

        Raises:
            InvalidInput: the shapes differ.
        """
        check_same_shape(x_adv, x)
        wrong = sorted({violation.sample for violation in self.violations(x_adv, x)})
        result = x_adv.to(x.dtype, copy=True)
        if wrong:
            # An event more in a cell changes the squared distance by 1 - 2 (wish - events there before).
            result[wrong] = self._placed(x_adv[wrong], x[wrong], crowding=1.0)
        return result

    def cost(self, x_adv: Tensor | Array, x: Tensor | Array) -> Cost:
        """Counts the events that moved; where the number of a line's events changed, what was edited instead.

        Raises:
            InvalidInput: the shapes differ, or an entry is not finite.
        """
        edits = super().cost(x_adv, x)
        after, before = as_array(x_adv), as_array(x)
        added, removed, moved = edits.added.copy(), edits.removed.copy(), edits.moved.copy()
        for sample, (new, old) in enumerate(zip(after, before, strict=True)):
            if not any(malformed(new)) and (new.sum(0) == old.sum(0)).all():
                shifts = matched_shifts(new.astype(np.int64), old.astype(np.int64))
                added[sample] = removed[sample] = 0
                moved[sample] = np.count_nonzero(shifts)
        return Cost(added, removed, moved, edits.own)

    def violations(self, x_adv: Tensor | Array, x: Tensor | Array) -> list[Violation]:
        """Every rule that a sample of `x_adv` breaks, at most one violation per rule and sample.

        Raises:
            InvalidInput: the clean batch is not valid.
        """
        # The count rule speaks before events are listed one by one; this bound keeps its sums exact.
        return violations_by_sample(x_adv, x, self._broken, most=2.0**31)

    def _broken(self, after: Counts, before: Counts) -> Iterator[Broken]:
        """The rules that one sample breaks, from the sorted times of each line's events."""
        lines_after, lines_before = after.sum(0), before.sum(0)
        if (lines_after != lines_before).any():
            changed = int((lines_after != lines_before).sum())
            yield "count", 0, changed, f"{changed} pixels and polarities changed their number of events"
            return
        over = (after > before) & (after > self.max_count)
        if over.any():
            most = int(after[over].max())
            text = f"a move left {most} events in a cell; at most {self.max_count} may be there"
            yield "max_count", self.max_count, most, text
        shifts = np.abs(matched_shifts(after, before))
        largest, total, moved = int(shifts.max(initial=0)), int(shifts.sum()), int((shifts > 0).sum())
        most_moved, most_total = (float(b[0]) for b in self.budgets(before.sum()[None]))
        if self.max_shift is not None and largest > self._steps(self.max_shift):
            limit = self._steps(self.max_shift)
            yield "max_shift", limit, largest, f"an event moved {largest} steps; at most {limit} are allowed"
        if total > most_total:
            text = f"events moved {total} steps in all; at most {most_total:g} are allowed"
            yield "max_total_shift", most_total, total, text
        if moved > most_moved:
            yield "max_moved", most_moved, moved, f"{moved} events moved; at most {most_moved:g} may"

    def _placed(self, gain: Tensor, x: Tensor, *, crowding: float) -> Tensor:
        clean = _lines(x).astype(np.int32)
        value = np.nan_to_num(_lines(gain.to(torch.float64)), nan=0.0, posinf=1e30, neginf=-1e30)
        size = np.maximum(np.abs(value).max(axis=(1, 2), initial=0), 1.0 if crowding else 1e-30)
        budgets = np.stack(self.budgets(clean.sum((1, 2))), 1)
        bounded = np.isfinite(budgets)
        shift = self.largest_shift(x.shape[1])

        def placed(price: Array, rows: Array) -> tuple[Array, Array]:
            # Events that gain nothing by moving stay.
            paid = np.where(bounded, price[:, None], 0.0) + _SMALL * size[:, None]
            lines = clean[rows], value[rows], paid[rows]
            return best_times(*lines, max_shift=shift, max_count=self.max_count, crowding=crowding)

        # At the highest price, more than any move gains, none moves.
        low, high = np.zeros(len(clean)), 2.1 * size + 2 * crowding * (1 + clean.max(initial=0))
        result, spent = placed(low, np.arange(len(clean)))
        open_ = np.flatnonzero((spent > budgets).any(1))
        result[open_] = clean[open_]
        for _ in range(_BISECTIONS):
            if not len(open_):
                break
            price = (low + high) / 2
            tried, spent = placed(price, open_)
            fits = (spent <= budgets[open_]).all(1)
            result[open_[fits]] = tried[fits]
            high[open_[fits]], low[open_[~fits]] = price[open_[fits]], price[open_[~fits]]
            open_ = open_[~fits | (spent < _NEAR * budgets[open_]).all(1)]
        shape = (len(x), *x.shape[2:], x.shape[1])
        return torch.from_numpy(result.reshape(shape)).movedim(-1, 1).to(x)

    def _steps(self, amount: float) -> int:
        """An amount of `unit` in whole steps."""
        return int(amount if self.unit == "steps" else amount // (self.dt_us or 1))


def _lines(x: Tensor) -> NDArray[Any]:
    """(N, T, ...) as (N, lines, T), one line per pixel and polarity."""
    lines: NDArray[Any] = x.flatten(2).transpose(1, 2).contiguous().cpu().numpy()
    return lines
