# SPDX-License-Identifier: MIT
"""Patches that could be objects: they add events alone, move, flicker and keep a rate; and where they lie."""

import attack_samples as samples
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from art_spiking.attacks import Patch, Perturbation, RandomPatch, SpikingAdversarialPatch
from art_spiking.attacks.universal.patch_search import PatchForm
from art_spiking.attacks.universal.placement import attended_places, first_field
from art_spiking.attacks.universal.windows import Windows
from art_spiking.building import Conv, Dense, Flat, Neurons
from art_spiking.errors import InvalidInput
from art_spiking.network import SpikingNetwork
from art_spiking.threats import EventEdits, ObjectRegion, PatchRegion, PixelRate

DT = 1_000
CRAFT, TEST = (samples.recordings(40, seed=seed, rate=0.02) for seed in (1, 2))
LABELS = np.zeros(40, np.int64)
RHYTHM = torch.zeros(samples.SHAPE)
RHYTHM[0::2, 1], RHYTHM[1::2, 1] = 1.0, -1.0


def fooled(model, x):
    return float((model.predict(x).argmax(1) == 1).mean())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_windows_read_what_they_wrote_and_touch_nothing_else(seed):
    draw = np.random.default_rng(seed)
    places = torch.from_numpy(draw.integers(-4, 9, (3, 2)))
    path = torch.from_numpy(draw.integers(-5, 6, (4, 2)))
    x = torch.zeros((3, 4, 2, 8, 8))
    events = torch.from_numpy(draw.random((3, 4, 2, 3, 2)).astype(np.float32)) + 1
    windows = Windows.at(places, (3, 2), path)
    found = windows.put(x, events)
    expected = x.clone()
    for n, t, i, j in np.ndindex(3, 4, 3, 2):
        row, column = int(places[n, 0] + path[t, 0]) + i, int(places[n, 1] + path[t, 1]) + j
        if 0 <= row < 8 and 0 <= column < 8:
            expected[n, t, :, row, column] = events[n, t, :, i, j]
    torch.testing.assert_close(found, expected)
    assert float(x.sum()) == 0
    there = windows.take(found)
    torch.testing.assert_close(there, torch.where(there > 0, events, 0.0))
    assert float(there.sum()) == pytest.approx(float(expected.sum()))


def test_a_moving_patch_is_where_its_velocity_takes_it():
    moving = ObjectRegion(0.1, velocity=(1000.0, 0.0), dt_us=DT)
    patch = Patch(events=np.ones((6, 2, 2, 2)), location=(3, 3), path=moving.path(6), threat=moving)
    silence = np.zeros((2, *samples.SHAPE), np.float32)
    found = patch.apply(silence)
    assert moving.violations(found, silence) == []
    for step in range(6):
        rows, columns = np.nonzero(found[0, step].sum(0))
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (step, step + 1, 3, 4)


def test_an_object_takes_no_event_away():
    patch = Patch(events=np.zeros((6, 2, 3, 3)), location=(1, 1), threat=ObjectRegion(0.15))
    np.testing.assert_array_equal(patch.apply(TEST), TEST)


def test_a_moving_patch_finds_the_rhythm_and_beats_its_control():
    model = samples.weak(RHYTHM, bar=12.5)
    region = ObjectRegion(0.15, velocity=(0.0, -400.0), dt_us=DT)
    made = SpikingAdversarialPatch(model, region).fit(CRAFT, LABELS)
    assert made.path is not None
    assert made.events[0::2, 1].mean() >= 0.9
    assert made.events[1::2, 1].mean() == 0.0
    x_adv = made.apply(TEST, seed=3)
    assert region.violations(x_adv, TEST) == []
    chance = RandomPatch(model, region).fit(CRAFT, LABELS)
    assert region.violations(chance.apply(TEST, seed=3), TEST) == []
    assert fooled(model, x_adv) >= 0.6
    assert fooled(model, chance.apply(TEST, seed=3)) <= 0.1


def test_a_flicker_takes_the_phase_that_pays_and_beats_its_control():
    weights = -0.5 * torch.ones(samples.SHAPE)
    weights[1::4, 1], weights[3::4, 0] = 1.0, 1.0
    quiet = samples.recordings(40, seed=3, rate=0.005)
    model = samples.weak(weights, bar=22.0)
    region = ObjectRegion(0.15, flicker_hz=250.0, dt_us=DT)
    made = SpikingAdversarialPatch(model, region, epochs=6).fit(quiet, LABELS)
    assert made.events[1::4, 1].mean() == made.events[3::4, 0].mean() == 1.0
    assert made.events.sum() == 3 * 9
    x_adv = made.apply(quiet, seed=3)
    assert region.violations(x_adv, quiet) == []
    assert fooled(model, x_adv) >= 0.9
    assert fooled(model, RandomPatch(model, region).fit(quiet, LABELS).apply(quiet, seed=3)) <= 0.1


def test_where_no_cells_compete_only_what_half_the_steps_asked_for_is_there():
    soft = torch.tensor([0.1, 0.3, 0.5, 0.7]).view(4, 1, 1, 1).expand(4, 2, 2, 2)
    moving = ObjectRegion(0.1, velocity=(100.0, 0.0), dt_us=DT)
    for threat, steps in ((moving, [2, 3]), (moving & PixelRate(2000.0, DT), [1, 2, 3])):
        assert torch.nonzero(PatchForm(threat, None, 0).hard(soft)[:, 0, 0, 0])[:, 0].tolist() == steps


def test_a_flicker_and_a_rate_are_kept_by_the_patch_itself():
    model = samples.weak(torch.ones(samples.SHAPE), bar=1e3)
    threat = ObjectRegion(0.15, flicker_hz=250.0, dt_us=DT) & PixelRate(350.0, DT)
    made = SpikingAdversarialPatch(model, threat, epochs=6).fit(CRAFT, LABELS)
    assert (made.events.sum((0, 1)) <= 2).all()
    silence = np.zeros((3, *samples.SHAPE), np.float32)
    found = made.apply(silence)
    # Nothing was left for the threat to drop, and nothing that the rate allows was left out.
    assert (found.reshape(3, -1).sum(1) == made.events.sum()).all()
    assert made.events.sum() == 2 * 9


def test_the_control_drops_at_random_what_a_rate_forbids():
    region = ObjectRegion(0.3)
    model = samples.weak(RHYTHM, bar=12.5)
    free, bound = (
        RandomPatch(model, threat).fit(CRAFT, LABELS).events
        for threat in (region, region & PixelRate(350.0, DT))
    )
    assert 0.35 < free.mean() < 0.65
    assert (bound <= free).all()
    assert bound.sum((0, 1)).max() == 2
    early, late = bound[:3].sum(), bound[3:].sum()
    assert 0.5 < early / late < 2


@pytest.mark.parametrize(
    "threat",
    [
        PatchRegion(0.15, delete=False) & EventEdits(7, delete=False),
        ObjectRegion(0.15, velocity=(700.0, 300.0), dt_us=DT) & EventEdits(7, refractory_us=2000, dt_us=DT),
        ObjectRegion(0.15) & EventEdits(0.1) & PixelRate(200.0, DT),
    ],
)
def test_the_strongest_events_that_go_together_are_kept(threat):
    soft = torch.rand((6, 2, 3, 3), generator=torch.Generator().manual_seed(0))
    kept = PatchForm(threat, None, 0).hard(soft)
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    assert bool((soft[kept > 0] >= 0.25).all())
    asked = soft * (soft >= 0.25)
    # The strongest of all always stays.
    assert float(kept.flatten()[asked.argmax()]) == 1.0
    assert 1 <= float(kept.sum()) < float((asked > 0).sum())


def test_a_file_holds_the_path(tmp_path):
    region = ObjectRegion(0.1, velocity=(500.0, -500.0), dt_us=DT)
    patch = Patch(events=np.ones((6, 2, 2, 2)), path=region.path(6), threat=region)
    patch.save(tmp_path / "patch.npz")
    loaded = Perturbation.load(tmp_path / "patch.npz")
    np.testing.assert_array_equal(loaded.path, patch.path)
    np.testing.assert_array_equal(loaded.apply(TEST, seed=4), patch.apply(TEST, seed=4))


@pytest.mark.parametrize("path", [np.zeros((5, 2), int), np.zeros((6, 2)), np.full((6, 2), 10**6), "up"])
def test_a_path_that_does_not_fit_is_refused(path):
    with pytest.raises(InvalidInput, match="path"):
        Patch(events=np.ones((6, 2, 2, 2)), path=path)


def test_it_looks_where_the_gradient_is_largest():
    weights = torch.zeros(samples.SHAPE)
    weights[:, :, 5:8, 1:4] = 1.0
    model = samples.weak(weights, bar=20.5)
    made = SpikingAdversarialPatch(model, PatchRegion(0.15), location="attended").fit(CRAFT, LABELS)
    assert made.location == (5, 1)
    assert fooled(model, made.apply(TEST)) == 1.0


def test_places_lie_apart_and_a_field_widens_what_counts():
    seen = torch.zeros((8, 12))
    seen[2, 3], seen[6, 9] = 2.0, 1.5
    places = attended_places(seen, 3, 1, most=9)
    assert places[0] == (0, 1)
    assert any(top <= 6 < top + 3 and left <= 9 < left + 3 for top, left in places)
    for k, (top, left) in enumerate(places):
        assert all(max(abs(top - a), abs(left - b)) > 1 for a, b in places[:k])
    # Two that one patch cannot hold, but the fields that it touches do, outweigh one.
    near = torch.zeros((8, 12))
    near[4, 1], near[4, 5], near[4, 10] = 1.0, 1.0, 1.6
    (alone,) = attended_places(near, 3, 1, most=1)
    (both,) = attended_places(near, 3, 3, most=1)
    assert alone[1] >= 8
    assert both[1] == 2
    assert attended_places(torch.ones((3, 3)), 3, 5, most=4) == [(0, 0)]


def test_the_first_field_is_that_of_the_first_window():
    layers = [Conv(4, 3), Neurons(), Conv(4, 3), Neurons(), Flat(), Dense(3), Neurons()]
    network = SpikingNetwork.sequential((2, 8, 8), layers, generator=torch.Generator().manual_seed(0))
    assert first_field(network) == 3
    assert first_field(None) == 1
