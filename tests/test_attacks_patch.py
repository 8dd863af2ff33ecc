"""SpikingAdversarialPatch learns what a planted weakness reacts to, wherever it is put."""

import attack_samples as samples
import numpy as np
import pytest
import torch

from art_spiking.attacks import RandomPatch, SpikingAdversarialPatch
from art_spiking.errors import InvalidInput
from art_spiking.threats import EventEdits, PatchRegion

# ON events at even steps speak for class 1, at odd steps against it, at any place: random events cancel.
RHYTHM = torch.zeros(samples.SHAPE)
RHYTHM[0::2, 1], RHYTHM[1::2, 1] = 1.0, -1.0
MODEL = samples.weak(RHYTHM, bar=12.5)
CRAFT, TEST = samples.recordings(40, seed=1, rate=0.02), samples.recordings(40, seed=2, rate=0.02)
LABELS = np.zeros(40, np.int64)
REGION = PatchRegion(0.15)


def fooled(model, x):
    return float((model.predict(x).argmax(1) == 1).mean())


def test_it_learns_the_rhythm_where_a_random_patch_does_not():
    attack = SpikingAdversarialPatch(MODEL, REGION)
    patch = attack.fit(CRAFT, LABELS)
    assert patch.events.shape == (6, 2, 3, 3)
    assert set(np.unique(patch.events)) <= {0.0, 1.0}
    assert patch.events[0::2, 1].mean() == 1.0
    assert patch.events[1::2, 1].mean() == 0.0
    x_adv = patch.apply(TEST, seed=8)
    assert fooled(MODEL, x_adv) == 1.0
    assert REGION.violations(x_adv, TEST) == []
    chance = RandomPatch(MODEL, REGION).fit(CRAFT, LABELS)
    assert fooled(MODEL, chance.apply(TEST, seed=8)) == 0.0


def test_the_best_place_is_where_the_model_looks():
    weights = torch.zeros(samples.SHAPE)
    weights[:, :, 5:8, 1:4] = 1.0
    model = samples.weak(weights, bar=20.5)
    best = SpikingAdversarialPatch(model, REGION, location="best").fit(CRAFT, LABELS)
    top, left = best.location
    assert abs(top - 5) + abs(left - 1) <= 1
    assert fooled(model, best.apply(TEST)) == 1.0
    fixed = SpikingAdversarialPatch(model, REGION, location=(0, 4)).fit(CRAFT, LABELS)
    assert fixed.location == (0, 4)
    assert fooled(model, fixed.apply(TEST)) == 0.0


def test_with_a_random_shift_it_prefers_what_works_at_any_time():
    weights = torch.zeros(samples.SHAPE)
    weights[:, 0] = 0.5
    weights[:, 1] = -0.2
    weights[2, 1] = 0.9
    model = samples.weak(weights, bar=20.0)
    shifted = SpikingAdversarialPatch(model, REGION, max_shift=3, epochs=12).fit(CRAFT, LABELS)
    assert shifted.max_shift == 3
    assert shifted.events[:, 0].mean() == 1.0
    # At one step in six the second channel gains 0.9, at the others it loses 0.2: it hardly pays or costs,
    # while without a shift its one good step is used and no other.
    fixed = SpikingAdversarialPatch(model, REGION, epochs=12).fit(CRAFT, LABELS)
    assert fixed.events[2, 1].mean() == 1.0
    assert np.delete(fixed.events[:, 1], 2, axis=0).mean() == 0.0


def test_targeted_it_reaches_the_target():
    attack = SpikingAdversarialPatch(MODEL, REGION, targeted=True)
    patch = attack.fit(CRAFT, np.ones(40, np.int64))
    assert fooled(MODEL, patch.apply(TEST)) == 1.0
    with pytest.raises(InvalidInput, match="target classes"):
        attack.fit(CRAFT)


def test_the_result_is_the_best_of_the_iterates(monkeypatch):
    seen = []

    def worse_each_time(self, candidate, x, y):
        seen.append(candidate)
        return (len(seen) / 10, 0.0)

    monkeypatch.setattr(SpikingAdversarialPatch, "craft_score", worse_each_time)
    patch = SpikingAdversarialPatch(MODEL, REGION, epochs=3).fit(CRAFT, LABELS)
    assert len(seen) == 4
    assert patch is seen[0]


@pytest.mark.parametrize("which", ["insert", "delete"])
def test_where_only_one_kind_of_edit_is_allowed_only_that_is_done(which):
    region = PatchRegion(0.15, insert=which == "insert", delete=which == "delete")
    sign = 1.0 if which == "insert" else -1.0
    model = samples.weak(sign * torch.ones(samples.SHAPE), bar=1e3)
    x = samples.recordings(20, rate=0.5)
    patch = SpikingAdversarialPatch(model, region, epochs=12).fit(x, np.zeros(20, np.int64))
    x_adv = patch.apply(x)
    assert region.violations(x_adv, x) == []
    assert patch.events.mean() == (1.0 if which == "insert" else 0.0)
    assert (x_adv != x).any()


def test_a_budget_beside_the_region_holds():
    threat = REGION & EventEdits(10)
    patch = SpikingAdversarialPatch(MODEL, threat, epochs=2).fit(CRAFT, LABELS)
    assert threat.violations(patch.apply(TEST), TEST) == []


def test_options_and_threats_that_do_not_fit_are_refused():
    for options in (
        {"location": "somewhere"},
        {"location": (1,)},
        {"location": (-1, 2)},
        {"epochs": 0},
        {"max_shift": -1},
        {"surrogate": 1},
    ):
        with pytest.raises(InvalidInput):
            SpikingAdversarialPatch(MODEL, REGION, **options)
    for density in (0.0, 1.5, True):
        with pytest.raises(InvalidInput):
            RandomPatch(MODEL, REGION, density=density)
    for attack in (SpikingAdversarialPatch, RandomPatch):
        with pytest.raises(InvalidInput, match="needs a region"):
            attack(MODEL, EventEdits(5))
        with pytest.raises(InvalidInput, match="does not fit the sensor"):
            attack(MODEL, PatchRegion(0.001)).fit(CRAFT, LABELS)
    with pytest.raises(InvalidInput, match="does not lie on the sensor"):
        SpikingAdversarialPatch(MODEL, REGION, location=(7, 7)).fit(CRAFT, LABELS)
