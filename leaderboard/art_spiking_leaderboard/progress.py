# SPDX-License-Identifier: MIT
"""Progress of a run on stderr: a bar with a time estimate on a terminal, else a line per cell."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import Any

import click

from art_spiking.metrics import accuracy
from art_spiking_leaderboard.engine import CellSpec, Outcome


class Progress:
    """Tells how far a run is, and how long the rest may take.

    The rest is estimated case by case from the cells computed so far: a patch takes longer than edits.
    """

    def __init__(self, specs: Sequence[CellSpec], bar: Any = None, *, workers: int = 1) -> None:
        self._waiting = [spec.case for spec in specs]
        self._total = len(specs)
        self._workers = workers
        self._seconds: dict[str, list[float]] = {}
        self._bar = bar
        self._began: dict[str, float] = {}

    def starting(self, spec: CellSpec) -> None:
        """A cell is about to be computed."""
        self._began[spec.identity.key] = time.monotonic()
        if self._bar is not None:
            self._bar.set_postfix_str(f"{spec.model} {spec.case}{self._rest()}")

    def finished(self, outcome: Outcome) -> None:
        """A cell has an outcome."""
        self._waiting.remove(outcome.spec.case)
        done = self._total - len(self._waiting)
        if not outcome.resumed and outcome.cell is not None:
            began = self._began.pop(outcome.spec.identity.key, time.monotonic())
            self._seconds.setdefault(outcome.spec.case, []).append(time.monotonic() - began)
        if self._bar is not None:
            self._bar.update()
            if not outcome.ok:
                self._bar.write(told(outcome), file=sys.stderr)
        elif not outcome.resumed:
            click.echo(f"{done} of {self._total}: {told(outcome)}{self._rest()}", err=True)

    def seconds_left(self) -> float | None:
        """The estimate, or None before the first computed cell."""
        known = [second for seconds in self._seconds.values() for second in seconds]
        if not known:
            return None
        return sum(fmean(self._seconds.get(case, known)) for case in self._waiting) / self._workers

    def _rest(self) -> str:
        left = self.seconds_left()
        if not left:
            return ""
        return f", about {left / 60:.0f} min left" if left >= 90 else f", about {left:.0f} s left"


@contextmanager
def progress(specs: Sequence[CellSpec], workers: int = 1) -> Iterator[Progress]:
    """A `Progress` for a run of these cells."""
    if not sys.stderr.isatty():
        yield Progress(specs, workers=workers)
        return
    from tqdm import tqdm

    layout = "{desc}{bar} {n_fmt}/{total_fmt} cells [{elapsed}] {postfix}"
    with tqdm(total=len(specs), file=sys.stderr, dynamic_ncols=True, bar_format=layout) as bar:
        yield Progress(specs, bar, workers=workers)


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
