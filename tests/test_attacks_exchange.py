"""EventExchange goes on where gradients mislead: no weaker than its start, alike in any batch, few edits."""

import attack_samples as samples
import numpy as np
import pytest
import spiking_stand_ins
import torch

from art_spiking.attacks import EventExchange, EventGradientAttack, MinimalEdits, RandomEvents
from art_spiking.errors import InvalidInput, UnknownName
from art_spiking.estimators import SpikingClassifier
from art_spiking.threats import EventEdits, PixelRate

LABELS = np.zeros(6, np.int64)


class Deceives(torch.nn.Module):
    """Six of some cells make it class 1, while its gradient speaks louder for others, which do nothing."""

    def __init__(self, blind: bool = False) -> None:
        super().__init__()
        cells = samples.planted_cells(40).flatten()
        place = torch.nonzero(cells)[:, 0]
        decoys = torch.zeros_like(cells)
        decoys[place[10:]] = 1.0
        cells[place[10:]] = 0.0
        self.cells, self.decoys = cells.view(samples.SHAPE), decoys.view(samples.SHAPE)
        self.blind = blind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        told = (x * self.cells).flatten(1).sum(1)
        shown = 0 * told if self.blind else told + 2 * (x * self.decoys).flatten(1).sum(1)
        score = shown + (told - shown).detach()
        return torch.stack([torch.full_like(score, 5.5), score], 1)


def deceiving(**options):
    return SpikingClassifier(Deceives(**options), input_shape=samples.SHAPE)


def empty(model):
    network = model.model.network
    return samples.recordings(6) * (network.cells + network.decoys == 0).numpy()


def spiking():
    return SpikingClassifier(spiking_stand_ins.TinyNetwork(seed=1), input_shape=spiking_stand_ins.SHAPE)


def edits_of(x_adv, x):
    return np.abs(x_adv - x).reshape(len(x), -1).sum(1)


def test_trials_find_what_a_gradient_that_misleads_does_not():
    model = deceiving()
    x, threat = empty(model), EventEdits(6)
    led = EventGradientAttack(model, threat, steps=100).generate(x, LABELS)
    assert (model.predict(led).argmax(1) == 0).all()
    found = EventExchange(model, threat).generate(x, LABELS)
    assert (model.predict(found).argmax(1) == 1).all()
    np.testing.assert_array_equal(edits_of(found, x), 6)
    assert ((found != x) == (found != x) * model.model.network.cells.numpy()).all()


def test_it_crosses_plains_without_any_gradient():
    model = deceiving(blind=True)
    model.model.network.cells[:, :, :1] = 1.0
    x = empty(model)
    found = EventExchange(model, EventEdits(12), rounds=60).generate(x, LABELS)
    chance = RandomEvents(model, EventEdits(12)).generate(x, LABELS)
    assert (model.predict(found).argmax(1) == 1).all()
    assert (model.predict(chance).argmax(1) == 0).all()


def test_fewest_goes_on_to_the_least_number_of_edits():
    model = deceiving()
    x = empty(model)
    first = EventExchange(model, EventEdits(30)).generate(x, LABELS)
    fewest = EventExchange(model, EventEdits(30), fewest=True, rounds=100).generate(x, LABELS)
    for found in (first, fewest):
        assert (model.predict(found).argmax(1) == 1).all()
    np.testing.assert_array_equal(edits_of(fewest, x), 6)
    assert (edits_of(first, x) > 6).all()


def test_it_is_never_weaker_than_the_attack_that_it_starts_from():
    model = spiking()
    x = spiking_stand_ins.events(40, seed=5)[0]
    labels = model.predict(x).argmax(1)
    threat = EventEdits(2)
    start = EventGradientAttack(model, threat, steps=5, surrogate=None).generate(x, labels)
    found = EventExchange(model, threat, steps=5, rounds=10, surrogate=None).generate(x, labels)
    before, after = (model.predict(z).argmax(1) != labels for z in (start, found))
    assert (after >= before).all()
    assert after.sum() > before.sum()


@pytest.mark.parametrize(
    "threat", [EventEdits(3), EventEdits(4) & PixelRate(400.0, dt_us=1000)], ids=["plain", "coupled"]
)
def test_a_sample_is_attacked_alike_in_any_batch(threat):
    model = spiking()
    x = spiking_stand_ins.events(7, seed=5)[0]
    options = {"steps": 2, "rounds": 3, "surrogate": None}
    whole = EventExchange(model, threat, **options).generate(x)
    alone = EventExchange(model, threat, **options, batch_size=1).generate(x)
    np.testing.assert_array_equal(whole, alone)


def test_targets_are_reached():
    model = spiking()
    x = spiking_stand_ins.events(12, seed=5)[0]
    target = (model.predict(x).argmax(1) + 1) % model.nb_classes
    attack = EventExchange(model, EventEdits(12), targeted=True, surrogate=None)
    reached = (model.predict(attack.generate(x, target)).argmax(1) == target).mean()
    chance = RandomEvents(model, EventEdits(12)).generate(x, target)
    assert reached >= (model.predict(chance).argmax(1) == target).mean() + 0.3


def test_minimal_edits_takes_it_for_fewer_edits():
    model = spiking()
    x = spiking_stand_ins.events(12, seed=5)[0]
    labels = model.predict(x).argmax(1)
    counts = []
    for inner in ("event-gradient", "event-exchange"):
        attack = MinimalEdits(model, EventEdits(30), attack=inner, parameters={"surrogate": None})
        attack.generate(x, labels)
        counts.append(attack.edits)
    assert np.nansum(counts[1]) <= np.nansum(counts[0])
    assert not np.isnan(counts[1]).any()


def test_options_that_do_not_fit_are_refused():
    model = deceiving()
    with pytest.raises(UnknownName, match="no-such"):
        EventExchange(model, EventEdits(3), objective="no-such")
    for options in ({"rounds": 0}, {"candidates": 0}, {"steps": 0}, {"fewest": 1}, {"surrogate": 3}):
        with pytest.raises(InvalidInput):
            EventExchange(model, EventEdits(3), **options)
    attack = EventExchange(model, EventEdits(3))
    with pytest.raises(InvalidInput, match="candidates does not fit"):
        attack.set_params(rounds=3, candidates=-1)
    assert (attack.rounds, attack.candidates) == (40, 32)
