# SPDX-License-Identifier: MIT
"""An index of cells, claims and log entries in a database: quick to ask, never the truth, rebuilt at will."""

from __future__ import annotations

import datetime
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from art_spiking.errors import ArtSpikingError, CannotWrite, InvalidInput
from art_spiking.metrics import accuracy
from art_spiking.suites import Suite
from art_spiking_leaderboard.cells import BrokenCell, Cell, CellStore
from art_spiking_leaderboard.claims import FOLDER, Claim, kept
from art_spiking_leaderboard.current import Standing
from art_spiking_leaderboard.engine import model_digest
from art_spiking_leaderboard.signing import SIGNERS, read_log

INDEX_VERSION = 1
FILE = "index.sqlite"
"""Where the index is by default, in the folder of records."""
_ROWS_AT_ONCE = 500
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE)
"""What SQLite says where a disk is full: of the file, of its log, and of the memory shared beside it."""

_METADATA = sa.MetaData()


def _table(name: str, *columns: sa.Column[Any]) -> sa.Table:
    return sa.Table(f"leaderboard_{name}", _METADATA, *columns)


def _text(name: str, **more: Any) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, **more)


about = _table("index", sa.Column("version", sa.Integer, nullable=False), _text("records"), _text("built"))
cells = _table(
    "cells",
    _text("path", primary_key=True),
    _text("model", index=True),
    _text("suite", index=True),
    _text("case"),
    _text("status"),
    _text("model_digest"),
    _text("suite_digest"),
    _text("why"),
    _text("flags"),
    sa.Column("samples", sa.Integer),
    sa.Column("clean", sa.Double),
    sa.Column("adversarial", sa.Double),
    sa.Column("control", sa.Double),
    sa.Column("seconds", sa.Double),
    _text("commit"),
    _text("device"),
    _text("finished"),
)
"""One row a file; `status` is the record's, or "broken". `flags` are codes between commas."""
claims = _table(
    "claims",
    _text("path", primary_key=True),
    _text("model"),
    _text("suite"),
    _text("case"),
    sa.Column("samples", sa.Integer),
    _text("accepted"),
    _text("why"),
)
log = _table(
    "log",
    _text("model", primary_key=True),
    sa.Column("line", sa.Integer, primary_key=True),
    _text("signer"),
    _text("date"),
    _text("note"),
    sa.Column("withdrawn", sa.Boolean, nullable=False),
    sa.Column("cells", sa.Integer),
)
wanted = _table(
    "wanted",
    _text("model", primary_key=True),
    _text("suite", primary_key=True),
    _text("case", primary_key=True),
    _text("model_digest"),
    _text("suite_digest"),
)
"""The cells that there should be: every case of a suite for every submission as it is now."""
_ALL = (about, cells, claims, log, wanted)

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Counts:
    """How many rows an index has."""

    cells: int
    broken: int
    claims: int
    log: int
    wanted: int


class Index:
    """A database by its SQLAlchemy URL: SQLite (kept in WAL mode) or PostgreSQL.

    Only one process writes it, the one that coordinates a run; any number may read. It holds nothing that the
    files do not say, so there are no migrations: one of another version is emptied, and built again.
    """

    def __init__(self, url: str) -> None:
        """Opens it, and makes the tables where they are missing.

        Raises:
            InvalidInput: no such database, or no driver for it.
            CannotWrite: a full disk.
        """
        with _told(url):
            self._engine = _engine(url)
            with self._engine.begin() as connection:
                _METADATA.create_all(connection)
                if connection.scalar(sa.select(about.c.version)) not in (None, INDEX_VERSION):
                    _METADATA.drop_all(connection)
                    _METADATA.create_all(connection)
        self.url = url

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the database."""
        self._engine.dispose()

    def rebuild(
        self, records: Path, standing: Sequence[Standing] | None = None, suites: Sequence[Suite] = ()
    ) -> Counts:
        """Reads every file again, in one transaction: who reads meanwhile, or after a kill, has the old rows.

        Args:
            records: the folder of cells.
            standing: the submissions as they are now, from which the index knows what is missing; None leaves
                what it knew.
            suites: those that every submission should have been evaluated under.

        Raises:
            InvalidInput: the database cannot be written.
            CannotWrite: a full disk.
        """
        built = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        store = CellStore(records)
        with _told(self.url), self._engine.begin() as connection:
            for table in _ALL:
                if table is not wanted or standing is not None:
                    connection.execute(sa.delete(table))
            version = {"version": INDEX_VERSION, "records": str(records.resolve()), "built": built}
            connection.execute(sa.insert(about), [_storable(version)])
            broken = 0
            for rows in _batches(_cell_rows(store)):
                broken += sum(row["status"] == "broken" for row in rows)
                connection.execute(sa.insert(cells), rows)
            for table, found in (
                (claims, _claim_rows(store)),
                (log, _log_rows(store)),
                (wanted, _wanted_rows(standing or (), suites)),
            ):
                for rows in _batches(found):
                    connection.execute(sa.insert(table), rows)
            count = {t.name: connection.scalar(sa.select(sa.func.count()).select_from(t)) or 0 for t in _ALL}
        return Counts(count[cells.name], broken, count[claims.name], count[log.name], count[wanted.name])

    def put(self, model: str, suite: str, cell: Cell) -> None:
        """A cell that was written, in the place of what the index had of its file."""
        row = _storable(_cell_row(f"{model}/{suite}/{cell.identity.key}.json", model, suite, cell))
        with _told(self.url), self._engine.begin() as connection:
            connection.execute(sa.delete(cells).where(cells.c.path == row["path"]))
            connection.execute(sa.insert(cells), [row])

    def rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        """What a query over the tables of this module finds.

        Raises:
            InvalidInput: it was never built, or cannot be read.
        """
        with _told(self.url), self._engine.connect() as connection:
            if connection.scalar(sa.select(about.c.version)) is None:
                remedy = "`art-spiking leaderboard index RECORDS` does"
                raise InvalidInput("nobody has built the index yet", remedy=remedy)
            return [dict(row) for row in connection.execute(query).mappings()]


def default_url(records: Path) -> str:
    """A SQLite file in the folder of records."""
    return f"sqlite:///{records.resolve() / FILE}"


def _engine(url: str) -> sa.Engine:
    parsed = sa.make_url(url)
    file = parsed.database not in (None, "", ":memory:")
    if parsed.get_backend_name() != "postgresql" and (parsed.get_backend_name() != "sqlite" or not file):
        raise InvalidInput(
            "that database is not supported",
            asked=parsed.render_as_string(),
            accepted="sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME",
        )
    # No pool: a connection that is open while a run starts its workers would be theirs too.
    engine = sa.create_engine(parsed, poolclass=sa.pool.NullPool)
    if parsed.get_backend_name() == "sqlite":
        sa.event.listen(engine, "connect", _sqlite_settings)
    return engine


def _sqlite_settings(connection: Any, _record: Any) -> None:
    """Readers and a writer at once; a power cut may cost the last rows, which the files still have."""
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {pragma}")


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Errors of the database and its driver as one line that says which, without the password."""
    try:
        yield
    except (sa.exc.SQLAlchemyError, ImportError, OSError) as error:
        try:
            asked = sa.make_url(url).render_as_string()
        except sa.exc.ArgumentError:
            asked = url.split("@")[-1]
        if getattr(getattr(error, "orig", None), "sqlite_errorcode", None) in _NO_ROOM:
            raise CannotWrite(
                f"cannot write the index {asked}",
                found="no room left on the disk",
                remedy="make room and run the same command again",
            ) from error
        driver = isinstance(error, ImportError | sa.exc.NoSuchModuleError)
        raise InvalidInput(
            "the index cannot be used",
            asked=asked,
            found=str(getattr(error, "orig", None) or error).splitlines()[0],
            remedy="pip install 'art-spiking-leaderboard[postgresql]'"
            if driver
            else "it can be built again at any time: `art-spiking leaderboard index RECORDS --url URL`",
        ) from error


def _batches(rows: Iterable[Row]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(_storable(row))
        if len(batch) == _ROWS_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _storable(row: Row) -> dict[str, Any]:
    """A row whose texts any database takes: PostgreSQL has no NUL, and no driver half a surrogate pair."""
    return {
        key: value.encode("utf-8", "replace").decode().replace("\0", "�") if isinstance(value, str) else value
        for key, value in row.items()
    }


def _folders(store: CellStore) -> Iterator[tuple[str, str]]:
    if not store.root.is_dir():
        return
    for model in sorted(entry.name for entry in store.root.iterdir() if entry.is_dir()):
        for suite in store.suites(model):
            yield model, suite


def _cell_rows(store: CellStore) -> Iterator[Row]:
    for model, suite in _folders(store):
        for path in sorted((store.root / model / suite).glob("*.json")):
            place = path.relative_to(store.root).as_posix()
            try:
                cell = store.read(model, suite, path.stem)
            except BrokenCell as error:
                yield _broken_row(place, model, suite, str(error.found))
            else:
                if cell is not None:
                    yield _cell_row(place, model, suite, cell)


def _cell_row(place: str, model: str, suite: str, cell: Cell) -> dict[str, Any]:
    record = cell.record
    ok = record.status == "ok"
    why = "" if record.failure is None else f"{record.failure.type}: {record.failure.message}"
    if record.status == "invalid":
        why = record.flags[-1].text
    return {
        "path": place,
        "model": model,
        "suite": suite,
        "case": record.case.name,
        "status": record.status,
        "model_digest": model_digest(record.model),
        "suite_digest": record.suite.digest,
        "why": why,
        "flags": "".join(f",{code}" for code in sorted({flag.code for flag in record.flags})) + ",",
        "samples": len(record.labels),
        "clean": accuracy(record.labels, record.clean).value,
        "adversarial": accuracy(record.labels, record.adversarial).value if ok else None,
        "control": accuracy(record.labels, record.control).value if record.control else None,
        "seconds": record.wall_seconds,
        "commit": record.provenance.commit or "",
        "device": record.provenance.device,
        "finished": cell.finished,
    }


def _broken_row(place: str, model: str, suite: str, why: str) -> dict[str, Any]:
    blank = {column.name: "" if isinstance(column.type, sa.Text) else None for column in cells.columns}
    return {**blank, "path": place, "model": model, "suite": suite, "status": "broken", "why": why}


def _claim_rows(store: CellStore) -> Iterator[Row]:
    for model, suite in _folders(store):
        if not (store.root / model / suite / FOLDER).is_dir():
            continue
        for number, claim in enumerate(kept(store.root, model, suite)):
            place = f"{model}/{suite}/{FOLDER}"
            row: dict[str, Any] = {
                "model": model,
                "suite": suite,
                "case": "",
                "samples": None,
                "accepted": "",
                "why": "",
            }
            if isinstance(claim, Claim):
                form = claim.form
                row |= {"case": form.case, "samples": len(form.samples), "accepted": claim.date}
                yield {**row, "path": f"{place}/{claim.events}.json"}
            else:
                yield {**row, "path": f"{place}/#{number}", "why": claim}


def _log_rows(store: CellStore) -> Iterator[Row]:
    for model in sorted({model for model, _ in _folders(store)}):
        try:
            state = read_log(store.root / model, store.root / SIGNERS)
        except ArtSpikingError:
            continue  # `verify` tells what is wrong with a log; an index only finds it
        for number, entry in enumerate(state.entries, start=1):
            yield {
                "model": model,
                "line": number,
                "signer": entry.signer,
                "date": entry.date,
                "note": entry.note,
                "withdrawn": entry.withdrawn,
                "cells": len(entry.cells),
            }


def _wanted_rows(standing: Sequence[Standing], suites: Sequence[Suite]) -> Iterator[Row]:
    for suite in suites:
        digest = suite.digest()
        for entry in standing:
            for case in suite.cases:
                yield {
                    "model": entry.submission.name,
                    "suite": suite.name,
                    "case": case.name,
                    "model_digest": entry.digest,
                    "suite_digest": digest,
                }
