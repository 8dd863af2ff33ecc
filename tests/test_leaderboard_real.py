# SPDX-License-Identifier: MIT
"""A bundled submission, run by two people on different numbers of workers: the same to the last sample."""

from __future__ import annotations

from pathlib import Path

import pytest
from art_spiking_leaderboard.cells import CellStore
from art_spiking_leaderboard.working import RunOptions, run_all

BUNDLED = Path(__file__).parents[1] / "leaderboard" / "submissions"
SUITE = """
name = "cheap"
version = 1
craft = 8
test = 12
[[cases]]
name = "gradient-50"
attack = "event-gradient"
threat = { kind = "event-edits", max_edits = 50 }
control = { attack = "random-events" }
parameters = { steps = 3 }
[[cases]]
name = "random-200"
attack = "random-events"
threat = { kind = "event-edits", max_edits = 200 }
"""


@pytest.mark.slow
def test_one_worker_and_two_give_the_same_numbers(tmp_path):
    (tmp_path / "cheap.toml").write_text(SUITE)
    found = []
    for workers in (1, 2):
        records = tmp_path / f"records-{workers}"
        options = RunOptions(BUNDLED, str(tmp_path / "cheap.toml"), records, only=("digits-plain",))
        assert run_all(RunOptions(**{**options.__dict__, "workers": workers})) == 0
        cells = list(CellStore(records).cells("digits-plain", "cheap"))
        told = {"provenance", "wall_seconds"}
        found.append({cell.identity.key: cell.record.model_dump(exclude=told) for cell in cells})
    assert len(found[0]) == 2
    assert all(record["status"] == "ok" for record in found[0].values())
    assert found[0] == found[1]
