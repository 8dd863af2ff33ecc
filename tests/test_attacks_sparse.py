"""SpikeFool, SparseDynamicAttack, TernaryGradientAttack, GumbelEventAttack: few edits, each in its way."""

import attack_samples as samples
import numpy as np
import pytest
import spiking_stand_ins
import torch

from art_spiking.attacks import (
    GumbelEventAttack,
    RandomEvents,
    SparseDynamicAttack,
    SpikeFool,
    TernaryGradientAttack,
)
from art_spiking.attacks.edits.space import EditSpace
from art_spiking.errors import InvalidInput, UnknownName
from art_spiking.estimators import SpikingClassifier
from art_spiking.threats import EventEdits, PatchRegion

ATTACKS = [SpikeFool, SparseDynamicAttack, TernaryGradientAttack, GumbelEventAttack]
SHAPE = samples.SHAPE
CELLS = samples.planted_cells(60, seed=1)
X = samples.recordings(8, seed=1, rate=0.1)
Y = np.zeros(8, np.int64)
BAR = float((X * CELLS.numpy()).reshape(8, -1).sum(1).max()) + 8


def fooled(model, x, y=Y):
    return model.predict(x).argmax(1) != y


def spent(x_adv, x=X):
    return np.abs(x_adv - x).reshape(len(x), -1).sum(1)


class Probabilities(samples.WeakCells):
    """Tells probabilities instead of logits."""

    def forward(self, x):
        return super().forward(x).softmax(1)


class Flat(samples.WeakCells):
    """Has a gradient that is zero everywhere."""

    def forward(self, x):
        return super().forward(x.detach()) + 0.0 * x.flatten(1).sum(1, keepdim=True)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_planted_weakness_is_found_with_few_edits_and_chance_does_not(attack):
    model, threat = samples.weak(CELLS, BAR), EventEdits(30)
    x_adv = attack(model, threat).generate(X, Y)
    assert fooled(model, x_adv).all()
    assert threat.violations(x_adv, X) == []
    assert not fooled(model, RandomEvents(model, threat).generate(X, Y)).any()


@pytest.mark.parametrize("attack", ATTACKS)
def test_fewest_is_exact_where_the_model_is_linear(attack):
    """Each sample needs as many more events as it lacks; nothing that its own class has helps."""
    model = samples.weak(CELLS, BAR)
    lacks = np.floor(BAR - (X * CELLS.numpy()).reshape(8, -1).sum(1)) + 1
    x_adv = attack(model, EventEdits(200), fewest=True).generate(X, Y)
    np.testing.assert_array_equal(spent(x_adv), lacks)


@pytest.mark.parametrize("attack", ATTACKS)
def test_targets_are_reached(attack):
    model = SpikingClassifier(spiking_stand_ins.spiking_network(), input_shape=SHAPE)
    x, _ = spiking_stand_ins.events(8, seed=3)
    clean = model.predict(x).argmax(1)
    # A class that the model takes some sample for: gradients may lead nowhere else.
    target = np.full(8, np.bincount(clean[clean != clean[0]]).argmax() if len(set(clean)) > 1 else clean[0])
    x_adv = attack(model, EventEdits(200), targeted=True).generate(x, target)
    reached = model.predict(x_adv).argmax(1) == target
    assert reached[clean != target].mean() >= 0.5
    np.testing.assert_array_equal(x_adv[clean == target], x[clean == target])


@pytest.mark.parametrize("attack", ATTACKS)
def test_probabilities_serve_as_logits(attack):
    model = SpikingClassifier(Probabilities(CELLS, BAR), input_shape=SHAPE)
    assert fooled(model, attack(model, EventEdits(30)).generate(X, Y)).all()


@pytest.mark.parametrize("attack", ATTACKS)
def test_samples_without_events_are_attacked_like_any_other(attack):
    model, empty = samples.weak(CELLS, 4.0), np.zeros_like(X)
    x_adv = attack(model, EventEdits(30)).generate(empty, Y)
    assert fooled(model, x_adv).all()
    threat = EventEdits(30, insert=False)
    np.testing.assert_array_equal(attack(model, threat).generate(empty, Y), empty)
    threat = EventEdits(0.5)
    np.testing.assert_array_equal(attack(model, threat).generate(empty, Y), empty)


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_misclassified_already_stays_as_it_is_and_costs_no_gradient(attack):
    model = samples.weak(CELLS, BAR)
    with model.counting() as counted:
        x_adv = attack(model, EventEdits(30)).generate(X, np.ones(8, np.int64))
    np.testing.assert_array_equal(x_adv, X)
    assert (counted.forwards, counted.backwards) == (8, 0)


@pytest.mark.parametrize("attack", ATTACKS)
def test_without_any_gradient_the_result_is_still_allowed(attack):
    """Cells are drawn at random then; what they come to is valid, and a failure if nothing is found."""
    model = SpikingClassifier(Flat(CELLS, 1e6), input_shape=SHAPE)
    threat = EventEdits(12) & PatchRegion(0.3)
    x_adv = attack(model, threat).generate(X, Y)
    assert threat.violations(x_adv, X) == []
    assert not fooled(model, x_adv).any()


def test_random_flips_find_what_no_gradient_shows():
    """The restricted spike flipping of 2001.01587: a slope of zero everywhere is not the end."""
    model = SpikingClassifier(Flat(torch.ones(SHAPE), float(X[0].sum()) + 2), input_shape=SHAPE)
    x = X[:1]
    assert not fooled(model, SpikeFool(model, EventEdits(60)).generate(x, Y[:1])).any()
    assert fooled(model, TernaryGradientAttack(model, EventEdits(60), blind=0.05).generate(x, Y[:1])).all()


@pytest.mark.parametrize("attack", ATTACKS)
def test_failures_within_the_budget_keep_their_most_valuable_edits(attack):
    model, threat = samples.weak(CELLS, BAR), EventEdits(3)
    x_adv = attack(model, threat).generate(X, Y)
    assert not fooled(model, x_adv).any()
    assert threat.violations(x_adv, X) == []
    assert (model.predict(x_adv)[:, 1] - model.predict(X)[:, 1] == 3).all()


def test_trials_keep_the_flips_that_a_wrong_gradient_ranks_first_out():
    """The gradient points at decoys that lower the loss when flipped; finite differences see it."""
    decoys = samples.planted_cells(60, seed=2) * (1 - CELLS)

    class Decoyed(samples.WeakCells):
        def forward(self, x):
            logits = super().forward(x)
            lure = (x * decoys).flatten(1).sum(1)
            return logits + torch.stack(
                [torch.zeros_like(lure), 5 * (lure - lure.detach()) - lure.detach()], 1
            )

    model = SpikingClassifier(Decoyed(CELLS, BAR), input_shape=SHAPE)
    inserting = EventEdits(60, delete=False)
    x_adv = SparseDynamicAttack(model, inserting, fewest=True).generate(X, Y)
    assert fooled(model, x_adv).all()
    assert ((x_adv - X) * decoys.numpy()).sum() == 0
    # Nor are they collected, which reduction would hide.
    x = torch.from_numpy(X)
    attack = SparseDynamicAttack(model, inserting, rounds=10)
    found, _ = attack.collect(EditSpace.of(inserting, x), torch.from_numpy(Y), torch.Generator())
    assert (found != x).any()
    assert ((found - x) * decoys).sum() == 0


def test_gumbel_inserts_events_of_donors_alone():
    """Samples of the other class hold events where the weakness lies; only there insertions are offered."""
    model = samples.weak(CELLS, BAR)
    donor = CELLS.numpy()[None]
    x, y = np.concatenate([X, donor]), np.append(Y, 1)
    x_adv = GumbelEventAttack(model, EventEdits(200), donors=1, seed=1).generate(x, np.append(Y, 0))
    np.testing.assert_array_equal(x_adv[-1], x[-1])
    assert y[-1] == model.predict(donor).argmax(1)[0]
    # The donor is fooled already and leaves before the batch is made, so every cell is a candidate again.
    assert fooled(model, x_adv[:-1]).all()


def test_gumbel_takes_the_nearest_samples_of_other_classes_as_donors():
    class ByColumn(torch.nn.Module):
        """Class 0, 1 or 2: where most events are."""

        def forward(self, x):
            return x.sum((1, 2, 3)).unflatten(1, (2, 4)).sum(2) + x.sum((1, 2, 3, 4))[:, None] * 0

    model = SpikingClassifier(ByColumn(), input_shape=SHAPE)
    rng = np.random.default_rng(0)
    x = np.zeros((4, *SHAPE), np.float32)
    x[:2, ..., :4] = rng.random((2, *SHAPE[:-1], 4)) < 0.2
    x[2:, ..., 4:] = rng.random((2, *SHAPE[:-1], 4)) < 0.2
    y = np.array([0, 0, 1, 1])
    x_adv = GumbelEventAttack(model, EventEdits(150), donors=1).generate(x, y)
    assert (model.predict(x_adv).argmax(1) != y).all()
    inserted = (x_adv > x)[:2]
    given = x[2:].max(0) > 0
    assert inserted.any()
    assert not (inserted & ~given).any()


@pytest.mark.parametrize(
    ("attack", "options"),
    [
        (SpikeFool, {"reach": 0.5}),
        (SpikeFool, {"reach": float("inf")}),
        (SpikeFool, {"rounds": 0}),
        (SpikeFool, {"steps": 1.5}),
        (SpikeFool, {"fewest": "yes"}),
        (SpikeFool, {"surrogate": []}),
        (SparseDynamicAttack, {"rounds": 0}),
        (SparseDynamicAttack, {"width": 0}),
        (TernaryGradientAttack, {"rate": 0.0}),
        (TernaryGradientAttack, {"blind": 1.5}),
        (TernaryGradientAttack, {"steps": 0}),
        (GumbelEventAttack, {"donors": 0}),
        (GumbelEventAttack, {"temperature": 0.0}),
        (GumbelEventAttack, {"temperature": float("inf")}),
        (GumbelEventAttack, {"sparsity": 2.0}),
        (GumbelEventAttack, {"targeted": 1}),
    ],
)
def test_options_that_do_not_fit_are_refused(attack, options):
    with pytest.raises(InvalidInput, match="|".join((*options, "surrogate"))):
        attack(samples.weak(CELLS, 1.0), EventEdits(3), **options)
    with pytest.raises(UnknownName):
        attack(samples.weak(CELLS, 1.0), EventEdits(3), objective="gpa")


def test_one_class_is_no_classifier():
    class One(torch.nn.Module):
        def forward(self, x):
            return x.flatten(1).sum(1, keepdim=True)

    with pytest.raises(InvalidInput, match="two classes"):
        SpikingClassifier(One(), input_shape=SHAPE)
