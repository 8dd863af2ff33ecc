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
        self._total = len(specs)
        self._workers = workers
        self._costs = Costs() if costs is None else costs
        self._bar = bar
        self._began: dict[str, float] = {}

    def starting(self, spec: CellSpec) -> None:
        """A cell is about to be computed."""
        self._began[spec.key] = time.monotonic()
        if self._bar is not None:
            self._bar.set_postfix_str(f"{spec.model} {spec.case}{self._rest()}")

    def finished(self, outcome: Outcome) -> None:
        """A cell has an outcome."""
        del self._waiting[outcome.spec.key]
        self._began.pop(outcome.spec.key, None)
        self._costs.learn(outcome)
        done = self._total - len(self._waiting)
        if self._bar is not None:
            self._bar.update()
            if not outcome.ok:
                self._bar.write(told(outcome), file=sys.stderr)
        elif not outcome.resumed:
            click.echo(f"{done} of {self._total}: {told(outcome)}{self._rest()}", err=True)

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
    spec, cell = outcome.spec, outcome.cell
    if cell is None:
        return f"{spec.model} {spec.case}: not evaluated: {outcome.problem}"
    record = cell.record
    if record.failure is not None:
        return f"{spec.model} {spec.case}: failed: {record.failure.type}: {record.failure.message}"
    if record.status != "ok":
        return f"{spec.model} {spec.case}: no number: {record.flags[-1].text}"
    share = accuracy(record.labels, record.adversarial)
    return f"{spec.model} {spec.case}: accuracy {share.value:.2f} in {record.wall_seconds:.0f} s"
