# SPDX-License-Identifier: MIT
"""What the commands do on a disk that is really full, or that nobody can write; told as JSON.

    bwrap ... --size 2000000 --tmpfs DISK -- python disk_trials.py full DISK WORK
    bwrap ... --ro-bind DISK DISK -- python disk_trials.py read-only DISK WORK

`test_real_disks.py` runs it. Nothing of the disk is played: the kernel answers.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import leaderboard_world as world
from art_spiking_leaderboard import working
from art_spiking_leaderboard.cells import BrokenCell, Cell, CellStore
from art_spiking_leaderboard.check import Names

from art_spiking.cli import run

PAGE = 4096
MODELS, SUITE = ("one", "two"), "small"


@dataclass(frozen=True)
class Trial:
    """A command, where it writes, and with how many pages of room it is tried, the one after the other."""

    command: Callable[[], int]
    place: Path
    pages: tuple[int, ...]


def main(kind: str, disk: Path, work: Path) -> dict[str, Any]:
    """Runs every command on the disk."""
    # The commands look up what is installed; the small world is not.
    Names.installed = classmethod(lambda cls: world.names())
    working.Workbench = world.workbench
    trials = trials_on(disk, work)
    if kind == "read-only":
        return {name: told(trial) for name, trial in trials.items()}
    return {name: on_little_room(disk, trial) for name, trial in trials.items()}


def trials_on(disk: Path, work: Path) -> dict[str, Trial]:
    """The commands by name."""
    suite, records = str(work / "suite.toml"), str(work / "records")
    submissions = ["--submissions", str(work / "submissions")]

    def leaderboard(*arguments: str) -> Callable[[], int]:
        return lambda: run(["leaderboard", *arguments, "--suite", suite])

    def evaluate(name: str, *more: str) -> Callable[[], int]:
        return leaderboard("run", str(work / "submissions"), "--out", str(disk / name), *more)

    site, index = ["site", *submissions, "--records", records], ["index", records, *submissions]
    stated = ["--semantics", "sinabs", "--dt-us", str(world.DT_US), "--steps", str(world.STEPS)]
    figures, database = ["--figures", str(disk / "figures")], f"sqlite:///{disk / 'index.sqlite'}"
    return {
        "run": Trial(evaluate("alone"), disk / "alone", (0, 1, 2)),
        "run --figures": Trial(evaluate("drawn", *figures), disk / "drawn", (13,)),
        "run --workers 2": Trial(evaluate("workers", "--workers", "2"), disk / "workers", (1,)),
        "site": Trial(leaderboard(*site, "--out", str(disk / "site")), disk / "site", (0, 13)),
        "index": Trial(leaderboard(*index, "--url", database), disk / "index.sqlite", (0, 2, 5)),
        "pack": Trial(
            lambda: run(["pack", str(work / "model.nir"), *stated, "--out", str(disk / "packed")]),
            disk / "packed",
            (0, 1),
        ),
    }


def on_little_room(disk: Path, trial: Trial) -> dict[str, Any]:
    """The command with no room at first, then with a little, and at last with all."""
    tries = []
    for pages in trial.pages:
        with only(disk, pages):
            tries.append(told(trial))
    return {"tries": tries, "end": told(trial)}


@contextlib.contextmanager
def only(disk: Path, pages: int) -> Iterator[None]:
    """Leaves room for so many pages."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        file.write(bytes(max(0, free - pages * PAGE)))
    try:
        yield
    finally:
        filler.unlink()


def told(trial: Trial) -> dict[str, Any]:
    """The exit code, what was printed, and what is there afterwards."""
    out, err, place = io.StringIO(), io.StringIO(), trial.place
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = trial.command()
    left = sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())
    return {"code": code, "out": out.getvalue(), "err": err.getvalue(), "files": left, **cells_in(place)}


def cells_in(place: Path) -> dict[str, Any]:
    """The cells that are whole, by their outcome, and how many files are none."""
    found = [cell for model in MODELS for cell in CellStore(place).cells(model, SUITE)]
    whole = [cell for cell in found if isinstance(cell, Cell)]
    return {
        "broken": sum(isinstance(cell, BrokenCell) for cell in found),
        "cells": {
            f"{c.identity.key}": [c.record.adversarial, c.record.control, c.record.clean] for c in whole
        },
    }


if __name__ == "__main__":
    answer = main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    print(json.dumps(answer))
