"""SpikingAdversarialPatch learns what a planted weakness reacts to, wherever it is put."""

import attack_samples as samples
import numpy as np
import pytest
import torch

from art_spiking.attacks import RandomPatch, SpikingAdversarialPatch
from art_spiking.attacks.universal import patch as patch_module
from art_spiking.attacks.universal.patch_search import PatchSearch, places_on_grid
from art_spiking.building import Conv, Dense, Flat, Neurons, SumPool
from art_spiking.datasets import load_data
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.network import SpikingNetwork
from art_spiking.semantics import NeuronSemantics
from art_spiking.surrogates import Atan
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


def test_the_places_that_are_looked_at_cover_the_sensor():
    places = places_on_grid((8, 12), 5)
    assert {(0, 0), (3, 0), (0, 7), (3, 7)} <= set(places)
    assert {left for _, left in places} == {0, 4, 7}
    assert len(places) == len(set(places)) == 6
    assert places_on_grid((5, 5), 5) == [(0, 0)]
    assert len(places_on_grid((4, 4), 1)) == 16


def test_the_place_is_chosen_for_what_a_fitted_patch_reaches_there():
    # A random patch does most where every event counts; a fitted one where the rhythm counts twice.
    weights = torch.zeros(samples.SHAPE)
    weights[:, :, 0:3, 0:3] = 0.5
    weights[0::2, :, 5:8, 5:8], weights[1::2, :, 5:8, 5:8] = 2.0, -2.0
    model = samples.weak(weights, bar=70.0)
    best = SpikingAdversarialPatch(model, REGION, location="best").fit(CRAFT, LABELS)
    assert best.location == (5, 5)
    assert fooled(model, best.apply(TEST)) == 1.0


def spiking_model():
    """A network with random weights, and recordings of which it tells classes apart."""
    plan = [Conv(6, 3, gain=3.0), Neurons("IF"), SumPool(2), Flat(), Dense(4, gain=3.0), Neurons("IF")]
    semantics = NeuronSemantics(reset="subtract", spikes="one", v_min=-1.0, fires="ge")
    network = SpikingNetwork.sequential(
        samples.SHAPE[1:], plan, semantics=semantics, generator=torch.Generator().manual_seed(4)
    )
    model = SpikingClassifier(network, input_shape=samples.SHAPE)
    craft, test = samples.recordings(80, seed=3, rate=0.12), samples.recordings(80, seed=4, rate=0.12)
    return model, craft, test, model.predict(craft).argmax(1), model.predict(test).argmax(1)


def test_on_a_spiking_network_it_beats_its_control():
    model, craft, test, labels, truth = spiking_model()
    assert len(set(truth)) > 1

    def flipped(patch):
        return float((model.predict(patch.apply(test, seed=8)).argmax(1) != truth).mean())

    place = (2, 2)
    made = SpikingAdversarialPatch(model, REGION, epochs=4, location=place).fit(craft, labels)
    chance = RandomPatch(model, REGION, location=place).fit(craft, labels)
    assert flipped(made) >= flipped(chance) + 0.2


@pytest.mark.parametrize("location", ["random", "best", "attended"])
def test_it_says_which_gradient_path_won_the_race(location):
    model, craft, _, labels, _ = spiking_model()
    paths = [Atan(1.0), Atan(3.0)]
    attack = SpikingAdversarialPatch(model, REGION, location=location, epochs=2, surrogate=paths)
    attack.fit(craft[:10], labels[:10])
    paths = [entry["path"] for entry in attack.chosen["ranking"]]
    assert {path["alpha"] for path in paths} == {1.0, 3.0}
    assert attack.chosen["surrogate"] == paths[0]


def test_every_search_starts_from_a_patch_of_its_own(monkeypatch):
    starts = []

    class Watched(PatchSearch):
        def __init__(self, view, form, objective, start, **options):
            super().__init__(view, form, objective, start, **options)
            starts.append(start)

    monkeypatch.setattr(patch_module, "PatchSearch", Watched)
    model, craft, _, labels, _ = spiking_model()
    twice = (Atan(1.0), Atan(1.0))
    SpikingAdversarialPatch(model, REGION, surrogate=twice, epochs=1).fit(craft, labels)
    assert len(starts) == 2
    assert not torch.equal(starts[0], starts[1])


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


@pytest.mark.data
@pytest.mark.slow
def test_at_its_best_place_a_small_patch_breaks_the_community_model(shared_data):
    semantics = NeuronSemantics(reset="subtract", spikes="one", v_min=-1.0, fires="ge")
    network = SpikingNetwork.from_nir(shared_data / "nir" / "cnn_sinabs.nir", semantics=semantics)
    craft, test = (
        load_data("nmnist", split, steps=31, dt_us=10_000, data_dir=shared_data / "nmnist-1100", limit=limit)
        for split, limit in (("train", 200), ("test", None))
    )
    model, region = SpikingClassifier(network, input_shape=test.grid.shape), PatchRegion(0.025)

    def accuracy(patch):
        x_adv = patch.apply(test.x)
        assert region.violations(x_adv, test.x) == []
        return float((model.predict(x_adv).argmax(1) == test.y).mean())

    made = SpikingAdversarialPatch(model, region, location="best").fit(craft.x, craft.y)
    control = RandomPatch(model, region, location=made.location).fit(craft.x, craft.y)
    assert accuracy(made) <= 0.35
    assert accuracy(made) <= accuracy(control) - 0.1
