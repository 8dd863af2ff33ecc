# SPDX-License-Identifier: MIT
"""EventTransfer: networks trained on a model's answers are attacked in its place."""

import attack_samples as samples
import numpy as np
import pytest
import torch

from art_spiking.attacks import EventTransfer, RandomEvents
from art_spiking.errors import InvalidInput
from art_spiking.estimators import BlackBoxEventClassifier
from art_spiking.threats import EventEdits

OPTIONS = {"members": 2, "epochs": 20, "queries": 2}
THREAT = EventEdits(40)


def recordings(count: int, most: float, seed: int) -> np.ndarray:
    """Events at random, of which a corner holds a share that differs from sample to sample."""
    draw = np.random.default_rng(seed + 50)
    x = samples.recordings(count, seed=seed)
    share = draw.uniform(0.05, most, (count, 1, 1, 1, 1))
    x[..., :4, :4] = draw.random((count, 6, 2, 4, 4)) < share
    return x


@pytest.fixture(scope="module")
def model():
    """Says class 1 where the corner holds more than 40 events."""
    weights = torch.zeros(samples.SHAPE)
    weights[..., :4, :4] = 1.0
    return samples.weak(weights, 40.0)


OWN = recordings(120, 0.4, 9)
X = recordings(16, 0.12, 3)


@pytest.fixture(scope="module")
def run(model):
    attack = EventTransfer(model, THREAT, own=OWN, **OPTIONS)
    with model.counting() as counted:
        x_adv = attack.generate(X)
    return attack, x_adv, counted


def success(model, x_adv):
    return (model.predict(x_adv).argmax(1) != model.predict(X).argmax(1)).mean()


def test_it_fools_more_than_chance_without_a_gradient_of_the_model(model, run):
    _, x_adv, counted = run
    assert counted.backwards == 0
    by_chance = RandomEvents(model, THREAT).generate(X)
    assert success(model, x_adv) > success(model, by_chance) + 0.4


def test_the_networks_learn_what_the_model_answers(model, run):
    answers = model.predict(OWN).argmax(1)
    for made in run[0].stand_ins:
        assert (made.predict(OWN).argmax(1) == answers).mean() > 0.75


def test_every_question_is_counted(run):
    attack, _, counted = run
    assert attack.fit_queries == len(OWN)
    assert set(attack.query_counts) <= {1, 2}
    # One more for each sample told its label.
    assert counted.forwards == len(OWN) + len(X) + attack.query_counts.sum()


def test_the_same_seed_trains_the_same_networks_whatever_is_attacked(model, run):
    attack, x_adv, _ = run
    again = EventTransfer(model, THREAT, own=OWN, **OPTIONS)
    np.testing.assert_array_equal(again.generate(X[:5]), x_adv[:5])
    for first, second in zip(attack.stand_ins, again.stand_ins, strict=True):
        assert first.network.digest() == second.network.digest()


def test_classes_alone_are_enough(model, run):
    box = BlackBoxEventClassifier(lambda x: model.predict(x).argmax(1), samples.SHAPE, 2)
    found = EventTransfer(box, THREAT, own=OWN, **OPTIONS).generate(X)
    assert success(model, found) == success(model, run[1])


def test_its_own_copies_do_where_no_samples_are_given(model):
    attack = EventTransfer(model, EventEdits(6), members=1, epochs=1)
    assert attack.threat.violations(attack.generate(X[:6]), X[:6]) == []
    assert attack.fit_queries == 4 * 6


def test_features_without_rows_and_columns():
    model = samples.weak(torch.ones(6, 10), 30.0)
    x = samples.recordings(6, seed=2, shape=(6, 10))
    attack = EventTransfer(model, EventEdits(4), members=1, epochs=1)
    assert attack.threat.violations(attack.generate(x), x) == []


@pytest.mark.parametrize(
    "options",
    [
        {"members": 0},
        {"epochs": 0.5},
        {"own": np.zeros((3, 4))},
        {"own": np.full((2, *samples.SHAPE), 0.5)},
        {"own": np.zeros((2, 3, *samples.SHAPE[1:]))},
    ],
)
def test_options_that_do_not_fit_are_refused(model, options):
    with pytest.raises(InvalidInput):
        EventTransfer(model, EventEdits(3), **options)
