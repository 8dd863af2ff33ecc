# SPDX-License-Identifier: MIT
"""What the pages of the attacks show: its cases, their parameters and the models under it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from art_spiking.suites import Case
from art_spiking_leaderboard.site.views import Board, CaseView, RowView, case_view
from art_spiking_leaderboard.site.words import case_kind


@dataclass(frozen=True)
class CaseForm:
    """A case of an attack, with all that the suite states of it."""

    view: CaseView
    threat_kinds: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class AttackUse:
    """An attack in one suite on one data set, and what the models come to under it."""

    board: Board
    cases: tuple[CaseForm, ...]
    rows: tuple[tuple[RowView, tuple[CaseView, ...]], ...]


@dataclass(frozen=True)
class AttackView:
    """An attack's page."""

    name: str
    kind: str
    summary: str
    uses: tuple[AttackUse, ...]


def attack_views(
    tables: Sequence[tuple[Board, Sequence[RowView]]], summaries: Mapping[str, str]
) -> list[AttackView]:
    """One per attack of any suite, by name; `summaries` says what each is, where that is known."""
    uses: dict[str, list[AttackUse]] = {}
    kinds: dict[str, str] = {}
    for board, rows in tables:
        by_attack: dict[str, list[int]] = {}
        for place, case in enumerate(board.suite.cases):
            by_attack.setdefault(case.attack, []).append(place)
            kinds[case.attack] = case_kind(case)
        for attack, places in by_attack.items():
            cases = tuple(case_form(board.suite.cases[place]) for place in places)
            lines = tuple((row, tuple(row.cases[place] for place in places)) for row in rows)
            uses.setdefault(attack, []).append(AttackUse(board, cases, lines))
    return [
        AttackView(name, kinds[name], summaries.get(name, ""), tuple(uses[name])) for name in sorted(uses)
    ]


def case_form(case: Case) -> CaseForm:
    """A case in full."""
    facts = [("threat", _json(case.threat)), *((key, _json(value)) for key, value in case.parameters.items())]
    facts.append(("seed", str(case.seed)))
    if case.target is not None:
        facts.append(("target", str(case.target)))
    if case.minutes is not None:
        facts.append(("minutes", f"{case.minutes:g}"))
    if case.control is not None:
        facts.append(("control", f"{case.control.attack} {_json(case.control.parameters)}".strip()))
    return CaseForm(case_view(case, None), tuple(threat_kinds(case.threat)), tuple(facts))


def threat_kinds(threat: Mapping[str, object]) -> list[str]:
    """The kinds of a threat model and of its members."""
    members = threat.get("members")
    inner = members if isinstance(members, list) else []
    return [str(threat.get("kind")), *(kind for member in inner for kind in threat_kinds(member))]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if value not in ({}, []) else ""
