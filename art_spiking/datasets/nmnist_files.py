# SPDX-License-Identifier: MIT
"""Finds and reads N-MNIST recordings in the folders that people have them in."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from art_spiking.errors import InvalidInput, MissingData
from art_spiking.events import Events, read_nmnist

SENSOR = 34
"""Rows and columns of N-MNIST's recordings."""

SHORTEST_US = 250_000
"""A whole recording's last event is later: three saccades take about 300 ms (of 1,100 the least has 296)."""

_CLASSES = 10
_FOLDERS = {"train": "Train", "test": "Test"}
_LISTS = {"train": "train1K.txt", "test": "test100.txt"}
_REMEDY = (
    "pass data_dir, the folder that holds NMNIST/Train and NMNIST/Test; to download it: "
    "pip install 'art-spiking[tonic]', then tonic.datasets.NMNIST(save_to=data_dir, train=True) "
    "and train=False"
)


def read_split(
    data_dir: str | os.PathLike[str] | None, split: str, *, limit: int | None = None
) -> tuple[list[Events], npt.NDArray[np.int64]]:
    """Reads the recordings of a split and their labels.

    Two layouts are known: the original one, `Train/<label>/*.bin` and `Test/<label>/*.bin`, in the folder
    itself or in its `NMNIST`, where tonic downloads it; and SLAYER's subset, `<number>.bs2` with the lists
    `train1K.txt` and `test100.txt` of numbers and classes.

    The format tells neither its length nor where it ends. A recording that was cut is known by a size that is
    not a whole number of events, or by a last event before `SHORTEST_US`; one that lost less than that cannot
    be told from a whole one.

    Args:
        data_dir: the folder.
        split: "train" or "test".
        limit: read the first so many only; the classes of the original layout take turns, so that the first n
            hold all of them.

    Raises:
        MissingData: no such folder or layout, or a recording is absent, truncated, empty or garbage.
        InvalidInput: a list holds a label other than 0 to 9, or what is no number.
    """
    if data_dir is None:
        raise MissingData("N-MNIST needs a folder of recordings", found="no data_dir", remedy=_REMEDY)
    folder = Path(data_dir)
    for root in (folder, folder / "NMNIST"):
        if (root / _FOLDERS[split]).is_dir():
            listed = _original(root / _FOLDERS[split])
            break
    else:
        if not (folder / _LISTS[split]).is_file():
            raise MissingData(
                f"no N-MNIST {split} recordings in this folder",
                asked=str(folder),
                found="no such folder"
                if not folder.is_dir()
                else f"no {_FOLDERS[split]} and no {_LISTS[split]}",
                remedy=_REMEDY,
            )
        listed = _subset(folder, folder / _LISTS[split])
    recordings = [_recording(path) for path, _ in listed[:limit]]
    return recordings, np.array([label for _, label in listed[:limit]], dtype=np.int64)


def _recording(path: Path) -> Events:
    """One recording, checked for what the format cannot tell: whether it is a whole one of N-MNIST."""
    events = read_nmnist(path)
    problem = None
    if not len(events):
        problem = "is empty"
    elif max(int(events["x"].max()), int(events["y"].max())) >= SENSOR:
        found = f"an event at column {events['x'].max()}, row {events['y'].max()}"
        problem = f"is not one of N-MNIST's {SENSOR} x {SENSOR} pixels: {found}"
    elif (np.diff(events["t"]) < 0).any():
        problem = f"is damaged: time runs backwards after event {int(np.argmax(np.diff(events['t']) < 0))}"
    elif events["t"][-1] < SHORTEST_US:
        problem = f"is truncated: its last event is at {events['t'][-1]} µs, before {SHORTEST_US} µs"
    if problem is not None:
        raise MissingData(f"a recording {problem}", asked=str(path), remedy="download or copy the file again")
    return events


def _original(root: Path) -> list[tuple[Path, int]]:
    turns = []
    for label in range(_CLASSES):
        files = sorted((root / str(label)).glob("*.bin"))
        if not files:
            raise MissingData(
                f"N-MNIST's class {label} has no recordings", asked=str(root / str(label)), remedy=_REMEDY
            )
        turns += [(turn, label, file) for turn, file in enumerate(files)]
    return [(file, label) for _, label, file in sorted(turns)]


def _subset(folder: Path, listing: Path) -> list[tuple[Path, int]]:
    result = []
    for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split("#")[0].split()
        if not fields:
            continue
        if len(fields) != 2 or not all(field.isdecimal() for field in fields) or int(fields[1]) >= _CLASSES:
            raise InvalidInput(
                f"line {number} of a list of recordings does not fit",
                asked=str(listing),
                found=repr(line),
                accepted="a recording's number and its class from 0 to 9",
            )
        result.append((folder / f"{fields[0]}.bs2", int(fields[1])))
    return result
