# SPDX-License-Identifier: MIT
"""Hands cells to the workers of any `concurrent.futures.Executor`; a death costs one retry of one cell."""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass, field, replace

from art_spiking.errors import CannotWrite
from art_spiking_leaderboard.costs import Costs
from art_spiking_leaderboard.engine import CellSpec, Outcome, Workbench, finished_cell, tidy
from art_spiking_leaderboard.workers import Bench, Told, WorkerDied, WorkerLost, compute

ATTEMPTS = 2
"""How often a cell may take its worker with it before it is given up."""
_DEATHS = f"its worker died {ATTEMPTS} times (killed, out of memory, or out of time)"

Pool = Callable[[int], Executor]
"""Makes an executor with so many workers."""


@dataclass(frozen=True)
class Crew:
    """The workers of a run: what makes their executor, how many there are, and what each of them shares.

    Attributes:
        pool: makes the executor; called again after it broke.
        workers: how many cells are computed at once.
        bench: makes what the cells of one worker share; a function that can be pickled.
    """

    pool: Pool
    workers: int
    bench: Bench = Workbench


@dataclass
class _Work:
    """What is left of a run.

    Attributes:
        waiting: the cells and shards not yet begun, in the order in which they will be.
        doubtful: what was under way when the executor broke.
        deaths: how often each cell or shard, by key, took its worker with it.
        failed: why a model cannot be prepared, by name.
        open: the keys of the shards that are not finished, by the key of their cell.
    """

    waiting: deque[CellSpec]
    doubtful: list[CellSpec] = field(default_factory=list)
    deaths: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)
    open: dict[str, set[str]] = field(default_factory=dict)


def run_on(
    specs: Sequence[CellSpec],
    crew: Crew,
    *,
    warn: Callable[[str], object],
    starting: Callable[[CellSpec], object] = lambda spec: None,
    costs: Costs | None = None,
) -> Iterator[Outcome]:
    """Computes the cells that are not there yet, several at once, and yields every cell's outcome.

    A cell writes its own result before its worker returns, so a worker's death loses no finished cell. Where
    the executor breaks with it, the cells that were being computed are tried again one at a time, each alone,
    so that the one that killed it is known; where it names the cell by `WorkerLost`, that one alone is. After
    `ATTEMPTS` deaths a cell is given up: it is an error that the next run tries again. A model that cannot be
    prepared costs its own cells only. The shards of a divided cell are handed out one by one, each with an
    outcome of its own; the cell follows when all are there.

    Args:
        specs: the cells.
        crew: the workers.
        warn: told of broken files and of workers that died.
        starting: told of each cell before it is computed.
        costs: what cells cost; whoever takes the outcomes may let it learn from them meanwhile.

    Raises:
        CannotWrite: full disk, or no permission.
        ArtSpikingError: the executor cannot have any workers.
    """
    costs = Costs() if costs is None else costs
    found = [Outcome(spec, finished_cell(spec, warn), resumed=True) for spec in specs]
    for outcome in found:
        if outcome.cell is not None:
            tidy(outcome.spec, outcome.cell)
            yield outcome
    coordinator = _Coordinator(crew, warn, starting, costs)
    yield from coordinator.finish([outcome.spec for outcome in found if outcome.cell is None])


class _Coordinator:
    """Hands out cells and takes what comes back."""

    def __init__(
        self,
        crew: Crew,
        warn: Callable[[str], object],
        starting: Callable[[CellSpec], object],
        costs: Costs,
    ) -> None:
        self._crew, self._warn, self._starting, self._costs = crew, warn, starting, costs
        self._work = _Work(deque())

    def finish(self, specs: Sequence[CellSpec]) -> Iterator[Outcome]:
        """Every cell's outcome, in whatever order they end."""
        work = self._work
        for spec in specs:
            work.waiting.extend(self._divided(spec))
        self._order()
        while work.waiting:
            yield from self._together()
            doubtful, work.doubtful = work.doubtful, []
            if doubtful:
                self._warn(f"a worker died; {len(doubtful)} cells are tried again, one at a time")
            for spec in doubtful:
                yield from self._ended(self._alone(spec))

    def _divided(self, spec: CellSpec) -> list[CellSpec]:
        """What is to be computed of a cell first: its shards that are not there, or else the cell."""
        units = [unit for unit in spec.units if finished_cell(unit, self._warn) is None]
        if units:
            self._work.open[spec.key] = {unit.key for unit in units}
        return units or [spec]

    def _ended(self, outcome: Outcome) -> Iterator[Outcome]:
        """The outcome; with a cell's last shard the cell itself is next, with one that has none it ends."""
        spec, opened = outcome.spec, self._work.open
        if spec.shard is None:
            yield outcome
        elif spec.identity.key in opened:
            if outcome.cell is None:
                del opened[spec.identity.key]
                yield Outcome(spec.whole, None, outcome.problem)
                return
            yield outcome
            opened[spec.identity.key].discard(spec.key)
            if not opened[spec.identity.key]:
                del opened[spec.identity.key]
                self._work.waiting.appendleft(replace(spec.whole, merging=True))

    def _order(self) -> None:
        """The dearest first, so that none is left for the end by itself."""
        self._work.waiting = deque(self._costs.dearest_first(self._work.waiting))

    def _together(self) -> Iterator[Outcome]:
        """Works through what is waiting until the executor breaks."""
        work, running = self._work, dict[Future[Told], CellSpec]()
        executor = self._crew.pool(self._crew.workers)
        with _closing(executor):
            while work.waiting or running:
                yield from self._hand_out(executor, running)
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    outcome = self._taken(running.pop(future), future)
                    if outcome is not None:
                        yield from self._ended(outcome)

    def _hand_out(self, executor: Executor, running: dict[Future[Told], CellSpec]) -> Iterator[Outcome]:
        """Gives every free worker a cell; the cells of models that cannot be prepared end here."""
        work = self._work
        if self._costs.news:
            self._order()
        while work.waiting and len(running) < self._crew.workers and not work.doubtful:
            spec = work.waiting.popleft()
            if spec.model in work.failed:
                yield from self._ended(Outcome(spec, None, work.failed[spec.model]))
                continue
            if spec.shard is not None and spec.identity.key not in work.open:
                continue  # its cell ended already
            self._starting(spec)
            try:
                running[self._submit(executor, spec)] = spec
            except BrokenExecutor:
                work.doubtful.append(spec)

    def _submit(self, executor: Executor, spec: CellSpec) -> Future[Told]:
        if self._work.deaths[spec.key] < ATTEMPTS:
            return executor.submit(compute, spec, self._crew.bench)
        return executor.submit(compute, spec, self._crew.bench, WorkerDied(_DEATHS))

    def _taken(self, spec: CellSpec, future: Future[Told]) -> Outcome | None:
        """What came of a cell; None if it is to be tried again."""
        work = self._work
        try:
            return self._outcome(spec, future.result())
        except WorkerLost as error:
            outcome = self._left_behind(spec)
            if outcome is None and work.deaths[spec.key] == ATTEMPTS:  # to note that killed a worker too
                outcome = Outcome(spec, None, _DEATHS)
            if outcome is None:
                work.deaths[spec.key] += 1
                work.waiting.appendleft(spec)
                self._warn(f"{spec.model} {spec.case} lost its worker: {error}")
        except BrokenExecutor:
            outcome = self._left_behind(spec)
            if outcome is None:
                work.doubtful.append(spec)
        return outcome

    def _alone(self, spec: CellSpec) -> Outcome:
        """A cell in an executor of its own, until it is finished or has broken that for the last time."""
        deaths = self._work.deaths
        for deaths[spec.key] in range(1, ATTEMPTS + 1):
            self._starting(spec)
            executor = self._crew.pool(1)
            try:
                with _closing(executor):
                    return self._outcome(spec, self._submit(executor, spec).result())
            except (BrokenExecutor, WorkerLost):
                outcome = self._left_behind(spec)
                if outcome is not None:
                    return outcome
        return Outcome(spec, None, _DEATHS)

    def _left_behind(self, spec: CellSpec) -> Outcome | None:
        """The cell of a worker that died after it was written; an earlier run's error is none."""
        cell = finished_cell(spec, lambda message: None)
        return None if cell is None else Outcome(spec, cell)

    def _outcome(self, spec: CellSpec, told: Told) -> Outcome:
        if told.full is not None:
            raise CannotWrite(told.full)
        for note in told.notes:
            self._warn(note)
        if told.problem is not None:
            self._work.failed[spec.model] = told.problem
            return Outcome(spec, None, told.problem)
        return Outcome(spec, told.cell, seconds=told.seconds)


@contextlib.contextmanager
def _closing(executor: Executor) -> Iterator[None]:
    """Shuts an executor down; at once, with its processes, where something went wrong."""
    try:
        yield
    except BaseException:
        processes = list((getattr(executor, "_processes", None) or {}).values())
        executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()
        raise
    executor.shutdown()
