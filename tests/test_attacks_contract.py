"""What holds for every attack: valid results, same seed same result, inputs untouched, clear refusals."""

import attack_samples as samples
import numpy as np
import pytest
import spiking_stand_ins
import torch
from art.attacks.attack import EvasionAttack
from art.exceptions import EstimatorError

from art_spiking.attacks import (
    AutoSpike,
    EventAttack,
    EventExchange,
    EventGenetic,
    EventGradientAttack,
    EventGreedy,
    EventHopSkipJump,
    EventSignOPT,
    EventSquare,
    EventTransfer,
    GumbelEventAttack,
    HeatmapPerturbation,
    IterativePerturbation,
    MinimalEdits,
    RandomEvents,
    RandomPatch,
    RandomRetiming,
    RandomUniversal,
    RetimingSquare,
    RobustUniversalPerturbation,
    SparseDynamicAttack,
    SpikeFool,
    SpikeRetiming,
    SpikingAdversarialPatch,
    SpikingUniversalPerturbation,
    TernaryGradientAttack,
)
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.threats import EventEdits, Linf, Retiming

QUICK = {
    EventGradientAttack: {"steps": 4},
    EventExchange: {"steps": 3, "rounds": 3, "candidates": 4},
    SpikingUniversalPerturbation: {"epochs": 1},
    RobustUniversalPerturbation: {"epochs": 1},
    HeatmapPerturbation: {"steps": 10},
    IterativePerturbation: {"steps": 10},
    SpikingAdversarialPatch: {"epochs": 1},
    EventSquare: {"queries": 4},
    EventGenetic: {"queries": 20},
    EventGreedy: {"queries": 20},
    EventHopSkipJump: {"queries": 250},
    EventSignOPT: {"queries": 250},
    EventTransfer: {"epochs": 1, "members": 1},
    SpikeFool: {"rounds": 3, "steps": 3},
    SparseDynamicAttack: {"rounds": 3},
    TernaryGradientAttack: {"steps": 4},
    GumbelEventAttack: {"steps": 8},
    MinimalEdits: {"parameters": {"steps": 4}},
    AutoSpike: {},
    RandomEvents: {},
    RandomUniversal: {},
    RandomPatch: {},
    SpikeRetiming: {"steps": 4},
    RetimingSquare: {"queries": 4},
    RandomRetiming: {},
}
RETIMINGS = (SpikeRetiming, RetimingSquare, RandomRetiming)
RETIMING_THREATS = {
    "shift": Retiming(1),
    "moves": Retiming(max_moved=12),
    "share": Retiming(max_moved=0.2),
    "total shift": Retiming(max_total_shift=9),
    "all of them": Retiming(2, 12, 10),
}
PATCHES = (SpikingAdversarialPatch, RandomPatch)


def threats_of(attack):
    if attack in RETIMINGS:
        return RETIMING_THREATS
    return samples.PATCH_THREATS if attack in PATCHES else samples.EDIT_THREATS


CASES = [
    pytest.param(attack, threat, id=f"{attack.__name__}-{name}")
    for attack in QUICK
    for name, threat in threats_of(attack).items()
]


@pytest.fixture(scope="module")
def spiking():
    return SpikingClassifier(spiking_stand_ins.TinyNetwork(), input_shape=spiking_stand_ins.SHAPE)


@pytest.fixture(scope="module")
def data():
    return spiking_stand_ins.events(8, seed=3)


def threat_for(attack):
    return next(iter(threats_of(attack).values()))


def build(attack, model, threat=None, **options):
    return attack(model, threat or threat_for(attack), **(QUICK[attack] | options))


@pytest.mark.parametrize(("attack", "threat"), CASES)
def test_results_are_exactly_what_the_threat_allows(spiking, data, attack, threat):
    x, y = data
    x_adv = build(attack, spiking, threat).generate(x, y)
    assert isinstance(x_adv, np.ndarray)
    assert x_adv.dtype == np.float32
    assert x_adv.shape == x.shape
    assert set(np.unique(x_adv)) <= {0.0, 1.0}
    assert threat.violations(x_adv, x) == []
    assert (x_adv != x).any()


@pytest.mark.parametrize("attack", [RandomEvents, RandomUniversal])
def test_the_budget_is_used_in_full(spiking, data, attack):
    x, y = data
    threat = EventEdits(12, delete=False)
    x_adv = build(attack, spiking, threat).generate(np.zeros_like(x), y)
    assert (threat.cost(x_adv, np.zeros_like(x)).added == 12).all()


@pytest.mark.parametrize("attack", list(QUICK))
def test_the_same_seed_gives_the_same_result_and_inputs_stay_as_they_are(spiking, data, attack):
    x, y = data
    before_x, before_y = x.copy(), y.copy()
    state = torch.random.get_rng_state()
    first = build(attack, spiking, seed=5).generate(x, y)
    second = build(attack, spiking, seed=5).generate(x, y)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(x, before_x)
    np.testing.assert_array_equal(y, before_y)
    assert torch.equal(torch.random.get_rng_state(), state)
    again = build(attack, spiking, seed=5)
    np.testing.assert_array_equal(again.generate(x, y), again.generate(x, y))


@pytest.mark.parametrize(
    "attack",
    [
        EventSquare,
        RandomEvents,
        RandomUniversal,
        RandomPatch,
        RandomRetiming,
        RetimingSquare,
        TernaryGradientAttack,
        GumbelEventAttack,
    ],
)
def test_another_seed_gives_another_result(spiking, data, attack):
    x, y = data
    first, second = (build(attack, spiking, seed=seed).generate(x, y) for seed in (1, 2))
    assert (first != second).any()


@pytest.mark.parametrize("attack", list(QUICK))
def test_labels_may_be_indices_one_hot_or_the_models_own(spiking, data, attack):
    x, _ = data
    own = spiking.predict(x).argmax(1)
    expected = build(attack, spiking).generate(x, own)
    np.testing.assert_array_equal(
        build(attack, spiking).generate(x, np.eye(4, dtype=np.float32)[own]), expected
    )
    np.testing.assert_array_equal(build(attack, spiking).generate(x), expected)


@pytest.mark.parametrize("attack", list(QUICK))
def test_float64_and_integer_inputs_give_float32(spiking, data, attack):
    x, y = data
    expected = build(attack, spiking).generate(x, y)
    for dtype in (np.float64, np.int64, np.uint8):
        found = build(attack, spiking).generate(x.astype(dtype), y)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("attack", list(QUICK))
def test_it_is_an_art_attack_whose_parameters_can_be_set(spiking, attack):
    made = build(attack, spiking)
    assert isinstance(made, EvasionAttack)
    assert made.estimator is spiking
    assert made.targeted is False
    for name in made.attack_params:
        assert hasattr(made, name), name
    made.set_params(seed=9, batch_size=3)
    assert (made.seed, made.batch_size) == (9, 3)
    for options in ({"batch_size": 0}, {"seed": -1}, {"threat": Linf(0.5)}):
        with pytest.raises(InvalidInput):
            build(attack, spiking).set_params(**options)
    with pytest.raises(EstimatorError):
        attack(object(), threat_for(attack))


@pytest.mark.parametrize("attack", list(QUICK))
@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda x: x[:0], "empty"),
        (lambda x: x[:, :3], "T is 3"),
        (lambda x: x[0], "batch axis"),
        (lambda x: np.where(np.arange(x.size).reshape(x.shape) == 7, np.nan, x), "NaN|finite"),
        (lambda x: x - 1, "negative"),
        (lambda x: x * 0.5, "fraction|whole"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(spiking, data, attack, broken, message):
    x, _ = data
    with pytest.raises(InvalidInput, match=message):
        build(attack, spiking).generate(broken(x))


@pytest.mark.parametrize("attack", list(QUICK))
def test_labels_and_options_that_do_not_fit_are_refused(spiking, data, attack):
    x, y = data
    for wrong in (y[:-1], y + 4, np.full(len(y), -1), np.zeros((len(y), 9))):
        with pytest.raises(InvalidInput):
            build(attack, spiking).generate(x, wrong)
    with pytest.raises(InvalidInput, match="mask"):
        build(attack, spiking).generate(x, y, mask=np.ones_like(x))


@pytest.mark.parametrize(
    "attack", [EventGradientAttack, EventSquare, SpikingUniversalPerturbation, RandomEvents, RandomUniversal]
)
def test_a_budget_larger_than_the_input_is_refused(spiking, data, attack):
    x, y = data
    with pytest.raises(InvalidInput, match="larger than the input"):
        build(attack, spiking, EventEdits(x[0].size + 1)).generate(x, y)


def test_a_folded_view_is_refused(spiking):
    with pytest.raises((InvalidInput, EstimatorError)):
        RandomEvents(spiking.folded(), EventEdits(3))


@pytest.mark.parametrize("attack", [attack for attack in QUICK if attack.universal])
def test_a_universal_attack_fits_once_and_applies_to_anything(spiking, data, attack):
    x, y = data
    made = build(attack, spiking, seed=2)
    assert made.universal
    assert made.noise is None
    perturbation = made.fit(x, y)
    assert made.perturbation is perturbation
    np.testing.assert_array_equal(made.noise, perturbation.values)
    np.testing.assert_array_equal(
        perturbation.apply(x, seed=2), build(attack, spiking, seed=2).generate(x, y)
    )
    other = spiking_stand_ins.events(3, seed=11)[0]
    assert made.threat.violations(perturbation.apply(other), other) == []


class Rogue(EventAttack):
    """Returns what no sensor emits."""

    def run(self, x, y, generator):
        return x + 0.3


class OffTheGrid(EventAttack):
    """Returns another shape."""

    def run(self, x, y, generator):
        return x[:, :2]


class Lax(EventEdits):
    """A threat whose projection does nothing."""

    def project(self, x_adv, x):
        return x_adv


def test_the_base_makes_results_valid_or_raises(spiking, data):
    x, y = data
    threat = EventEdits(4)
    assert threat.violations(Rogue(spiking, threat).generate(x, y), x) == []
    with pytest.raises(InvalidInput):
        OffTheGrid(spiking, threat).generate(x, y)
    with pytest.raises(InvalidInput, match="Rogue returned samples that its threat model forbids"):
        Rogue(spiking, Lax(4)).generate(x, y)


def test_samples_that_are_fooled_already_are_left_alone(spiking, data):
    x, _ = data
    own = spiking.predict(x).argmax(1)
    labels = own.copy()
    labels[::2] = (labels[::2] + 1) % 4
    x_adv = build(EventGradientAttack, spiking).generate(x, labels)
    np.testing.assert_array_equal(x_adv[::2], x[::2])
