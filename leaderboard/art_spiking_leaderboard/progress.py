# SPDX-License-Identifier: MIT
"""Progress of a run on stderr: a bar with a time estimate on a terminal, else a line per cell."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from art_spiking.metrics import accuracy
from art_spiking_leaderboard.costs import Costs
from art_spiking_leaderboard.engine import CellSpec, Outcome


class Progress:
    """Tells how far a run is, and how long the rest may take.

    The rest is estimated from the cells that are finished, the earlier runs' too: see `Costs`.
    """

    def __init__(
        self, specs: Sequence[CellSpec], bar: Any = None, *, workers: int = 1, costs: Costs | None = None
    ) -> None:
        self._waiting = {spec.key: spec for spec in specs}
        self._total, self._done = len(specs), 0
        self._workers = workers
        self._costs = Costs() if costs is None else costs
        self._bar = bar
        self._began: dict[str, float] = {}

    def starting(self, spec: CellSpec) -> None:
        """A cell, or a shard of one, is about to be computed."""
        if spec.shard is not None and self._waiting.pop(spec.identity.key, None) is not None:
            self._waiting |= {unit.key: unit for unit in spec.units}
        self._began[spec.key] = time.monotonic()
        if self._bar is not None:
            self._bar.set_postfix_str(f"{_name(spec)}{self._rest()}")

    def finished(self, outcome: Outcome) -> None:
        """A cell or a shard has an outcome."""
        spec = outcome.spec
        for key in (spec.key, *(unit.key for unit in spec.units if spec.shard is None)):
            self._waiting.pop(key, None)
            self._began.pop(key, None)
        self._costs.learn(outcome)
        self._done += spec.shard is None
        if self._bar is not None:
            self._bar.update(spec.shard is None)
            if not outcome.ok:
                self._bar.write(told(outcome), file=sys.stderr)
        elif not outcome.resumed:
            click.echo(f"{self._done} of {self._total}: {told(outcome)}{self._rest()}", err=True)

    def seconds_left(self) -> float | None:
        """The estimate, or None before the first finished cell."""
        now = time.monotonic()
        running = {key: now - began for key, began in self._began.items()}
        return self._costs.left(list(self._waiting.values()), running, self._workers)

    def _rest(self) -> str:
        left = self.seconds_left()
        if not left:
            return ""
        return f", about {left / 60:.0f} min left" if left >= 90 else f", about {left:.0f} s left"


@contextmanager
def progress(specs: Sequence[CellSpec], workers: int = 1, costs: Costs | None = None) -> Iterator[Progress]:
    """A `Progress` for a run of these cells."""
    if not sys.stderr.isatty():
        yield Progress(specs, workers=workers, costs=costs)
        return
    from tqdm import tqdm

    layout = "{desc}{bar} {n_fmt}/{total_fmt} cells [{elapsed}] {postfix}"
    with tqdm(total=len(specs), file=sys.stderr, dynamic_ncols=True, bar_format=layout) as bar:
        yield Progress(specs, bar, workers=workers, costs=costs)


def told(outcome: Outcome) -> str:
    """One line on an outcome."""
    name, cell = _name(outcome.spec), outcome.cell
    if cell is None:
        return f"{name}: not evaluated: {outcome.problem}"
    record = cell.record
    if record.failure is not None:
        return f"{name}: failed: {record.failure.type}: {record.failure.message}"
    if record.status != "ok":
        return f"{name}: no number: {record.flags[-1].text}"
    share = accuracy(record.labels, record.adversarial)
    return f"{name}: accuracy {share.value:.2f} in {record.wall_seconds:.0f} s"


def _name(spec: CellSpec) -> str:
    shard = "" if spec.shard is None else f", shard {spec.shard + 1} of {len(spec.shards)}"
    return f"{spec.model} {spec.case}{shard}"
