"""On the community model and real recordings the sparse attacks are as strong as their authors' own code."""

import numpy as np
import pytest

from art_spiking.attacks import (
    EventExchange,
    EventGradientAttack,
    GumbelEventAttack,
    MinimalEdits,
    RandomEvents,
    SparseDynamicAttack,
    SpikeFool,
    TernaryGradientAttack,
)
from art_spiking.datasets import load_data
from art_spiking.estimators import SpikingClassifier
from art_spiking.network import SpikingNetwork
from art_spiking.semantics import NeuronSemantics
from art_spiking.threats import EventEdits

pytestmark = [pytest.mark.data, pytest.mark.slow]

SAMPLES = 20


@pytest.fixture(scope="module")
def setting(shared_data):
    semantics = NeuronSemantics(reset="subtract", spikes="one", v_min=-1.0, fires="ge")
    network = SpikingNetwork.from_nir(shared_data / "nir" / "cnn_sinabs.nir", semantics=semantics)
    test = load_data("nmnist", "test", steps=31, dt_us=10_000, data_dir=shared_data / "nmnist-1100", limit=22)
    model = SpikingClassifier(network, input_shape=test.grid.shape)
    right = model.predict(test.x).argmax(1) == test.y
    return model, test.x[right][:SAMPLES], test.y[right][:SAMPLES]


@pytest.mark.parametrize(
    ("attack", "success", "median"),
    [
        # Measured for the authors' own code on the first 100 recordings: SPAA with lambda 2 has .989 and a
        # median of 106, SDA 1.000 and 82, the raw-event attack .78 and 3,156.
        (SpikeFool, 1.0, 85),
        (SparseDynamicAttack, 1.0, 82),
        (GumbelEventAttack, 0.85, 150),
        (TernaryGradientAttack, 1.0, 200),
    ],
)
def test_few_edits_fool_and_as_many_random_ones_do_not(setting, attack, success, median):
    model, x, y = setting
    x_adv = attack(model, EventEdits(x[0].size)).generate(x, y)
    fooled = model.predict(x_adv).argmax(1) != y
    spent = np.abs(x_adv - x).reshape(len(x), -1).sum(1)
    assert fooled.mean() >= success
    assert np.median(spent[fooled]) <= median
    control = RandomEvents(model, EventEdits(int(np.median(spent[fooled])))).generate(x, y)
    assert (model.predict(control).argmax(1) != y).mean() <= 0.1


@pytest.mark.parametrize(
    ("threat", "median"),
    [
        (EventEdits(1000), 30),
        (EventEdits(1000, delete=False, refractory_us=10_000, dt_us=10_000), 60),
    ],
    ids=["insert and delete", "one event a pixel and step, inserted"],
)
def test_the_fewest_edits(setting, threat, median):
    model, x, y = setting
    attack = MinimalEdits(model, threat)
    x_adv = attack.generate(x, y)
    assert threat.violations(x_adv, x) == []
    assert not np.isnan(attack.edits).any()
    assert np.median(attack.edits) <= median


def test_trials_fool_more_than_the_gradient_that_proposes_them(setting):
    model, x, y = setting
    threat = EventEdits(15)
    attacks = (EventGradientAttack(model, threat, steps=150), EventExchange(model, threat))
    led, exchanged = ((model.predict(one.generate(x, y)).argmax(1) != y).sum() for one in attacks)
    # On all 94 recordings it is .36 and .55.
    assert exchanged >= led + 2
