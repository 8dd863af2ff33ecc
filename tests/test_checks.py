# SPDX-License-Identifier: MIT
"""Checks: each flag is raised by a model or attack that deserves it, and by no sound one."""

import random

import numpy as np
import pytest
import torch
from host_samples import GRID, classifier, data, network

from art_spiking.checks import adversarial_flags, control_flag, model_flags
from art_spiking.threats import EventEdits, PatchRegion


def flags_of(model, **options):
    given = data("test", 10)
    return {flag.code: flag for flag in model_flags(classifier(model, **options), given.x, given.y)}


class Wrapped(torch.nn.Module):
    """A sound network with something done to its input or output."""

    def __init__(self):
        super().__init__()
        self.inner = network()

    def forward(self, x):
        return self.inner(x)


class Blind(Wrapped):
    """Rounds its input: the gradient is exactly zero and raises no error."""

    def forward(self, x):
        return self.inner(torch.round(x))


class Cut(Wrapped):
    """Detaches its input: there is no gradient at all."""

    def forward(self, x):
        return self.inner(x.detach())


class HalfBlind(Wrapped):
    """Sees no gradient for samples whose first cell is empty."""

    def forward(self, x):
        seen = x[:, :1, :1, :1, :1] > 0
        return self.inner(torch.where(seen, x, x.detach()))


class Noisy(Wrapped):
    def forward(self, x):
        return self.inner(x) + torch.rand(len(x), x.shape[1], 3)


class Remembers(Wrapped):
    """Adds what it was shown in its last call."""

    def __init__(self):
        super().__init__()
        self.last = torch.zeros(1)

    def forward(self, x):
        found = self.inner(x) + self.last
        self.last = x.detach().mean()
        return found


def forget(model):
    model.last = torch.zeros(1)


class Mixes(Wrapped):
    """Subtracts the mean of the batch."""

    def forward(self, x):
        found = self.inner(x)
        return found - found.mean(dim=0, keepdim=True)


class Ranks(Wrapped):
    """Adds to each sample its place in the batch."""

    def forward(self, x):
        return self.inner(x) + torch.arange(len(x)).view(-1, 1, 1)


class Compares(Wrapped):
    """Adds what the last sample of the batch has more than the first."""

    def forward(self, x):
        return self.inner(x) + (x[-1].sum() - x[0].sum()).clamp(min=0)


def test_dependence_on_the_order_alone_is_flagged():
    given = data("test", 10)
    order = np.argsort(-given.x.reshape(10, -1).sum(axis=1))
    flags = model_flags(classifier(Compares()), given.x[order], given.y[order])
    assert {flag.code for flag in flags} == {"batch-dependent"}


def test_a_sound_model_has_no_flag():
    assert flags_of(network()) == {}
    assert flags_of(Wrapped()) == {}


@pytest.mark.parametrize("model", [Blind, Cut])
def test_a_zero_gradient_is_flagged_with_its_share(model):
    flag = flags_of(model())["zero-gradient"]
    assert flag.value == 1.0
    assert "exactly zero for 100% of samples" in flag.text


def test_the_share_of_blind_samples_is_told():
    x = data("test", 10).x
    expected = float((x[:, 0, 0, 0, 0] == 0).mean())
    assert 0.1 < expected < 1
    assert flags_of(HalfBlind())["zero-gradient"].value == pytest.approx(expected)


def test_randomness_is_flagged():
    found = flags_of(Noisy())
    assert set(found) == {"non-deterministic"}
    assert found["non-deterministic"].value > 0


class DrawsFromNumpy(Wrapped):
    def forward(self, x):
        return self.inner(x) + float(np.random.rand())  # noqa: NPY002 (that is what it is for)


class DrawsFromPython(Wrapped):
    def forward(self, x):
        return self.inner(x) + random.random()


@pytest.mark.parametrize("model", [DrawsFromNumpy, DrawsFromPython])
def test_numbers_drawn_elsewhere_are_randomness_and_no_kept_state(model):
    assert set(flags_of(model())) == {"non-deterministic"}


def test_kept_state_is_flagged_and_a_reset_clears_it():
    assert set(flags_of(Remembers())) == {"state-leak"}
    assert flags_of(Remembers(), reset=forget) == {}


@pytest.mark.parametrize("model", [Mixes, Ranks])
def test_dependence_on_the_batch_is_flagged(model):
    found = flags_of(model())
    assert set(found) == {"batch-dependent"}
    assert found["batch-dependent"].value > 0.5


def test_the_model_is_not_changed_by_its_checks():
    model = classifier(Remembers())
    given = data("test", 4)
    model_flags(model, given.x, given.y)
    assert model.model.network.last.item() == 0.0
    assert (model.queries.forwards, model.queries.backwards) == (0, 0)


def test_torch_draws_on_as_if_no_check_had_run():
    given, model = data("test", 4), classifier(Noisy())
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    model_flags(model, given.x, given.y)
    assert torch.equal(torch.rand(4), expected)


def edited(x, cells):
    x_adv = x.copy()
    flat = x_adv.reshape(len(x), -1)
    flat[:, :cells] = 1 - flat[:, :cells]
    return x_adv


def test_within_the_budget_there_is_nothing_to_tell():
    x = data("test", 4).x
    assert adversarial_flags(edited(x, 6), x, EventEdits(6), binary=True) == ()
    assert adversarial_flags(x, x, EventEdits(6), binary=True) == ()


def test_every_broken_rule_is_told_once_with_the_worst_sample():
    x = np.zeros((4, *GRID.shape), np.float32)
    x_adv = x.copy()
    x_adv[1].reshape(-1)[:9] = 1
    x_adv[2].reshape(-1)[:8] = 1
    found = adversarial_flags(x_adv, x, EventEdits(7, insert=False), binary=True)
    assert {flag.code for flag in found} == {"budget-violation"}
    (budget,) = [flag for flag in found if "'budget'" in flag.text]
    assert "2 of 4 samples" in budget.text
    assert "sample 1" in budget.text
    assert budget.value == 9.0
    assert any("rule 'insert'" in flag.text for flag in found)


def test_a_patch_outside_its_window_is_told():
    x = np.zeros((2, *GRID.shape), np.float32)
    x_adv = x.copy()
    x_adv[0, 0, 0, 0, 0] = x_adv[0, 0, 0, 5, 5] = 1
    (flag,) = adversarial_flags(x_adv, x, PatchRegion(0.25), binary=True)
    assert "rule 'region'" in flag.text


def test_counts_are_valid_where_they_are_declared():
    x = data("test", 2).x
    x_adv = x.copy()
    x_adv.reshape(2, -1)[:, 0] = 2
    assert adversarial_flags(x_adv, x, EventEdits(6, max_count=2), binary=False) == ()
    (flag,) = adversarial_flags(x_adv, x, EventEdits(6, max_count=2), binary=True)
    assert flag.code == "invalid-sample"


def test_a_control_must_leave_more_samples_right():
    labels, attacked = [0, 1, 2, 0], [1, 1, 2, 0]
    assert control_flag(labels, attacked, labels) is None
    flag = control_flag(labels, attacked, [0, 0, 2, 0])
    assert flag.code == "control-as-strong"
    assert "0.75 against 0.75" in flag.text


class Certain(Wrapped):
    """So sure of itself that the gradient of cross entropy is exactly zero."""

    def forward(self, x):
        return self.inner(x) * 1e4


def test_a_model_without_doubt_is_not_taken_to_be_blind():
    given = data("test", 10)
    model = classifier(Certain())
    gradient, _ = model.input_gradient(torch.from_numpy(given.x), torch.from_numpy(given.y))
    assert (gradient.flatten(1).abs().amax(1) == 0).float().mean() > 0.1
    assert "zero-gradient" not in flags_of(Certain())
