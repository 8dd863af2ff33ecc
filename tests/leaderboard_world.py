# SPDX-License-Identifier: MIT
"""A small world for the leaderboard's tests: data, attacks and submissions that take milliseconds."""

from __future__ import annotations

import functools
import os
import signal
import time
import zlib
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from art_spiking_leaderboard.cells import CellStore
from art_spiking_leaderboard.check import Names, check_submission
from art_spiking_leaderboard.engine import CellSpec, Job, Workbench, plan
from art_spiking_leaderboard.manifest import MANIFEST, Files, Manifest
from art_spiking_leaderboard.manifest_text import manifest_text
from art_spiking_leaderboard.workers import processes
from leaderboard_samples import make_manifest

from art_spiking.building import Dense, Flat, Neurons
from art_spiking.datasets import EventData
from art_spiking.evaluate import Providers
from art_spiking.events import Grid
from art_spiking.model_files import save_model
from art_spiking.network import SpikingNetwork
from art_spiking.registry import Catalogue, catalogue
from art_spiking.suites import Case, Control, Suite

STEPS, DT_US, SHAPE, CLASSES = 5, 1000, (2, 6, 6), 3


def tiny_events(split, *, steps, dt_us, binary, data_dir=None, limit=None) -> EventData:
    """Random recordings, of which each class lights another part of the sensor."""
    rng = np.random.default_rng(0 if split == "train" else 1)
    y = np.arange(30) % CLASSES
    x = (rng.random((30, steps, *SHAPE)) < 0.1).astype(np.float32)
    for sample, label in zip(x, y, strict=True):
        sample[:, :, 2 * label : 2 * label + 2] = 1
    grid = Grid(steps=steps, dt_us=dt_us, height=6, width=6, binary=binary)
    return EventData(x[:limit], y[:limit], grid, "tiny-events", split, classes=CLASSES)


class Flips:
    """Adds events in the first free cells; told to, it raises, is interrupted, cheats, waits or dies.

    Told "wait FILE", it makes the file first, so that a test knows, and waits for a minute; told "die FILE",
    it makes the file and kills its process, unless the file is there; told "log FILE", it adds a line to it.
    """

    universal = False

    def __init__(self, estimator, threat, *, seed=0, trouble=None):
        self.threat, self.trouble = threat, trouble

    def generate(self, x, y):
        if self.trouble and self.trouble.startswith("raise"):
            if " " in self.trouble:
                with Path(self.trouble.removeprefix("raise ")).open("a") as log:
                    log.write("raised\n")
            raise ValueError("this attack is broken")
        if self.trouble == "interrupt":
            raise KeyboardInterrupt
        if self.trouble and self.trouble.startswith("wait "):
            Path(self.trouble.removeprefix("wait ")).touch()
            time.sleep(60)
        if self.trouble and self.trouble.startswith("log "):
            with Path(self.trouble.removeprefix("log ")).open("a") as log:
                log.write(f"{self.threat.max_edits}-{zlib.crc32(x)}\n")
        if self.trouble and self.trouble.startswith("die"):
            mark = self.trouble.removeprefix("die").strip()
            if not mark or not Path(mark).exists():
                if mark:
                    Path(mark).touch()
                os.kill(os.getpid(), signal.SIGKILL)
        x_adv = x.copy()
        for sample in x_adv:
            free = np.argwhere(sample == 0)[: self.threat.max_edits + 5 * (self.trouble == "cheat")]
            sample[tuple(free.T)] = 1
        return x_adv


@functools.cache
def installed(kind: str) -> Catalogue:
    """What is installed, looked up once."""
    return catalogue(kind)


def providers() -> Providers:
    attacks = Catalogue.of("attacks", {"flips": Flips}, "tests 1.0")
    return Providers(attacks, installed("threats"))


def names(**more: Any) -> Names:
    datasets = Catalogue.of("datasets", {"tiny-events": tiny_events, **more}, "tests 1.0")
    return Names(datasets, installed("defences"))


def workbench() -> Workbench:
    return Workbench(names(), providers())


def suite(**trouble: str) -> Suite:
    """Three cases; `trouble` gives a case, by its letter, something to do."""
    cases = tuple(
        Case(
            name=f"flips-{letter}",
            attack="flips",
            threat={"kind": "event-edits", "max_edits": edits},
            parameters={"trouble": trouble[letter]} if letter in trouble else {},
            control=Control(attack="flips") if letter == "a" else None,
        )
        for letter, edits in (("a", 2), ("b", 4), ("c", 8))
    )
    return Suite(name="small", version=1, craft=6, test=12, cases=cases)


def network(seed: int = 0) -> SpikingNetwork:
    """A model that gets the tiny events right: each class counts the events of its rows."""
    plans = [Flat(), Dense(CLASSES), Neurons("IF", v_threshold=2.0)]
    built = SpikingNetwork.sequential(
        SHAPE,
        plans,
        semantics="sinabs",
        dt_us=DT_US,
        generator=torch.Generator().manual_seed(seed),
    )
    weight = torch.full((CLASSES, *SHAPE), -0.05 - 0.001 * seed)
    for label in range(CLASSES):
        weight[label, :, 2 * label : 2 * label + 2] = 0.25
    with torch.no_grad():
        dict(built.named_parameters())["layers.1.weight"].copy_(weight.flatten(1))
    return built


def write_submission(folder: Path, *, seed: int = 0, **changes: Any) -> Manifest:
    """A whole submission named as its folder; `changes` replace fields of the manifest."""
    save_model(network(seed), folder, steps=STEPS)
    values: dict[str, Any] = {
        "input_shape": (STEPS, *SHAPE),
        "nb_classes": CLASSES,
        "semantics": "sinabs",
        "defences": (),
        "data": {"name": "tiny-events", "dt_us": DT_US, "steps": STEPS, "binary": True},
        "training": {"description": "By hand.", "claimed_clean_accuracy": 1.0},
        "files": Files.of(folder),
    }
    manifest = make_manifest(**{"name": folder.name, **values, **changes})
    (folder / MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")
    return manifest


def specs_of(
    submissions: Path, records: Path, suite: Suite, bench: Workbench | None = None
) -> list[CellSpec]:
    job, bench = Job(suite, records), bench or workbench()
    folders = sorted(submissions.iterdir())
    return [spec for folder in folders for spec in plan(check_submission(folder, bench.names), job, bench)]


def forked(workers: int) -> Executor:
    """Fast enough for a test; nothing else runs in this process."""
    return processes(workers, threads=1, method="fork")


def scores(records: Path) -> dict[str, Any]:
    """What every cell came to; not when, where, or how fast."""
    cells = (cell for model in ("one", "two") for cell in CellStore(records).cells(model, "small"))
    return {cell.identity.key: cell.record.result() for cell in cells}


def many_cells(count: int) -> Suite:
    """Cells of a few milliseconds."""
    cases = tuple(
        Case(name=f"flips-{k}", attack="flips", threat={"kind": "event-edits", "max_edits": 1 + k})
        for k in range(count)
    )
    return Suite(name="small", version=1, craft=6, test=12, cases=cases)
