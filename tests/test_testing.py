# SPDX-License-Identifier: MIT
"""The contract checks: everything registered passes them, and each property catches its own offender."""

import dataclasses
import functools

import host_samples as samples
import numpy as np
import pytest
import torch

from art_spiking.datasets import EventData
from art_spiking.defences import BackgroundActivityFilter, MaskFilter
from art_spiking.estimators import SpikingClassifier
from art_spiking.events import Grid
from art_spiking.registry import catalogue
from art_spiking.testing import (
    ContractBroken,
    check_attack,
    check_dataset,
    check_defence,
    check_estimator,
    check_threat,
    small_classifier,
    small_data,
)
from art_spiking.threats import EventEdits, Linf, ObjectRegion, PatchRegion, PixelRate, Retiming

# -- everything registered --------------------------------------------------------------------------

PATCHES = [PatchRegion(0.1), PatchRegion(0.3, delete=False)]
RETIMINGS = [Retiming(1), Retiming(max_moved=10), Retiming(max_total_shift=8)]
OTHER_THREATS = {
    "adversarial-patch": PATCHES,
    "random-patch": PATCHES,
    "spike-retiming": RETIMINGS,
    "random-retiming": RETIMINGS,
    "retiming-square": RETIMINGS,
    "auto-spike": [EventEdits(10), Retiming(1)],
}
ATTACKS = sorted(catalogue("attacks"))
THREATS = {
    "event-edits": [
        EventEdits(10),
        EventEdits(0.25, insert=False),
        EventEdits(20, polarity="same"),
        EventEdits(30, refractory_us=2000, dt_us=1000),
    ],
    "pixel-rate": [PixelRate(300.0, 1000), EventEdits(10) & PixelRate(300.0, 1000)],
    "patch-region": [PatchRegion(0.1), PatchRegion(0.3) & EventEdits(10)],
    "object-region": [
        ObjectRegion(0.1),
        ObjectRegion(0.2, velocity=(-300.0, 450.0), flicker_hz=200.0, dt_us=1000) & PixelRate(300.0, 1000),
    ],
    "linf": [Linf(0.3)],
    "retiming": [*RETIMINGS, Retiming(2_000, max_moved=0.25, unit="us", dt_us=1000)],
}
DEFENCES = {
    "background-activity-filter": lambda: BackgroundActivityFilter(2000, 1000),
    "mask-filter": lambda: MaskFilter(3),
}


SHORTER = {
    "event-genetic": {"queries": 20},
    "event-greedy": {"queries": 20},
    "event-hop-skip-jump": {"queries": 40},
    "event-sign-opt": {"queries": 40},
    "event-square": {"queries": 20},
    "event-transfer": {"epochs": 2},
    "iterative-universal": {"passes": 1},
    "minimal-edits": {"parameters": {"steps": 4}},
    "spike-retiming": {"steps": 5},
}


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_keeps_the_contract(name):
    factory = catalogue("attacks")[name].load()
    if name in SHORTER:
        factory = functools.partial(factory, **SHORTER[name])
    if name in OTHER_THREATS:
        check_attack(factory, threats=OTHER_THREATS[name])
    else:
        check_attack(factory)


@pytest.mark.parametrize("name", sorted(catalogue("threats")))
def test_every_threat_model_keeps_the_contract(name):
    for threat in THREATS[name]:
        check_threat(threat, spikes=name != "linf")


@pytest.mark.parametrize("name", sorted(catalogue("defences")))
def test_every_defence_keeps_the_contract(name):
    check_defence(DEFENCES[name])


@pytest.mark.slow
def test_the_generated_data_set_keeps_the_contract():
    check_dataset(catalogue("datasets")["digits-dvs"].load())


@pytest.mark.data
def test_the_recorded_data_set_keeps_the_contract(shared_data):
    check_dataset(catalogue("datasets")["nmnist"].load(), data_dir=shared_data / "nmnist-1100")


def test_the_estimator_keeps_the_contract():
    check_estimator(small_classifier())
    check_estimator(
        SpikingClassifier(samples.network(), input_shape=samples.GRID.shape), data=samples.data("test", 4)
    )


# -- offenders --------------------------------------------------------------------------------------


class Honest(samples.FirstCells):
    """Flips one cell; what the offenders below derive from."""

    def __init__(self, estimator, threat, *, seed=0):
        super().__init__(estimator, threat, edits=1, seed=seed)

    def generate(self, x, y):
        return super().generate(x, np.zeros(len(x), np.int64))


class TooMany(Honest):
    def generate(self, x, y):
        self.edits = 11
        return super().generate(x, y)


class ChangesInputs(Honest):
    def generate(self, x, y):
        x_adv = super().generate(x, y)
        x[:] = x_adv
        return x_adv


class ChangesLabels(Honest):
    def generate(self, x, y):
        y[:] = y[::-1]
        return super().generate(x, y)


class ChangesModel(Honest):
    def generate(self, x, y):
        with torch.no_grad():
            next(self.estimator.model.parameters()).add_(1.0)
        return super().generate(x, y)


class Thaws(Honest):
    def generate(self, x, y):
        next(self.estimator.model.parameters()).requires_grad_(True)
        return super().generate(x, y)


class Draws(Honest):
    def generate(self, x, y):
        x_adv = x.copy()
        cells = np.random.randint(0, x[0].size, len(x))  # noqa: NPY002 (the offence)
        for sample, cell in zip(x_adv.reshape(len(x), -1), cells, strict=True):
            sample[cell] = 1 - sample[cell]
        return x_adv


class Torch(Honest):
    def generate(self, x, y):
        return torch.from_numpy(super().generate(x, y))


class Doubles(Honest):
    def generate(self, x, y):
        return super().generate(x, y).astype(np.float64)


class Indices(Honest):
    def generate(self, x, y):
        if y.ndim > 1:
            raise ValueError("labels must be indices")
        return super().generate(x, y)


class Fractions(Honest):
    def generate(self, x, y):
        return np.clip(x + 0.01, 0, 1).astype(np.float32)


BUDGET = [EventEdits(10)]


def test_an_honest_attack_passes():
    check_attack(Honest, threats=BUDGET)


@pytest.mark.parametrize(
    ("attack", "name", "found"),
    [
        (TooMany, "returns valid samples within its budget", "6 of 6 samples break rule 'budget'"),
        (Fractions, "returns valid samples within its budget", "whole number"),
        (ChangesInputs, "leaves inputs and labels untouched", "changed the samples"),
        (ChangesLabels, "leaves inputs and labels untouched", "changed the labels"),
        (ChangesModel, "leaves the model untouched", "it changed network.layers"),
        (Thaws, "leaves the model untouched", "gradients of the parameters"),
        (Draws, "leaves global random state alone", "numpy's global generator"),
        (Torch, "takes and returns numpy arrays", "returned Tensor"),
        (Doubles, "takes and returns numpy arrays", "float64"),
        (Indices, "takes labels as indices or one-hot", "raised ValueError: labels must be indices"),
    ],
)
def test_each_offence_is_named(attack, name, found):
    with pytest.raises(ContractBroken) as caught:
        check_attack(attack, threats=BUDGET)
    full = f"{name} under EventEdits(max_edits=10)"
    assert found in caught.value.problems[full]
    assert full in str(caught.value)
    assert attack.__name__ in str(caught.value)


def test_an_attack_that_ignores_its_seed_is_named():
    with pytest.raises(ContractBroken) as caught:
        check_attack(Draws, threats=BUDGET)
    assert "two attacks with seed 0" in str(caught.value)


class OverUniversal(Honest):
    universal = True

    def fit(self, x, y):
        return samples.Shared(11, x)


def test_a_universal_attack_is_checked_on_what_it_applies():
    with pytest.raises(ContractBroken, match="6 of 6 samples break rule 'budget'"):
        check_attack(OverUniversal, threats=BUDGET)


@dataclasses.dataclass(frozen=True)
class Loose(EventEdits):
    """Projects onto twice its budget."""

    def project(self, x_adv, x):
        return EventEdits(2 * self.max_edits).project(x_adv, x)


@dataclasses.dataclass(frozen=True)
class Lenient(EventEdits):
    def violations(self, x_adv, x):
        return []


@dataclasses.dataclass(frozen=True)
class Moves(EventEdits):
    def project(self, x_adv, x):
        x_adv += 1
        return super().project(x_adv, x)


@pytest.mark.parametrize(
    ("threat", "names"),
    [
        (Loose(5), {"projects to allowed points"}),
        (Lenient(5), {"finds what breaks it"}),
        (Moves(5), {"leaves its inputs untouched"}),
    ],
)
def test_a_threat_model_at_odds_with_itself_is_named(threat, names):
    with pytest.raises(ContractBroken) as caught:
        check_threat(threat)
    assert names <= set(caught.value.problems)


class Detached(BackgroundActivityFilter):
    """Filters without letting the gradient through."""

    def forward(self, x, y=None):
        filtered, y = super().forward(x.detach(), y)
        return filtered.detach() + 0 * x, y


def test_a_defence_that_hides_the_gradient_is_named():
    with pytest.raises(ContractBroken) as caught:
        check_defence(lambda: Detached(2000, 1000))
    assert set(caught.value.problems) == {"lets the attacker's gradient through"}
    assert "exactly zero for 6 of 6 samples" in str(caught.value)


def test_an_estimator_whose_logits_drift_is_named():
    class Drifts(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.calls = samples.network(), 0

        def forward(self, x):
            self.calls += 1
            return self.inner(x) + self.calls

    with pytest.raises(ContractBroken) as caught:
        check_estimator(samples.classifier(Drifts()), data=samples.data("test", 4))
    assert {"predicts the same twice"} <= set(caught.value.problems)


def broken_dataset(split, *, steps, dt_us, binary, data_dir, limit):
    grid = Grid(steps, dt_us, 4, 4, binary=binary)
    x = np.zeros((3, *grid.shape), np.float32)
    return EventData(x, np.zeros(3, np.int64), grid, "empty", split)


def test_a_data_set_that_ignores_its_limit_is_named():
    with pytest.raises(ContractBroken) as caught:
        check_dataset(broken_dataset)
    assert set(caught.value.problems) == {"heeds its limit", "keeps its splits apart"}
    assert "limits 2 and 4 gave 3, 3" in str(caught.value)


def test_the_samples_are_labelled_as_the_model_predicts():
    data = small_data(5)
    assert np.array_equal(small_classifier().predict(data.x).argmax(axis=1), data.y)
