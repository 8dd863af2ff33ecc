# SPDX-License-Identifier: MIT
"""Twins: they predict and count as the model does, and have gradients where it has none."""

import copy

import host_samples
import masked_models
import pytest
import spiking_stand_ins
import torch

from art_spiking.attacks.ensemble.twins import (
    Twin,
    averaged,
    averaged_answers,
    exchanged,
    takes,
    with_derivative,
)
from art_spiking.attacks.queries.square import EventSquare
from art_spiking.estimators import BlackBoxEventClassifier, SpikingClassifier
from art_spiking.gradient_paths import PotentialWidth, RateGradient
from art_spiking.surrogates import Atan
from art_spiking.threats import EventEdits

SURROGATE = Atan(3.0, through_reset=True)
MASKS = masked_models.masks()
DATA = host_samples.data("test", 6)
X, Y = torch.from_numpy(DATA.x), torch.from_numpy(DATA.y)
UNMASKED = masked_models.unmasked().predict_torch(X)
SAME_GRADIENT = ["steep, wrapped", "steep, in a list", "rate encoder", "saturated loss"]


@pytest.mark.parametrize("name", [name for name in MASKS if name != "random threshold"])
def test_a_twin_predicts_and_counts_as_its_model(name):
    model = MASKS[name][0]
    twin = with_derivative(model, SURROGATE)
    expected = model.predict_torch(X) if name != "saturated outputs" else 1e3 * UNMASKED
    torch.testing.assert_close(twin.predict_torch(X), expected)
    before = model.queries.forwards
    gradient, logits = twin.input_gradient(X, Y, objective=_lead)
    torch.testing.assert_close(logits, model.predict_torch(X))
    assert bool((gradient.flatten(1) != 0).any(1).all())
    assert model.queries.forwards == before + 2 * len(X)


@pytest.mark.parametrize("name", SAME_GRADIENT)
def test_a_twin_has_the_gradient_of_the_unmasked_model(name):
    expected, _ = masked_models.unmasked().with_surrogate(SURROGATE).input_gradient(X, Y, objective=_lead)
    found, _ = with_derivative(MASKS[name][0], SURROGATE).input_gradient(X, Y, objective=_lead)
    _assert_same_direction(found, expected)


def _assert_same_direction(found, expected):
    size = expected.flatten(1).norm(dim=1)
    cosine = (found * expected).flatten(1).sum(1) / size / found.flatten(1).norm(dim=1)
    torch.testing.assert_close(cosine, torch.ones(len(X)))


def _lead(logits, y):
    return -logits.gather(1, y[:, None])[:, 0]


def test_a_model_that_exchanges_is_its_own_twin_and_takes_any_path():
    model = masked_models.unmasked()
    assert not isinstance(with_derivative(model, RateGradient()), Twin)


def test_a_path_of_whole_layers_reaches_layers_inside_a_module_and_needs_some():
    wrapped = MASKS["steep, wrapped"][0]
    spread = masked_models.unmasked().with_surrogate(PotentialWidth(through_reset=True))
    expected, _ = spread.input_gradient(X, Y, objective=_lead)
    found, _ = with_derivative(wrapped, PotentialWidth(through_reset=True)).input_gradient(
        X, Y, objective=_lead
    )
    _assert_same_direction(found, expected)
    plain = SpikingClassifier(spiking_stand_ins.TinyNetwork(), input_shape=spiking_stand_ins.SHAPE)
    assert not takes(plain, PotentialWidth())
    assert with_derivative(plain, PotentialWidth()) is None


def test_modules_are_exchanged_in_a_copy():
    module = masked_models.Around(host_samples.network())
    other = exchanged(module, SURROGATE)
    assert other.inner.surrogate == SURROGATE
    assert module.inner.surrogate != SURROGATE
    assert other.inner.digest() == module.inner.digest()
    plain = torch.nn.Linear(2, 2)
    assert exchanged(plain, SURROGATE) is plain


def test_what_leaves_torch_has_no_twin():
    class Numpy(masked_models.Around):
        def forward(self, x):
            return self.inner(torch.from_numpy(x.detach().numpy()))

    assert with_derivative(masked_models.classifier(Numpy(host_samples.network())), SURROGATE) is None


def test_draws_are_averaged_and_told_one_by_one():
    model = masked_models.classifier(masked_models.RandomThreshold(host_samples.network()))
    view = averaged(model, gradients=3, predictions=5)
    with model.counting() as counted:
        view.predict_torch(X)
        view.input_gradient(X, Y)
        assert view.passes_torch(X).shape == (5, len(X), host_samples.CLASSES)
    assert (counted.forwards, counted.backwards) == (13 * len(X), 3 * len(X))


class Tosses(torch.nn.Module):
    """Class 1 leads by 3, 1 and 0.9 of what is drawn, and by what never changes."""

    def forward(self, x):
        lead = torch.tensor([3.0, 1.0, 0.5, -0.1]) + torch.randn(4) * torch.tensor([1.0, 1.0, 1.0, 0.0])
        return torch.stack([torch.zeros(len(x)), lead[: len(x)]], 1)


@pytest.mark.parametrize("black_box", [False, True])
def test_a_lead_that_luck_may_explain_is_none(black_box):
    model = SpikingClassifier(Tosses(), input_shape=(2, 3))
    x, y = torch.zeros(4, 2, 3), torch.zeros(4, dtype=torch.int64)
    if black_box:
        box = BlackBoxEventClassifier(model.predict, (2, 3), 2)
        view = copy.deepcopy(averaged_answers(box, predictions=400))
    else:
        view = averaged(model, gradients=1, predictions=400)
    torch.manual_seed(1)
    lead, fooled = EventSquare(view, EventEdits(1)).lead(x, y)
    torch.testing.assert_close(lead, torch.tensor([2.0, 0.0, -0.5, -0.1]), atol=0.2, rtol=0)
    assert fooled.tolist()[::2] == [True, False]
    assert not fooled[3]
