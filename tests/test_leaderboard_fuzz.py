# SPDX-License-Identifier: MIT
"""Damaged submissions, claims, logs and cells end in reported problems; benchmarks/ has the long run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def fuzzing(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import fuzz_submissions

    yield fuzz_submissions
    for name in ("fuzz_submissions", "mutations"):
        sys.modules.pop(name, None)


@pytest.mark.slow
def test_damage_is_reported_and_nothing_escapes_or_hangs(fuzzing):
    tally, megabytes = fuzzing.fuzz(600, seed=1)
    assert tally.escaped == []
    assert megabytes < 500
    for kind in ("submission", "claim", "log", "cell"):
        assert tally.outcomes[f"{kind}: refused"] > 10
    assert tally.outcomes["submission: refused"] > 300


@pytest.mark.slow
def test_what_escapes_is_counted(fuzzing, monkeypatch):
    """The count itself can fail: a reader that raises, and one that hangs."""

    def hang(*_):
        while True:
            pass

    monkeypatch.setattr(fuzzing, "SECONDS", 1)
    tally = fuzzing.Tally()
    tally.run("submission 0", hang)
    tally.run("submission 1", lambda: 1 / 0)
    assert [entry.split(":")[1].strip() for entry in tally.escaped] == ["Hang", "ZeroDivisionError"]
