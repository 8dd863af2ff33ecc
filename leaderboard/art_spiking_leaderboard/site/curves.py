# SPDX-License-Identifier: MIT
"""Accuracy against the attacker's budget: the cases of a suite that differ by nothing but their budget."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from art_spiking.metrics import Share, accuracy, share_of, worst_case
from art_spiking.records import Record
from art_spiking.suites import Case, Suite
from art_spiking_leaderboard.ranking import Row
from art_spiking_leaderboard.site.words import case_kind

# Parameter of a threat model -> what it counts.
_BUDGETS = {
    "max_edits": "events edited",
    "max_moved": "events moved",
    "max_shift": "largest shift",
    "area": "patch",
}


@dataclass(frozen=True)
class Family:
    """Cases of one attack that differ by one budget alone, smallest first.

    Attributes:
        kind: one word for the attack.
        parameter: of the threat model, that differs.
        axis: what the budget counts, with its unit.
        cases: the cases.
        budgets: of each case, in the axis' unit.
    """

    kind: str
    parameter: str
    axis: str
    cases: tuple[Case, ...]
    budgets: tuple[float, ...]


@dataclass(frozen=True)
class Curve:
    """A model's accuracy by budget.

    A point counts the samples that are right without an attack and under every case of the family up to its
    budget, since whoever may make more edits may also make fewer: so the curve never rises.

    Attributes:
        budgets: the first is 0, without an attack.
        points: one per budget.
        control: the same of the random controls; empty where a case has none.
        area: under the curve up to the largest budget, as a share of the whole: the mean over budgets.
    """

    budgets: tuple[float, ...]
    points: tuple[Share, ...]
    control: tuple[Share, ...]
    area: float


def families(suite: Suite) -> list[Family]:
    """The families of a suite with at least two budgets, in the order of its cases."""
    found: dict[str, list[tuple[float, Case]]] = {}
    for case in suite.cases:
        for name in _BUDGETS:
            value = case.threat.get(name)
            if not isinstance(value, int | float) or isinstance(value, bool):
                continue
            rest = {key: item for key, item in case.threat.items() if key != name}
            axis, factor = _axis(name, value, str(case.threat.get("unit", "steps")))
            key = json.dumps([name, axis, case.attack, case.target, case.seed, rest, case.parameters])
            found.setdefault(key, []).append((round(value * factor, 9), case))
    return [_family(key, members) for key, members in found.items() if len({b for b, _ in members}) > 1]


def edit_families(suite: Suite) -> list[Family]:
    """Those of them whose budget is a number of edits."""
    return [family for family in families(suite) if family.parameter == "max_edits"]


def curve_of(row: Row, family: Family) -> Curve | None:
    """A model's curve; None where one of the cases has no number."""
    records = [row.records.get(case.name) for case in family.cases]
    done = [record for record in records if record is not None and record.status == "ok"]
    if len(done) < len(records):
        return None
    first = done[0]
    clean = accuracy(first.labels, first.clean)
    points = (clean, *_cumulative(done, [_attacked(row, record) for record in done]))
    control: tuple[Share, ...] = ()
    if all(record.control for record in done):
        control = (clean, *_cumulative(done, [[record.control] for record in done]))
    budgets = (0.0, *family.budgets)
    return Curve(budgets, points, control, _area(budgets, [share.value for share in points]))


def _axis(name: str, value: float, unit: str) -> tuple[str, float]:
    """What an axis is called, with its unit, and what a budget is multiplied with to be in it."""
    what = _BUDGETS[name]
    if name == "area":
        return f"{what}, % of the sensor", 100.0
    if name == "max_shift":
        return (f"{what}, ms", 0.001) if unit == "us" else (f"{what}, {unit}", 1.0)
    # A float is a share of the sample's own events.
    return (f"{what}, % of the sample's own", 100.0) if isinstance(value, float) else (what, 1.0)


def _family(key: str, members: Sequence[tuple[float, Case]]) -> Family:
    parameter, axis, *_ = json.loads(key)
    ordered = sorted(members, key=lambda member: member[0])
    cases = tuple(case for _, case in ordered)
    return Family(case_kind(cases[0]), parameter, axis, cases, tuple(budget for budget, _ in ordered))


def _attacked(row: Row, record: Record) -> list[Sequence[int]]:
    """The predictions under a case, and under the accepted claims on it."""
    key = record.key() if row.claims else ""
    return [record.adversarial, *(claim.lowered(record) for claim in row.claims if claim.result == key)]


def _cumulative(records: Sequence[Record], attacked: Sequence[Sequence[Sequence[int]]]) -> list[Share]:
    first = records[0]
    seen: list[Sequence[int]] = []
    shares = []
    for predictions in attacked:
        seen += predictions
        shares.append(share_of(worst_case(first.labels, first.clean, seen)))
    return shares


def _area(budgets: Sequence[float], values: Sequence[float]) -> float:
    """By trapezoids, as a share of the whole."""
    corners = zip(pairwise(budgets), pairwise(values), strict=True)
    return sum((right - left) * (a + b) / 2 for (left, right), (a, b) in corners) / budgets[-1]


def areas(row: Row, suite: Suite) -> Mapping[str, float | None]:
    """The area under each accuracy-versus-edits curve of a suite, by the name of its first case."""
    found = {}
    for family in edit_families(suite):
        curve = curve_of(row, family)
        found[family.cases[0].name] = None if curve is None else curve.area
    return found
