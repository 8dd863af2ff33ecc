# SPDX-License-Identifier: MIT
"""Divided cells: shards are written and resumed as cells are; any number of workers comes to one record."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import leaderboard_world as world
import pytest
from art_spiking_leaderboard.cells import CellStore
from art_spiking_leaderboard.coordinator import Crew, run_on
from art_spiking_leaderboard.engine import Job, finished_cell, run, run_cell
from art_spiking_leaderboard.progress import Progress
from art_spiking_leaderboard.working import RunOptions, run_all
from leaderboard_world import forked, scores, specs_of
from test_leaderboard_commands import suite_file

from art_spiking.evaluate import Providers
from art_spiking.suites import Case, Control, Suite


@pytest.fixture
def submissions(tmp_path: Path) -> Path:
    for seed, name in enumerate(("one", "two")):
        world.write_submission(tmp_path / "submissions" / name, seed=seed)
    return tmp_path / "submissions"


def divided(**trouble: str) -> Suite:
    """Three cases of twelve samples, in shards of five."""
    return world.suite(**trouble).model_copy(update={"shard": 5})


def alone(specs, warn=pytest.fail):
    bench = world.workbench()
    return list(run(specs, lambda spec: run_cell(spec, bench, warn), warn=warn))


def on_workers(specs, workers=3, pool=forked, warn=pytest.fail):
    return list(run_on(specs, Crew(pool, workers, world.workbench), warn=warn))


def files(records: Path) -> list[str]:
    return sorted(str(path.relative_to(records)) for path in records.rglob("*") if path.is_file())


def cells_of(outcomes):
    return {(o.spec.model, o.spec.case): o for o in outcomes if o.spec.shard is None}


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_comes_to_the_same_records(submissions, tmp_path, workers):
    alone(specs_of(submissions, tmp_path / "alone", divided()))
    outcomes = on_workers(specs_of(submissions, tmp_path / "many", divided()), workers)
    assert sum(outcome.spec.shard is not None for outcome in outcomes) == 18
    assert all(outcome.ok for outcome in outcomes)
    assert len(cells_of(outcomes)) == 6
    assert scores(tmp_path / "many") == scores(tmp_path / "alone")
    assert files(tmp_path / "many") == files(tmp_path / "alone"), "shards are removed with their cell"


def test_attacks_that_draw_come_to_the_same_on_one_worker_and_on_three(submissions, tmp_path):
    """Two people's runs, with the built-in attacks: the same to the last sample."""
    case = Case(
        name="edits",
        attack="event-gradient",
        threat={"kind": "event-edits", "max_edits": 4},
        parameters={"steps": 3, "surrogate": "sweep", "batch_size": 4},
        control=Control(attack="random-events"),
    )
    suite = Suite(name="small", version=1, craft=6, test=12, shard=5, cases=(case,))
    found = []
    for workers in (1, 3):
        bench, records = built_in(), tmp_path / str(workers)
        specs = world.specs_of(submissions, records, suite, bench)
        assert [len(spec.shards) for spec in specs] == [3, 3]
        list(run_on(specs, Crew(forked, workers, built_in), warn=pytest.fail))
        found.append(scores(records))
    assert found[0] == found[1]
    assert all(record["status"] == "ok" and record["control"] for record in found[0].values())


def built_in():
    bench = world.workbench()
    bench.providers = Providers.installed()
    return bench


def test_shards_are_part_of_a_cells_identity_and_not_of_the_run(submissions, tmp_path):
    plain, parts = (specs_of(submissions, tmp_path, suite) for suite in (world.suite(), divided()))
    assert {spec.key for spec in plain}.isdisjoint(spec.key for spec in parts)
    assert [spec.shards for spec in plain] == [()] * 6
    (spec, *_) = parts
    assert [unit.size for unit in spec.units] == [5, 5, 2]
    assert [unit.own.shard for unit in spec.units] == [(0, 3), (1, 3), (2, 3)]
    assert len({spec.key, *(unit.key for unit in spec.units)}) == 4


def test_a_run_goes_on_with_the_shards_that_are_there(submissions, tmp_path):
    log = tmp_path / "log"
    suite = divided(a=f"log {log}", b=f"log {log}", c=f"log {log}")
    specs = specs_of(submissions, tmp_path / "records", suite)
    for spec in specs[:2]:
        for unit in spec.units[:2]:
            run_cell(unit, world.workbench())
    assert finished_cell(specs[0], pytest.fail) is None
    before = log.read_text().count("\n")
    outcomes = on_workers(specs)
    assert all(outcome.ok for outcome in outcomes)
    assert log.read_text().count("\n") == 18, f"{before} of them were there"
    assert sum(outcome.spec.shard is not None for outcome in outcomes) == 14


def test_a_damaged_shard_is_set_aside_and_computed_again(submissions, tmp_path):
    (spec, *_) = specs_of(submissions, tmp_path / "records", divided())
    unit = spec.units[1]
    run_cell(unit, world.workbench())
    path = unit.place / f"{unit.key}.json"
    path.write_bytes(path.read_bytes()[:-30])
    warnings: list[str] = []
    assert cells_of(on_workers([spec], warn=warnings.append))["one", "flips-a"].ok
    assert any("set aside" in text for text in warnings)


def test_a_shard_that_was_altered_is_not_taken(submissions, tmp_path):
    (spec, *_) = specs_of(submissions, tmp_path / "records", divided())
    for unit in spec.units[:2]:
        run_cell(unit, world.workbench())
    first, second = (unit.place / f"{unit.key}.json" for unit in spec.units[:2])
    first.write_bytes(second.read_bytes())
    warnings: list[str] = []
    alone_cell = run_cell(replace(spec, job=replace(spec.job, records=tmp_path / "alone")), world.workbench())
    (*_, outcome) = on_workers([spec], warn=warnings.append)
    assert outcome.cell.record.result() == alone_cell.record.result()
    assert any("not a whole cell" in text for text in warnings)


def test_a_worker_that_dies_costs_its_shard_a_retry(submissions, tmp_path):
    suite = divided(b=f"die {tmp_path / 'died'}")
    outcomes = on_workers(specs_of(submissions, tmp_path / "records", suite), warn=lambda text: None)
    assert (tmp_path / "died").exists()
    assert all(outcome.ok for outcome in cells_of(outcomes).values())


def test_shards_that_kill_their_workers_make_an_error_of_their_cell_alone(submissions, tmp_path):
    specs = specs_of(submissions, tmp_path / "records", divided(a="die"))
    found = cells_of(on_workers(specs, warn=lambda text: None))
    failed = {key for key, outcome in found.items() if not outcome.ok}
    assert failed == {("one", "flips-a"), ("two", "flips-a")}
    assert {found[key].cell.record.failure.type for key in failed} == {"WorkerDied"}


def test_a_case_that_raises_is_tried_once_in_a_run_and_again_in_the_next(submissions, tmp_path):
    log = tmp_path / "log"
    specs = specs_of(submissions, tmp_path / "records", divided(b=f"raise {log}"))
    for expected in (6, 12):
        found = cells_of(on_workers(specs))
        assert found["one", "flips-b"].cell.record.failure.message == "this attack is broken"
        assert log.read_text().count("\n") == expected
    assert any("/shards/" in name for name in files(tmp_path / "records")), "kept for the next run"


def test_a_model_that_cannot_be_prepared_ends_its_cells_once(submissions, tmp_path):
    specs = specs_of(submissions, tmp_path / "records", divided())
    (submissions / "one" / "graph.json").unlink()
    outcomes = on_workers(specs)
    ended = [o.spec.case for o in outcomes if o.spec.model == "one"]
    assert sorted(ended) == ["flips-a", "flips-b", "flips-c"]
    assert all("has problems" in o.problem for o in outcomes if o.spec.model == "one")
    assert all(o.ok for o in outcomes if o.spec.model == "two")


def test_left_over_shards_of_a_finished_cell_are_removed(submissions, tmp_path):
    """A run that was killed between writing the cell and removing its shards."""
    specs = specs_of(submissions, tmp_path / "records", divided())
    alone(specs)
    kept = files(tmp_path / "records")
    run_cell(specs[0].units[0], world.workbench())
    assert files(tmp_path / "records") != kept
    assert all(outcome.resumed for outcome in on_workers(specs))
    assert files(tmp_path / "records") == kept


@pytest.mark.parametrize("pool", [None, ThreadPoolExecutor], ids=["alone", "workers"])
def test_figures_and_events_of_a_divided_cell_are_those_of_all_its_samples(submissions, tmp_path, pool):
    def written(suite: Suite, name: str):
        records, figures = tmp_path / name / "records", tmp_path / name / "figures"
        specs = [
            replace(spec, job=Job(suite, records, figures=figures, keep_events=True))
            for spec in specs_of(submissions, records, suite)[:1]
        ]
        alone(specs) if pool is None or suite.shard is None else on_workers(specs, pool=pool)
        (recording,) = figures.rglob("*.events.json")
        (events,) = records.rglob("*.safetensors")
        assert not any("shards" in name for name in files(records))
        return json.loads(recording.read_text()), events.name.split(".")[1]

    assert written(divided(), "divided") == written(world.suite(), "whole")


def test_progress_counts_cells_and_tells_of_shards(submissions, tmp_path, capsys):
    path = suite_file(tmp_path, divided())
    path.write_text("shard = 5\n" + path.read_text())
    options = RunOptions(submissions, str(path), tmp_path / "records", workers=2)
    assert run_all(options, world.workbench) == 0
    told = capsys.readouterr().err
    assert "6 of 6: " in told
    assert "flips-a, shard 3 of 3: accuracy" in told
    assert "7 of 6" not in told


def test_the_time_left_knows_which_shards_are_done(submissions, tmp_path):
    (spec, *_) = specs_of(submissions, tmp_path / "records", divided())
    shown = Progress([spec], workers=1)
    (first, second, third) = spec.units
    shown.starting(first)
    outcomes = [outcome for outcome in on_workers([spec]) if outcome.spec.shard is not None]
    assert shown.seconds_left() is None
    for outcome in outcomes:
        record = outcome.cell.record.model_copy(update={"wall_seconds": 2.0 * outcome.spec.size})
        slow = replace(outcome, cell=replace(outcome.cell, record=record), seconds=2.0 * outcome.spec.size)
        shown.finished(slow)
        if outcome.spec.shard == first.shard:
            break
    left = {unit.shard for unit in (second, third)} - {
        o.spec.shard for o in outcomes[: outcomes.index(outcome)]
    }
    assert shown.seconds_left() == pytest.approx(sum(2.0 * spec.units[k].size for k in left), abs=0.5)


def test_the_store_of_cells_does_not_see_shards(submissions, tmp_path):
    specs = specs_of(submissions, tmp_path / "records", divided())
    run_cell(specs[0].units[0], world.workbench())
    assert list(CellStore(tmp_path / "records").cells("one", "small")) == []
