# SPDX-License-Identifier: MIT
"""`leaderboard verify`: true records pass; forged, broken and foreign ones are told apart."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from art_spiking_leaderboard.cells import Cell, CellStore
from art_spiking_leaderboard.check import check_submission
from art_spiking_leaderboard.engine import CellSpec, Job, Workbench, plan, run_cell
from art_spiking_leaderboard.verify import CannotDerive, choose, differences, find_cells, in_fresh_process
from art_spiking_leaderboard.verifying import VerifyOptions, verify_all
from leaderboard_world import names, providers, suite, tiny_events, workbench, write_submission
from test_leaderboard_commands import suite_file

from art_spiking.cli import run
from art_spiking.errors import InvalidInput
from art_spiking.records import Costs, Flag
from art_spiking.suites import Case, Suite

BUNDLED = Path(__file__).parents[1] / "leaderboard" / "submissions"


@pytest.fixture
def bench() -> Workbench:
    return workbench()


@pytest.fixture
def options(tmp_path: Path, bench: Workbench) -> VerifyOptions:
    """Six true cells of two models."""
    for seed, name in enumerate(("one", "two")):
        folder = tmp_path / "submissions" / name
        write_submission(folder, seed=seed)
        for spec in plan(check_submission(folder, bench.names), Job(suite(), tmp_path / "records"), bench):
            run_cell(spec, bench)
    file = suite_file(tmp_path, suite())
    return VerifyOptions(tmp_path / "records", tmp_path / "submissions", str(file), None, 0)


@pytest.fixture
def verify(bench: Workbench) -> Callable[[VerifyOptions], int]:
    """In this process: the small world's data and attacks are known to no other."""
    return lambda options: verify_all(options, bench, lambda spec: run_cell(spec, workbench()))


def forge(options: VerifyOptions, case: str = "flips-b", **changes: object) -> None:
    """Puts another record in a cell's place, under its right hash."""
    store = CellStore(options.records)
    (cell,) = [cell for cell in store.cells("one", "small") if cell.record.case.name == case]
    store.write("one", "small", replace(cell, record=cell.record.model_copy(update=changes)))


def test_true_records_are_the_same_and_are_left_alone(options, verify, capsys):
    before = {path: path.read_bytes() for path in options.records.rglob("*") if path.is_file()}
    assert verify(options) == 0
    shown = capsys.readouterr()
    assert shown.out.count(": the same to the last bit: 12 samples") == 6
    assert "6 cells: 6 derived anew and the same; --seed 0 chooses the same cells" in shown.out
    assert "6 of 6: two flips-c" in shown.err
    assert {path: path.read_bytes() for path in options.records.rglob("*") if path.is_file()} == before


def test_a_forged_prediction_is_found(options, verify, capsys):
    (cell, *_) = CellStore(options.records).cells("one", "small")
    forge(options, adversarial=tuple((label + 1) % 3 for label in cell.record.labels))
    assert verify(options) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "DIFFERS" in line]
    assert line == "one small flips-b: DIFFERS: adversarial differs in 12 of 12 entries"


@pytest.mark.parametrize(
    "changes",
    [
        {"flags": (Flag(code="made-up", text="x"),)},
        {"forwards": 1e-9},
        {"control": (), "control_cost": Costs()},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_other_part_counts_too(options, verify, changes):
    forge(options, "flips-a", **changes)
    assert verify(options) == 1


def test_a_cell_from_before_activity_was_counted_is_not_blamed(options, verify):
    forge(options, activity=None, clean_activity=None, footprint=None)
    assert verify(options) == 0


def test_time_and_place_do_not_count(options, verify, capsys):
    (cell, *_) = CellStore(options.records).cells("one", "small")
    made = cell.record.provenance.model_copy(update={"commit": "c" * 40, "started": "long ago", "threads": 9})
    forge(options, wall_seconds=1e6, provenance=made)
    assert verify(options) == 0
    forge(options, provenance=made, forwards=0.5)
    assert verify(options) == 1
    assert "it comes from commit cccccccccccc, here it is" in capsys.readouterr().out


def test_a_models_folder_may_be_named(options, verify, capsys):
    assert verify(replace(options, records=options.records / "two")) == 0
    shown = capsys.readouterr().out
    assert "3 cells: 3 derived anew" in shown
    assert "one small" not in shown


def test_claims_and_kept_events_in_a_models_folder_are_no_cells(options, verify, capsys):
    """They lie as deep in it as a cell lies in the folder of all records."""
    place = options.records / "one" / "small"
    for name in ("claims/c.json", "events/e.safetensors"):
        (place / name).parent.mkdir()
        (place / name).write_text("{}")
    (options.records / "transfer.small.tiny-events.json").write_text("{}")
    assert find_cells(place.parent)[1] == [("one", "small")]
    assert find_cells(options.records)[1] == [("one", "small"), ("two", "small")]
    assert verify(replace(options, records=place.parent)) == 0
    assert "3 cells: 3 derived anew" in capsys.readouterr().out


def test_a_sample_is_drawn_by_its_seed(options, verify, capsys):
    sampled = replace(options, sample=2, seed=5)
    assert verify(sampled) == 0
    first = capsys.readouterr().out
    assert "6 cells: 2 derived anew and the same, 4 whole and not chosen; --seed 5" in first
    assert verify(sampled) == 0
    assert capsys.readouterr().out == first
    drawn = {tuple(choose(list(range(20)), 5, seed)) for seed in range(8)}
    assert len(drawn) > 1
    assert all(len(set(each)) == 5 and list(each) == sorted(each) for each in drawn)


def test_a_broken_cell_is_found_whatever_the_sample(options, verify, capsys):
    path = next((options.records / "one" / "small").glob("*.json"))
    path.write_bytes(path.read_bytes().replace(b'"status":"ok"', b'"status":"OK"'))
    assert verify(replace(options, sample=1)) == 1
    assert "does not have the hash it states" in capsys.readouterr().out


def test_cells_of_something_else_are_told_and_not_blamed(options, verify, capsys):
    write_submission(options.submissions / "one", seed=7)
    shutil.rmtree(options.submissions / "two")
    with pytest.raises(InvalidInput, match=r"no cell there can be derived anew.*no submission of that name"):
        verify(options)
    write_submission(options.submissions / "two", seed=1)
    assert verify(options) == 0
    shown = capsys.readouterr().out
    assert shown.count("not verified: of a model with another digest than the submission's, sha256:") == 3
    assert "3 derived anew and the same, 3 of something else" in shown
    other = suite_file(options.records.parent, suite().model_copy(update={"version": 2}))
    with pytest.raises(InvalidInput, match="of another version of the suite"):
        verify(replace(options, suite=str(other)))


def test_other_data_is_seen_by_its_digest(options):
    def others(split, **asked):
        data = tiny_events(split, **asked)
        return replace(data, x=data.x[:, ::-1].copy())

    bench = Workbench(names(**{"tiny-events": others}), providers())
    with pytest.raises(InvalidInput, match="of data with another digest"):
        verify_all(options, bench, lambda spec: pytest.fail(spec.case))


def test_a_cell_that_cannot_be_derived_and_an_invalid_submission(options, bench, capsys):
    def fail(spec: CellSpec) -> Cell:
        raise CannotDerive("cannot be derived anew", found="its process ended with -9")

    assert verify_all(replace(options, sample=1), bench, fail) == 1
    assert "FAILED: cannot be derived anew; found: its process ended with -9" in capsys.readouterr().out
    (options.submissions / "two" / "graph.json").unlink()
    assert verify_all(replace(options, sample=1), bench, lambda spec: run_cell(spec, workbench())) == 3
    assert "two: graph.json: expected this file" in capsys.readouterr().err


def test_an_interrupt_is_75(options, bench, capsys):
    def interrupt(spec: CellSpec) -> Cell:
        raise KeyboardInterrupt

    assert verify_all(options, bench, interrupt) == 75
    assert "nothing was changed" in capsys.readouterr().err


def test_json_says_the_same(options, verify, capsys):
    assert verify(replace(options, as_json=True, sample=2)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["seed"] == 0
    assert sorted(cell["verdict"] for cell in found["cells"]) == ["same"] * 2 + ["whole"] * 4


def test_nothing_there_is_usage(tmp_path, capsys):
    assert run(["leaderboard", "verify", str(tmp_path / "nowhere")]) == 2
    assert "there is no cell to verify" in capsys.readouterr().err
    with pytest.raises(InvalidInput, match="no cell to verify"):
        find_cells(tmp_path)


def test_differences_name_what_is_within():
    from leaderboard_samples import make_record

    record = make_record()
    cost = record.cost.model_copy(update={"added": (4, *record.cost.added[1:])})
    assert differences(record, record) == []
    assert differences(record, record.model_copy(update={"cost": cost})) == [
        "cost.added differs in 1 of 10 entries"
    ]
    (told,) = differences(record, record.model_copy(update={"forwards": 7.0}))
    assert told == "forwards is 21.0, derived anew 7.0"


@pytest.mark.slow
def test_the_command_derives_in_a_fresh_process(tmp_path, capsys):
    """A bundled model with the built-in attack and data; then a forged record, and a process that dies."""
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
    submission = check_submission(BUNDLED / "digits-plain", bench.names)
    (spec,) = plan(submission, Job(small, tmp_path / "records"), bench)
    cell = run_cell(spec, bench)
    arguments = ["leaderboard", "verify", str(tmp_path / "records"), "--submissions", str(BUNDLED)]
    arguments += ["--suite", str(suite_file(tmp_path, small))]
    assert run(arguments) == 0, capsys.readouterr()
    assert "digits-plain one-case edits-5: the same to the last bit: 4 samples" in capsys.readouterr().out
    forged = cell.record.model_copy(update={"adversarial": tuple(9 - label for label in cell.record.labels)})
    CellStore(tmp_path / "records").write("digits-plain", "one-case", replace(cell, record=forged))
    assert run(arguments) == 1
    assert "adversarial differs in" in capsys.readouterr().out
    gone = replace(spec, folder=tmp_path / "gone", job=replace(spec.job, records=tmp_path))
    with pytest.raises(CannotDerive, match="cannot be derived anew; found: "):
        in_fresh_process(gone)
