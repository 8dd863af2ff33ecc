# SPDX-License-Identifier: MIT
"""What cells cost: learned case by case and model by model, and used for their order and the time left."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from art_spiking_leaderboard.cells import CellIdentity
from art_spiking_leaderboard.costs import Costs
from art_spiking_leaderboard.engine import CellSpec, Job, Outcome
from leaderboard_samples import SUITE


def spec(model: str, case: str, samples: int = 10) -> CellSpec:
    identity = CellIdentity(f"{model} {case}", {})
    return CellSpec(Job(SUITE, Path("records")), Path(model), case, identity, samples)


def finished(model: str, case: str, seconds: float, *, here: float | None = None, status="ok", samples=10):
    record = SimpleNamespace(status=status, wall_seconds=seconds)
    return Outcome(spec(model, case, samples), SimpleNamespace(record=record), seconds=here)


@pytest.fixture
def costs() -> Costs:
    """A big model takes ten times as long as a small one, and a patch twice as long as edits."""
    known = Costs()
    for outcome in (
        finished("small", "edits", 1),
        finished("small", "patch", 2),
        finished("big", "edits", 10),
    ):
        known.learn(outcome)
    return known


def test_nothing_is_known_at_first():
    assert Costs().seconds(spec("small", "edits")) is None
    assert Costs().left([spec("small", "edits")], {}, 1) is None
    assert Costs().left([], {}, 1) == 0.0


def test_a_cell_costs_its_case_times_its_model(costs):
    assert costs.seconds(spec("big", "patch")) == pytest.approx(20, rel=0.01)
    assert costs.seconds(spec("small", "edits")) == pytest.approx(1, rel=0.01)


def test_more_samples_cost_more(costs):
    once, twice = (costs.seconds(spec("big", "patch", samples)) for samples in (10, 20))
    assert twice == pytest.approx(2 * once)


def test_an_unknown_case_is_begun_first_and_the_cheapest_last(costs):
    cells = [spec("small", "edits"), spec("big", "patch"), spec("small", "new"), spec("big", "edits")]
    order = [(each.model, each.case) for each in costs.dearest_first(cells)]
    assert order == [("small", "new"), ("big", "patch"), ("big", "edits"), ("small", "edits")]


def test_a_failed_cell_tells_nothing():
    known = Costs()
    known.learn(finished("small", "edits", 0.0, status="error"))
    known.learn(Outcome(spec("small", "patch"), None, "no model"))
    assert known.seconds(spec("small", "edits")) is None


def test_what_surrounds_an_attack_counts_in_the_time_left(costs):
    before = costs.left([spec("big", "patch")], {}, 1)
    costs.learn(finished("other", "edits", 1, here=1.5))
    assert costs.left([spec("big", "patch")], {}, 1) == pytest.approx(1.5 * before, rel=0.05)


def test_workers_share_the_rest_but_not_one_cell(costs):
    cells = [spec("small", "edits")] * 40
    assert costs.left(cells, {}, 4) == pytest.approx(10, rel=0.05)
    assert costs.left([spec("big", "patch")], {}, 64) == pytest.approx(20, rel=0.05)
    assert costs.left([spec("big", "patch")], {spec("big", "patch").key: 15.0}, 64) == pytest.approx(
        5, rel=0.1
    )


def test_cells_are_put_in_order_anew_when_much_was_learned(costs):
    assert costs.news
    costs.dearest_first([])
    assert not costs.news
    for number in range(4):
        costs.learn(finished("small", f"case-{number}", 1))
    assert costs.news
