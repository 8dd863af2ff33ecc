# SPDX-License-Identifier: MIT
"""Kills of the coordinator and its workers at random moments; `benchmarks/kills.py` does it at length."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import leaderboard_world as world
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import kills as module

POSTGRES = os.environ.get("ART_SPIKING_TEST_POSTGRES")


@pytest.mark.slow
@pytest.mark.parametrize("database", ["none", "sqlite", "postgresql"])
def test_no_finished_cell_is_lost_or_run_twice(tmp_path, database):
    if database == "postgresql" and POSTGRES is None:
        pytest.skip("needs a PostgreSQL: set ART_SPIKING_TEST_POSTGRES")
    index = {"none": None, "sqlite": f"sqlite:///{tmp_path}/index.sqlite", "postgresql": POSTGRES}[database]
    tally = module.measure(tmp_path, kills=12, cells=60, pause=(0.02, 0.3), seed=1, index=index)
    assert tally.kills == 12
    assert (tally.lost, tally.twice, tally.differing) == (0, 0, 0)


def test_a_lost_cell_and_one_that_is_written_again_are_counted(tmp_path):
    """The counting itself can fail."""
    watched, tally = module.Watched(tmp_path, world.many_cells(3), None), module.Tally()
    bench = world.workbench()
    for spec in watched.specs:
        module.run_cell(spec, bench)
    assert (watched.look(tally), tally.good) == (6, True)
    module.run_cell(watched.specs[0], bench)
    watched.look(tally)
    assert (tally.lost, tally.twice) == (0, 1)
    (watched.specs[1].place / f"{watched.specs[1].key}.json").unlink()
    watched.look(tally)
    assert (tally.lost, tally.twice, tally.good) == (1, 1, False)
    watched.log.write_text("begun a\ndone a\nbegun a\nbegun b\n")
    assert watched.begun_again() == (3, 1)
