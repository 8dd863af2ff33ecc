# SPDX-License-Identifier: MIT
"""The commands: what they print, what they leave on disk, and their exit codes."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from art_spiking_leaderboard import working
from art_spiking_leaderboard.cells import CellStore
from art_spiking_leaderboard.check import check_submission
from art_spiking_leaderboard.engine import Job, Outcome, plan, run_cell
from art_spiking_leaderboard.engine import run as engine_run
from art_spiking_leaderboard.origins import Origin
from art_spiking_leaderboard.progress import Progress, progress
from art_spiking_leaderboard.working import RunOptions, SiteOptions, run_all, write_site
from leaderboard_world import names, suite, workbench, write_submission

from art_spiking.cli import run
from art_spiking.errors import InvalidInput, UnknownName
from art_spiking.suites import Suite

BUNDLED = Path(__file__).parents[1] / "leaderboard" / "submissions"


@pytest.fixture
def submissions(tmp_path: Path) -> Path:
    for seed, name in enumerate(("one", "two")):
        write_submission(tmp_path / "submissions" / name, seed=seed)
    return tmp_path / "submissions"


@pytest.fixture
def options(tmp_path: Path, submissions: Path) -> RunOptions:
    return RunOptions(submissions, str(suite_file(tmp_path, suite())), tmp_path / "records")


def suite_file(folder: Path, content: Suite) -> Path:
    """The suite as the TOML file that a user would name."""
    lines = [f'name = "{content.name}"', f"version = {content.version}"]
    lines += [f"craft = {content.craft}", f"test = {content.test}"]
    for case in content.cases:
        lines += ["[[cases]]", f'name = "{case.name}"', f'attack = "{case.attack}"']
        lines += [f"threat = {{ kind = 'event-edits', max_edits = {case.threat['max_edits']} }}"]
        if case.control:
            lines.append(f'control = {{ attack = "{case.control.attack}" }}')
        if case.parameters:
            lines.append(f"parameters = {{ trouble = '{case.parameters['trouble']}' }}")
    path = folder / "suite.toml"
    path.write_text("\n".join(lines))
    return path


def test_run_ranks_and_says_where_everything_is(options, capsys):
    assert run_all(options, workbench) == 0
    shown = capsys.readouterr()
    assert "small on tiny-events" in shown.out
    assert "rank  model" in shown.out
    assert str(options.out) in shown.out
    assert "6 of 6: two flips-c: accuracy" in shown.err
    assert "about" in shown.err


def test_a_second_run_computes_nothing(options, capsys, monkeypatch):
    run_all(options, workbench)
    first = capsys.readouterr().out
    monkeypatch.setattr(working, "run_cell", pytest.fail)
    assert run_all(options, workbench) == 0
    assert capsys.readouterr().out == first


def test_cells_of_other_code_are_warned_of_in_one_line(options, capsys, monkeypatch):
    versions = {"python": "3.11", "torch": "2.13.0"}
    current = [Origin("a" * 40, versions)]
    monkeypatch.setattr(working.Origin, "here", lambda: current[0])
    run_all(options, workbench)
    assert "warning" not in capsys.readouterr().err
    store = CellStore(options.out)
    cells = [cell for name in ("one", "two") for cell in store.cells(name, "small")]
    origins = [Origin("a" * 40, versions)] * 2 + [Origin("b" * 40 + "-dirty", versions)] * 3
    origins += [Origin("a" * 40, {**versions, "torch": "2.12.0"})]
    for cell, origin, name in zip(cells, origins, ["one"] * 3 + ["two"] * 3, strict=True):
        made = {"commit": origin.commit, "packages": dict(origin.packages)}
        provenance = cell.record.provenance.model_copy(update=made)
        record = cell.record.model_copy(update={"provenance": provenance})
        store.write(name, "small", replace(cell, record=record))
    assert run_all(options, workbench) == 0
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert warning == (
        "warning: 4 of 6 cells that were there already come from other code or packages than this run's: "
        "1 by commit aaaaaaaaaaaa with torch 2.12.0, 3 by commit bbbbbbbbbbbb and changes to it; "
        "here it is commit aaaaaaaaaaaa; to compute them anew, choose a fresh --out"
    )


def test_what_was_just_computed_comes_from_here(options):
    run_all(options, workbench)
    (cell, *_) = CellStore(options.out).cells("one", "small")
    assert Origin.of(cell.record.provenance).packages == Origin.here().packages
    # The commit may be another by now; whether there is one may not.
    assert (cell.record.provenance.commit is None) == (Origin.here().commit is None)


def test_a_terminated_run_is_75_and_goes_on_where_it_was(submissions, tmp_path):
    """A real process, as a cluster stops it: SIGTERM in the middle of the second cell."""
    waiting = tmp_path / "waiting"
    suite_file(tmp_path, suite(b=f"wait {waiting}"))
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import leaderboard_world as world\n"
        "from art_spiking_leaderboard import working\n"
        "working.Workbench = world.workbench\n"
        "from art_spiking.cli import main\n"
        "main()\n"
    )
    records = tmp_path / "records"
    arguments = ["leaderboard", "run", submissions, "--suite", tmp_path / "suite.toml", "--out", records]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 120
        while not waiting.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 75, told
    assert "interrupted; 1 of 6 cells are finished" in told
    assert "run the same command again to resume" in told
    assert "Traceback" not in told
    (kept,) = CellStore(records).cells("one", "small")
    assert kept.record.case.name == "flips-a"
    assert not list(records.rglob(".*"))


def test_only_runs_the_named_submission(options, capsys):
    assert run_all(replace(options, only=("two",)), workbench) == 0
    assert "3 of 3: two flips-c" in capsys.readouterr().err
    assert not (options.out / "one").exists()
    with pytest.raises(UnknownName, match="did you mean two"):
        run_all(replace(options, only=("tow",)), workbench)


def test_an_interrupt_is_75_and_the_next_run_goes_on(options, capsys, tmp_path):
    suite_file(tmp_path, suite(b="interrupt"))
    assert run_all(options, workbench) == 75
    told = capsys.readouterr().err
    assert "interrupted; 1 of 6 cells are finished" in told
    assert "run the same command again to resume" in told


def test_a_failed_case_is_1_and_the_others_are_kept(options, capsys, tmp_path):
    suite_file(tmp_path, suite(b="raise"))
    assert run_all(options, workbench) == 1
    shown = capsys.readouterr()
    assert "flips-b failed: ValueError: this attack is broken" in shown.out
    assert len(list(CellStore(options.out).cells("one", "small"))) == 3


def test_an_invalid_submission_is_3_and_the_others_are_evaluated(options, submissions, capsys):
    (submissions / "one" / "graph.json").unlink()
    assert run_all(options, workbench) == 3
    shown = capsys.readouterr()
    assert "graph.json: expected this file, found nothing" in shown.err
    assert len(list(CellStore(options.out).cells("two", "small"))) == 3


def test_a_claim_that_was_not_found_is_3_and_gets_no_rank(options, submissions, capsys):
    training = {"description": "x", "claimed_clean_accuracy": 0.5}
    write_submission(submissions / "one", training=training)
    assert run_all(options, workbench) == 3
    shown = capsys.readouterr()
    assert "one: claims a clean accuracy of 0.500; measured 1.000" in shown.err
    assert "one is not ranked" in shown.out


def test_a_full_disk_is_one_clear_line_and_keeps_finished_cells(options, capsys, monkeypatch):
    real, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 6:  # the check of the folder and one cell take three each, file and folder
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    assert run_all(options, workbench) == 75
    told = capsys.readouterr().err
    assert told.count("no room left") == 1
    assert "Traceback" not in told
    kept = list(CellStore(options.out).cells("one", "small"))
    assert f"{len(kept)} of 6 cells are finished" in told
    assert 1 <= len(kept) < 3
    assert not list(options.out.rglob(".*"))
    monkeypatch.setattr(os, "fsync", real)
    assert run_all(options, workbench) == 0


def test_a_folder_that_cannot_be_written_fails_before_the_work(options, tmp_path, monkeypatch):
    (tmp_path / "in-the-way").write_text("x")
    monkeypatch.setattr(working, "run_cell", pytest.fail)
    with pytest.raises(InvalidInput, match="nothing can be written there"):
        run_all(replace(options, out=tmp_path / "in-the-way" / "records"), workbench)


def test_missing_data_leaves_out_its_submission_only(options, submissions, capsys):
    def absent(split, **kwargs):
        raise InvalidInput("no recordings")

    data = {"name": "absent-events", "dt_us": 1000, "steps": 5, "binary": True}
    write_submission(submissions / "one", data=data)
    bench = workbench()
    bench.names = names(**{"absent-events": absent})
    assert run_all(options, lambda: bench) == 1
    shown = capsys.readouterr()
    assert "one is left out: no recordings" in shown.err
    assert "two" in shown.out


def test_site_shows_what_was_run(options, submissions, tmp_path, capsys):
    run_all(replace(options, figures=tmp_path / "figures"), workbench)
    wanted = SiteOptions(options.out, submissions, tmp_path / "site", (options.suite,), tmp_path / "figures")
    assert write_site(wanted, names()) == 0
    assert str(tmp_path / "site" / "index.html") in capsys.readouterr().out
    found = json.loads((tmp_path / "site" / "results.json").read_text())
    assert [model["rank"] for model in found["boards"][0]["models"]] == [1, 1]
    assert (tmp_path / "site" / "models" / "one.html").exists()
    assert (tmp_path / "site" / "figures" / "one" / "small" / "flips-a.png").exists()


def test_site_of_nothing_says_what_to_do(options, submissions, tmp_path):
    wanted = SiteOptions(options.out, submissions, tmp_path / "site")
    with pytest.raises(InvalidInput, match="leaderboard run"):
        write_site(wanted, names())


def test_the_bundled_submissions_are_valid(capsys):
    assert run(["leaderboard", "check", str(BUNDLED)]) == 0
    shown = capsys.readouterr().out
    assert shown.count(": ok") >= 3
    for folder in BUNDLED.iterdir():
        assert sum(path.stat().st_size for path in folder.iterdir()) < 1_000_000


def test_check_prints_problems_as_text_and_json_and_exits_3(submissions, capsys):
    (submissions / "one" / "notes.txt").write_text("x")
    assert run(["leaderboard", "check", str(submissions / "one")]) == 3
    assert "'notes.txt': expected only submission.toml" in capsys.readouterr().out
    assert run(["leaderboard", "check", "--json", str(submissions / "one")]) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["one"][0]["file"] == "'notes.txt'"


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_folder_that_is_not_there_is_2(command, tmp_path, capsys):
    assert run(["leaderboard", command, str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_help_explains_and_imports_nothing_heavy():
    code = (
        "import sys; from art_spiking.cli import run; code = run(['leaderboard', 'run', '--help']);"
        "heavy = {'torch', 'art', 'numba', 'matplotlib', 'jinja2', 'pydantic'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "75 stopped" in " ".join(done.stdout.split())


def outcomes_of(options: RunOptions) -> list[Outcome]:
    bench = workbench()
    job = Job(suite(), options.out)
    checked = [check_submission(options.path / name, bench.names) for name in ("one", "two")]
    specs = [spec for entry in checked for spec in plan(entry, job, bench)]
    return list(engine_run(specs, lambda spec: run_cell(spec, bench), warn=pytest.fail))


def test_the_rest_is_estimated_case_by_case(options, monkeypatch):
    """Case a takes 1 s and c takes 10 s, so after one model the other is expected to take as long."""
    took = {"flips-a": 1.0, "flips-b": 2.0, "flips-c": 10.0}
    outcomes = [taking(outcome, took[outcome.spec.case]) for outcome in outcomes_of(options)]
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    shown = Progress([outcome.spec for outcome in outcomes])
    assert shown.seconds_left() is None
    for outcome in outcomes[:4]:
        shown.starting(outcome.spec)
        clock[0] += took[outcome.spec.case]
        shown.finished(outcome)
    assert shown.seconds_left() == pytest.approx(12.0)
    shown.starting(outcomes[5].spec)
    clock[0] += 4.0
    assert shown.seconds_left() == pytest.approx(8.0)


def taking(outcome: Outcome, seconds: float) -> Outcome:
    record = outcome.cell.record.model_copy(update={"wall_seconds": seconds})
    return replace(outcome, cell=replace(outcome.cell, record=record), seconds=seconds)


def test_a_terminal_gets_a_bar(options, monkeypatch):
    outcomes = outcomes_of(options)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress([outcome.spec for outcome in outcomes]) as shown:
        for outcome in outcomes:
            shown.starting(outcome.spec)
            shown.finished(outcome)
    told = sys.stderr.getvalue()
    assert "6/6 cells" in told
    assert "two flips-c" in told
