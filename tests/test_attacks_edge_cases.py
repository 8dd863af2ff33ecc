# SPDX-License-Identifier: MIT
"""Every registered attack on inputs at the edge: probabilities, no events, nothing left to do, one class."""

import inspect

import numpy as np
import pytest
import spiking_stand_ins
import torch

from art_spiking.errors import InvalidInput
from art_spiking.estimators import BlackBoxEventClassifier, SpikingClassifier
from art_spiking.registry import PluginManager, catalogue
from art_spiking.threats import EventEdits, PatchRegion, Retiming

SHAPE, CLASSES = spiking_stand_ins.SHAPE, spiking_stand_ins.CLASSES
# The first that an attack serves.
THREATS = (EventEdits(8), PatchRegion(0.15), Retiming(1))
# Less work, where an attack takes such an option; MinimalEdits takes gradients only if its attack does.
LESS = {"queries": 25, "steps": 3, "rounds": 2, "epochs": 1, "members": 1}
LESS |= {"attack": "event-greedy", "parameters": {"queries": 25}}


def registered() -> dict[str, type]:
    """The attacks of this package; plugins hold their own to the contract."""
    manager = PluginManager()
    manager.add(__import__("art_spiking.builtin", fromlist=["builtin"]), "art-spiking")
    return {name: entry.load() for name, entry in catalogue("attacks", manager).items()}


ATTACKS = registered()
# AutoSpike runs fewer attacks on a black box: test_attacks_auto has it.
QUERYING = [name for name, kind in ATTACKS.items() if not kind.gradients and name != "auto-spike"]
QUERYING += ["minimal-edits"]


class Probabilities(spiking_stand_ins.TinyNetwork):
    """Answers with probabilities, and so surely that some are 0 and 1 in float32."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(40 * super().forward(x).sum(1), 1)


@pytest.fixture(scope="module")
def spiking():
    return SpikingClassifier(spiking_stand_ins.TinyNetwork(), input_shape=SHAPE)


@pytest.fixture(scope="module")
def x():
    return spiking_stand_ins.events(4, seed=3)[0]


def build(name, model, **options):
    """The attack under the first threat model that it serves."""
    kind = ATTACKS[name]
    taken = inspect.signature(kind).parameters
    less = {option: value for option, value in LESS.items() if option in taken}
    for threat in THREATS:
        try:
            return kind(model, threat, **less, **options)
        except InvalidInput as error:
            refused = error
    raise refused


def targeted(name) -> bool:
    return "targeted" in inspect.signature(ATTACKS[name]).parameters


@pytest.mark.parametrize("name", ATTACKS)
def test_probabilities_are_attacked_like_logits(name, x):
    model = SpikingClassifier(Probabilities(), input_shape=SHAPE)
    attack = build(name, model)
    x_adv = attack.generate(x, model.predict(x).argmax(1))
    assert attack.threat.violations(x_adv, x) == []
    assert np.isfinite(x_adv).all()


@pytest.mark.parametrize("name", QUERYING)
def test_probabilities_of_a_black_box_are_too(name, x):
    model = SpikingClassifier(Probabilities(), input_shape=SHAPE)
    box = BlackBoxEventClassifier(model.predict, SHAPE, CLASSES)
    np.testing.assert_array_equal(build(name, box).generate(x), build(name, model).generate(x))


@pytest.mark.parametrize("name", ATTACKS)
def test_samples_that_are_all_misclassified_are_left_alone(name, spiking, x):
    wrong = (spiking.predict(x).argmax(1) + 1) % CLASSES
    attack = build(name, spiking)
    x_adv = attack.generate(x, wrong)
    assert attack.threat.violations(x_adv, x) == []
    if attack.leaves_fooled:
        np.testing.assert_array_equal(x_adv, x)
    if getattr(attack, "query_counts", None) is not None:
        assert attack.query_counts.sum() == 0


@pytest.mark.parametrize("name", [name for name in ATTACKS if targeted(name)])
def test_a_target_that_is_reached_already_is_left_alone(name, spiking, x):
    attack = build(name, spiking, targeted=True)
    x_adv = attack.generate(x, spiking.predict(x).argmax(1))
    assert attack.threat.violations(x_adv, x) == []
    if attack.leaves_fooled:
        np.testing.assert_array_equal(x_adv, x)


@pytest.mark.parametrize("name", ATTACKS)
def test_samples_without_any_event(name, spiking, x):
    silent = np.zeros_like(x)
    attack = build(name, spiking)
    x_adv = attack.generate(silent)
    assert attack.threat.violations(x_adv, silent) == []
    if isinstance(attack.threat, Retiming):
        np.testing.assert_array_equal(x_adv, silent)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("threat", [EventEdits(8, insert=False), EventEdits(0.5)], ids=repr)
def test_where_nothing_may_be_edited_nothing_is(name, threat, spiking, x):
    """No event to delete, or a share of no events; a silent sample beside others changes nothing of them."""
    try:
        attack = build(name, spiking)
        attack.set_params(threat=threat)
    except InvalidInput:
        pytest.skip("does not serve budgets of edits")
    mixed = np.concatenate([x[:1], np.zeros_like(x[:1])])
    x_adv = attack.generate(mixed)
    assert threat.violations(x_adv, mixed) == []
    np.testing.assert_array_equal(x_adv[1], 0)


@pytest.mark.parametrize("make", ["spiking", "black box"])
def test_one_class_is_no_classifier(make):
    with pytest.raises(InvalidInput, match="at least two classes"):
        if make == "spiking":
            SpikingClassifier(spiking_stand_ins.TinyNetwork(classes=1), input_shape=SHAPE)
        else:
            BlackBoxEventClassifier(lambda x: np.zeros((len(x), 1)), SHAPE, 1)


def test_errors_list_only_attacks_that_would_do(spiking):
    """An attack on patches needs a region, and AutoSpike a budget of edits."""
    with pytest.raises(InvalidInput) as edits:
        ATTACKS["retiming-square"](spiking, EventEdits(3))
    with pytest.raises(InvalidInput) as region:
        ATTACKS["retiming-square"](spiking, PatchRegion(0.15))
    assert "auto-spike" in str(edits.value)
    assert "patch (" not in str(edits.value)
    assert "auto-spike" not in str(region.value)
    assert "adversarial-patch" in str(region.value)
    for name, kind in ATTACKS.items():
        for threat in (EventEdits(8), PatchRegion(0.15), Retiming(1)):
            if kind.serves(threat):
                kind(spiking, threat)
            else:
                with pytest.raises(InvalidInput):
                    kind(spiking, threat)
            assert (f"{name} (" in str(edits.value)) == kind.serves(EventEdits(3))
