"""EventGradientAttack finds planted weaknesses, spends no more than they cost, and beats chance."""

import attack_samples as samples
import numpy as np
import pytest
import spiking_stand_ins
import torch

from art_spiking.attacks import EventGradientAttack, RandomEvents
from art_spiking.errors import InvalidInput, UnknownName
from art_spiking.estimators import OwnSurrogateWarning, SpikingClassifier
from art_spiking.surrogates import Atan
from art_spiking.threats import EventEdits


def edits_of(x_adv, x):
    return np.abs(x_adv - x).reshape(len(x), -1).sum(1)


def test_it_finds_the_planted_cells_where_chance_does_not():
    cells = samples.planted_cells(10)
    model = samples.weak(cells, bar=5.5)
    x = samples.recordings(20) * (1 - cells.numpy())
    labels = np.zeros(20, np.int64)
    found = EventGradientAttack(model, EventEdits(6)).generate(x, labels)
    assert (model.predict(found).argmax(1) == 1).all()
    assert ((found != x) <= (cells.numpy() > 0)).all()
    chance = RandomEvents(model, EventEdits(6)).generate(x, labels)
    assert (model.predict(chance).argmax(1) == 0).all()
    assert (edits_of(chance, x) == 6).all()


def test_it_deletes_where_only_deletion_helps():
    x = samples.recordings(12, rate=0.2)
    totals = x.reshape(12, -1).sum(1)
    model = samples.weak(-torch.ones(samples.SHAPE), bar=-float(totals.max()) - 0.5)
    # Class 1 already, as class 0 is lost; with the target turned round, events must go.
    weak = samples.weak(-torch.ones(samples.SHAPE), bar=-float(totals.min()) + 3.5)
    assert (model.predict(x).argmax(1) == 1).all()
    lightest = x[totals == totals.min()]
    labels = np.zeros(len(lightest), np.int64)
    found = EventGradientAttack(weak, EventEdits(4)).generate(lightest, labels)
    assert (weak.predict(found).argmax(1) == 1).all()
    assert (found <= lightest).all()
    barred = EventGradientAttack(weak, EventEdits(4, delete=False)).generate(lightest, labels)
    assert (weak.predict(barred).argmax(1) == 0).all()


def test_fewest_finds_the_least_number_of_edits():
    cells = samples.planted_cells(40)
    model = samples.weak(cells, bar=5.5)
    x = samples.recordings(10) * (1 - cells.numpy())
    labels = np.zeros(10, np.int64)
    first = EventGradientAttack(model, EventEdits(30)).generate(x, labels)
    fewest = EventGradientAttack(model, EventEdits(30), fewest=True).generate(x, labels)
    assert (model.predict(fewest).argmax(1) == 1).all()
    np.testing.assert_array_equal(edits_of(fewest, x), 6)
    assert (edits_of(first, x) > 6).all()


def test_what_cannot_be_fooled_comes_as_close_as_the_budget_allows():
    cells = samples.planted_cells(40)
    model = samples.weak(cells, bar=20.5)
    x = samples.recordings(6) * (1 - cells.numpy())
    found = EventGradientAttack(model, EventEdits(8)).generate(x, np.zeros(6, np.int64))
    assert ((found * cells.numpy()).reshape(6, -1).sum(1) == 8).all()


def test_it_keeps_the_refractory_period_and_still_succeeds():
    weights = torch.zeros(samples.SHAPE)
    weights[:, 0, 3, 3] = 1.0
    weights[0, 0, 3, 3] = 1.1
    weights[1, 0, 3, 3] = 1.5  # tempting, but it blocks steps 0 and 2
    weights[2, 0, 3, 3], weights[4, 0, 3, 3] = 1.1, 1.1
    model = samples.weak(weights, bar=2.5)
    x = np.zeros((2, *samples.SHAPE), np.float32)
    threat = EventEdits(6, refractory_us=2000, dt_us=1000)
    found = EventGradientAttack(model, threat).generate(x, np.zeros(2, np.int64))
    assert (model.predict(found).argmax(1) == 1).all()
    assert threat.violations(found, x) == []


class ThreeClasses(torch.nn.Module):
    """Class 1 and class 2 each have cells that speak for them; class 0 leads by 4.5."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, two = x[:, :, 0, 0].sum((1, 2)), x[:, :, 1, 7].sum((1, 2))
        return torch.stack([torch.full_like(one, 4.5), 1.2 * one, two], 1)


@pytest.mark.parametrize("objective", ["soft-gap", "gap", "cross-entropy"])
def test_a_targeted_attack_reaches_its_target(objective):
    model = SpikingClassifier(ThreeClasses(), input_shape=samples.SHAPE)
    x = np.zeros((6, *samples.SHAPE), np.float32)
    target = np.array([1, 2, 1, 2, 1, 2])
    attack = EventGradientAttack(model, EventEdits(6), targeted=True, objective=objective)
    np.testing.assert_array_equal(model.predict(attack.generate(x, target)).argmax(1), target)
    # Untargeted, the easier class is taken.
    free = EventGradientAttack(model, EventEdits(6), objective=objective, fewest=True)
    assert (model.predict(free.generate(x, np.zeros(6, np.int64))).argmax(1) == 1).all()
    with pytest.raises(InvalidInput, match="target classes"):
        attack.generate(x)


def test_on_a_spiking_network_it_beats_chance_at_equal_budget():
    model = SpikingClassifier(spiking_stand_ins.TinyNetwork(seed=1), input_shape=spiking_stand_ins.SHAPE)
    x = spiking_stand_ins.events(40, seed=5)[0]
    labels = model.predict(x).argmax(1)
    threat = EventEdits(4)
    found = EventGradientAttack(model, threat).generate(x, labels)
    chance = RandomEvents(model, threat).generate(x, labels)
    flipped = (model.predict(found).argmax(1) != labels).mean()
    assert flipped >= (model.predict(chance).argmax(1) != labels).mean() + 0.3


@pytest.mark.parametrize(("budget", "steps"), [(5, 5), (3, 2), (1, 1)])
def test_a_sample_is_attacked_alike_in_any_batch(budget, steps):
    # After few steps many soft edits are equal: which of them are tried is not the batch's business.
    model = SpikingClassifier(spiking_stand_ins.TinyNetwork(seed=1), input_shape=spiking_stand_ins.SHAPE)
    x = spiking_stand_ins.events(7, seed=5)[0]
    whole = EventGradientAttack(model, EventEdits(budget), steps=steps).generate(x)
    alone = EventGradientAttack(model, EventEdits(budget), steps=steps, batch_size=1).generate(x)
    np.testing.assert_array_equal(whole, alone)


def test_it_asks_no_more_once_everything_is_fooled():
    cells = samples.planted_cells(20)
    model = samples.weak(cells, bar=2.5)
    x = samples.recordings(4) * (1 - cells.numpy())
    with model.counting() as counted:
        EventGradientAttack(model, EventEdits(10), steps=50).generate(x, np.zeros(4, np.int64))
    assert counted.backwards == 4


def test_options_that_do_not_fit_are_refused():
    model = samples.weak(samples.planted_cells(3), bar=1.5)
    with pytest.raises(UnknownName, match="no-such"):
        EventGradientAttack(model, EventEdits(3), objective="no-such")
    for options in ({"steps": 0}, {"fewest": 1}, {"surrogate": 3}, {"targeted": "yes"}):
        with pytest.raises(InvalidInput):
            EventGradientAttack(model, EventEdits(3), **options)
    attack = EventGradientAttack(model, EventEdits(3), surrogate=Atan(2.0).to_dict())
    with pytest.raises(InvalidInput):
        attack.set_params(steps=-1)


def test_a_surrogate_that_cannot_be_exchanged_is_told_once():
    clf = SpikingClassifier(spiking_stand_ins.TinyNetwork(), input_shape=spiking_stand_ins.SHAPE)
    attack = EventGradientAttack(clf, EventEdits(3), steps=2, batch_size=2)
    x, y = spiking_stand_ins.events(6)
    with pytest.warns(OwnSurrogateWarning, match="TinyNetwork has no with_surrogate") as told:
        attack.generate(x, y)
    assert len(told) == 1
    EventGradientAttack(clf, EventEdits(3), steps=2, surrogate=None).generate(x, y)


def test_a_value_that_does_not_fit_leaves_the_attack_as_it_was():
    attack = EventGradientAttack(
        SpikingClassifier(spiking_stand_ins.TinyNetwork(), input_shape=spiking_stand_ins.SHAPE),
        EventEdits(3),
        steps=2,
    )
    with pytest.raises(InvalidInput, match="steps does not fit"):
        attack.set_params(batch_size=7, steps=0)
    assert (attack.steps, attack.batch_size) == (2, 50)
