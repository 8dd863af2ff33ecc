# SPDX-License-Identifier: MIT
"""Keeps simulated recordings on disk, whole or not at all."""

from __future__ import annotations

import hashlib
import io
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from art_spiking.events import EVENT_DTYPE, Events
from art_spiking.files import write_atomically

_STORED = {"x": "u1", "y": "u1", "t": "<u4", "p": "u1"}
_DAMAGE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, MemoryError)


@dataclass(frozen=True, eq=False)
class Recordings:
    """Many recordings in one array; recording i is `events[offsets[i]:offsets[i + 1]]`.

    Attributes:
        events: of all recordings, one recording after the other; columns and rows below 256, times below
            2**32.
        offsets: int64 (N + 1,).
        labels: int64 (N,).
    """

    events: Events
    offsets: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Events:
        """The events of one recording."""
        one: Events = self.events[self.offsets[index] : self.offsets[index + 1]]
        return one


def cached(path: Path, make: Callable[[], Recordings]) -> Recordings:
    """The recordings in a file; where it is absent or damaged they are made, and the file is written.

    Damage, and a file that cannot be written, are warned of and do not stop the work.
    """
    if path.exists():
        try:
            return _read(path)
        except _DAMAGE as error:
            _warn(f"the cached recordings in {path} are damaged ({error}); they are simulated again")
    recordings = make()
    try:
        _write(path, recordings)
    except OSError as error:
        _warn(f"the recordings cannot be kept in {path} ({error}); they are simulated again next time")
    return recordings


def _warn(message: str) -> None:
    # Blames the line that asked for the data set: this, cached, digits_dvs, its caller.
    warnings.warn(message, stacklevel=4)


def _digest(arrays: dict[str, npt.NDArray[np.generic]]) -> npt.NDArray[np.uint8]:
    state = hashlib.sha256()
    for name in (*_STORED, "offsets", "labels"):
        state.update(np.ascontiguousarray(arrays[name]).tobytes())
    return np.frombuffer(state.digest(), dtype=np.uint8)


def _read(path: Path) -> Recordings:
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    if not np.array_equal(arrays["digest"], _digest(arrays)):
        raise ValueError("its digest differs")
    events = np.empty(len(arrays["t"]), dtype=EVENT_DTYPE)
    for name in _STORED:
        events[name] = arrays[name]
    return Recordings(events, arrays["offsets"], arrays["labels"])


def _write(path: Path, recordings: Recordings) -> None:
    arrays = {name: recordings.events[name].astype(dtype) for name, dtype in _STORED.items()}
    arrays |= {"offsets": recordings.offsets.astype("<i8"), "labels": recordings.labels.astype("<i8")}
    content = io.BytesIO()
    save: Callable[..., None] = np.savez
    save(content, digest=_digest(arrays), **arrays)
    write_atomically(path, content.getvalue())
