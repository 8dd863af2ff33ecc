# SPDX-License-Identifier: MIT
"""Damaged submissions, claims, logs and cells end in reported problems; benchmarks/ has the long run."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
NAMES = ("fuzz_submissions", "mutations", "confining")


@pytest.fixture
def benchmark(monkeypatch):
    """Imports a module of benchmarks/."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.fixture
def confined(benchmark):
    """Runs a line of Python behind bubblewrap, and returns the exit code."""

    def run(line):
        return benchmark("confining").run_confined([sys.executable, "-c", line])

    if run("") is None:
        pytest.skip("bubblewrap is not there, or nobody may use it")
    return run


@pytest.mark.slow
def test_damage_is_reported_and_nothing_escapes_or_hangs(confined):
    program = [
        sys.executable,
        str(BENCHMARKS / "fuzz_submissions.py"),
        "--json",
        "--count",
        "600",
        "--seed",
        "1",
    ]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert found["escaped"] == []
    assert found["slowest_seconds"] <= 5
    assert found["peak_megabytes"] < 500
    assert done.returncode == 0
    for kind in ("submission", "claim", "log", "cell"):
        assert found["outcomes"][f"{kind}: refused"] > 10
    assert found["outcomes"]["submission: refused"] > 300


@pytest.mark.slow
def test_what_escapes_is_counted(benchmark, monkeypatch):
    """The count itself can fail: a reader that raises, and one that hangs."""

    def hang(*_):
        while True:
            pass

    fuzzing = benchmark("fuzz_submissions")
    monkeypatch.setattr(fuzzing, "SECONDS", 1)
    tally = fuzzing.Tally()
    tally.run("submission 0", hang)
    tally.run("submission 1", lambda: 1 / 0)
    assert [entry.split(":")[1].strip() for entry in tally.escaped] == ["Hang", "ZeroDivisionError"]


def test_only_a_scratch_folder_can_be_written(confined, tmp_path):
    kept = tmp_path / "kept"
    kept.write_text("as it was")
    kept.chmod(0o600)
    assert confined("import os, pathlib; pathlib.Path(os.environ['TMPDIR'], 'x').write_text('x')") == 0
    assert confined(f"open({str(kept)!r}, 'w')") == 1
    assert confined(f"import os; os.chmod({str(kept)!r}, 0)") == 1
    assert confined(f"import os; os.unlink({str(kept)!r})") == 1
    assert confined(f"import os; os.utime({str(kept)!r})") == 1
    assert confined(f"open({str(tmp_path / 'new')!r}, 'w')") == 1
    assert (
        confined("open('/dev/shm/x', 'w'); import socket; socket.create_connection(('127.0.0.1', 22))") == 1
    )
    assert kept.read_text() == "as it was"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_without_bubblewrap_nothing_is_damaged_unless_it_is_asked_for(benchmark, monkeypatch, capsys):
    fuzzing = benchmark("fuzz_submissions")
    monkeypatch.setattr(benchmark("confining").shutil, "which", lambda name: None)
    monkeypatch.setattr(fuzzing, "fuzz", pytest.fail)
    monkeypatch.setattr(sys, "argv", ["fuzz_submissions.py"])
    assert fuzzing.main() == 2
    assert "--unconfined" in capsys.readouterr().err
