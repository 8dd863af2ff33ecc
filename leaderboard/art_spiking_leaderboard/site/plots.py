# SPDX-License-Identifier: MIT
"""Plots as coordinates for SVG: curves over budgets, and clean accuracy against the worst case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from art_spiking.metrics import Share
from art_spiking_leaderboard.site.curves import Curve, Family, curve_of, families
from art_spiking_leaderboard.site.views import RowView

MOST_CURVES = 6
WIDTH, HEIGHT = 460.0, 300.0


@dataclass(frozen=True)
class Line:
    """One model's curve, with its points in the plot's own pixels."""

    title: str
    page: str
    curve: Curve
    points: tuple[tuple[float, float], ...]
    band: tuple[tuple[float, float], ...]
    control: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class CurvePlot:
    """The curves of the best models of a table; `left_out` says how many more there are."""

    family: Family
    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, str], ...]
    left_out: int


@dataclass(frozen=True)
class Dot:
    """One model in the plot of clean accuracy and worst case."""

    x: float
    y: float
    title: str
    page: str
    clean: Share
    robust: Share
    front: bool
    label: str = ""
    end: bool = False


@dataclass(frozen=True)
class ParetoPlot:
    """All ranked models; the front holds those that no other beats in both numbers."""

    dots: tuple[Dot, ...]
    front: tuple[tuple[float, float], ...]


def curve_plots(rows: Sequence[RowView], suite_families: Sequence[Family]) -> list[CurvePlot]:
    """One plot per family; of models with a curve the first few, in the order of their ranks."""
    plots = []
    for family in suite_families:
        curves = [(row, curve_of(row.row, family)) for row in rows]
        known = [(row, curve) for row, curve in curves if curve is not None]
        lines = tuple(_line(row, curve) for row, curve in known[:MOST_CURVES])
        if lines:
            plots.append(CurvePlot(family, lines, _ticks(family), len(known) - len(lines)))
    return plots


def board_plots(rows: Sequence[RowView]) -> list[CurvePlot]:
    """The plots of a table; all its rows are of one suite."""
    return curve_plots(rows, families(rows[0].suite)) if rows else []


def pareto_plot(rows: Sequence[RowView]) -> ParetoPlot | None:
    """Clean accuracy to the right, worst case upwards; None with fewer than two ranked models."""
    known = [(row, row.row.clean, row.row.robust) for row in rows]
    pairs = [(row, clean, robust) for row, clean, robust in known if clean and robust]
    if len(pairs) < 2:
        return None
    places = Counter((clean.value, robust.value) for _, clean, robust in pairs)
    front = _front(list(places))
    dots = []
    lowest: float | None = None
    named: set[tuple[float, float]] = set()
    for row, clean, robust in sorted(pairs, key=lambda pair: (pair[2].value, -pair[1].value)):
        place = (clean.value, robust.value)
        x, y = WIDTH * place[0], HEIGHT * (1 - place[1])
        # A label that would lie on the one below it is left out; the mark's title still has the name.
        room = place not in named and (lowest is None or lowest - y > 17)
        others = f" and {places[place] - 1} more" if places[place] > 1 else ""
        label = short(row.title, 26 - len(others)) + others if place in front and room else ""
        lowest = y if label else lowest
        named.add(place)
        dots.append(Dot(x, y, row.title, row.page, clean, robust, place in front, label, end=x > WIDTH / 2))
    steps = sorted(((dot.x, dot.y) for dot in dots if dot.front), key=lambda point: -point[0])
    return ParetoPlot(tuple(dots), _stairs(steps))


def _front(places: Sequence[tuple[float, float]]) -> set[tuple[float, float]]:
    """Those that no other beats in one number without losing in the other."""
    best, front = -1.0, set()
    for clean, robust in sorted(places, reverse=True):
        if robust > best:
            best = robust
            front.add((clean, robust))
    return front


def _stairs(front: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """From the right end of the front to its upper end, along both axes."""
    corners = [(front[0][0], HEIGHT)]
    for x, y in front:
        corners += [(x, corners[-1][1]), (x, y)]
    return (*corners, (0.0, front[-1][1]))


def _line(row: RowView, curve: Curve) -> Line:
    def at(values: Sequence[float]) -> tuple[tuple[float, float], ...]:
        end = curve.budgets[-1]
        return tuple((WIDTH * b / end, HEIGHT * (1 - v)) for b, v in zip(curve.budgets, values, strict=False))

    high = at([share.high for share in curve.points])
    low = at([share.low for share in curve.points])
    values = at([share.value for share in curve.points])
    return Line(row.title, row.page, curve, values, (*high, *low[::-1]), at([s.value for s in curve.control]))


def _ticks(family: Family) -> tuple[tuple[float, str], ...]:
    """The budgets of the cases; one too near to the next larger gets no label."""
    end = family.budgets[-1]
    ticks: list[tuple[float, str]] = []
    for budget in reversed((0.0, *family.budgets)):
        x = WIDTH * budget / end
        near = ticks and min(tick for tick, label in ticks if label) - x < 30 and budget > 0
        ticks.append((x, "" if near else f"{budget:g}"))
    return tuple(reversed(ticks))


def short(title: str, most: int) -> str:
    """A title of at most so many characters."""
    return title if len(title) <= most else f"{title[: most - 1]}\u2026"
