# SPDX-License-Identifier: MIT
"""Runs cells on any `concurrent.futures.Executor`; a worker's death costs one retry of one cell."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import functools
import math
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from statistics import fmean

from art_spiking.errors import ArtSpikingError, CannotWrite
from art_spiking.memory import keep_freed_memory
from art_spiking_leaderboard.cells import CellStore
from art_spiking_leaderboard.engine import CellSpec, Outcome, Workbench, finished_cell, give_up, run_cell

ATTEMPTS = 2
"""How often a cell may take its worker with it before it is given up."""
_DEATHS = f"its worker died {ATTEMPTS} times (killed, out of memory, or out of time)"
_EXPECTED = (ArtSpikingError, ArithmeticError, MemoryError, RuntimeError, TypeError, ValueError)

Bench = Callable[[], Workbench]
Pool = Callable[[int], Executor]
"""Makes an executor with so many workers."""


@dataclass(frozen=True)
class Told:
    """What a worker says of a cell; the cell itself is on disk.

    Attributes:
        problem: why the model cannot be prepared, or None.
        full: why nothing can be written, or None.
    """

    problem: str | None = None
    full: str | None = None


class WorkerDied(RuntimeError):
    """What a cell's record says that took its worker with it, again and again."""


def processes(workers: int, *, threads: int, minutes: float | None = None, method: str = "spawn") -> Executor:
    """Processes of this machine.

    Args:
        workers: how many.
        threads: of each, for torch's operations.
        minutes: a cell that takes longer loses its worker; None for no limit.
        method: how they start: "spawn", so that they have imported nothing yet, or "fork", which is faster
            and safe only while no other thread runs.
    """
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context(method),
        initializer=_begin,
        initargs=(os.getpid(), threads, minutes),
    )


def run_on(
    specs: Sequence[CellSpec],
    pool: Pool,
    *,
    workers: int,
    bench: Bench = Workbench,
    warn: Callable[[str], object],
    starting: Callable[[CellSpec], object] = lambda spec: None,
) -> Iterator[Outcome]:
    """Computes the cells that are not there yet, several at once, and yields every cell's outcome.

    A cell writes its own result before its worker returns, so a worker's death loses no finished cell. When
    one dies, the cells that were being computed are tried again one at a time, each alone, so that the one
    that killed it is known; after `ATTEMPTS` deaths it is given up, and its cell is an error that the next
    run tries again. A model that cannot be prepared costs its own cells only.

    Args:
        specs: the cells.
        pool: makes the executor; called again after it broke.
        workers: how many cells are computed at once.
        bench: makes what the cells of one worker share; a function that can be pickled.
        warn: told of broken files and of workers that died.
        starting: told of each cell before it is computed.

    Raises:
        CannotWrite: full disk, or no permission.
    """
    found = [Outcome(spec, finished_cell(spec, warn), resumed=True) for spec in specs]
    finished = [outcome for outcome in found if outcome.cell is not None]
    yield from finished
    waiting = _dearest_first([outcome.spec for outcome in found if outcome.cell is None], finished)
    failed: dict[str, str] = {}
    while waiting:
        doubtful: list[CellSpec] = []
        yield from _together(waiting, failed, doubtful, pool(workers), workers, bench, starting)
        if doubtful:
            warn(f"a worker died; {len(doubtful)} cells are tried again, one at a time")
        for spec in doubtful:
            yield _alone(spec, failed, pool, bench, starting)


def _dearest_first(waiting: Sequence[CellSpec], finished: Sequence[Outcome]) -> deque[CellSpec]:
    """The cells that take longest first, so that none is left for the end by itself.

    A case costs what it cost other models, on average; one without a finished cell goes first.
    """
    seconds: dict[str, list[float]] = {}
    for outcome in finished:
        if outcome.cell is not None:
            seconds.setdefault(outcome.spec.case, []).append(outcome.cell.record.wall_seconds)
    return deque(sorted(waiting, key=lambda spec: -fmean(seconds.get(spec.case, [math.inf]))))


def _together(
    waiting: deque[CellSpec],
    failed: dict[str, str],
    doubtful: list[CellSpec],
    executor: Executor,
    workers: int,
    bench: Bench,
    starting: Callable[[CellSpec], object],
) -> Iterator[Outcome]:
    """Works through `waiting` until the executor breaks; `doubtful` gets what was under way then."""
    running: dict[Future[Told], CellSpec] = {}
    with _closing(executor):
        while waiting or running:
            while waiting and len(running) < workers and not doubtful:
                spec = waiting.popleft()
                if spec.model in failed:
                    yield Outcome(spec, None, failed[spec.model])
                    continue
                starting(spec)
                try:
                    running[executor.submit(compute, spec, bench)] = spec
                except BrokenExecutor:
                    doubtful.append(spec)
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                spec = running.pop(future)
                outcome = _outcome(spec, future, failed)
                if outcome is None:
                    doubtful.append(spec)
                else:
                    yield outcome


def _alone(
    spec: CellSpec,
    failed: dict[str, str],
    pool: Pool,
    bench: Bench,
    starting: Callable[[CellSpec], object],
) -> Outcome:
    """A cell in an executor of its own, until it is finished or has broken that for the last time."""
    for _ in range(ATTEMPTS - 1):
        starting(spec)
        executor = pool(1)
        with _closing(executor):
            outcome = _outcome(spec, executor.submit(compute, spec, bench), failed)
        if outcome is not None:
            return outcome
    return _given_up(spec, failed, pool, bench)


def _given_up(spec: CellSpec, failed: dict[str, str], pool: Pool, bench: Bench) -> Outcome:
    """An error in the cell's place; no cell if preparing the model, which that needs, kills a worker too."""
    executor = pool(1)
    with _closing(executor):
        future = executor.submit(compute, spec, bench, WorkerDied(_DEATHS))
        outcome = _outcome(spec, future, failed)
    return Outcome(spec, None, _DEATHS) if outcome is None else outcome


def _outcome(spec: CellSpec, future: Future[Told], failed: dict[str, str]) -> Outcome | None:
    """What came of a cell; None if its worker died and left none."""
    try:
        told = future.result()
    except BrokenExecutor:
        # It may have died after its cell was written. An error that is there may be an earlier run's.
        cell = finished_cell(spec, lambda message: None)
        return None if cell is None else Outcome(spec, cell)
    if told.full is not None:
        raise CannotWrite(told.full)
    if told.problem is not None:
        failed[spec.model] = told.problem
        return Outcome(spec, None, told.problem)
    cell = CellStore(spec.job.records).read(spec.model, spec.job.suite.name, spec.identity.key)
    return None if cell is None else Outcome(spec, cell)


def compute(spec: CellSpec, bench: Bench, death: WorkerDied | None = None) -> Told:
    """In a worker: computes one cell and writes it; nothing that happens here needs to be pickled back.

    Args:
        spec: the cell.
        bench: what the worker's cells share.
        death: why the cell is not to be tried any more, but written as an error.
    """
    if finished_cell(spec, lambda message: None) is not None:
        return Told()  # another run was faster
    limit = _limit()
    if limit is not None:
        faulthandler.dump_traceback_later(limit, exit=True)
    try:
        if death is None:
            run_cell(spec, _bench(bench))
        else:
            give_up(spec, death, _bench(bench))
    except CannotWrite as error:
        return Told(full=str(error))
    except _EXPECTED as error:
        return Told(problem=f"{type(error).__name__}: {error}")
    finally:
        faulthandler.cancel_dump_traceback_later()
    return Told()


@functools.lru_cache(maxsize=1)
def _bench(bench: Bench) -> Workbench:
    """One for all cells of a worker: it keeps data and models."""
    return bench()


_MINUTES = "ART_SPIKING_CELL_MINUTES"


def _limit() -> float | None:
    """Seconds that a cell may take in this process."""
    text = os.environ.get(_MINUTES)
    return None if text is None else 60 * float(text)


def _begin(parent: int, threads: int, minutes: float | None) -> None:
    """In a fresh worker: its threads and limit; it ends with its parent, and leaves ctrl-C to it."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(OSError, AttributeError):  # Linux has it
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    keep_freed_memory()
    torch.set_num_threads(threads)
    if minutes is not None:
        os.environ[_MINUTES] = str(minutes)


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
