"""SpikingUniversalPerturbation: one mask that works on recordings it has never seen."""

from typing import ClassVar

import attack_samples as samples
import host_samples as host
import numpy as np
import pytest
import torch

from art_spiking.attacks import RandomUniversal, SpikingUniversalPerturbation
from art_spiking.building import Dense, Flat, Neurons
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.network import SpikingNetwork
from art_spiking.surrogates import Atan
from art_spiking.threats import EventEdits, PatchRegion, PixelRate

CELLS = samples.planted_cells(30)
MODEL = samples.weak(CELLS, bar=9.5)
CRAFT, TEST = samples.recordings(40, seed=1), samples.recordings(40, seed=2)
LABELS = np.zeros(40, np.int64)


def accuracy(model, x):
    return float((model.predict(x).argmax(1) == 0).mean())


def test_it_finds_the_planted_cells_and_fools_held_out_recordings():
    assert accuracy(MODEL, TEST) == 1.0
    threat = EventEdits(14, delete=False)
    mask = SpikingUniversalPerturbation(MODEL, threat).fit(CRAFT, LABELS)
    assert mask.size == 14
    assert ((mask.values > 0) <= (CELLS.numpy() > 0)).all()
    assert accuracy(MODEL, mask.apply(TEST)) <= 0.1
    chance = RandomUniversal(MODEL, threat).fit(CRAFT, LABELS)
    assert chance.size == 14
    assert accuracy(MODEL, chance.apply(TEST)) >= 0.9


def test_deletions_alone_silence_what_the_class_lives_on():
    weights = torch.zeros(samples.SHAPE)
    weights[:, :, 2:5, 2:5] = -1.0
    craft, test = (samples.recordings(40, seed=seed, rate=0.3) for seed in (1, 2))
    model = samples.weak(weights, bar=-16.5)
    assert accuracy(model, test) > 0.9
    threat = EventEdits(25, insert=False)
    mask = SpikingUniversalPerturbation(model, threat).fit(craft, LABELS)
    # A deletion costs only where there is an event: more cells than edits.
    assert mask.size > 25
    assert not (mask.insert > 0).any()
    x_adv = mask.apply(test)
    assert threat.violations(x_adv, test) == []
    assert accuracy(model, x_adv) <= 0.3


def test_both_kinds_of_edits_are_weighed_against_each_other():
    weights = torch.zeros(samples.SHAPE)
    weights[:, 0, :4], weights[:, 0, 4:] = -1.0, 0.3
    craft = samples.recordings(40, seed=1, rate=0.5)
    threat = EventEdits(20)
    mask = SpikingUniversalPerturbation(samples.weak(weights, bar=0.0), threat, epochs=3).fit(craft, LABELS)
    deleted, inserted = mask.delete > 0, mask.insert > 0
    assert deleted[:, 0, :4].sum() > 3 * max(1, inserted.sum())
    assert not deleted[:, 1].any()


def test_a_static_mask_edits_a_cell_at_all_steps_or_none():
    weights = torch.zeros(samples.SHAPE)
    weights[:, 1, 4, 4] = 1.0
    weights[:, 0, 1, 6] = 1.0
    weights[2] += 0.4  # a bait at one step, everywhere
    model = samples.weak(weights, bar=14.0)
    threat = EventEdits(13, delete=False)
    mask = SpikingUniversalPerturbation(model, threat, static=True).fit(CRAFT, LABELS)
    values = mask.values
    assert (values == values[:1]).all()
    assert values[0, 1, 4, 4] == values[0, 0, 1, 6] == 1
    assert mask.size == 12
    with pytest.raises(InvalidInput, match="one cell at all steps"):
        SpikingUniversalPerturbation(model, EventEdits(5), static=True).fit(CRAFT, LABELS)


def test_with_a_random_shift_it_needs_no_synchronisation():
    weights = torch.zeros(samples.SHAPE)
    weights[:, 0, 2, 2] = 1.0  # works at any step
    weights[3, 1] = 1.3  # works better, at one step only
    model = samples.weak(weights, bar=11.0)
    threat = EventEdits(6, delete=False)
    shifted = SpikingUniversalPerturbation(model, threat, max_shift=3).fit(CRAFT, LABELS)
    assert shifted.max_shift == 3
    # At a random step the bait pays 1.3 / 6, the lasting cells 1.
    assert (shifted.values[:, 0, 2, 2] == 1).all()
    fixed = SpikingUniversalPerturbation(model, threat).fit(CRAFT, LABELS)
    assert (fixed.values[3, 1] == 1).sum() == 6


def test_the_result_is_the_best_of_the_iterates(monkeypatch):
    seen = []
    score = SpikingUniversalPerturbation.craft_score

    def watched(self, candidate, x, y):
        # Worse with each iterate: the first must be returned.
        seen.append(candidate)
        return (len(seen) / 10, score(self, candidate, x, y)[1])

    monkeypatch.setattr(SpikingUniversalPerturbation, "craft_score", watched)
    mask = SpikingUniversalPerturbation(MODEL, EventEdits(14), epochs=4).fit(CRAFT, LABELS)
    assert len(seen) == 4
    assert mask is seen[0]


class Course:
    """A search whose candidates have a known score."""

    def __init__(self, *scores):
        self.scores = list(scores)
        self.label = {"path": {"name": f"from {scores[0]}"}}

    def epoch(self, x, y, generator):
        return self.scores.pop(0)


def test_of_several_searches_the_one_that_leads_goes_on_alone(monkeypatch):
    attack = SpikingUniversalPerturbation(MODEL, EventEdits(14))
    monkeypatch.setattr(attack, "craft_score", lambda candidate, x, y: (candidate, 0.0))
    slow, fast, late = Course(0.9), Course(0.5, 0.2, 0.4), Course(0.6)
    assert attack.race([slow, fast, late], LABELS, None, None, epochs=3) == (0.2, (0.2, 0.0))
    assert attack.chosen["surrogate"] == {"name": "from 0.5"}
    assert [entry["fooled"] for entry in attack.chosen["ranking"]] == [0.5, 0.4, pytest.approx(0.1)]
    assert slow.scores == fast.scores == late.scores == []
    # A leader that only gets worse does not lose what it had.
    assert attack.race([Course(0.3, 0.7)], LABELS, None, None, epochs=2)[0] == 0.3


class Exchangeable(samples.WeakCells):
    """Notes which surrogates are asked of it."""

    asked: ClassVar[list] = []

    def with_surrogate(self, surrogate):
        self.asked.append(surrogate)
        return self


def test_each_surrogate_starts_a_search():
    model = SpikingClassifier(Exchangeable(CELLS, 9.5), input_shape=samples.SHAPE)
    Exchangeable.asked.clear()
    starts = [Atan(2.0), Atan(1.0).to_dict()]
    threat = EventEdits(14, delete=False)
    with model.counting() as counted:
        SpikingUniversalPerturbation(model, threat, surrogate=starts, epochs=3).fit(CRAFT, LABELS)
    assert Exchangeable.asked == [Atan(2.0), Atan(1.0)]
    assert counted.backwards == 40 * (2 + 2)
    for wrong in ([], [1], 3):
        with pytest.raises(InvalidInput, match="surrogate"):
            SpikingUniversalPerturbation(model, threat, surrogate=wrong)


def test_a_search_on_the_membrane_joins_where_there_is_one_neuron_a_class(monkeypatch):
    asked = []
    exchange = SpikingClassifier.with_readout

    def watched(self, readout):
        asked.append(readout)
        return exchange(self, readout)

    monkeypatch.setattr(SpikingClassifier, "with_readout", watched)
    threat = EventEdits(12, delete=False)

    def backwards(model, **options):
        x = host.data("train", 10, model)
        attack = SpikingUniversalPerturbation(model, threat, surrogate=Atan(2.0), epochs=1, **options)
        with model.counting() as counted:
            mask = attack.fit(x.x, x.y)
        assert mask.size == 12
        return counted.backwards

    assert (backwards(host.classifier()), asked) == (20, ["membrane-mean"])
    assert backwards(host.classifier(), smooth=False) == 10
    assert backwards(host.classifier(readout="membrane-mean")) == 10
    # A last layer of five neurons that a dense layer reads: no potential a class.
    layers = [Flat(), Dense(5), Neurons(), Dense(3)]
    wide = SpikingNetwork.sequential((2, 6, 6), layers, generator=torch.Generator().manual_seed(0))
    assert backwards(host.classifier(wide)) == 10
    with pytest.raises(InvalidInput, match="smooth"):
        SpikingUniversalPerturbation(MODEL, threat, smooth=1)


def test_more_budget_fools_more():
    left = [
        accuracy(MODEL, SpikingUniversalPerturbation(MODEL, EventEdits(k)).fit(CRAFT, LABELS).apply(TEST))
        for k in (2, 8, 16)
    ]
    assert left[0] > left[1] > left[2]


@pytest.mark.parametrize(
    "threat",
    [
        EventEdits(14, delete=False, refractory_us=3000, dt_us=1000),
        EventEdits(14, delete=False) & PixelRate(200.0, dt_us=1000),
        EventEdits(14, delete=False) & PatchRegion(0.5),
    ],
)
def test_rules_between_cells_bind_the_mask_itself(threat):
    lasting = torch.zeros(samples.SHAPE)
    lasting[:, 0] = torch.rand(samples.SHAPE[2:], generator=torch.Generator().manual_seed(0))
    model = samples.weak(lasting, bar=40.0)
    mask = SpikingUniversalPerturbation(model, threat, epochs=2).fit(CRAFT, LABELS)
    silence = np.zeros((1, *samples.SHAPE), np.float32)
    applied = mask.apply(silence)
    # Nothing was dropped: the whole budget was spent on a mask that keeps the rules by itself.
    np.testing.assert_array_equal(applied[0], (mask.insert > 0).astype(np.float32))
    assert applied.sum() == 14


def test_a_share_budget_holds_for_every_sample():
    threat = EventEdits(0.1, delete=False)
    mask = SpikingUniversalPerturbation(MODEL, threat).fit(CRAFT, LABELS)
    sparse = samples.recordings(10, seed=9, rate=0.03)
    assert threat.violations(mask.apply(sparse), sparse) == []


def test_targeted_it_drives_all_samples_to_one_class():
    target = np.ones(40, np.int64)
    attack = SpikingUniversalPerturbation(MODEL, EventEdits(14, delete=False), targeted=True)
    mask = attack.fit(CRAFT, target)
    assert (MODEL.predict(mask.apply(TEST)).argmax(1) == 1).mean() >= 0.9
    with pytest.raises(InvalidInput, match="target classes"):
        attack.fit(CRAFT)


def test_a_threat_without_a_budget_is_refused():
    with pytest.raises(InvalidInput, match="needs a budget of edits"):
        SpikingUniversalPerturbation(MODEL, PatchRegion(0.2)).fit(CRAFT, LABELS)


def test_options_that_do_not_fit_are_refused():
    for options in (
        {"epochs": 0},
        {"static": 1},
        {"max_shift": -1},
        {"max_shift": 1.5},
        {"surrogate": 3},
    ):
        with pytest.raises(InvalidInput):
            SpikingUniversalPerturbation(MODEL, EventEdits(3), **options)


def test_it_says_which_gradient_path_won_the_race_on_the_craft_split():
    model, data = host.classifier(), host.data("train", 12)
    attack = SpikingUniversalPerturbation(model, EventEdits(20, delete=False), epochs=1)
    attack.fit(data.x, data.y)
    ranking = attack.chosen["ranking"]
    assert [entry["path"] for entry in ranking].count(Atan(3.0, through_reset=True).to_dict()) == 2
    assert [entry.get("readout") for entry in ranking].count("membrane-mean") == 1
    assert len(ranking) == 4
    assert attack.chosen["surrogate"] == ranking[0]["path"]
    assert attack.chosen["samples"] == 12
    shares = [entry["fooled"] for entry in ranking]
    assert shares == sorted(shares, reverse=True)
    # One epoch long, the race's winner is what was fitted.
    x_adv = attack.perturbation.apply(data.x, seed=0)
    assert ranking[0]["fooled"] == pytest.approx((model.predict(x_adv).argmax(1) != data.y).mean())


def test_a_sweep_before_the_race_stays_told():
    model, data = host.classifier(), host.data("train", 6)
    attack = SpikingUniversalPerturbation(
        model, EventEdits(20, delete=False), epochs=1, surrogate="sweep", batch_size=6
    )
    attack.tune(data.x, data.y)
    swept = attack.chosen["surrogate"]
    for _ in range(2):
        attack.fit(data.x, data.y)
        assert attack.chosen["sweep"]["surrogate"] == swept
        assert {str(entry["path"]) for entry in attack.chosen["ranking"]} == {str(swept)}


def test_a_model_that_keeps_its_own_derivative_is_told_so():
    attack = SpikingUniversalPerturbation(MODEL, EventEdits(14, delete=False), epochs=1)
    attack.fit(CRAFT, LABELS)
    assert [entry["path"] for entry in attack.chosen["ranking"]] == [None]
