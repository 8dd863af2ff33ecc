# SPDX-License-Identifier: MIT
"""What an engine adds to every cell: many cells of a few milliseconds, in process, on processes and on Parsl.

    python benchmarks/engines.py --cells 200 --workers 2

Every engine starts before it is timed, and has done a run. The cells are the same, with records in a folder
of their own each time; engines take turns. Milliseconds per cell are the time of a run over its cells: with
several workers the cells themselves overlap. What an engine adds to a task is timed with tasks that do
nothing, one after the other. Parsl is left out where it is not installed.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import leaderboard_world as world  # type: ignore[import-not-found]
from art_spiking_leaderboard.cluster import ClusterPool
from art_spiking_leaderboard.coordinator import Crew, run_on
from art_spiking_leaderboard.engine import CellSpec, run, run_cell
from art_spiking_leaderboard.profiles import LocalProfile
from art_spiking_leaderboard.workers import processes

TESTS = Path(world.__file__).parent


class Kept(Executor):
    """An executor that a run may shut down, and that goes on: it is started once for all runs."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """As the executor's."""
        return self._executor.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing."""


@contextmanager
def started(workers: int) -> Iterator[dict[str, tuple[Executor | None, float]]]:
    """Every engine's executor, with the seconds until each worker had done something; None in process."""
    makers: dict[str, Callable[[], Executor]] = {
        "processes": lambda: processes(workers, threads=1),
    }
    if importlib.util.find_spec("parsl") is not None:
        profile = LocalProfile(
            kind="local", workers_per_node=workers, worker_init=f"export PYTHONPATH={TESTS}:$PYTHONPATH"
        )
        makers["parsl"] = lambda: ClusterPool(profile)
    with ExitStack() as stack:
        engines: dict[str, tuple[Executor | None, float]] = {"in process": (None, 0.0)}
        for name, make in makers.items():
            began = time.perf_counter()
            executor = make()
            stack.callback(executor.shutdown)
            wait([executor.submit(time.sleep, 0.3) for _ in range(workers)])
            engines[name] = (Kept(executor), time.perf_counter() - began)
        yield engines


def run_ms(specs: list[CellSpec], executor: Executor | None, workers: int) -> float:
    """Milliseconds per cell of a whole run."""
    bench = world.workbench()
    began = time.perf_counter()
    if executor is None:
        found = list(run(specs, lambda spec: run_cell(spec, bench), warn=print))
    else:
        crew = Crew(lambda count: executor, workers, world.workbench)
        found = list(run_on(specs, crew, warn=print))
    seconds = time.perf_counter() - began
    if not all(outcome.ok for outcome in found):
        raise RuntimeError("a cell failed")
    return 1000 * seconds / len(specs)


def task_ms(executor: Executor | None, tasks: int) -> float:
    """Milliseconds of a task that does nothing, one after the other."""
    if executor is None:
        return 0.0
    began = time.perf_counter()
    for _ in range(tasks):
        executor.submit(int).result()
    return 1000 * (time.perf_counter() - began) / tasks


@click.command(help=__doc__)
@click.option("--cells", default=200, show_default=True, help="Of two models.")
@click.option("--workers", default=2, show_default=True)
@click.option("--repeats", default=5, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(cells: int, workers: int, repeats: int, as_json: bool) -> None:
    import torch

    torch.set_num_threads(1)
    suite, found = world.many_cells(cells // 2), dict[str, list[float]]()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="art-spiking-engines.") as name, started(workers) as engines:
        folder = Path(name)
        for seed, model in enumerate(("one", "two")):
            world.write_submission(folder / "submissions" / model, seed=seed)
        for repeat in range(repeats + 1):
            for engine, (executor, _) in engines.items():
                specs = world.specs_of(folder / "submissions", folder / f"{engine} {repeat}", suite)
                ms = run_ms(specs, executor, workers)
                if repeat:  # the first run imports, loads and compiles
                    found.setdefault(engine, []).append(ms)
        for engine, (executor, seconds) in engines.items():
            task = median(task_ms(executor, 100) for _ in range(3))
            rows.append(
                {"engine": engine, "start_s": seconds, "cell_ms": median(found[engine]), "task_ms": task}
            )
    if as_json:
        click.echo(json.dumps(rows))
        return
    click.echo(f"{cells} cells, {workers} workers, medians of {repeats}")
    click.echo(f"{'engine':12} {'start, s':>9} {'ms per cell':>12} {'ms per task':>12}")
    for row in rows:
        click.echo("{engine:12} {start_s:9.1f} {cell_ms:12.1f} {task_ms:12.2f}".format(**row))


if __name__ == "__main__":
    main()
