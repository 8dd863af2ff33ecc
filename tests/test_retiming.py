"""Retiming: exact projections and oracles, checked against every possible retiming of small recordings."""

from __future__ import annotations

import itertools
import json
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from art_spiking.errors import InvalidInput
from art_spiking.testing import check_threat
from art_spiking.threats import Retiming, threat_from_dict

some = st.one_of(st.none(), st.integers(1, 6))


@st.composite
def retimings(draw: st.DrawFn) -> Retiming:
    shift, total = draw(some), draw(some)
    moved = draw(st.one_of(some, st.floats(0.05, 1.0)))
    if shift is total is moved is None:
        shift = 1
    return Retiming(shift, total, moved, max_count=draw(st.integers(1, 2)))


@st.composite
def batches(draw: st.DrawFn, shape: tuple[int, ...] = (2, 6, 2, 2, 3)) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    most = draw(st.integers(1, 2))
    clean = (rng.random(shape) < draw(st.sampled_from([0.1, 0.4, 0.9]))) * rng.integers(1, most + 1, shape)
    kind = draw(st.sampled_from(["soft", "rolled", "swapped", "bad"]))
    wish = clean + rng.normal(0, 1, shape)
    if kind == "rolled":
        wish = np.roll(clean, 1, 1)
    elif kind == "swapped":
        wish = clean.copy()
        t = int(rng.integers(0, shape[1] - 1))
        wish[:, [t, t + 1]] = wish[:, [t + 1, t]]
    elif kind == "bad":
        special = rng.choice([np.nan, np.inf, -np.inf, 1e30], shape)
        wish = np.where(rng.random(shape) < 0.1, special, clean)
    return torch.tensor(wish, dtype=torch.float32), torch.tensor(clean, dtype=torch.float32)


@settings(max_examples=100, deadline=None)
@given(retimings(), batches())
def test_projection_is_allowed_idempotent_and_leaves_what_is_allowed(threat, batch):
    wish, clean = batch
    kept = wish.clone()
    projected = threat.project(wish, clean)
    assert threat.violations(projected, clean) == []
    assert torch.equal(threat.project(projected, clean), projected)
    assert torch.equal(wish.nan_to_num(), kept.nan_to_num())
    broken = {violation.sample for violation in threat.violations(wish, clean)}
    for i in range(len(clean)):
        assert torch.equal(projected[i], wish[i]) == (i not in broken)
        alone = threat.project(wish[i : i + 1], clean[i : i + 1])
        assert torch.equal(alone, projected[i : i + 1]), "a sample's projection depends on its batch"


@settings(max_examples=100, deadline=None)
@given(retimings(), batches())
def test_the_oracle_is_allowed(threat, batch):
    gain, clean = batch
    assert threat.violations(threat.best(gain, clean), clean) == []


def every_retiming(line: np.ndarray, *, max_shift: int, max_count: int):
    """Every way to place a line's events in order, by enumeration."""
    times = np.repeat(np.arange(len(line)), line)
    places = [range(max(0, t - max_shift), min(len(line), t + max_shift + 1)) for t in times]
    for placed in itertools.product(*places):
        counts = np.bincount(placed, minlength=len(line))
        if list(placed) == sorted(placed) and (counts <= np.maximum(max_count, line)).all():
            yield counts


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 2), batches((1, 5, 1, 1, 1)))
def test_one_line_is_placed_as_well_as_can_be(max_shift, max_count, batch):
    wish, clean = batch
    wish = wish.nan_to_num(0.0, 9.0, -9.0).clamp(-9, 9)
    threat = Retiming(max_shift, max_count=max_count)
    line, wanted = clean.flatten().int().numpy(), wish.flatten().double().numpy()
    candidates = list(every_retiming(line, max_shift=max_shift, max_count=max_count))
    best = threat.best(wish, clean).flatten().double().numpy()
    assert best @ wanted == pytest.approx(max(c @ wanted for c in candidates), abs=1e-3)
    nearest = threat.project(wish, clean).flatten().double().numpy()
    found = ((nearest - wanted) ** 2).sum()
    assert found == pytest.approx(min(((c - wanted) ** 2).sum() for c in candidates), abs=1e-3)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), batches((1, 5, 1, 1, 3)))
def test_a_budget_of_moves_is_spent_well(budget, batch):
    """The price finds the best retiming for the number of moves that it makes."""
    gain, clean = batch
    gain = gain.nan_to_num(0.0, 9.0, -9.0).clamp(-9, 9)
    threat = Retiming(max_moved=budget)
    best = threat.best(gain, clean)
    moved = int(threat.cost(best, clean).moved[0])
    assert moved <= budget
    lines = clean[0].flatten(1).T.int().numpy()
    options = [list(every_retiming(line, max_shift=5, max_count=1)) for line in lines]
    values = []
    for chosen in itertools.product(*options):
        sample = torch.tensor(np.stack(chosen), dtype=torch.float32).T.reshape(clean.shape)
        if int(Retiming(5).cost(sample, clean).moved[0]) <= moved:
            values.append(float((sample * gain).sum()))
    assert float((best * gain).sum()) == pytest.approx(max(values), abs=1e-2)


def test_what_each_rule_finds():
    clean = torch.zeros(1, 8, 1, 1, 2)
    clean[0, [1, 2, 6], 0, 0, 0] = 1
    moved = torch.zeros_like(clean)
    moved[0, [2, 3, 6], 0, 0, 0] = 1  # in order: 1 to 2, 2 to 3
    assert Retiming(1).violations(moved, clean) == []
    assert Retiming(1).cost(moved, clean).moved.tolist() == [2]
    assert Retiming(1).cost(moved, clean).edits.tolist() == [0]

    def rules(threat: Retiming, x: torch.Tensor = moved) -> list[tuple[str, float, float]]:
        return [(v.rule, v.limit, v.found) for v in threat.violations(x, clean)]

    assert rules(Retiming(max_total_shift=1)) == [("max_total_shift", 1, 2)]
    assert rules(Retiming(max_moved=1)) == [("max_moved", 1, 2)]
    assert rules(Retiming(max_moved=0.5)) == [("max_moved", 1, 2)]
    far = torch.zeros_like(clean)
    far[0, [1, 2, 3], 0, 0, 0] = 1
    assert rules(Retiming(2), far) == [("max_shift", 2, 3)]
    assert rules(Retiming(30_000, unit="us", dt_us=10_000), far) == []
    assert rules(Retiming(29_999, unit="us", dt_us=10_000), far) == [("max_shift", 2, 3)]
    other_pixel = clean.roll(1, -1)
    assert rules(Retiming(7), other_pixel) == [("count", 0, 2)]
    piled = torch.zeros_like(clean)
    piled[0, [1, 6], 0, 0, 0] = torch.tensor([2.0, 1.0])
    assert rules(Retiming(1), piled) == [("max_count", 1, 2)]
    assert rules(Retiming(1, max_count=2), piled) == []


def test_cells_that_hold_several_events_keep_their_room():
    clean = torch.zeros(1, 4, 1, 1, 1)
    clean[0, 0] = 3
    gain = torch.tensor([0.0, 3.0, 2.0, 1.0]).view(clean.shape)
    assert Retiming(3).best(gain, clean).flatten().tolist() == [0, 1, 1, 1]
    assert Retiming(3, max_count=2).best(gain, clean).flatten().tolist() == [0, 2, 1, 0]


def test_nothing_to_gain_moves_nothing():
    clean = (torch.rand(2, 9, 2, 3, 3, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    assert torch.equal(Retiming(4).best(torch.zeros_like(clean), clean), clean)
    silent = torch.zeros(2, 9, 2, 3, 3)
    assert torch.equal(Retiming(4).best(torch.rand_like(silent), silent), silent)
    assert Retiming(4).best(silent[:0], silent[:0]).shape == silent[:0].shape


def test_features_without_rows_and_columns():
    clean = torch.tensor([[[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]])
    gain = torch.tensor([[[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]])
    assert Retiming(1).best(gain, clean).tolist() == [[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]]
    assert Retiming(2).best(gain, clean).tolist() == [[[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]]


def test_the_contract_and_the_plain_form():
    threat = Retiming(2, max_moved=0.25)
    check_threat(threat)
    assert threat_from_dict(json.loads(json.dumps(threat.to_dict()))) == threat
    assert pickle.loads(pickle.dumps(threat)) == threat
    assert repr(threat) == "Retiming(max_shift=2, max_moved=0.25)"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_shift": 0},
        {"max_shift": 1.5},
        {"max_moved": 0},
        {"max_moved": 1.5},
        {"max_moved": math.nan},
        {"max_shift": 1, "unit": "ms"},
        {"max_shift": 1, "unit": "us"},
        {"max_shift": 999, "unit": "us", "dt_us": 1000},
        {"max_shift": math.inf, "unit": "us", "dt_us": 1000},
        {"max_total_shift": -1},
        {"max_shift": 1, "max_count": 0},
        {"max_shift": 1, "dt_us": 0},
        {"max_shift": True},
    ],
)
def test_what_does_not_fit_is_refused(options):
    with pytest.raises(InvalidInput):
        Retiming(**options)
