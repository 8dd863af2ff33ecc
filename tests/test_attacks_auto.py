"""AutoSpike: no weaker than any member, cheap attacks first, and nothing to tune."""

import attack_samples as samples
import numpy as np
import pytest
import spiking_stand_ins
import torch

from art_spiking.attacks import (
    AutoSpike,
    EventExchange,
    EventGradientAttack,
    EventSquare,
    RetimingSquare,
    SpikeRetiming,
)
from art_spiking.attacks.ensemble.members import CHOSEN_STEPS, EDITS, RETIMING, TUNING_STEPS, VERSION
from art_spiking.attacks.ensemble.next_classes import NextClasses
from art_spiking.attacks.ensemble.run import GRADIENT_DRAWS, TRIES
from art_spiking.errors import InvalidInput
from art_spiking.estimators import BlackBoxEventClassifier, SpikingClassifier
from art_spiking.estimators.draws import decide
from art_spiking.gradient_paths import PotentialWidth
from art_spiking.surrogates import Atan
from art_spiking.threats import EventEdits, PatchRegion, Retiming

SHAPE = (12, 2, 10, 10)
CORNER = torch.zeros(SHAPE)
CORNER[:, :, :4, :4] = 1.0
X = samples.recordings(8, seed=1, rate=0.05, shape=SHAPE)
Y = np.zeros(8, np.int64)
BAR = float((X * CORNER.numpy()).reshape(8, -1).sum(1).max()) + 12


class Blinds(torch.autograd.Function):
    """The identity, whose gradient is zero where `blind`; no patch of torch's own functions sees inside."""

    @staticmethod
    def forward(ctx, logits, blind):
        ctx.save_for_backward(blind)
        return logits.clone()

    @staticmethod
    def backward(ctx, gradient):
        (blind,) = ctx.saved_tensors
        return gradient * ~blind, None


class Masked(samples.WeakCells):
    """Samples with an even number of events give no gradient; the planted weakness is the same."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        blind = (x.detach().round().flatten(1).sum(1) % 2 == 0)[:, None]
        return Blinds.apply(super().forward(x), blind)


class Rounds(samples.WeakCells):
    """Rounds its input: no gradient of its own, but one that a twin has."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.round())


class Cut(samples.WeakCells):
    """Computed outside torch: without any gradient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(super().forward(x).detach().numpy())


EDIT_MEMBERS = [
    "gradient, narrow",
    "gradient, own derivative",
    "gradient, no reset path",
    "gradient, wide, hard gap",
    "gradient, narrow, long",
    "exchange, narrow",
    "gradient, next classes",
    "square",
]
"""Of a model without layers of ours, which no path of whole layers serves."""
OTHERS = len(EDIT_MEMBERS) - 1


def masked(bar: float = BAR) -> SpikingClassifier:
    return SpikingClassifier(Masked(CORNER, bar), input_shape=SHAPE)


def fooled(model: SpikingClassifier, x: np.ndarray) -> np.ndarray:
    return model.predict(x).argmax(1) != 0


def test_what_masks_gradients_falls_to_those_that_try():
    model, threat = masked(), EventEdits(40)
    alone = fooled(model, EventGradientAttack(model, threat).generate(X, Y))
    attack = AutoSpike(model, threat)
    x_adv = attack.generate(X, Y)
    assert not alone.all()
    assert fooled(model, x_adv).all()
    assert threat.violations(x_adv, X) == []
    found = {one.name: one.fooled for one in attack.outcomes}
    assert found["exchange, narrow"] + found["square"] == 8 - alone.sum()


def test_samples_that_are_fooled_leave():
    attack = AutoSpike(samples.weak(CORNER, BAR), EventEdits(40))
    attack.generate(X, Y)
    assert [outcome.name for outcome in attack.outcomes] == EDIT_MEMBERS
    assert [outcome.tried for outcome in attack.outcomes] == [8] + [0] * OTHERS
    assert [outcome.forwards for outcome in attack.outcomes[1:]] == [0] * OTHERS
    assert all(outcome.alone is None for outcome in attack.outcomes)


def test_an_exhaustive_run_tells_what_each_contributes():
    model, threat = masked(), EventEdits(40)
    attack = AutoSpike(model, threat, exhaustive=True)
    attack.generate(X, Y)
    assert [outcome.tried for outcome in attack.outcomes] == [8] * len(EDIT_MEMBERS)
    by_gradient = fooled(model, EventGradientAttack(model, threat).generate(X, Y))
    found = {one.name: one for one in attack.outcomes}
    assert found["gradient, narrow"].fooled == by_gradient.sum() < 8
    assert found["exchange, narrow"].fooled == found["square"].fooled == 8
    assert sum(outcome.alone for outcome in attack.outcomes) == 0


def test_what_one_member_alone_fools_is_its_own():
    model, threat = SpikingClassifier(Cut(CORNER, BAR), input_shape=SHAPE), EventEdits(40)
    attack = AutoSpike(model, threat, exhaustive=True)
    attack.generate(X, Y)
    assert [outcome.alone for outcome in attack.outcomes] == [0] * OTHERS + [8]


def test_it_is_never_weaker_than_a_member():
    model = SpikingClassifier(spiking_stand_ins.TinyNetwork(), input_shape=spiking_stand_ins.SHAPE)
    x, y = spiking_stand_ins.events(12, seed=3)
    x, y = x[:3], y[:3]
    for threat in (EventEdits(6), Retiming(1)):
        attack = AutoSpike(model, threat)
        both = model.predict(attack.generate(x, y)).argmax(1) != y
        for _, member in attack.members():
            assert (both | (model.predict(member.generate(x, y)).argmax(1) == y)).all()


@pytest.mark.parametrize("threat", [EventEdits(6), EventEdits(0.3), Retiming(1)], ids=repr)
def test_a_sample_gets_the_same_result_in_any_batch(threat):
    model = SpikingClassifier(spiking_stand_ins.TinyNetwork(), input_shape=spiking_stand_ins.SHAPE)
    x, y = (part[:3] for part in spiking_stand_ins.events(6, seed=3))
    together = AutoSpike(model, threat).generate(x, y)
    alone = [AutoSpike(model, threat).generate(x[k : k + 1], y[k : k + 1])[0] for k in range(3)]
    np.testing.assert_array_equal(together, np.stack(alone))


def test_the_query_attack_gives_a_sample_the_same_result_in_any_batch():
    """Here samples reach it, and which ones do decides its batch."""
    model, threat = masked(BAR + 14), EventEdits(40)
    attack = AutoSpike(model, threat)
    together = attack.generate(X, Y)
    assert 1 < attack.outcomes[-1].tried < 8
    assert attack.outcomes[-1].fooled
    before = AutoSpike(model, threat)
    before.ensemble = lambda: attack.ensemble()[:-1]
    first = np.flatnonzero(~fooled(model, before.generate(X, Y)))[:1]
    alone = AutoSpike(model, threat, exhaustive=True).generate(X[first], Y[first])
    np.testing.assert_array_equal(together[first], alone)


def test_misclassified_samples_stay_as_they_are():
    model = samples.weak(CORNER, BAR)
    attack = AutoSpike(model, EventEdits(40))
    np.testing.assert_array_equal(attack.generate(X, np.ones(8, np.int64)), X)
    assert [outcome.tried for outcome in attack.outcomes] == [0] * len(EDIT_MEMBERS)


def test_the_ensembles_are_frozen():
    """Suites name AutoSpike alone: a change of a member is a new VERSION, and one of every such suite."""
    narrow, wide = Atan(3.0, through_reset=True), Atan(1.0, through_reset=True)
    spread = PotentialWidth(through_reset=True)
    towards = {"steps": 30, "classes": 4, "objective": "soft-gap"}
    exchanges = {"steps": 30, "rounds": 40, "candidates": 32}
    expected = {
        "gradient, narrow": (EventGradientAttack, {"steps": 30}, narrow),
        "gradient, own derivative": (EventGradientAttack, {"steps": 30}, None),
        "gradient, no reset path": (EventGradientAttack, {"steps": 30}, Atan(2.0)),
        "gradient, wide, hard gap": (EventGradientAttack, {"steps": 30, "objective": "gap"}, wide),
        "gradient, potential width": (EventGradientAttack, {"steps": 30}, spread),
        "gradient, narrow, long": (EventGradientAttack, {"steps": 150}, narrow),
        "exchange, narrow": (EventExchange, exchanges, narrow),
        "exchange, potential width": (EventExchange, exchanges, spread),
        "gradient, next classes": (NextClasses, towards, narrow),
        "square": (EventSquare, {"queries": 1000}, None),
        "retiming, wide": (SpikeRetiming, {"steps": 30}, wide),
        "retiming, own derivative": (SpikeRetiming, {"steps": 30}, None),
        "retiming, narrow": (SpikeRetiming, {"steps": 30}, narrow),
        "retiming, no reset path": (SpikeRetiming, {"steps": 30}, Atan(2.0)),
        "retiming, potential width": (SpikeRetiming, {"steps": 30}, spread),
        "retiming, narrow, long": (SpikeRetiming, {"steps": 150}, narrow),
        "retiming, next classes": (NextClasses, towards, wide),
        "retiming square": (RetimingSquare, {"queries": 1000}, None),
    }
    assert {m.name: (m.build, m.parameters, m.surrogate) for m in (*EDITS, *RETIMING)} == expected
    assert (TUNING_STEPS, CHOSEN_STEPS, VERSION) == (10, 60, 4)


def test_members_ask_for_their_derivative_where_the_model_exchanges_it():
    model = SpikingClassifier(spiking_stand_ins.spiking_network(), input_shape=(6,))
    found = dict(AutoSpike(model, EventEdits(6)).members())
    assert found["gradient, narrow"].surrogate == Atan(3.0, through_reset=True)
    assert "gradient, own derivative" not in found
    assert found["exchange, potential width"].surrogate == PotentialWidth(through_reset=True)


def test_members_with_paths_of_whole_layers_attack_layers_inside_a_plain_module_and_no_others():
    class Around(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = spiking_stand_ins.spiking_network()

        def forward(self, x):
            return self.inner(x)

    paths = {"gradient, potential width", "exchange, potential width"}
    wrapped = SpikingClassifier(Around(), input_shape=spiking_stand_ins.SHAPE)
    assert paths < {name for name, _ in AutoSpike(wrapped, EventEdits(6)).members()}
    assert not paths & {member.name for member in AutoSpike(masked(), EventEdits(6)).ensemble()}


def test_what_has_no_gradient_is_attacked_through_a_twin():
    model, threat = SpikingClassifier(Rounds(CORNER, BAR), input_shape=SHAPE), EventEdits(40)
    attack = AutoSpike(model, threat)
    assert fooled(model, attack.generate(X, Y)).all()
    assert attack.outcomes[0].fooled == 8


def test_a_model_without_any_gradient_falls_to_the_search_and_the_report_says_so():
    model = SpikingClassifier(Cut(CORNER, BAR), input_shape=SHAPE)
    attack = AutoSpike(model, EventEdits(40))
    assert fooled(model, attack.generate(X, Y)).all()
    assert {left.what for left in attack.left_out} == set(EDIT_MEMBERS[:-1])
    assert all(
        "no gradient" in left.why and not left.timed and left.samples == tuple(range(8))
        for left in attack.left_out
    )
    assert [outcome.tried for outcome in attack.outcomes] == [0] * OTHERS + [8]


def test_a_member_is_chosen_on_the_craft_split():
    model = SpikingClassifier(spiking_stand_ins.spiking_network(), input_shape=(6,))
    x, y = spiking_stand_ins.events(12, seed=3)
    attack = AutoSpike(model, EventEdits(2))
    attack.tune(x, y)
    names = [member.name for member in attack.ensemble()]
    assert names[1] == f"chosen on craft: {attack.chosen['surrogate']['name']}"
    tried = [trial["path"] for trial in attack.chosen["ranking"]]
    assert tried[0] == attack.chosen["surrogate"]
    assert Atan(2.0).to_dict() not in tried
    attack.generate(x, y)
    assert attack.outcomes[1].name == names[1]


def test_fewest_keeps_the_success_with_the_fewest_edits():
    model, threat = samples.weak(CORNER, BAR), EventEdits(40)
    attack = AutoSpike(model, threat, fewest=True)
    x_adv = attack.generate(X, Y)
    assert fooled(model, x_adv).all()
    need = BAR - (X * CORNER.numpy()).reshape(8, -1).sum(1)
    np.testing.assert_array_equal(threat.cost(x_adv, X).edits, np.floor(need) + 1)


class Clock:
    """Goes on by one second each time that it is read."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


def test_a_time_budget_says_what_it_left_out(monkeypatch):
    monkeypatch.setattr(AutoSpike, "clock", Clock())
    model, threat = masked(), EventEdits(3)
    attack = AutoSpike(model, threat, minutes=0.5, exhaustive=True)
    x_adv = attack.generate(X, Y)
    assert threat.violations(x_adv, X) == []
    left = {entry.what: entry for entry in attack.left_out}
    assert left["exhaustive"].why.startswith("gradient, narrow and later ones attack only what is left")
    assert "wanted" in left["gradient, next classes"].why
    assert left["square"].samples == tuple(np.flatnonzero(~fooled(model, x_adv)))
    assert all(outcome.alone is None for outcome in attack.outcomes)
    assert [outcome.name for outcome in attack.outcomes] == EDIT_MEMBERS


def test_without_a_time_budget_nothing_is_left_out():
    attack = AutoSpike(masked(), EventEdits(3))
    attack.generate(X, Y)
    assert attack.left_out == ()


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), "5", True])
def test_minutes_must_be_a_number_above_zero(minutes):
    with pytest.raises(InvalidInput, match="minutes does not fit"):
        AutoSpike(masked(), EventEdits(3), minutes=minutes)


class Draws(samples.WeakCells):
    """Its bar moves at random, by one event or so."""

    def forward(self, x):
        logits = super().forward(x)
        return logits + torch.randn(len(x), 1) * torch.tensor([0.0, 1.0])


def test_a_random_model_is_fooled_by_the_majority_of_its_draws():
    model, threat = SpikingClassifier(Draws(CORNER, BAR), input_shape=SHAPE), EventEdits(40)
    x_adv = AutoSpike(model, threat).generate(X, Y)
    classes, _ = decide(model, torch.from_numpy(x_adv), draws=101, seed=7)
    assert (classes.numpy() != 0).all()
    np.testing.assert_array_equal(x_adv, AutoSpike(model, threat).generate(X, Y))


def test_what_is_left_of_a_random_model_is_attacked_again_by_other_draws():
    out_of_reach, threat = BAR + 1000, EventEdits(3)
    model = SpikingClassifier(Draws(CORNER, out_of_reach), input_shape=SHAPE)
    attack = AutoSpike(model, threat, minutes=60)
    attack.generate(X[:2], Y[:2])
    assert attack.left_out == ()
    backwards = {outcome.name: outcome.backwards for outcome in attack.outcomes}
    assert backwards["gradient, narrow"] >= 2 * 30 * GRADIENT_DRAWS * TRIES
    assert [outcome.tried for outcome in attack.outcomes] == [2] * len(EDIT_MEMBERS)


LATE = torch.zeros(SHAPE)
LATE[8:, :, :4, :4] = 1.0
LATE_BAR = float((X * LATE.numpy()).reshape(8, -1).sum(1).max()) + 1


@pytest.mark.parametrize(
    ("threat", "kind", "weights", "bar"),
    [(EventEdits(40), EventSquare, CORNER, BAR), (Retiming(max_moved=40), RetimingSquare, LATE, LATE_BAR)],
)
def test_a_black_box_is_attacked_by_the_members_without_gradients_and_the_report_says_so(
    threat, kind, weights, bar
):
    model = samples.weak(weights, bar)
    box = BlackBoxEventClassifier(model.predict, SHAPE, 2)
    attack = AutoSpike(box, threat)
    attack.tune(X, Y)
    x_adv = attack.generate(X, Y)
    np.testing.assert_array_equal(x_adv, kind(box, threat, queries=1000).generate(X, Y))
    assert fooled(box, x_adv).any()
    assert threat.violations(x_adv, X) == []
    assert [type(member) for _, member in attack.members()] == [kind]
    (left,) = attack.left_out
    assert (left.what, left.samples, left.timed) == ("gradients", tuple(range(8)), False)
    assert "black box" in left.why


def test_a_random_black_box_is_fooled_by_the_majority_of_its_draws():
    model, threat = SpikingClassifier(Draws(CORNER, BAR), input_shape=SHAPE), EventEdits(40)
    box = BlackBoxEventClassifier(model.predict, SHAPE, 2)
    x_adv = AutoSpike(box, threat, minutes=5).generate(X, Y)
    classes, _ = decide(model, torch.from_numpy(x_adv), draws=101, seed=7)
    assert (classes.numpy() != 0).all()


@pytest.mark.parametrize("threat", [PatchRegion(0.1), "edits"])
def test_threats_that_do_not_fit_are_refused(threat):
    with pytest.raises(InvalidInput):
        AutoSpike(samples.weak(CORNER, BAR), threat)
