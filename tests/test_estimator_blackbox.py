# SPDX-License-Identifier: MIT
"""A model of which only the answers are known, and what attacks say of models without gradients."""

import numpy as np
import pytest
import spiking_stand_ins
import torch
from art.exceptions import EstimatorError

from art_spiking.attacks import (
    AutoSpike,
    EventGradientAttack,
    EventSquare,
    RandomEvents,
    RandomRetiming,
    SpikeRetiming,
    SpikingUniversalPerturbation,
)
from art_spiking.attacks.serving import serving_attacks
from art_spiking.errors import InvalidInput, InvalidModel
from art_spiking.estimators import BlackBoxEventClassifier, SpikingClassifier
from art_spiking.threats import EventEdits, Linf, Retiming

SHAPE, CLASSES = spiking_stand_ins.SHAPE, spiking_stand_ins.CLASSES


@pytest.fixture(scope="module")
def spiking():
    return SpikingClassifier(spiking_stand_ins.TinyNetwork(), input_shape=SHAPE)


@pytest.fixture(scope="module")
def x():
    return spiking_stand_ins.events(7, seed=3)[0]


def test_it_answers_as_the_function_does_and_counts(spiking, x):
    box = BlackBoxEventClassifier(spiking.predict, SHAPE, CLASSES)
    with box.counting() as counted:
        scores = box.predict(x, batch_size=3)
    np.testing.assert_array_equal(scores, spiking.predict(x))
    assert (counted.forwards, counted.backwards) == (7, 0)
    assert box.queries.forwards == 7
    np.testing.assert_array_equal(box.predict_torch(torch.from_numpy(x), 2).numpy(), scores)
    np.testing.assert_array_equal(box.predict(x.astype(np.uint8)), scores)


def test_classes_alone_become_one_hot_rows(spiking, x):
    box = BlackBoxEventClassifier(lambda batch: spiking.predict(batch).argmax(1), SHAPE, CLASSES)
    scores = box.predict(x)
    assert scores.shape == (7, CLASSES)
    np.testing.assert_array_equal(scores.argmax(1), spiking.predict(x).argmax(1))
    assert set(np.unique(scores)) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: np.zeros((len(x), CLASSES + 1)), "something else than scores"),
        (lambda x: np.full((len(x), CLASSES), np.nan), "not finite"),
        (lambda x: np.full(len(x), CLASSES), "out of range"),
        (lambda x: np.zeros((len(x) + 1, CLASSES)), "something else than scores"),
        (lambda x: np.full((len(x), CLASSES), "a"), "something else than scores"),
    ],
)
def test_answers_that_do_not_fit_are_refused(x, answer, message):
    with pytest.raises(InvalidInput, match=message):
        BlackBoxEventClassifier(answer, SHAPE, CLASSES).predict(x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, SHAPE, CLASSES), "not a function"),
        ((len, (3, 4, 5), CLASSES), "shape of one sample"),
        ((len, (0, 4), CLASSES), "shape of one sample"),
        ((len, SHAPE, 1), "at least two classes"),
        ((len, SHAPE, 2.0), "at least two classes"),
    ],
)
def test_what_cannot_be_a_classifier_is_refused(arguments, message):
    with pytest.raises(InvalidInput, match=message):
        BlackBoxEventClassifier(*arguments)


def test_inputs_that_do_not_fit_are_refused(spiking, x):
    box = BlackBoxEventClassifier(spiking.predict, SHAPE, CLASSES)
    with pytest.raises(InvalidInput, match="T is 3"):
        box.predict(x[:, :3])
    with pytest.raises(InvalidInput, match="finite"):
        box.predict(x * np.nan)


def test_a_query_attack_finds_the_same_as_on_the_model_itself(spiking, x):
    box = BlackBoxEventClassifier(spiking.predict, SHAPE, CLASSES)
    threat = EventEdits(10)
    for attack in (EventSquare, RandomEvents):
        np.testing.assert_array_equal(
            attack(box, threat, seed=2).generate(x), attack(spiking, threat, seed=2).generate(x)
        )


@pytest.mark.parametrize("attack", [EventGradientAttack, SpikingUniversalPerturbation])
def test_a_model_without_gradients_names_the_attacks_that_serve(spiking, attack):
    box = BlackBoxEventClassifier(spiking.predict, SHAPE, CLASSES)
    with pytest.raises(InvalidInput, match=r"gives none.*event-square \(EventSquare\)") as error:
        attack(box, EventEdits(3))
    assert "event-gradient" not in str(error.value)
    assert "random-retiming" not in str(error.value)
    with pytest.raises(InvalidInput, match=r"random-retiming \(RandomRetiming\)"):
        SpikeRetiming(box, Retiming(1))


class Detached(spiking_stand_ins.TinyNetwork):
    """No gradient reaches the input."""

    def forward(self, x):
        return super().forward(x).detach()


def test_a_network_that_cuts_its_gradient_names_the_attacks_that_serve(x):
    model = SpikingClassifier(Detached(), input_shape=SHAPE)
    message = r"needs gradients.*straight-through.*event-square \(EventSquare\)"
    with pytest.raises(InvalidModel, match=message):
        EventGradientAttack(model, EventEdits(3), surrogate=None).generate(x)
    with pytest.raises(InvalidModel, match=message):
        SpikingUniversalPerturbation(model, EventEdits(3), surrogate=None).fit(x)


def test_a_threat_that_does_not_fit_names_the_attacks_that_do(spiking):
    with pytest.raises(InvalidInput, match=r"attacks that do: .*event-gradient \(EventGradientAttack\)"):
        SpikeRetiming(spiking, EventEdits(3))
    with pytest.raises(InvalidInput, match=r"attacks that do: .*spike-retiming \(SpikeRetiming\)"):
        EventSquare(spiking, Retiming(1))
    with pytest.raises(InvalidInput, match="attacks that do: none that is installed"):
        EventSquare(spiking, Linf(0.1))


@pytest.mark.parametrize("attack", [SpikeRetiming, RandomRetiming, AutoSpike])
def test_a_timing_attack_on_a_static_image_names_the_attacks_that_edit(attack, x):
    model = SpikingClassifier(spiking_stand_ins.TinyNetwork(), input_shape=(1, *SHAPE[1:]))
    with pytest.raises(InvalidInput, match=r"one step.*T is 1.*event-square \(EventSquare\)") as error:
        attack(model, Retiming(1)).generate(x[:, :1])
    assert "spike-retiming" not in str(error.value)


def test_what_is_no_model_is_refused_as_art_does():
    with pytest.raises(EstimatorError):
        EventSquare(object(), EventEdits(3))


def test_listed_attacks_serve():
    listed = serving_attacks(Retiming(1))
    assert "auto-spike (AutoSpike)" in listed
    assert not any("event-square" in name for name in listed)
    assert set(serving_attacks(without_gradients=True)) < set(serving_attacks())
