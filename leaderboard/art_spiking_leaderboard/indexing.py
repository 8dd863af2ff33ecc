# SPDX-License-Identifier: MIT
"""`leaderboard index` and `leaderboard query`: build the index, and ask what needs a maintainer's hand."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import sqlalchemy as sa

from art_spiking.errors import ArtSpikingError, InvalidInput
from art_spiking.registry import unknown_name
from art_spiking.suites import Suite, load_suite
from art_spiking_leaderboard.cells import CellStore
from art_spiking_leaderboard.check import Names, check_submission, find_submissions
from art_spiking_leaderboard.current import standings
from art_spiking_leaderboard.engine import Outcome
from art_spiking_leaderboard.index import Index, cells, default_url, wanted

STATES = ("missing", "failed", "refused", "broken", "flagged", "ok")


@dataclass(frozen=True)
class Question:
    """What `leaderboard query` was asked.

    Attributes:
        state: missing, failed, refused, broken, flagged or ok; None for all cells that there are.
        model, suite, flag: only those; None for all.
        slowest: the so many that took longest; None for all, by name.
    """

    state: str | None = None
    model: str | None = None
    suite: str | None = None
    flag: str | None = None
    slowest: int | None = None


def build_index(
    records: Path, url: str | None, submissions: Path, suites: tuple[str, ...], names: Names | None = None
) -> int:
    """Builds the index of a folder of records, and says how many rows it has.

    Raises:
        InvalidInput: no such folder, or no such database.
        UnknownName: no such suite.
    """
    store = CellStore(records)
    if not records.is_dir():
        raise InvalidInput("no such folder", asked=records, accepted="a folder of records")
    standing = []
    if submissions.is_dir():
        names = Names.installed() if names is None else names
        standing = standings([check_submission(f, names) for f in find_submissions(submissions)], names)
    known = suites or tuple(
        sorted({name for entry in standing for name in store.suites(entry.submission.name)})
    )
    with Index(url or default_url(records)) as index:
        count = index.rebuild(records, standing, _loaded(known, named=bool(suites)))
    click.echo(
        f"Indexed {count.cells} cells ({count.broken} broken), {count.claims} claims, {count.log} log "
        f"entries, and the {count.wanted} cells that {len(standing)} submissions should have"
    )
    return 0


def ask(url: str, question: Question) -> list[dict[str, Any]]:
    """The cells that a question is about, from the index.

    Raises:
        InvalidInput: the index was never built, or cannot be read.
        UnknownName: no such state.
    """
    if question.state not in (None, *STATES):
        raise unknown_name("states", str(question.state), STATES)
    with Index(url) as index:
        return index.rows(_query(question))


def print_answer(url: str, question: Question, *, as_json: bool, width: int) -> int:
    """Prints what `ask` finds, one cell a line."""
    found = ask(url, question)
    if as_json:
        click.echo(json.dumps(found))
        return 0
    for row in found:
        number = "" if row["adversarial"] is None else f" {row['adversarial']:.2f}"
        seconds = "" if row["seconds"] is None else f" {row['seconds']:.0f} s"
        why = row["why"] or row["flags"].strip(",").replace(",", ", ")
        line = f"{row['status']} {row['model']} {row['suite']} {row['case']}{number}{seconds}"
        click.echo(textwrap.shorten(f"{line}: {why}" if why else line, width, placeholder="..."))
    click.echo(f"{len(found)} cell{'' if len(found) == 1 else 's'}", err=True)
    return 0


@contextmanager
def following(url: str, records: Path) -> Iterator[Callable[[Outcome], object]]:
    """A function that puts each new outcome of a run into an index; it was built from the files before."""
    with Index(url) as index:
        index.rebuild(records)

        def put(outcome: Outcome) -> None:
            if outcome.cell is not None and not outcome.resumed:
                index.put(outcome.spec.model, outcome.spec.job.suite.name, outcome.cell)

        yield put


def _query(question: Question) -> sa.Select[Any]:
    table = wanted if question.state == "missing" else cells
    query = _missing() if question.state == "missing" else sa.select(cells)
    for name in ("model", "suite"):
        asked = getattr(question, name)
        if asked is not None:
            query = query.where(table.c[name] == asked)
    if question.state == "missing":
        return query.order_by(table.c.model, table.c.suite, table.c.case)
    statuses = {"failed": "error", "refused": "invalid", "broken": "broken", "ok": "ok"}
    if question.state in statuses:
        query = query.where(cells.c.status == statuses[question.state])
    if question.state == "flagged":
        query = query.where(cells.c.flags.like(",%,"))
    if question.flag is not None:
        query = query.where(cells.c.flags.contains(f",{question.flag},", autoescape=True))
    if question.slowest is not None:
        return query.order_by(cells.c.seconds.desc().nulls_last(), cells.c.path).limit(question.slowest)
    return query.order_by(cells.c.model, cells.c.suite, cells.c.case, cells.c.path)


def _missing() -> sa.Select[Any]:
    """Cells that there should be, of model and suite as they are now, and for which there is no file."""
    same = [
        wanted.c[name] == cells.c[name] for name in ("model", "suite", "case", "model_digest", "suite_digest")
    ]
    there = sa.select(cells.c.path).where(*same).exists()
    columns = [
        wanted.c[column.name] if column.name in wanted.c else sa.null().label(column.name)
        for column in cells.columns
        if column.name not in ("status", "why", "flags")
    ]
    said = [
        sa.literal(text).label(name) for name, text in (("status", "missing"), ("why", ""), ("flags", ""))
    ]
    return sa.select(*columns, *said).where(~there)


def _loaded(names: tuple[str, ...], *, named: bool) -> list[Suite]:
    """Suites by name; one that only a folder names, and nobody has installed, is left out."""
    found = []
    for name in names:
        try:
            found.append(load_suite(name))
        except ArtSpikingError:
            if named:
                raise
    return found
