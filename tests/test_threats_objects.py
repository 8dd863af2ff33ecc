# SPDX-License-Identifier: MIT
"""ObjectRegion: an object adds events along its path and at its flicker's edges, exactly."""

import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_threats import batches

from art_spiking.errors import InvalidInput
from art_spiking.threats import EventEdits, ObjectRegion, PixelRate, threat_from_dict

DT = 1_000
SPEEDS = st.sampled_from([0.0, 300.0, -500.0, 1000.0, 1600.0, -2500.0])
objects = st.builds(
    ObjectRegion,
    st.sampled_from([0.1, 0.3, 0.6]),
    st.integers(1, 2),
    velocity=st.tuples(SPEEDS, SPEEDS),
    flicker_hz=st.sampled_from([None, 90.0, 166.0, 250.0, 400.0, 2000.0]),
    dt_us=st.just(DT),
)
joined = st.builds(
    lambda o, hz, k: o & PixelRate(hz, DT) & EventEdits(k), objects, st.just(350.0), st.just(5)
)
threats = st.one_of(objects, joined)


@settings(max_examples=100, deadline=None)
@given(threats, batches())
def test_projection_is_feasible_idempotent_and_agrees_with_the_check(threat, batch):
    wish, clean = batch
    projected = threat.project(wish, clean)
    assert threat.violations(projected, clean) == []
    assert torch.equal(threat.project(projected, clean), projected)
    unmoved = [torch.equal(a, b) for a, b in zip(threat.project(wish, clean), wish, strict=True)]
    broken = {violation.sample for violation in threat.violations(wish, clean)}
    assert unmoved == [i not in broken for i in range(len(clean))]
    for i in range(len(clean)):
        assert torch.equal(threat.project(wish[i : i + 1], clean[i : i + 1]), projected[i : i + 1])


@settings(max_examples=100, deadline=None)
@given(threats, st.data())
def test_subsets_of_edits_are_judged_alike_by_projection_and_violations(threat, data):
    wish, clean = data.draw(batches())
    near = threat.project(wish, clean)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    change = torch.tensor(rng.integers(-1, 2, near.shape) * (rng.random(near.shape) < 0.01))
    near = (near + change).clamp(min=0)
    assert torch.equal(threat.project(near, clean), near) == (threat.violations(near, clean) == [])


@settings(max_examples=15, deadline=None)
@given(threats, batches((1, 6, 2, 3, 4)))
def test_allowed_cells_are_those_that_may_be_edited_alone(threat, batch):
    _, clean = batch
    insertable, deletable = threat.allowed(clean)
    assert not bool(deletable.any())
    for index in np.ndindex(*clean.shape):
        edited = clean.clone()
        edited[index] += 1
        assert bool(insertable[index]) == (threat.violations(edited, clean) == [])


@settings(max_examples=40, deadline=None)
@given(objects, batches((1, 6, 2, 4, 4)))
def test_the_place_and_the_phase_are_the_best_ones(threat, batch):
    """Against every place and every phase, by the definition."""
    wish, clean = batch[0].nan_to_num(0, 9, -9).clamp(-9, 9), batch[1]
    change = (wish - clean).clamp(min=0).numpy()[0].astype(np.float64)
    change[clean[0].numpy() >= threat.max_count] = 0
    side, path = threat.side(4, 4), threat.path(6)
    best = 0.0
    for phase in range(threat.phases(6)):
        edges = threat.edges(6, phase)
        for top in range(5 - side):
            for left in range(5 - side):
                total = 0.0
                for t, (down, right) in enumerate(path):
                    rows = slice(max(0, top + down), max(0, top + down + side))
                    columns = slice(max(0, left + right), max(0, left + right + side))
                    total += (change[t, :, rows, columns] * edges[t][:, None, None]).sum()
                best = max(best, total)
    projected = threat.project(wish, clean)
    kept = change * ((projected - clean)[0].numpy() > 0)
    assert kept.sum() == pytest.approx(best, rel=1e-5, abs=1e-6)


def test_the_path_is_in_pixels_per_second():
    moving = ObjectRegion(0.05, velocity=(100.0, -50.0), dt_us=10_000)
    np.testing.assert_array_equal(moving.path(5), [[-2, 1], [-1, 1], [0, 0], [1, 0], [2, -1]])
    np.testing.assert_array_equal(ObjectRegion(0.05).path(3), np.zeros((3, 2)))


def test_a_flicker_brightens_and_darkens_in_turn():
    blinking = ObjectRegion(0.05, flicker_hz=25.0, dt_us=10_000)
    assert blinking.phases(8) == 4
    on, off = blinking.edges(8, 1)[:, 1], blinking.edges(8, 1)[:, 0]
    assert np.flatnonzero(on).tolist() == [1, 5]
    assert np.flatnonzero(off).tolist() == [3, 7]
    # Faster than the grid resolves: every step holds both edges.
    assert ObjectRegion(0.05, flicker_hz=100.0, dt_us=10_000).edges(8, 0).all()


def event(step, channel, row, column):
    x = np.zeros((1, 6, 2, 8, 8), np.float32)
    x[0, step, channel, row, column] = 1
    return x


def test_every_rule_is_told_in_words():
    clean = np.zeros((1, 6, 2, 8, 8), np.float32)
    moving = ObjectRegion(0.1, velocity=(0.0, 1000.0), flicker_hz=250.0, dt_us=1_000)

    def told(x_adv, x=clean):
        return " ".join(f"{v.rule}: {v.text}" for v in moving.violations(x_adv, x))

    # Along with the object one pixel a step: one place all the time.
    along = event(1, 1, 4, 2) + event(3, 0, 4, 4) + event(5, 1, 5, 5)
    assert told(along) == ""
    assert "insertions span 5 columns; the window has 2" in told(event(1, 1, 4, 6) + event(3, 0, 4, 4))
    assert "1 insertions are not at an edge of a flicker of 250 Hz" in told(along + event(4, 0, 4, 5))
    assert "beyond the sensor" in told(event(0, 1, 4, 7))
    assert "an object takes none away" in told(clean, event(0, 0, 1, 1))
    assert "at most 1 may be there" in told(event(3, 1, 4, 4) * 2, event(3, 1, 4, 4))


def test_it_is_written_as_suites_hold_it_and_joined():
    threat = ObjectRegion(0.05, velocity=(20.0, 0.0), flicker_hz=12.5, dt_us=10_000) & PixelRate(30.0, 10_000)
    form = json.loads(json.dumps(threat.to_dict()))
    assert threat_from_dict(form) == threat
    assert pickle.loads(pickle.dumps(threat)) == threat
    assert "velocity=(20.0, 0.0)" in repr(threat)


@pytest.mark.parametrize(
    "options",
    [
        {"delete": True},
        {"insert": False},
        {"velocity": (1.0,), "dt_us": 1},
        {"velocity": (np.nan, 0.0), "dt_us": 1},
        {"velocity": "fast", "dt_us": 1},
        {"velocity": (5.0, 0.0)},
        {"flicker_hz": 10.0},
        {"flicker_hz": 0.0, "dt_us": 1},
        {"flicker_hz": 10.0, "dt_us": 0},
        {"area": 2.0},
    ],
)
def test_what_does_not_fit_is_refused(options):
    with pytest.raises(InvalidInput):
        ObjectRegion(**({"area": 0.1} | options))


def test_too_slow_a_flicker_is_refused_before_any_work():
    threat = ObjectRegion(0.1, flicker_hz=5.0, dt_us=1_000)
    with pytest.raises(InvalidInput, match=r"too slowly .* 83\.3333 Hz or more"):
        threat.check_input(torch.zeros((1, 6, 2, 8, 8)))
