# SPDX-License-Identifier: MIT
"""A file system that is really full, and one that nobody can write; bubblewrap makes them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import leaderboard_world as world
import pytest
from art_spiking_leaderboard.cells import Cell, CellStore
from art_spiking_leaderboard.working import RunOptions, run_all
from test_leaderboard_commands import suite_file

SCRIPT = Path(__file__).with_name("disk_trials.py")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Submissions, a suite, a NIR file, and the cells of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("work")
    for seed, name in enumerate(("one", "two")):
        world.write_submission(folder / "submissions" / name, seed=seed)
    suite = suite_file(folder, world.suite())
    assert run_all(RunOptions(folder / "submissions", str(suite), folder / "records"), world.workbench) == 0
    world.network().to_nir(folder / "model.nir")
    return folder


def confined(work: Path, disk: Path, kind: str, *mount: str) -> dict:
    program = shutil.which("bwrap")
    if program is None:
        pytest.skip("no bubblewrap")
    disk.mkdir()
    start = [program, "--dev-bind", "/", "/", *mount, str(disk)]
    if subprocess.run([*start, "true"], capture_output=True).returncode:
        pytest.skip("nobody may use bubblewrap here")
    command = [*start, sys.executable, str(SCRIPT), kind, str(disk), str(work)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def full(work, tmp_path_factory):
    """What each command does with little room, and then with room enough."""
    return confined(work, tmp_path_factory.mktemp("full") / "disk", "full", "--size", "4000000", "--tmpfs")


@pytest.fixture(scope="module")
def read_only(work, tmp_path_factory):
    disk = tmp_path_factory.mktemp("read-only") / "disk"
    return confined(work, disk, "read-only", "--ro-bind", str(work / "submissions"))


COMMANDS = ("run", "run --figures", "run --workers 2", "site", "index", "pack")


def errors(told: dict) -> list[str]:
    return [line for line in told["err"].splitlines() if line.lower().startswith("error")]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_one_clear_line_and_leaves_nothing_partial(full, name):
    tries = full[name]["tries"]
    assert tries[0]["code"] == 75
    for told in tries:
        assert told["code"] in (0, 75)
        if told["code"]:
            (line,) = errors(told)
            assert "no room left on the disk" in line
            assert "make room and run the same command again" in line
        assert "Traceback" not in told["err"]
        assert told["broken"] == 0
        assert not [path for path in told["files"] if Path(path).name.startswith(".")]


@pytest.mark.parametrize("name", COMMANDS)
def test_with_room_the_same_command_goes_on_to_its_end(full, name):
    assert full[name]["end"]["code"] == 0
    assert full[name]["end"]["broken"] == 0
    assert errors(full[name]["end"]) == []


@pytest.mark.parametrize("name", ["run", "run --figures", "run --workers 2"])
def test_every_cell_on_a_full_disk_is_one_of_the_undisturbed_run(full, work, name):
    found = [cell for model in ("one", "two") for cell in CellStore(work / "records").cells(model, "small")]
    whole = {
        cell.identity.key: [
            list(part) for part in (cell.record.adversarial, cell.record.control, cell.record.clean)
        ]
        for cell in found
        if isinstance(cell, Cell)
    }
    assert len(whole) == 6
    kept = [told["cells"] for told in full[name]["tries"]]
    for cells in kept:
        assert cells.items() <= whole.items()
    assert len(kept[-1]) < 6
    assert full[name]["end"]["cells"] == whole


def test_cells_are_finished_one_by_one_where_room_is_left_for_some(full):
    counts = [len(told["cells"]) for told in full["run"]["tries"]]
    assert counts == sorted(counts)
    assert 0 == counts[0] < counts[-1]
    assert f"{counts[-1]} of 6 cells are finished and kept" in full["run"]["tries"][-1]["err"]


def test_what_is_written_in_the_end_is_whole(full):
    assert {"index.html", "results.json", "models/one.html"} <= set(full["site"]["end"]["files"])
    assert full["pack"]["end"]["files"] == ["graph.json", "weights.safetensors"]
    assert "Indexed 6 cells (0 broken)" in full["index"]["end"]["out"]
    assert [told["files"] for told in full["pack"]["tries"]] == [[], []]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_that_cannot_be_written_is_usage_told_in_one_line(read_only, name):
    told = read_only[name]
    assert told["code"] == 2
    (line,) = errors(told)
    assert "Read-only file system" in line or name == "index"
    assert "Traceback" not in told["err"]
    assert told["files"] == []
