# SPDX-License-Identifier: MIT
"""Cells on disk: their keys, and JSON files that are either whole or absent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from art_spiking.errors import ArtSpikingError, InvalidInput, InvalidModel
from art_spiking.files import set_aside, write_atomically
from art_spiking.records import Record
from art_spiking.suites import digest_of
from art_spiking.untrusted_files import open_regular

CELL_VERSION = 2
"""Of the form. What later records have in addition is optional, and left out of keys and digests where it
is not used, so that files of this version stay valid as they are; version 1 was never published.
"""
MAX_CELL_BYTES = 64 * 1024 * 1024


class BrokenCell(ArtSpikingError, ValueError):
    """A cell file that is torn, altered or not a cell; its case is computed again."""


class NewerCell(ArtSpikingError):
    """A cell that a later version of this package wrote; it is left as it is."""


@dataclass(frozen=True)
class CellIdentity:
    """All that the result of a cell depends on; its hash is the cell's key.

    Attributes:
        result: the key that the record has for what decides its result: model, suite, case and data.
        providers: name -> distribution and version, of the attack, the control and the threat model.
        shard: (index, of how many).
        dtype, device_class: what it was computed in, and on.
    """

    result: str
    providers: Mapping[str, str | None]
    shard: tuple[int, int] = (0, 1)
    dtype: str = "float32"
    device_class: str = "cpu"

    def to_dict(self) -> dict[str, Any]:
        """Plain data; the mapping is copied."""
        return {
            "result": self.result,
            "providers": dict(self.providers),
            "shard": list(self.shard),
            "dtype": self.dtype,
            "device_class": self.device_class,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CellIdentity:
        """The inverse of `to_dict`."""
        return cls(**{**values, "shard": tuple(values["shard"])})

    @property
    def key(self) -> str:
        """64 hexadecimal digits."""
        return digest_of(self.to_dict()).removeprefix("sha256:")


@dataclass(frozen=True)
class Cell:
    """One finished cell: what was computed, the record that came out, and when (UTC, ISO 8601)."""

    identity: CellIdentity
    record: Record
    finished: str

    @property
    def context(self) -> tuple[str, ...]:
        """What the cells behind one row must share: suite, data, dtype and device class."""
        record, identity = self.record, self.identity
        data = (record.craft.digest, record.test.digest)
        return (record.suite.digest, *data, identity.dtype, identity.device_class)

    def to_json(self) -> str:
        """What the file holds; the hash of the record lets a reader see that nothing was altered."""
        record = self.record.model_dump(mode="json")
        content = {
            "cell_version": CELL_VERSION,
            "key": self.identity.key,
            "identity": self.identity.to_dict(),
            "finished": self.finished,
            "record_sha256": digest_of(record),
            "record": record,
        }
        return json.dumps(content, allow_nan=False, separators=(",", ":")) + "\n"


class CellStore:
    """A folder of cells, `<root>/<model>/<suite>/<key>.json`; the files are the truth."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, model: str, suite: str, key: str) -> Path:
        """Where the cell of that key is, or would be."""
        return self.root / model / suite / f"{key}.json"

    def read(self, model: str, suite: str, key: str) -> Cell | None:
        """The finished cell of that key, or None.

        Raises:
            BrokenCell: something is there and is not a whole, unaltered cell.
            NewerCell: a later version of this package wrote it.
        """
        path = self.path(model, suite, key)
        return _read(path) if path.exists() or path.is_symlink() else None

    def set_aside(self, model: str, suite: str, key: str) -> Path:
        """Renames what is in the place of a cell, so that it can be looked at and is in nobody's way.

        Raises:
            CannotWrite: the folder cannot be changed.
        """
        return set_aside(self.path(model, suite, key))

    def write(self, model: str, suite: str, cell: Cell) -> Path:
        """Writes a cell so that it is whole or absent, whatever happens meanwhile.

        Raises:
            CannotWrite: full disk, or no permission.
        """
        path = self.path(model, suite, cell.identity.key)
        write_atomically(path, cell.to_json().encode())
        return path

    def cells(self, model: str, suite: str) -> Iterator[Cell | BrokenCell]:
        """Every cell of a model and suite, by key; a broken one is yielded as its error.

        Raises:
            NewerCell: a later version of this package wrote one.
        """
        for path in sorted((self.root / model / suite).glob("*.json")):
            try:
                yield _read(path)
            except BrokenCell as error:
                yield error

    def suites(self, model: str) -> list[str]:
        """The suites that have cells of a model."""
        folder = self.root / model
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []


def _read(path: Path) -> Cell:
    try:
        with open_regular(path, MAX_CELL_BYTES) as file:
            content = file.read(MAX_CELL_BYTES + 1)
    except (InvalidModel, OSError) as error:
        found = error.found if isinstance(error, InvalidModel) else error.strerror
        raise BrokenCell(f"{path} is not a whole cell", found=found) from error
    return _parse(content, path)


def _parse(content: bytes, path: Path) -> Cell:
    def broken(found: str) -> BrokenCell:
        return BrokenCell(f"{path} is not a whole cell", found=found)

    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise broken("not JSON (a torn file?)") from error
    version = values.get("cell_version") if isinstance(values, dict) else None
    if isinstance(version, int) and version > CELL_VERSION:
        # Not broken: to set it aside and compute it anew would undo somebody's work.
        raise NewerCell(
            f"{path} was written by a later art-spiking-leaderboard",
            found=f"a cell of version {version}",
            accepted=f"up to version {CELL_VERSION}",
            remedy="update this one: pip install --upgrade art-spiking art-spiking-leaderboard",
        )
    if version != CELL_VERSION:
        raise broken(f"not a cell of version {CELL_VERSION}")
    try:
        identity = CellIdentity.from_dict(values["identity"])
        stated = (values["key"], values["record_sha256"])
        if stated != (identity.key, digest_of(values["record"])) or path.stem != identity.key:
            raise broken("its content does not have the hash it states")
        record = Record.from_json(json.dumps(values["record"]))
        if record.key() != identity.result:
            raise broken("the record of another cell")
        return Cell(identity, record, str(values["finished"]))
    except InvalidInput as error:
        raise broken(str(error)) from error
    except BrokenCell:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise broken("parts are missing, or of another kind") from error
