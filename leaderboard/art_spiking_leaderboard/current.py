# SPDX-License-Identifier: MIT
"""Reads what has been computed for the submissions as they are now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from art_spiking.errors import InvalidInput
from art_spiking.suites import Suite
from art_spiking_leaderboard.cells import BrokenCell, Cell, CellStore
from art_spiking_leaderboard.check import Names, Submission, model_identity
from art_spiking_leaderboard.claims import Claim, kept
from art_spiking_leaderboard.engine import model_digest
from art_spiking_leaderboard.ranking import Entrant, Row, rank
from art_spiking_leaderboard.signing import SIGNERS, read_log
from art_spiking_leaderboard.transfer import Transfer, read_transfer


@dataclass(frozen=True)
class Table:
    """The ranking of one suite on one data set; `transfer` is of ranked models as they are now."""

    suite: Suite
    data: str
    rows: Sequence[Row]
    transfer: Transfer | None = None


@dataclass(frozen=True)
class Standing:
    """A checked submission that can be ranked, with the digest of its model."""

    submission: Submission
    digest: str


def standings(submissions: Iterable[Submission], names: Names) -> list[Standing]:
    """The submissions without problems, each with its model's digest.

    Raises:
        ArtSpikingError: a model cannot be built although its submission was found right.
    """
    return [
        Standing(submission, model_digest(model_identity(submission, names)))
        for submission in submissions
        if submission.manifest is not None
    ]


def tables(
    standing: Sequence[Standing], store: CellStore, suite: Suite, warn: Callable[[str], object]
) -> list[Table]:
    """One table per data set, from the cells on disk."""
    by_data: dict[str, list[Entrant]] = {}
    for entry in standing:
        manifest = entry.submission.manifest
        if manifest is None:
            continue
        cells = current_cells(entry, store, suite, warn)
        records = {cell.record.case.name: cell.record for cell in cells}
        claimed = manifest.training.claimed_clean_accuracy
        log = read_log(store.root / manifest.name, store.root / SIGNERS)
        for problem in log.problems:
            warn(f"the log of {manifest.name} is not to be trusted: {problem}")
        withdrawn = None if log.problems else log.withdrawn
        claims = []
        for claim in kept(store.root, manifest.name, suite.name):
            if isinstance(claim, Claim):
                claims.append(claim)
            else:
                warn(f"{claim}; it is left out")
        by_data.setdefault(manifest.data.name, []).append(
            Entrant(manifest.name, manifest.data.name, claimed, records, withdrawn, tuple(claims))
        )
    found = [Table(suite, data, rank(entrants, suite)) for data, entrants in sorted(by_data.items())]
    digests = {entry.submission.name: entry.digest for entry in standing}
    return [replace(table, transfer=_transfer(table, digests, store, warn)) for table in found]


def _transfer(
    table: Table, digests: Mapping[str, str], store: CellStore, warn: Callable[[str], object]
) -> Transfer | None:
    """What was scored of the table's ranked models as they are now; None if there are no two of them."""
    try:
        found = read_transfer(store.root, table.suite.name, table.data)
    except InvalidInput as error:
        warn(f"{error}; it is left out")
        return None
    if found is None:
        return None
    if found.suite_digest != table.suite.digest():
        warn(f"the transfer matrix of {table.suite.name} is of another version of the suite; it is left out")
        return None
    found = found.only({row.name: digests[row.name] for row in table.rows if row.rank is not None})
    return found if len(found.models) > 1 and found.sources else None


def current_cells(
    entry: Standing, store: CellStore, suite: Suite, warn: Callable[[str], object]
) -> list[Cell]:
    """The cells of a model as it is now: one per case, all of the same data and kind of device.

    Cells of earlier weights, of another version of the suite or of other data stay on disk and are passed by.
    Where several sets fit, the one with most cases counts, and of equals the latest.
    """
    sets: dict[tuple[str, ...], dict[str, Cell]] = {}
    for cell in store.cells(entry.submission.name, suite.name):
        if isinstance(cell, BrokenCell):
            warn(f"{cell}; it is left out")
            continue
        record = cell.record
        if model_digest(record.model) != entry.digest or record.suite.digest != suite.digest():
            continue
        cases = sets.setdefault(cell.context, {})
        known = cases.get(record.case.name)
        if known is None or cell.finished > known.finished:
            cases[record.case.name] = cell
    if not sets:
        return []
    best = max(sets.values(), key=lambda cases: (len(cases), max(c.finished for c in cases.values())))
    return list(best.values())
