# SPDX-License-Identifier: MIT
"""Cells on several workers: the same numbers, and a worker that dies costs one retry of one cell."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import leaderboard_world as world
import pytest
from art_spiking_leaderboard.cells import CellStore
from art_spiking_leaderboard.check import check_submission
from art_spiking_leaderboard.coordinator import Crew, run_on
from art_spiking_leaderboard.current import standings, tables
from art_spiking_leaderboard.engine import give_up, run, run_cell
from art_spiking_leaderboard.table import table_text
from art_spiking_leaderboard.workers import WorkerDied, processes
from art_spiking_leaderboard.working import RunOptions, run_all
from leaderboard_world import forked, scores, specs_of
from test_leaderboard_commands import suite_file

from art_spiking.errors import CannotWrite


@pytest.fixture
def submissions(tmp_path):
    for seed, name in enumerate(("one", "two")):
        world.write_submission(tmp_path / "submissions" / name, seed=seed)
    return tmp_path / "submissions"


def outcomes_of(specs, *, pool=forked, workers=2, **options):
    crew = Crew(pool, workers, options.pop("bench", world.workbench))
    options = {"warn": lambda message: None, **options}
    return {(outcome.spec.model, outcome.spec.case): outcome for outcome in run_on(specs, crew, **options)}


def table_of(submissions, records, suite):
    names = world.names()
    standing = standings([check_submission(f, names) for f in sorted(submissions.iterdir())], names)
    found = tables(standing, CellStore(records), suite, pytest.fail)
    return "\n".join(table_text(table) for table in found)


@pytest.mark.parametrize("pool", [forked, ThreadPoolExecutor], ids=["processes", "threads"])
def test_any_executor_gives_what_one_process_gives(submissions, tmp_path, pool):
    alone = specs_of(submissions, tmp_path / "alone", world.suite())
    bench = world.workbench()
    list(run(alone, lambda spec: run_cell(spec, bench), warn=pytest.fail))
    found = outcomes_of(specs_of(submissions, tmp_path / "many", world.suite()), pool=pool)
    assert len(found) == 6
    assert all(outcome.ok for outcome in found.values())
    assert scores(tmp_path / "many") == scores(tmp_path / "alone")
    again = outcomes_of(specs_of(submissions, tmp_path / "many", world.suite()), pool=pool)
    assert all(outcome.resumed for outcome in again.values())


def test_a_worker_that_dies_once_costs_a_retry(submissions, tmp_path):
    suite = world.suite(b=f"die {tmp_path / 'died'}")
    warnings = []
    found = outcomes_of(specs_of(submissions, tmp_path / "records", suite), warn=warnings.append)
    assert (tmp_path / "died").exists()
    assert all(outcome.ok for outcome in found.values())
    assert any("a worker died" in text for text in warnings)


def test_a_cell_that_kills_its_worker_is_given_up_and_the_others_are_finished(submissions, tmp_path):
    found = outcomes_of(specs_of(submissions, tmp_path / "records", world.suite(a="die")))
    given_up = {key for key, outcome in found.items() if not outcome.ok}
    assert given_up == {("one", "flips-a"), ("two", "flips-a")}
    failures = [found[key].cell.record.failure for key in given_up]
    assert {failure.type for failure in failures} == {"WorkerDied"}
    assert all("died 2 times" in failure.message for failure in failures)
    kept = scores(tmp_path / "records")
    assert sorted(record["status"] for record in kept.values()) == ["error"] * 2 + ["ok"] * 4
    assert "flips-a failed: WorkerDied: its worker died" in table_of(
        submissions, tmp_path / "records", world.suite(a="die")
    )


def test_a_cell_that_was_given_up_is_tried_twice_by_the_next_run(submissions, tmp_path):
    """The error of the run before is no result of this one."""
    deaths = tmp_path / "died"
    suite = world.suite(a=f"die {deaths}")
    specs = specs_of(submissions, tmp_path / "records", suite)[:1]
    (spec,) = specs
    give_up(spec, WorkerDied("an earlier run"), world.workbench())
    assert outcomes_of(specs)["one", "flips-a"].ok
    assert deaths.exists()


def test_a_model_that_kills_whoever_prepares_it_has_no_cell(submissions, tmp_path):
    specs = specs_of(submissions, tmp_path / "records", world.suite())[:1]
    found = outcomes_of(specs, bench=deadly_bench)["one", "flips-a"]
    assert found.cell is None
    assert "died 2 times" in found.problem


def deadly_bench():
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_cell_that_takes_too_long_loses_its_worker(submissions, tmp_path, capfd):
    suite = world.suite(c=f"wait {tmp_path / 'waiting'}")
    pool = partial(processes, threads=1, minutes=1 / 60, method="fork")
    specs = [spec for spec in specs_of(submissions, tmp_path / "records", suite) if spec.model == "one"]
    found = outcomes_of(specs, pool=pool)
    assert "out of time" in found["one", "flips-c"].cell.record.failure.message
    assert found["one", "flips-a"].ok
    assert found["one", "flips-b"].ok


def test_a_model_that_cannot_be_prepared_costs_its_own_cells_only(submissions, tmp_path):
    specs = specs_of(submissions, tmp_path / "records", world.suite())
    (submissions / "one" / "graph.json").unlink()
    found = outcomes_of(specs)
    problems = {
        model: {o.problem for (name, _), o in found.items() if name == model} for model in ("one", "two")
    }
    assert problems["two"] == {""}
    assert all("the submission one has problems" in problem for problem in problems["one"])


def test_a_folder_that_cannot_be_written_stops_the_run(submissions, tmp_path):
    specs = specs_of(submissions, tmp_path / "records", world.suite())
    (tmp_path / "records").write_text("a file in the way")
    with pytest.raises(CannotWrite, match="records"):
        outcomes_of(specs)


def test_ctrl_c_stops_the_workers_at_once(submissions, tmp_path):
    waiting = tmp_path / "waiting"

    def interrupted(workers):
        pool = forked(workers)
        submit = pool.submit

        def then_interrupt(*args):
            submit(*args)
            deadline = time.monotonic() + 30
            while not waiting.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            pids.extend(pool._processes)
            raise KeyboardInterrupt

        pool.submit = then_interrupt
        return pool

    pids = []
    specs = specs_of(submissions, tmp_path / "records", world.suite(a=f"wait {waiting}"))
    with pytest.raises(KeyboardInterrupt):
        outcomes_of(specs, pool=interrupted, workers=1)
    assert pids
    for pid in pids:
        assert ended(pid)


def ended(pid):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.waitpid(pid, os.WNOHANG)
            os.kill(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            return True
        time.sleep(0.01)
    return False


def test_the_command_takes_workers(submissions, tmp_path, capsys):
    path = suite_file(tmp_path, world.suite())
    options = RunOptions(submissions, str(path), tmp_path / "records", workers=2)
    assert run_all(options, world.workbench) == 0
    shown = capsys.readouterr()
    assert "two" in shown.out
    assert "6 of 6" in shown.err
