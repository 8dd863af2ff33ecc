# SPDX-License-Identifier: MIT
"""What a run is asked for: jobs, the cells to compute and their shards, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from art_spiking.suites import Suite
from art_spiking_leaderboard.cells import Cell, CellIdentity

SHARDS = "shards"
"""The folder, below a suite's, of shards whose cell is not put together yet."""


@dataclass(frozen=True)
class Job:
    """What a run was asked for, the same for all its cells; `device` is "cpu", or "cuda" for graphs."""

    suite: Suite
    records: Path
    data_dir: Path | None = None
    figures: Path | None = None
    command: tuple[str, ...] = ()
    keep_events: bool = False
    device: str = "cpu"

    @property
    def shows_events(self) -> bool:
        """Whether the attacked samples themselves are wanted, in figures or files."""
        return self.keep_events or self.figures is not None


@dataclass(frozen=True)
class CellSpec:
    """One cell to compute, or one of its shards: plain data that can be sent to another process.

    Attributes:
        samples: that the cell is scored on.
        shards: the identities of its shards; empty where it is not divided.
        shard: which of them this is; None for the cell itself, which puts them together.
        merging: whether all shards were tried in this run, so that one that failed is not tried again.
    """

    job: Job
    folder: Path
    case: str
    identity: CellIdentity
    samples: int = 1
    shards: tuple[CellIdentity, ...] = ()
    shard: int | None = None
    merging: bool = False

    @property
    def model(self) -> str:
        """The submission's name."""
        return self.folder.name

    @property
    def own(self) -> CellIdentity:
        """The identity of what is computed: the cell's, or the shard's."""
        return self.identity if self.shard is None else self.shards[self.shard]

    @property
    def key(self) -> str:
        """The key of what is computed."""
        return self.own.key

    @property
    def section(self) -> str:
        """Where its file is, below the model's folder."""
        return self.job.suite.name if self.shard is None else f"{self.job.suite.name}/{SHARDS}"

    @property
    def place(self) -> Path:
        """The folder of its file."""
        return self.job.records / self.model / self.section

    @property
    def size(self) -> int:
        """How many samples are attacked."""
        if self.shard is None or self.job.suite.shard is None:
            return self.samples
        return min(self.job.suite.shard, self.samples - self.shard * self.job.suite.shard)

    @property
    def units(self) -> tuple[CellSpec, ...]:
        """Its shards, each to be computed by itself."""
        return tuple(replace(self, shard=index, merging=False) for index in range(len(self.shards)))

    @property
    def whole(self) -> CellSpec:
        """The cell that a shard belongs to."""
        return replace(self, shard=None)


@dataclass(frozen=True)
class Outcome:
    """What became of a cell; without a cell, `problem` says why its model could not be evaluated at all.

    `seconds` is how long it took just now, with all that belongs to it. An outcome of a shard tells how far
    its cell is.
    """

    spec: CellSpec
    cell: Cell | None
    problem: str = ""
    resumed: bool = False
    seconds: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the cell has a number."""
        return self.cell is not None and self.cell.record.status == "ok"
