# SPDX-License-Identifier: MIT
"""The plot of accuracy, robustness and synaptic operations, as coordinates for SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from art_spiking_leaderboard.ranking import Row
from art_spiking_leaderboard.site.plots import HEIGHT, MOST_CURVES, WIDTH, short
from art_spiking_leaderboard.site.views import RowView
from art_spiking_leaderboard.site.words import amount

MOST_JOINED = 12
"""Models drawn with both their marks and a name; of the others only the worst case is marked."""

_MANTISSAS = ((1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0), (1.0, 2.0, 5.0), (1.0,))
"""Ticks that a logarithmic axis may have in each decade, the densest first."""
_MOST_TICKS = 7
_LEAST_SPAN = 0.23  # decades, in which the densest has two ticks at least
_CHARACTER, _LINE = 9.2, 19.0  # of a name, in the plot's pixels, about

Point = tuple[float, float]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class LoadMark:
    """One model: a mark without an attack and one for the worst case, in the plot's own pixels.

    `front` says that no other model is as good in all three numbers and better in one; `joined`, that both
    marks and, where there is room, a name are drawn.
    """

    title: str
    page: str
    row: Row
    clean: Point
    worst: Point
    front: bool
    joined: bool
    label: str = ""
    label_at: Point = (0.0, 0.0)
    label_end: bool = False

    @property
    def words(self) -> str:
        """All of it as a sentence."""
        row = self.row
        if not (row.clean and row.robust and row.load and row.worst_load):
            return self.title
        return (
            f"{self.title}: clean {100 * row.clean.value:.1f} at {amount(row.load.operations)} operations, "
            f"worst case {100 * row.robust.value:.1f} at {amount(row.worst_load.operations)}"
        )


@dataclass(frozen=True)
class LoadPlot:
    """The ranked models whose operations were counted; `left_out` says how many there are beside them.

    `keyed` says that each has a colour and a shape, those of the curves, in the place of a name.
    """

    marks: tuple[LoadMark, ...]
    ticks: tuple[tuple[float, str], ...]
    left_out: int
    keyed: bool


def load_plot(rows: Sequence[RowView]) -> LoadPlot | None:
    """Synaptic operations per sample to the right, accuracies upwards; None where nothing was counted.

    The front is by clean accuracy, worst case and operations without an attack.
    """
    known = [view for view in rows if view.row.load and view.row.worst_load and view.row.robust]
    if not known:
        return None
    front = front_of(known)
    joined = [view.row.name for view in known if view.row.name in front][:MOST_JOINED]
    if len(known) <= MOST_JOINED:
        joined = [view.row.name for view in known]
    values = [load.operations for view in known for load in (view.row.load, view.row.worst_load) if load]
    ends, ticks = _axis(values)
    marks = [_mark(view, ends, view.row.name in front, view.row.name in joined) for view in known]
    if len(marks) <= MOST_CURVES:
        return LoadPlot(tuple(marks), ticks, len(rows) - len(known), keyed=True)
    marks.sort(key=lambda mark: (mark.joined, mark.front))  # what matters is drawn last
    return LoadPlot(tuple(_named(marks)), ticks, len(rows) - len(known), keyed=False)


def front_of(rows: Sequence[RowView]) -> set[str]:
    """The names of the models that no other beats: none is as good in all three numbers and better in one."""
    numbers = {view.row.name: _numbers(view.row) for view in rows}
    return {
        name
        for name, own in numbers.items()
        if not any(
            other != own and all(a >= b for a, b in zip(other, own, strict=True))
            for other in numbers.values()
        )
    }


def _numbers(row: Row) -> tuple[float, float, float]:
    """Of each, more is better."""
    return (
        row.clean.value if row.clean else 0.0,
        row.robust.value if row.robust else 0.0,
        -row.load.operations if row.load else -math.inf,
    )


def _axis(values: Sequence[float]) -> tuple[Point, tuple[tuple[float, str], ...]]:
    """The logarithms of a logarithmic axis' ends, a little beyond the values, and its ticks in pixels."""
    low, high = (math.log10(max(end, 1.0)) for end in (min(values), max(values)))
    beyond = max(0.06 * (high - low), (_LEAST_SPAN - (high - low)) / 2)
    first, last = low - beyond, high + beyond
    decades = range(math.floor(first), math.ceil(last) + 1)
    for mantissas in _MANTISSAS:
        marks = [decade + math.log10(mantissa) for decade in decades for mantissa in mantissas]
        inside = [mark for mark in marks if first <= mark <= last]
        if len(inside) <= _MOST_TICKS:
            break
    return (first, last), tuple((_x(10**mark, (first, last)), amount(10**mark)) for mark in inside)


def _x(operations: float, ends: Point) -> float:
    return WIDTH * (math.log10(max(operations, 1.0)) - ends[0]) / (ends[1] - ends[0])


def _mark(view: RowView, ends: Point, front: bool, joined: bool) -> LoadMark:
    row = view.row
    clean = (_x(row.load.operations if row.load else 1.0, ends), HEIGHT * (1 - _numbers(row)[0]))
    worst = (_x(row.worst_load.operations if row.worst_load else 1.0, ends), HEIGHT * (1 - _numbers(row)[1]))
    return LoadMark(view.title, view.page, row, clean, worst, front, joined)


def _named(marks: Sequence[LoadMark]) -> Iterator[LoadMark]:
    """The marks with a name where one fits: beside the worst case, over no mark and no other name."""
    taken: list[Box] = [
        (x - 7, y - 7, x + 7, y + 7) for mark in marks if mark.joined for x, y in (mark.clean, mark.worst)
    ]
    for mark in marks:
        place = _room(mark, taken) if mark.joined else None
        if place is None:
            yield mark
            continue
        text, box, end = place
        taken.append(box)
        yield LoadMark(
            mark.title,
            mark.page,
            mark.row,
            mark.clean,
            mark.worst,
            mark.front,
            mark.joined,
            text,
            (box[2] if end else box[0], box[3] - 4),
            end,
        )


def _room(mark: LoadMark, taken: Sequence[Box]) -> tuple[str, Box, bool] | None:
    text = short(mark.title, 22)
    wide = _CHARACTER * len(text)
    for x, y in (mark.worst, mark.clean):
        for end in (False, True):
            for shift in (0.0, _LINE, -_LINE):
                left = x - 9 - wide if end else x + 9
                box = (left, y + shift - _LINE / 2, left + wide, y + shift + _LINE / 2)
                inside = box[0] >= 0 and box[2] <= WIDTH and box[1] >= -8 and box[3] <= HEIGHT
                if inside and not any(_meet(box, other) for other in taken):
                    return text, box, end
    return None


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
