# SPDX-License-Identifier: MIT
"""Scores from before they were squashed, and on a scale that objectives take."""

import pytest
import torch

from art_spiking.attacks.ensemble.scores import Squashing, tempered
from art_spiking.attacks.ensemble.straight_through import straight_through
from art_spiking.attacks.objectives import soft_gap
from art_spiking.surrogates import Atan

Z = torch.tensor([[900.0, -200.0, -300.0], [10.0, 30.0, 20.0]])
SQUASHED = {
    "softmax": lambda z: torch.softmax(z, 1),
    "layer": torch.nn.Softmax(dim=-1),
    "method": lambda z: z.softmax(dim=1),
    "logarithm of it": lambda z: torch.softmax(z, 1).log(),
    "log-softmax": lambda z: torch.nn.functional.log_softmax(input=z, dim=1),
    "sigmoid": torch.sigmoid,
    "rounded": lambda z: (z / 1e3).tanh().round(),
    "read in another type": lambda z: torch.softmax(z, 1).double(),
}
OTHERS = {
    "over the samples": lambda z: torch.softmax(z, 0),
    "a layer follows": lambda z: torch.softmax(z, 1) @ torch.eye(3).flip(0),
    "in time": lambda z: torch.softmax(z[:, None], 2).sum(1),
    "none": lambda z: 2 * z,
}


@pytest.mark.parametrize("name", list(SQUASHED))
def test_functions_that_keep_the_order_are_undone(name):
    with Squashing() as squashing:
        logits = SQUASHED[name](Z)
    expected = Z / 1e3 if name == "rounded" else Z
    assert torch.equal(squashing.undone(logits), expected)


@pytest.mark.parametrize("name", list(OTHERS))
def test_other_functions_are_not(name):
    with Squashing() as squashing:
        logits = OTHERS[name](Z)
    assert squashing.undone(logits) is logits


def test_what_straight_through_returns_is_undone_too():
    z = Z.clone().requires_grad_(True)
    with straight_through(Atan(2.0)), Squashing() as squashing:
        logits = torch.softmax(z * 1e3, 1)
    scores = squashing.undone(logits)
    assert torch.equal(scores, 1e3 * z)
    (gradient,) = torch.autograd.grad(scores.sum(), z)
    assert torch.equal(gradient, torch.full_like(z, 1e3))


def test_scores_are_put_on_the_scale_of_counts_row_by_row():
    ranges = torch.tensor([2e3, 1e-4, 20.0])
    z = torch.tensor([[1.0, 0.2, 0.0]]) * ranges[:, None]
    found = tempered(z)
    torch.testing.assert_close(found[:, 0], torch.tensor([32.0, 16.0, 20.0]))
    torch.testing.assert_close(found[:, 1] / found[:, 0], torch.full((3,), 0.2))
    torch.testing.assert_close(tempered(z[1:2]), found[1:2])
    assert torch.equal(tempered(torch.full((2, 3), 7.0)), torch.full((2, 3), 7.0))


def test_the_scale_takes_no_gradient_and_lets_the_near_class_pull():
    z = torch.tensor([[0.0, -5.0, -100.0, -100.0]]) * 1e-3
    pulls = []
    for scores in (z, tempered(z)):
        leaf = scores.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(soft_gap(leaf, torch.tensor([0])).sum(), leaf)
        pulls.append(float(gradient[0, 1]))
    assert pulls[0] < 0.4
    assert pulls[1] > 0.99
    leaf = z.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(tempered(leaf)[0, 0], leaf)
    torch.testing.assert_close(gradient, torch.tensor([[160.0, 0.0, 0.0, 0.0]]))
