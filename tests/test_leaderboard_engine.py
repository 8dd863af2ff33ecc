# SPDX-License-Identifier: MIT
"""The engine: every finished cell is kept, and is computed once."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest
from art_spiking_leaderboard.cells import Cell, CellStore
from art_spiking_leaderboard.check import check_submission
from art_spiking_leaderboard.current import standings, tables
from art_spiking_leaderboard.engine import CellSpec, Job, Outcome, plan, run, run_cell
from leaderboard_world import DT_US, STEPS, installed, names, suite, tiny_events, workbench, write_submission

from art_spiking.errors import CannotWrite, InvalidInput


@pytest.fixture
def bench():
    return workbench()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "submissions" / "mine"
    write_submission(path)
    return path


def specs_of(folder: Path, job: Job, bench) -> list[CellSpec]:
    return plan(check_submission(folder, bench.names), job, bench)


def compute_all(specs, bench, warnings=None) -> list[Outcome]:
    told = [] if warnings is None else warnings
    return list(run(specs, lambda spec: run_cell(spec, bench), warn=told.append))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(suite(), tmp_path / "records")


def test_cells_are_computed_once_and_then_taken_from_disk(folder, job, bench):
    specs = specs_of(folder, job, bench)
    first = compute_all(specs, bench)
    assert [outcome.resumed for outcome in first] == [False] * 3
    assert all(outcome.ok for outcome in first)
    again = list(run(specs, pytest.fail, warn=pytest.fail))
    assert [outcome.cell for outcome in again] == [outcome.cell for outcome in first]
    assert all(outcome.resumed for outcome in again)


def test_the_cells_say_what_was_done(folder, job, bench):
    (outcome, *_) = compute_all(specs_of(folder, job, bench), bench)
    record = outcome.cell.record
    assert record.cost.added == (2,) * 12
    assert record.model.name == "mine"
    assert outcome.cell.identity.providers == {
        "attack flips": "tests 1.0",
        "threat event-edits": installed("threats")["event-edits"].provider,
    }
    assert outcome.cell.identity.result == record.key()
    assert len(record.control) == 12


def test_a_spec_travels_and_gives_the_same_record(folder, job, bench):
    spec = specs_of(folder, job, bench)[1]
    copy = pickle.loads(pickle.dumps(spec))
    assert copy == spec
    here, there = run_cell(spec, bench), run_cell(copy, workbench())
    timeless = {"wall_seconds": 0.0, "provenance": here.record.provenance}
    assert here.record.model_copy(update=timeless) == there.record.model_copy(update=timeless)


@pytest.mark.parametrize(
    "field",
    ["weights", "readout", "suite", "data"],
)
def test_what_changes_the_result_is_computed_anew(folder, job, bench, field):
    before = {spec.identity.key for spec in specs_of(folder, job, bench)}
    if field == "weights":
        write_submission(folder, seed=1)
    elif field == "readout":
        write_submission(folder, readout="membrane-max")
    elif field == "suite":
        job = replace(job, suite=job.suite.model_copy(update={"version": 2}))
    else:
        job = replace(job, suite=job.suite.model_copy(update={"test": 11}))
    assert before.isdisjoint(spec.identity.key for spec in specs_of(folder, job, bench))


def test_a_case_that_raises_is_kept_as_an_error_and_tried_again(folder, job, bench):
    broken = replace(job, suite=suite(b="raise"))
    specs = specs_of(folder, broken, bench)
    outcomes = compute_all(specs, bench)
    assert [outcome.cell.record.status for outcome in outcomes] == ["ok", "error", "ok"]
    assert outcomes[1].cell.record.failure.message == "this attack is broken"
    calls = []
    again = list(run(specs, lambda spec: calls.append(spec.case) or run_cell(spec, bench), warn=pytest.fail))
    assert calls == ["flips-b"]
    assert [outcome.ok for outcome in again] == [True, False, True]


def test_an_attack_over_its_budget_gets_no_number_and_is_not_tried_again(folder, job, bench):
    cheating = replace(job, suite=suite(c="cheat"))
    specs = specs_of(folder, cheating, bench)
    outcomes = compute_all(specs, bench)
    assert outcomes[2].cell.record.status == "invalid"
    assert outcomes[2].cell.record.adversarial == ()
    assert all(outcome.resumed for outcome in run(specs, pytest.fail, warn=pytest.fail))


def test_an_interrupt_passes_through_and_loses_nothing(folder, job, bench):
    stopping = replace(job, suite=suite(b="interrupt"))
    specs = specs_of(folder, stopping, bench)
    done = []
    with pytest.raises(KeyboardInterrupt):
        done.extend(run(specs, lambda spec: run_cell(spec, bench), warn=pytest.fail))
    (kept,) = CellStore(job.records).cells("mine", "small")
    assert kept.record.case.name == "flips-a"
    calls = []
    with pytest.raises(KeyboardInterrupt):
        list(run(specs, lambda spec: calls.append(spec.case) or run_cell(spec, bench), warn=pytest.fail))
    assert calls == ["flips-b"]
    assert not list(job.records.rglob(".*"))


@pytest.mark.parametrize("damage", ["torn", "noise", "empty", "other JSON", "folder", "private"])
def test_a_damaged_cell_is_named_set_aside_and_computed_again(folder, job, bench, damage, monkeypatch):
    specs = specs_of(folder, job, bench)
    compute_all(specs, bench)
    store = CellStore(job.records)
    path = store.path("mine", "small", specs[0].identity.key)
    content = {"torn": path.read_bytes()[:-20], "noise": b"\x00\xff" * 50, "empty": b"", "other JSON": b"[1]"}
    if damage == "folder":
        path.unlink()
        path.mkdir()
    elif damage == "private":
        # The superuser may read everything, so the system's refusal is played.
        real = os.open

        def refuse(name, *more, **options):
            return real("/proc/nothing" if name == path else name, *more, **options)

        monkeypatch.setattr("art_spiking.untrusted_files.os.open", refuse)
    else:
        path.write_bytes(content[damage])
    warnings: list[str] = []
    outcomes = compute_all(specs, bench, warnings)
    monkeypatch.undo()
    assert [outcome.resumed for outcome in outcomes] == [False, True, True]
    assert all(outcome.ok for outcome in outcomes)
    aside = path.with_suffix(".broken-1")
    (warning,) = warnings
    assert str(path) in warning
    assert f"set aside as {aside.name} and is computed again" in warning
    assert aside.exists()
    if damage in content:
        assert aside.read_bytes() == content[damage]
    assert all(isinstance(cell, Cell) for cell in store.cells("mine", "small"))
    path.write_bytes(b"again")
    compute_all(specs, bench, warnings)
    assert path.with_suffix(".broken-2").read_bytes() == b"again"


def test_a_full_disk_stops_the_run_and_keeps_what_is_finished(folder, job, bench):
    specs = specs_of(folder, job, bench)

    def compute(spec):
        if spec.case == "flips-b":
            raise CannotWrite("cannot write there", found="no room left")
        return run_cell(spec, bench)

    outcomes = run(specs, compute, warn=pytest.fail)
    assert next(outcomes).ok
    with pytest.raises(CannotWrite):
        next(outcomes)
    assert [cell.record.case.name for cell in CellStore(job.records).cells("mine", "small")] == ["flips-a"]


def test_a_model_that_cannot_be_prepared_costs_its_own_cells_only(folder, job, bench):
    write_submission(folder.parent / "other")
    specs = specs_of(folder, job, bench) + specs_of(folder.parent / "other", job, bench)
    calls = []

    def compute(spec):
        calls.append((spec.model, spec.case))
        if spec.model == "mine":
            raise InvalidInput("the model returns NaN")
        return run_cell(spec, bench)

    outcomes = list(run(specs, compute, warn=pytest.fail))
    assert [outcome.ok for outcome in outcomes] == [False] * 3 + [True] * 3
    assert outcomes[2].problem == "InvalidInput: the model returns NaN"
    assert len(calls) == 4


def test_files_that_change_after_the_plan_are_not_recorded_as_the_planned_ones(folder, job, bench):
    specs = specs_of(folder, job, bench)
    write_submission(folder, seed=1)
    outcomes = compute_all(specs, bench)
    assert not any(outcome.ok for outcome in outcomes)
    assert "changed since the run was planned" in outcomes[0].problem
    assert list(CellStore(job.records).cells("mine", "small")) == []


def test_another_kind_of_device_is_another_cell_and_none_is_taken_in_its_place(
    folder, job, bench, monkeypatch
):
    """ART would compute on the CPU, and say nothing."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    specs = specs_of(folder, replace(job, device="cuda"), bench)
    keys = {spec.key for spec in specs_of(folder, job, bench)}
    assert keys.isdisjoint(spec.key for spec in specs)
    outcomes = compute_all(specs, bench)
    assert not any(outcome.ok for outcome in outcomes)
    assert "no GPU to compute on" in outcomes[0].problem


def test_data_that_cannot_be_loaded_is_an_error_of_the_plan(tmp_path, job, bench):
    data = {"name": "tiny-events", "dt_us": DT_US, "steps": STEPS, "binary": True}
    write_submission(tmp_path / "mine", data=data)
    lost = workbench()

    def absent(split, **options):
        raise InvalidInput("the recordings are not there")

    lost.names = names(**{"tiny-events": absent})
    with pytest.raises(InvalidInput, match="not there"):
        specs_of(tmp_path / "mine", job, lost)


def test_a_figure_is_drawn_of_a_case(folder, job, bench, tmp_path):
    drawn = replace(job, figures=tmp_path / "figures")
    compute_all(specs_of(folder, drawn, bench)[1:2], bench)
    assert [str(path.relative_to(tmp_path)) for path in (tmp_path / "figures").rglob("*.png")] == [
        "figures/mine/small/flips-b.png"
    ]


def test_tables_show_the_cells_of_the_model_as_it_is_now(folder, job, bench):
    compute_all(specs_of(folder, job, bench), bench)
    store = CellStore(job.records)

    def rows():
        standing = standings([check_submission(folder, bench.names)], bench.names)
        (table,) = tables(standing, store, job.suite, pytest.fail)
        assert table.data == "tiny-events"
        return table.rows

    assert rows()[0].rank == 1
    write_submission(folder, seed=1)
    assert rows()[0].reasons == ("not yet evaluated: flips-a, flips-b, flips-c",)
    compute_all(specs_of(folder, job, bench), bench)
    assert rows()[0].rank == 1
    assert len(list(store.cells("mine", "small"))) == 6


def test_cells_of_different_data_are_not_mixed(folder, job, bench):
    specs = specs_of(folder, job, bench)
    compute_all(specs, bench)
    store = CellStore(job.records)
    (cell, *_) = store.cells("mine", "small")
    test = cell.record.test.model_copy(update={"digest": f"sha256:{'0' * 64}"})
    record = cell.record.model_copy(update={"test": test, "wall_seconds": 99.0})
    other = Cell(replace(cell.identity, result=record.key()), record, "2999-01-01T00:00:00+00:00")
    store.write("mine", "small", other)
    standing = standings([check_submission(folder, bench.names)], bench.names)
    (table,) = tables(standing, store, job.suite, pytest.fail)
    assert table.rows[0].rank == 1
    assert table.rows[0].records[cell.record.case.name] == cell.record


@pytest.mark.slow
def test_cells_can_be_computed_in_other_processes(tmp_path):
    """Any executor will do: the spec is all that a worker needs. Here with the built-in attacks and data."""
    from art_spiking_leaderboard.engine import Workbench

    from art_spiking.suites import Case, Suite

    source = Path(__file__).parents[1] / "leaderboard" / "submissions" / "digits-plain"
    small = Suite(
        name="one-case",
        version=1,
        craft=4,
        test=4,
        cases=(
            Case(name="edits-5", attack="event-gradient", threat={"kind": "event-edits", "max_edits": 5}),
        ),
    )
    bench = Workbench()
    specs = plan(check_submission(source, bench.names), Job(small, tmp_path), bench)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        (cell,) = pool.map(run_cell, specs)
    assert CellStore(tmp_path).read("digits-plain", "one-case", specs[0].identity.key) == cell


def test_the_small_world_is_random_only_by_its_seed():
    first, second = (tiny_events("test", steps=STEPS, dt_us=DT_US, binary=True) for _ in range(2))
    assert first.digest() == second.digest()


def test_figures_that_a_finished_cell_lacks_are_drawn_and_the_cell_is_left_as_it_is(
    folder, job, bench, tmp_path
):
    """A run without --figures, or one that was killed before cells had them, and then one with."""
    compute_all(specs_of(folder, job, bench), bench)
    store = CellStore(job.records)
    before = {path: path.stat().st_mtime_ns for path in job.records.rglob("*.json")}
    figures = tmp_path / "figures"
    specs = specs_of(folder, replace(job, figures=figures), bench)
    outcomes = compute_all(specs, bench)
    assert all(outcome.ok for outcome in outcomes)
    assert {path: path.stat().st_mtime_ns for path in job.records.rglob("*.json")} == before
    drawn = {path: path.stat().st_mtime_ns for path in figures.rglob("*.*")}
    assert len(drawn) == 6
    first, *_ = run(specs, pytest.fail, warn=pytest.fail)
    assert first.cell == store.read("mine", "small", specs[0].key)
    (figures / "mine" / "small" / "flips-b.events.json").unlink()
    calls = []
    list(run(specs, lambda spec: calls.append(spec.case) or run_cell(spec, bench), warn=pytest.fail))
    assert calls == ["flips-b"]


def test_a_cell_has_its_figures_before_it_is_written(folder, job, bench, tmp_path, monkeypatch):
    figures = tmp_path / "figures"
    spec = specs_of(folder, replace(job, figures=figures), bench)[0]
    seen = []
    real = CellStore.write

    def write(self, *given):
        seen.extend(path.suffix for path in figures.rglob("*.*"))
        return real(self, *given)

    monkeypatch.setattr(CellStore, "write", write)
    run_cell(spec, bench)
    assert sorted(seen) == [".json", ".png"]


def test_events_of_other_numbers_than_the_record_are_not_shown(folder, job, bench, tmp_path):
    compute_all(specs_of(folder, job, bench), bench)
    store, figures = CellStore(job.records), tmp_path / "figures"
    spec = specs_of(folder, replace(job, figures=figures), bench)[0]
    cell = store.read("mine", "small", spec.key)
    other = cell.record.model_copy(update={"forwards": 7.0})
    store.write("mine", "small", replace(cell, record=other))
    told = []
    assert run_cell(spec, bench, told.append).record == other
    assert "comes to other numbers than its record" in told[0]
    assert not list(figures.rglob("*.*"))
