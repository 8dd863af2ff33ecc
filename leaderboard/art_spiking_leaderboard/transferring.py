# SPDX-License-Identifier: MIT
"""`leaderboard transfer`: scores each model's attacked samples on all the others."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from art_spiking.errors import InvalidInput
from art_spiking.evaluate import checkout_commit, package_versions
from art_spiking.metrics import accuracy
from art_spiking.registry import unknown_name
from art_spiking.suites import Suite, load_suite
from art_spiking_leaderboard.cells import CellStore
from art_spiking_leaderboard.check import Names, build_classifier, check_submission, find_submissions
from art_spiking_leaderboard.current import Standing, Table, current_cells, standings, tables
from art_spiking_leaderboard.transfer import (
    Contestant,
    LeftOut,
    Scored,
    Transfer,
    same_samples,
    score_transfer,
    write_transfer,
)


@dataclass(frozen=True)
class TransferOptions:
    """The options of `leaderboard transfer`."""

    records: Path
    submissions: Path
    suite: str
    only: tuple[str, ...] = ()


def transfer_all(options: TransferOptions, names: Names | None = None) -> int:
    """Scores, prints and writes one matrix for each data set of a suite.

    Raises:
        InvalidInput: no two models whose samples could be exchanged.
        UnknownName: no such suite, or no submission of a name in `only`.
    """
    names = Names.installed() if names is None else names
    suite, store = load_suite(options.suite), CellStore(options.records)
    folders = find_submissions(options.submissions)
    known = [folder.name for folder in folders]
    for name in options.only:
        if name not in known:
            raise unknown_name("submissions", name, known)
    checked = [check_submission(f, names) for f in folders if not options.only or f.name in options.only]
    standing = standings(checked, names)
    written = 0
    for table in tables(standing, store, suite, _warn):
        transfer = _matrix(table, standing, store, names)
        if transfer is None:
            continue
        click.echo(matrix_text(transfer))
        click.echo(f"kept as {write_transfer(transfer, options.records)}\n")
        written += 1
    if not written:
        raise InvalidInput(
            "there is nothing to exchange: it takes two ranked models of the data division on the same "
            "samples, and the attacked samples of one of them",
            asked=f"--suite {suite.name} --records {options.records}",
            remedy="run `art-spiking leaderboard run --keep-events` first",
        )
    return 0


def matrix_text(transfer: Transfer) -> str:
    """The matrix for a terminal: a line for each model that samples were made for."""
    names = [model.name for model in transfer.models]
    wide = max(map(len, [*names, "no attack"]))
    lines = [f"{transfer.suite} on {transfer.data}: worst case of each model (columns), in %"]
    lines += [f"  {k + 1}: {name}" for k, name in enumerate(names)]
    lines.append(" " * wide + "".join(f"{k + 1:>8}" for k in range(len(names))))
    rows = [("no attack", [model.clean for model in transfer.models])]
    rows += [(source.name, list(source.worst)) for source in transfer.sources]
    for name, counts in rows:
        lines.append(name.ljust(wide) + "".join(f"{100 * count / transfer.samples:8.1f}" for count in counts))
    lines += [f"{entry.name} is left out: {entry.why}" for entry in transfer.left_out]
    return "\n".join(lines)


def _matrix(table: Table, standing: Sequence[Standing], store: CellStore, names: Names) -> Transfer | None:
    contestants, left_out = _contestants(table, standing, store, names)
    contestants, others = same_samples(contestants)
    left_out += others
    if len(contestants) < 2:
        return None
    sources, silent = score_transfer(
        contestants, warn=_warn, starting=lambda name: click.echo(f"samples made for {name}", err=True)
    )
    if not sources:
        return None
    record = contestants[0].record
    return Transfer(
        suite=table.suite.name,
        suite_digest=table.suite.digest(),
        data=table.data,
        test=record.test.digest,
        samples=record.test.samples,
        models=tuple(Scored(name=each.name, digest=each.digest, clean=_right(each)) for each in contestants),
        sources=tuple(sources),
        left_out=(*left_out, *silent),
        packages=package_versions(),
        commit=checkout_commit(),
        finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _contestants(
    table: Table, standing: Sequence[Standing], store: CellStore, names: Names
) -> tuple[list[Contestant], list[LeftOut]]:
    """The ranked models of the data division, best first, and who else is in the table."""
    entries = {entry.submission.name: entry for entry in standing}
    contestants, left_out = [], []
    for row in table.rows:
        entry = entries[row.name]
        manifest = entry.submission.manifest
        if manifest is None or manifest.division == "code":
            left_out.append(LeftOut(name=row.name, why="it is code, and runs for its own cells only"))
        elif row.rank is None:
            left_out.append(LeftOut(name=row.name, why="it is not ranked"))
        else:
            contestants.append(_contestant(entry, table.suite, store, names))
    return contestants, left_out


def _contestant(entry: Standing, suite: Suite, store: CellStore, names: Names) -> Contestant:
    cells = {cell.record.case.name: cell for cell in current_cells(entry, store, suite, _warn)}
    return Contestant(
        entry.submission.name,
        entry.digest,
        store.root / entry.submission.name / suite.name,
        {case.name: cells[case.name] for case in suite.cases},
        lambda: build_classifier(entry.submission, names),
    )


def _right(contestant: Contestant) -> int:
    return accuracy(contestant.record.labels, contestant.record.clean).count


def _warn(message: str) -> None:
    click.echo(f"warning: {message}", err=True)
