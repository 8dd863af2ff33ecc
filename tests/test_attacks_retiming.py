"""SpikeRetiming: events move in time alone, and that is enough."""

import attack_samples as samples
import numpy as np
import pytest
import torch

from art_spiking.attacks import EventGradientAttack, RandomRetiming, SpikeRetiming
from art_spiking.errors import InvalidInput, UnknownName
from art_spiking.estimators import SpikingClassifier
from art_spiking.surrogates import Atan
from art_spiking.threats import EventEdits, Retiming


def late(shape=samples.SHAPE) -> torch.Tensor:
    """Weights that read the last half of the steps."""
    weights = torch.zeros(shape)
    weights[shape[0] // 2 :] = 1.0
    return weights


X = samples.recordings(12, seed=3)
Y = np.zeros(12, np.int64)


def fooled(model: SpikingClassifier, x: np.ndarray) -> np.ndarray:
    return model.predict(x).argmax(1) != 0


def test_it_finds_the_retiming_of_a_linear_model_that_is_best():
    """The first step's retiming is the best one: it fools exactly the samples that can be fooled."""
    threat = Retiming(max_moved=7)
    gained = (
        threat.best(late().expand(12, *samples.SHAPE), torch.from_numpy(X)) - torch.from_numpy(X)
    ).numpy()
    evidence = ((X + gained) * late().numpy()).reshape(12, -1).sum(1)
    bar = float(np.median(evidence)) - 0.5
    model = samples.weak(late(), bar)
    x_adv = SpikeRetiming(model, threat, surrogate=None).generate(X, Y)
    np.testing.assert_array_equal(fooled(model, x_adv), evidence > bar)
    assert 0 < fooled(model, x_adv).sum() < 12


def test_it_beats_its_control_and_keeps_every_event():
    before = (X * late().numpy()).reshape(12, -1).sum(1).max()
    model = samples.weak(late(), float(before) + 4)
    threat = Retiming(2)
    x_adv = SpikeRetiming(model, threat).generate(X, Y)
    control = RandomRetiming(model, threat).generate(X, Y)
    assert fooled(model, x_adv).mean() > fooled(model, control).mean() + 0.5
    np.testing.assert_array_equal(x_adv.sum(1), X.sum(1))
    np.testing.assert_array_equal(control.sum(1), X.sum(1))
    assert (threat.cost(control, X).moved > 0.4 * X.reshape(12, -1).sum(1)).all()


def test_targets_are_reached():
    model = samples.weak(late(), float((X * late().numpy()).reshape(12, -1).sum(1).max()) + 2)
    x_adv = SpikeRetiming(model, Retiming(3), targeted=True).generate(X, np.ones(12, np.int64))
    assert fooled(model, x_adv).all()


def test_other_surrogates_take_what_the_first_one_left():
    asked = []

    class Exchangeable(samples.WeakCells):
        def with_surrogate(self, surrogate):
            asked.append(surrogate.to_dict()["alpha"])
            return self

    model = SpikingClassifier(Exchangeable(late(), 1e6), input_shape=samples.SHAPE)
    with model.counting() as counted:
        SpikeRetiming(model, Retiming(1), steps=3, surrogate=[Atan(1.0), Atan(2.0).to_dict()]).generate(X, Y)
    assert asked == [1.0, 2.0]
    assert counted.backwards == 12 * 3 * 2


def test_threats_and_options_that_do_not_fit_are_refused():
    model = samples.weak(late(), 1.0)
    with pytest.raises(InvalidInput, match=r"SpikeRetiming does not serve this threat model.*Retiming"):
        SpikeRetiming(model, EventEdits(5))
    with pytest.raises(InvalidInput, match=r"EventGradientAttack does not serve.*EventEdits"):
        EventGradientAttack(model, Retiming(1))
    for options in ({"steps": 0}, {"targeted": 1}, {"surrogate": 3}):
        with pytest.raises(InvalidInput):
            SpikeRetiming(model, Retiming(1), **options)
    with pytest.raises(UnknownName):
        SpikeRetiming(model, Retiming(1), objective="nothing")
