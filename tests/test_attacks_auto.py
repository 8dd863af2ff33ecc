"""AutoSpike: no weaker than any member, cheap attacks first, and nothing to tune."""

import attack_samples as samples
import numpy as np
import pytest
import spiking_stand_ins
import torch

from art_spiking.attacks import AutoSpike, EventGradientAttack
from art_spiking.attacks.auto import VERSION
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.surrogates import Atan
from art_spiking.threats import EventEdits, PatchRegion, Retiming

SHAPE = (12, 2, 10, 10)
CORNER = torch.zeros(SHAPE)
CORNER[:, :, :4, :4] = 1.0
X = samples.recordings(8, seed=1, rate=0.05, shape=SHAPE)
Y = np.zeros(8, np.int64)
BAR = float((X * CORNER.numpy()).reshape(8, -1).sum(1).max()) + 12


class Masked(samples.WeakCells):
    """Samples with an even number of events give no gradient; the planted weakness is the same."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = super().forward(x)
        blind = (x.detach().round().flatten(1).sum(1) % 2 == 0)[:, None]
        return torch.where(blind, logits.detach(), logits)


def masked() -> SpikingClassifier:
    return SpikingClassifier(Masked(CORNER, BAR), input_shape=SHAPE)


def fooled(model: SpikingClassifier, x: np.ndarray) -> np.ndarray:
    return model.predict(x).argmax(1) != 0


def test_what_masks_gradients_falls_to_the_search_without_them():
    model, threat = masked(), EventEdits(40)
    alone = fooled(model, EventGradientAttack(model, threat).generate(X, Y))
    attack = AutoSpike(model, threat)
    x_adv = attack.generate(X, Y)
    assert not alone.all()
    assert fooled(model, x_adv).all()
    assert threat.violations(x_adv, X) == []
    last = attack.outcomes[-1]
    assert (last.name, last.tried, last.fooled, last.backwards) == ("square", 8 - alone.sum(), last.tried, 0)


def test_samples_that_are_fooled_leave():
    attack = AutoSpike(samples.weak(CORNER, BAR), EventEdits(40))
    attack.generate(X, Y)
    assert [outcome.tried for outcome in attack.outcomes] == [8, 0, 0, 0]
    assert [outcome.forwards for outcome in attack.outcomes[1:]] == [0, 0, 0]
    assert all(outcome.alone is None for outcome in attack.outcomes)


def test_an_exhaustive_run_tells_what_each_contributes():
    model, threat = masked(), EventEdits(40)
    attack = AutoSpike(model, threat, exhaustive=True)
    attack.generate(X, Y)
    assert [outcome.tried for outcome in attack.outcomes] == [8] * 4
    by_gradient = fooled(model, EventGradientAttack(model, threat).generate(X, Y))
    assert attack.outcomes[-1].alone == 8 - by_gradient.sum()
    assert sum(outcome.alone for outcome in attack.outcomes[:-1]) == 0


def test_it_is_never_weaker_than_a_member():
    model = SpikingClassifier(spiking_stand_ins.TinyNetwork(), input_shape=spiking_stand_ins.SHAPE)
    x, y = spiking_stand_ins.events(12, seed=3)
    for threat in (EventEdits(6), Retiming(1)):
        attack = AutoSpike(model, threat)
        both = model.predict(attack.generate(x, y)).argmax(1) != y
        for _, member in attack.members():
            assert (both | (model.predict(member.generate(x, y)).argmax(1) == y)).all()


@pytest.mark.parametrize("threat", [EventEdits(6), EventEdits(0.3), Retiming(1)], ids=repr)
def test_a_sample_gets_the_same_result_in_any_batch(threat):
    model = SpikingClassifier(spiking_stand_ins.TinyNetwork(), input_shape=spiking_stand_ins.SHAPE)
    x, y = spiking_stand_ins.events(6, seed=3)
    together = AutoSpike(model, threat).generate(x, y)
    alone = [AutoSpike(model, threat).generate(x[k : k + 1], y[k : k + 1])[0] for k in range(6)]
    np.testing.assert_array_equal(together, np.stack(alone))


def test_the_query_attack_gives_a_sample_the_same_result_in_any_batch():
    """Here samples reach it, and which ones do decides its batch."""
    model, threat = masked(), EventEdits(40)
    attack = AutoSpike(model, threat)
    together = attack.generate(X, Y)
    assert 1 < attack.outcomes[-1].tried < 8
    alone = [AutoSpike(model, threat).generate(X[k : k + 1], Y[k : k + 1])[0] for k in range(8)]
    np.testing.assert_array_equal(together, np.stack(alone))
    turned = AutoSpike(model, threat, exhaustive=True, batch_size=3).generate(X[::-1], Y)
    np.testing.assert_array_equal(together, turned[::-1])


def test_misclassified_samples_stay_as_they_are():
    model = samples.weak(CORNER, BAR)
    attack = AutoSpike(model, EventEdits(40))
    np.testing.assert_array_equal(attack.generate(X, np.ones(8, np.int64)), X)
    assert [outcome.tried for outcome in attack.outcomes] == [0] * 4


def test_the_ensembles_are_frozen():
    """Suites name AutoSpike alone: a change of a member is a new VERSION, and one of every such suite."""
    said = {
        "narrow": Atan(3.0, through_reset=True),
        "no reset path": Atan(2.0),
        "wide": Atan(1.0, through_reset=True),
    }
    found = {}
    for threat in (EventEdits(4), Retiming(1)):
        for name, member in AutoSpike(samples.weak(CORNER, BAR), threat).members():
            left_out = {
                "threat",
                "verbose",
                "summary_writer",
                "tensor_board",
                "targeted",
                "seed",
                "batch_size",
            }
            options = {key: getattr(member, key) for key in member.attack_params if key not in left_out}
            found[name] = type(member).__name__, options
    gradient = {"steps": 30, "objective": "soft-gap", "fewest": False}
    retiming = {"steps": 30, "objective": "soft-gap"}
    assert found == {
        "gradient, narrow": ("EventGradientAttack", {**gradient, "surrogate": said["narrow"]}),
        "gradient, no reset path": ("EventGradientAttack", {**gradient, "surrogate": said["no reset path"]}),
        "gradient, wide, hard gap": (
            "EventGradientAttack",
            {**gradient, "surrogate": said["wide"], "objective": "gap"},
        ),
        "square": ("EventSquare", {"queries": 1000}),
        "retiming, wide": ("SpikeRetiming", {**retiming, "surrogate": said["wide"]}),
        "retiming, narrow": ("SpikeRetiming", {**retiming, "surrogate": said["narrow"]}),
        "retiming, no reset path": ("SpikeRetiming", {**retiming, "surrogate": said["no reset path"]}),
    }
    assert VERSION == 1


@pytest.mark.parametrize("threat", [PatchRegion(0.1), "edits"])
def test_threats_that_do_not_fit_are_refused(threat):
    with pytest.raises(InvalidInput):
        AutoSpike(samples.weak(CORNER, BAR), threat)
