# SPDX-License-Identifier: MIT
"""What a worker does, which is to compute a cell and write it; and processes that are workers."""

from __future__ import annotations

import faulthandler
import functools
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass

from art_spiking.errors import ArtSpikingError, CannotWrite
from art_spiking.memory import keep_freed_memory
from art_spiking_leaderboard.cells import Cell
from art_spiking_leaderboard.engine import CellSpec, Workbench, finished_cell, give_up, run_cell
from art_spiking_leaderboard.interchange import end_with

_EXPECTED = (ArtSpikingError, ArithmeticError, MemoryError, RuntimeError, TypeError, ValueError)

Bench = Callable[[], Workbench]


@dataclass(frozen=True)
class Told:
    """What a worker says of a cell.

    Attributes:
        cell: what was written. It comes along because a disk that nodes share may show it later.
        problem: why the model cannot be prepared, or None.
        full: why nothing can be written, or None.
        seconds: how long it took, with all that belongs to it; None if it was there already.
        notes: what else is to be said.
    """

    cell: Cell | None = None
    problem: str | None = None
    full: str | None = None
    seconds: float | None = None
    notes: tuple[str, ...] = ()


class WorkerDied(RuntimeError):
    """What a cell's record says that took its worker with it, again and again."""


class WorkerLost(RuntimeError):
    """What an executor raises for a task whose worker is gone, where the other workers go on."""


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


def compute(spec: CellSpec, bench: Bench, death: WorkerDied | None = None) -> Told:
    """In a worker: computes one cell or shard and writes it; nothing that happens here is pickled back.

    Args:
        spec: the cell.
        bench: what the worker's cells share.
        death: why the cell is not to be tried any more, but written as an error.
    """
    cell = finished_cell(spec, lambda message: None)
    if cell is not None:
        return Told(cell)  # another run was faster
    began, limit, notes = time.perf_counter(), _limit(), list[str]()
    if limit is not None:
        faulthandler.dump_traceback_later(limit, exit=True)
    try:
        shared = _bench(bench)
        cell = give_up(spec, death, shared) if death is not None else run_cell(spec, shared, notes.append)
    except CannotWrite as error:
        return Told(full=str(error))
    except _EXPECTED as error:
        return Told(problem=f"{type(error).__name__}: {error}")
    finally:
        faulthandler.cancel_dump_traceback_later()
    return Told(cell, seconds=time.perf_counter() - began, notes=tuple(notes))


@functools.lru_cache(maxsize=1)
def settle(threads: int, minutes: float | None) -> None:
    """In a worker, once: its threads for torch's operations, and the minutes that a cell may take."""
    import torch

    keep_freed_memory()
    torch.set_num_threads(threads)
    if minutes is not None:
        os.environ[_MINUTES] = str(minutes)


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
    """In a fresh process: it ends with its parent, and leaves ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with(parent)
    settle(threads, minutes)
