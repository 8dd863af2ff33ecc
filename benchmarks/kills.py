# SPDX-License-Identifier: MIT
"""Kills the coordinator of a run and its workers at random moments, and counts what that cost.

    python benchmarks/kills.py --kills 100 --cells 200
    python benchmarks/kills.py --kills 20 --index postgresql+psycopg://USER:PASSWORD@HOST/NAME

Every kill is SIGKILL. A run goes on until its cells are finished; then another one begins, until the kills
are used up. Exit code 1 if a finished cell was lost or computed again, or the tables differ.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import leaderboard_world as world  # type: ignore[import-not-found]
from art_spiking_leaderboard import workers as worker_module
from art_spiking_leaderboard.cells import Cell, CellStore
from art_spiking_leaderboard.check import check_submission
from art_spiking_leaderboard.coordinator import Crew, run_on
from art_spiking_leaderboard.current import standings, tables
from art_spiking_leaderboard.engine import CellSpec, finished_cell, run, run_cell
from art_spiking_leaderboard.table import table_text

from art_spiking.suites import Suite

_LAST_RUNS = 3


@dataclass
class Tally:
    """What was killed, and what it cost.

    Attributes:
        coordinators, workers: killed.
        runs: of all cells, from none finished to all.
        begun: cells begun, again ones too; those beyond one for each cell were under way when killed.
        lost: cells that were on disk, whole, and later were not.
        twice: cells begun, or written, again after they were on disk.
        differing: runs whose records, table or index are not those of an undisturbed one.
    """

    coordinators: int = 0
    workers: int = 0
    runs: int = 0
    begun: int = 0
    lost: int = 0
    twice: int = 0
    differing: int = 0

    @property
    def kills(self) -> int:
        """Of both kinds."""
        return self.coordinators + self.workers

    @property
    def good(self) -> bool:
        """Whether nothing was lost, done twice or changed."""
        return not (self.lost or self.twice or self.differing)


class Watched:
    """One run in a folder, its cells, and what is known to be on disk."""

    def __init__(self, folder: Path, suite: Suite, index: str | None) -> None:
        self.submissions, self.records = folder / "submissions", folder / "records"
        self.suite, self.index = suite, index
        for seed, name in enumerate(("one", "two")):
            world.write_submission(self.submissions / name, seed=seed)
        self.specs = world.specs_of(self.submissions, self.records, suite)
        self.log = folder / "log"
        self._seen: dict[str, tuple[int, int]] = {}  # of finished cells: the file's inode and time

    def finished(self) -> dict[str, tuple[int, int]]:
        """The files of the cells that are whole and finished; new ones are read, known ones looked at."""
        store, found = CellStore(self.records), {}
        for spec in self.specs:
            path = store.path(spec.model, spec.section, spec.key)
            if spec.key in self._seen or finished_cell(spec, _unexpected) is not None:
                state = path.stat() if path.exists() else None
                if state is not None:
                    found[spec.key] = (state.st_ino, state.st_mtime_ns)
        return found

    def look(self, tally: Tally) -> int:
        """Counts what was lost or written again since the last look; returns how many are finished."""
        now = self.finished()
        tally.lost += len(self._seen.keys() - now.keys())
        tally.twice += sum(now[key] != known for key, known in self._seen.items() if key in now)
        self._seen |= now
        return len(now)

    def begun_again(self) -> tuple[int, int]:
        """Cells begun in all, and begun although they had been written, by what the workers noted."""
        done, begun, again = set(), 0, 0
        for line in self.log.read_text().splitlines() if self.log.exists() else ():
            word, key = line.split()
            begun, again = begun + (word == "begun"), again + (word == "begun" and key in done)
            if word == "done":
                done.add(key)
        return begun, again

    def coordinate(self) -> None:
        """In a process of its own: the run, with two workers that note what they do."""
        note = os.open(self.log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        bench = world.workbench

        def noted(spec: CellSpec, *shared: Any) -> Cell:
            os.write(note, f"begun {spec.key}\n".encode())
            cell = run_cell(spec, *shared)
            os.write(note, f"done {spec.key}\n".encode())
            return cell

        vars(worker_module)["run_cell"] = noted
        with _indexed(self.index, self.records) as put:
            for outcome in run_on(self.specs, Crew(world.forked, 2, bench), warn=lambda message: None):
                if outcome.problem and "died" not in outcome.problem:
                    raise RuntimeError(outcome.problem)
                put(outcome)

    def table(self) -> str:
        """The ranking, as text."""
        names = world.names()
        folders = sorted(self.submissions.iterdir())
        standing = standings([check_submission(folder, names) for folder in folders], names)
        found = tables(standing, CellStore(self.records), self.suite, _unexpected)
        return "\n".join(table_text(table) for table in found)


def measure(
    folder: Path, *, kills: int, cells: int, pause: tuple[float, float], seed: int, index: str | None
) -> Tally:
    """Runs and kills until the kills are used up, and the last run is finished."""
    import torch

    torch.set_num_threads(1)
    tally, rng = Tally(), random.Random(seed)
    suite = world.many_cells(cells // 2)
    expected = _undisturbed(folder / "undisturbed", suite)
    with click.progressbar(length=kills, file=sys.stderr) as bar:
        while tally.kills < kills:
            watched = Watched(folder / f"run-{tally.runs}", suite, index)
            _make_index(watched)
            before = tally.kills
            while watched.look(tally) < len(watched.specs) and tally.kills < kills:
                _start_and_kill(watched, tally, rng, kills, pause)
                bar.update(tally.kills - before)
                before = tally.kills
            for _ in range(_LAST_RUNS):  # an error of a killed worker is tried again
                if watched.look(tally) < len(watched.specs):
                    _start_and_kill(watched, tally, rng, 0, pause)
            begun, again = watched.begun_again()
            tally.runs, tally.begun, tally.twice = tally.runs + 1, tally.begun + begun, tally.twice + again
            tally.lost += len(watched.specs) - watched.look(tally)
            same = (world.scores(watched.records), watched.table()) == expected
            tally.differing += not (same and _index_is_the_files(watched))
    return tally


def _start_and_kill(
    watched: Watched, tally: Tally, rng: random.Random, kills: int, pause: tuple[float, float]
) -> None:
    """Starts a coordinator, kills its workers and then itself; lets it end where no kill is left."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            watched.coordinate()
            status = 0
        finally:
            os._exit(status)
    while tally.kills < kills:
        time.sleep(rng.uniform(*pause))
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            _check(status)
            return
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children and rng.random() < 0.5:
            tally.workers += _killed(int(rng.choice(children)))
            watched.look(tally)
            continue
        os.kill(pid, signal.SIGKILL)
        tally.coordinators += 1
        break
    else:
        _check(os.waitpid(pid, 0)[1])
        return
    os.waitpid(pid, 0)
    watched.look(tally)


def _check(status: int) -> None:
    """Raises where a coordinator that nobody killed did not come to its end."""
    if status:
        raise RuntimeError(f"a run failed by itself: {status}")


def _killed(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _undisturbed(folder: Path, suite: Suite) -> tuple[dict[str, Any], str]:
    watched, bench = Watched(folder, suite, None), world.workbench()
    for _ in run(watched.specs, lambda spec: run_cell(spec, bench), warn=_unexpected):
        pass
    return world.scores(watched.records), watched.table()


@contextmanager
def _indexed(url: str | None, records: Path) -> Iterator[Any]:
    if url is None:
        yield lambda outcome: None
        return
    from art_spiking_leaderboard.indexing import following

    with following(url, records) as put:
        yield put


def _make_index(watched: Watched) -> None:
    if watched.index is not None:
        from art_spiking_leaderboard.index import Index

        with Index(watched.index) as index:
            index.rebuild(watched.records)


def _index_is_the_files(watched: Watched) -> bool:
    """Whether the index that the run kept up to date is the one that the files give."""
    if watched.index is None:
        return True
    from art_spiking_leaderboard import index as module

    with module.Index(watched.index) as index:
        kept = _rows(index, module)
        index.rebuild(watched.records)
        return kept == _rows(index, module) and len(kept) == len(watched.specs)


def _rows(index: Any, module: Any) -> list[str]:
    return sorted(json.dumps(row, default=str, sort_keys=True) for row in index.rows(module.cells.select()))


def _unexpected(message: str) -> None:
    raise RuntimeError(f"nothing of a run should be warned of: {message}")


@click.command(help=__doc__)
@click.option("--kills", default=100, show_default=True)
@click.option("--cells", default=200, show_default=True, help="Of a run; of two models.")
@click.option(
    "--pause", nargs=2, type=float, default=(0.05, 0.5), show_default=True, help="Seconds between kills."
)
@click.option("--seed", default=0, show_default=True)
@click.option("--index", metavar="URL", help="Keep this database's index up to date meanwhile.")
@click.option("--json", "as_json", is_flag=True)
def main(
    kills: int, cells: int, pause: tuple[float, float], seed: int, index: str | None, as_json: bool
) -> None:
    with tempfile.TemporaryDirectory(prefix="art-spiking-kills.") as folder:
        tally = measure(Path(folder), kills=kills, cells=cells, pause=pause, seed=seed, index=index)
    if as_json:
        click.echo(json.dumps(asdict(tally)))
    else:
        click.echo(
            f"{tally.kills} kills ({tally.coordinators} of the coordinator, {tally.workers} of a worker) in "
            f"{tally.runs} runs of {cells} cells: {tally.lost} finished cells lost, {tally.twice} run or "
            f"written twice, {tally.differing} of {tally.runs} final tables differ; "
            f"{tally.begun} cells begun for {tally.runs * cells}"
        )
    sys.exit(not tally.good)


if __name__ == "__main__":
    main()
