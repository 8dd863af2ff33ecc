# SPDX-License-Identifier: MIT
"""What the templates show: rows, cases and models as plain, ready values."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from art_spiking.metrics import Share, accuracy, fooled, summarise_edits
from art_spiking.records import Flag, Record
from art_spiking.suites import Case, Suite
from art_spiking_leaderboard.claims import Claim
from art_spiking_leaderboard.manifest import Manifest
from art_spiking_leaderboard.origins import commit_counts
from art_spiking_leaderboard.ranking import Load, Row, load_of
from art_spiking_leaderboard.site.curves import areas
from art_spiking_leaderboard.site.words import case_kind, case_short, case_words, flag_title, flag_words
from art_spiking_leaderboard.transfer import Transfer


@dataclass(frozen=True)
class Board:
    """One table: the rows of a suite on a data set, and what models do to each other, if it was scored."""

    suite: Suite
    data: str
    rows: Sequence[Row]
    transfer: Transfer | None = None

    @property
    def anchor(self) -> str:
        """The table's name in addresses."""
        return f"{self.suite.name}-{self.data}".replace(".", "-")


@dataclass(frozen=True)
class FlagView:
    """A flag, the cases that carry it, and what each found: (finding, cases)."""

    title: str
    meaning: str
    where: tuple[str, ...]
    findings: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def count(self) -> int:
        """How many cases carry it."""
        return len(self.where)


@dataclass(frozen=True)
class CaseView:
    """One case of one model; without `robust` it has no number."""

    name: str
    kind: str
    short: str
    words: str
    attack: str
    status: str = "not yet evaluated"
    error: str = ""
    robust: Share | None = None
    clean: Share | None = None
    control: Share | None = None
    added: float | None = None
    removed: float | None = None
    moved: float | None = None
    edits: float = 0.0
    percent: float | None = None
    forwards: float = 0.0
    backwards: float = 0.0
    seconds: float = 0.0
    load: Load | None = None
    clean_load: Load | None = None
    flags: tuple[FlagView, ...] = ()


@dataclass(frozen=True)
class RowView:
    """One model in one table."""

    row: Row
    title: str
    authors: tuple[str, ...]
    division: str
    page: str
    tags: tuple[str, ...]
    flags: tuple[FlagView, ...]
    cases: tuple[CaseView, ...]
    areas: tuple[float | None, ...]
    search: str
    suite: Suite


@dataclass(frozen=True)
class ModelSection:
    """What a model's own page says about one suite."""

    board: Board
    row: Row
    ranked: int
    flags: tuple[FlagView, ...]
    cases: tuple[CaseView, ...]
    command: str
    provenance: tuple[tuple[str, str], ...]
    semantics: tuple[tuple[str, str], ...]
    claims: tuple[Claim, ...]
    row_view: RowView


def case_view(case: Case, record: Record | None) -> CaseView:
    """A case with the numbers of its record, if it has one."""
    view = CaseView(case.name, case_kind(case), case_short(case), case_words(case), case.attack)
    if record is None:
        return view
    flags = merge_flags([(case.name, flag) for flag in record.flags])
    if record.status != "ok":
        failure = record.failure
        text = f"{failure.type}: {failure.message}" if failure else "; ".join(f.text for f in record.flags)
        return replace(view, status=record.status, error=text, flags=flags)
    cost = record.cost
    columns = (cost.added, cost.removed, cost.moved, cost.own)
    # Where the attack failed it spent nothing or everything, so its successes are what its size is judged by.
    won = fooled(record.labels, record.clean, record.adversarial)
    summary = summarise_edits(*columns, over=won if won.any() else None)
    return replace(
        view,
        status="ok",
        robust=accuracy(record.labels, record.adversarial),
        clean=accuracy(record.labels, record.clean),
        control=accuracy(record.labels, record.control) if record.control else None,
        added=summary.added if summary else None,
        removed=summary.removed if summary else None,
        moved=summary.moved if summary else None,
        edits=summary.added + summary.removed if summary else 0.0,
        percent=summary.percent if summary else None,
        forwards=record.forwards,
        backwards=record.backwards,
        seconds=record.wall_seconds,
        load=None if record.activity is None else load_of([record.activity]),
        clean_load=None if record.clean_activity is None else load_of([record.clean_activity]),
        flags=flags,
    )


def row_view(row: Row, suite: Suite, manifest: Manifest, page: str) -> RowView:
    """A line of a table on the front page."""
    tags = (
        *(("code, in a sandbox",) if manifest.division == "code" else ()),
        *((f"{len(row.claims)} claim{'' if len(row.claims) == 1 else 's'}",) if row.claims else ()),
        *(defence.name for defence in manifest.defences),
    )
    searched = [manifest.name, manifest.title, *manifest.authors, manifest.framework, manifest.readout, *tags]
    return RowView(
        row=row,
        title=manifest.title,
        authors=manifest.authors,
        division=manifest.division,
        page=page,
        tags=tags,
        flags=merge_flags(row.flags),
        cases=tuple(case_view(case, row.records.get(case.name)) for case in suite.cases),
        areas=tuple(areas(row, suite).values()),
        search=" ".join(searched).lower(),
        suite=suite,
    )


def model_section(board: Board, row: Row, manifest: Manifest, page: str) -> ModelSection:
    """One suite on a model's own page."""
    return ModelSection(
        board=board,
        row=row,
        ranked=sum(other.rank is not None for other in board.rows),
        flags=merge_flags(row.flags),
        cases=tuple(case_view(case, row.records.get(case.name)) for case in board.suite.cases),
        command=reproduce_command(row.name, board.suite.name),
        provenance=_provenance(row.records),
        semantics=_semantics(row.records),
        claims=row.claims,
        row_view=row_view(row, board.suite, manifest, page),
    )


def reproduce_command(name: str, suite: str) -> str:
    """The shell line that computes a model's numbers anew."""
    words = ["art-spiking", "leaderboard", "run", "leaderboard/submissions", "--only", name]
    return shlex.join([*words, "--suite", suite, "--out", "fresh-records"])


def merge_flags(flags: Sequence[tuple[str, Flag]]) -> tuple[FlagView, ...]:
    """One entry per code, in order of appearance."""
    found: dict[str, dict[str, list[str]]] = {}
    for case, flag in flags:
        found.setdefault(flag.code, {}).setdefault(flag.text, []).append(case)
    return tuple(
        FlagView(
            title=flag_title(code),
            meaning=flag_words(code, next(iter(texts))),
            where=tuple(dict.fromkeys(case for cases in texts.values() for case in cases)),
            findings=tuple((text, tuple(cases)) for text, cases in texts.items()),
        )
        for code, texts in found.items()
    )


def model_facts(manifest: Manifest, model_digest: str) -> tuple[tuple[str, str], ...]:
    """Label and value of what the manifest states."""
    semantics = manifest.semantics
    if isinstance(semantics, dict):
        semantics = ", ".join(f"{key} {value}" for key, value in semantics.items())
    defences = [
        f"{d.name} ({', '.join(f'{key} {value}' for key, value in d.parameters.items())})"
        if d.parameters
        else d.name
        for d in manifest.defences
    ]
    data = manifest.data
    axes = ("time steps", "polarities", "rows", "columns")
    sizes = zip(manifest.input_shape, axes, strict=False)
    return (
        ("Name", manifest.name),
        ("Framework", manifest.framework),
        ("Division", "code, run in a sandbox" if manifest.division == "code" else "data"),
        *([("Neuron semantics", semantics)] if semantics else []),
        ("Readout", manifest.readout),
        ("Defences", "; ".join(defences) or "none"),
        (
            "Data",
            f"{data.name}, {data.steps} steps of {data.dt_us} µs, {'binary' if data.binary else 'counts'}",
        ),
        ("Input", ", ".join(f"{size} {axis}" for size, axis in sizes)),
        ("Classes", str(manifest.nb_classes)),
        ("Size", f"{sum(entry.size for entry in manifest.files.entries().values()) / 1000:.0f} kB"),
        ("Model digest", model_digest),
        *((f"SHA-256 of {name}", entry.sha256) for name, entry in manifest.files.entries().items()),
    )


def _semantics(records: Mapping[str, Record]) -> tuple[tuple[str, str], ...]:
    """What the records state of the model's discrete dynamics; the same in all of them."""
    stated = next(iter(records.values())).model.semantics if records else {}
    return tuple((key, _text(value)) for key, value in stated.items())


def _text(value: object) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _provenance(records: Mapping[str, Record]) -> tuple[tuple[str, str], ...]:
    """What the records of a row were made with; a value that differs between them is listed once each."""
    facts: dict[str, list[str]] = {}

    def add(label: str, value: object) -> None:
        text = str(value)
        if text and text not in facts.setdefault(label, []):
            facts[label].append(text)

    for record in records.values():
        made = record.provenance
        add("Evaluated", made.started)
        add("Device", f"{made.device}, {made.threads} thread{'' if made.threads == 1 else 's'}")
        add("Seed", record.case.seed)
        add("Packages", ", ".join(f"{name} {version}" for name, version in made.packages.items()))
        add("Providers", ", ".join(sorted(set(made.providers.values()))))
        add("Test data", f"{record.test.samples} samples, {record.test.digest}")
        add("Craft data", f"{record.craft.samples} samples, {record.craft.digest}")
        add("Suite digest", record.suite.digest)
    started = facts.get("Evaluated", [])
    if len(started) > 1:
        facts["Evaluated"] = [f"{min(started)} to {max(started)}"]
    commits = commit_counts(records.values())
    if len(commits) == 1:
        facts["Code commit"] = [commits[0][0]]
    elif commits:
        facts["Code commits"] = [
            f"{commit} ({count} case{'' if count == 1 else 's'})" for commit, count in commits
        ]
    return tuple((label, "; ".join(values)) for label, values in facts.items() if values)
