# SPDX-License-Identifier: MIT
"""Straight-through gradients: values stay as they are, gradients appear where torch gives none."""

import pytest
import torch
from masked_models import SoftSpike, Steep

from art_spiking.attacks.ensemble.straight_through import replace_own_spikes, straight_through
from art_spiking.surrogates import Atan

SURROGATE = Atan(2.0)
U = torch.linspace(-0.4, 0.4, 7)
H = SURROGATE.derivative(U)
ONES = torch.ones(7)

FUNCTIONS = {
    "round": (torch.round, ONES),
    "floor": (lambda u: u.floor(), ONES),
    "softmax": (lambda u: torch.softmax(1e4 * u, 0), 1e4 * ONES),
    "compare": (lambda u: (u > 0).float(), H),
    "compare backwards": (lambda u: (u < 0).to(u.dtype), -H),
    "not": (lambda u: (~(u >= 0)).float(), -H),
    "product": (lambda u: (u >= 0) * 2.0, 2 * H),
    "where": (lambda u: torch.where(u > 0, 3.0 * torch.ones(7), torch.ones(7)), 2 * H),
    "sign": (torch.sign, 2 * H),
    "heaviside": (lambda u: torch.heaviside(u, torch.tensor(0.0)), H),
}


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_values_stay_and_gradients_appear(name):
    function, expected = FUNCTIONS[name]
    u = U.clone().requires_grad_(True)
    with straight_through(SURROGATE):
        found = function(u)
    with torch.no_grad():
        assert torch.equal(found, function(u).float())
    (gradient,) = torch.autograd.grad(found.sum(), u)
    torch.testing.assert_close(gradient, expected)


def test_a_comparison_with_a_draw_is_the_same_draw_and_passes_a_gradient():
    p = torch.full((100,), 0.5, requires_grad=True)
    torch.manual_seed(3)
    plain = (torch.rand(100) < p.detach()).float()
    torch.manual_seed(3)
    with straight_through(SURROGATE):
        found = (torch.rand(100) < p).float()
    assert torch.equal(found, plain)
    assert bool((torch.autograd.grad(found.sum(), p)[0] > 0).all())


def test_a_draw_of_bernoulli_becomes_its_mean():
    p = torch.full((100,), 0.5, requires_grad=True)
    with straight_through(SURROGATE):
        found = torch.bernoulli(p)
        sure = torch.bernoulli((p > 0).float())
    assert torch.equal(found, p)
    assert torch.equal(sure, torch.ones(100))
    assert torch.equal(torch.autograd.grad(found.sum(), p)[0], torch.ones(100))


def test_a_cut_is_looked_through_on_demand_alone():
    u = U.clone().requires_grad_(True)
    with straight_through(SURROGATE):
        assert not (2 * u.detach()).requires_grad
    with straight_through(SURROGATE, through_cuts=True):
        found = 2 * u.detach()
        assert float(u.sum()) == float(U.sum())
    assert torch.equal(torch.autograd.grad(found.sum(), u)[0], 2 * ONES)


def test_outside_the_block_torch_is_as_it_was():
    u = U.clone().requires_grad_(True)
    with straight_through(SURROGATE):
        pass
    assert not (u > 0).float().requires_grad
    assert torch.equal(torch.autograd.grad(u.round().sum(), u)[0], torch.zeros(7))


def test_own_spikes_get_another_derivative():
    u = U.clone().requires_grad_(True)
    found = Steep.apply(u * 1.0)
    assert replace_own_spikes(found.sum(), SURROGATE) == 1
    torch.testing.assert_close(torch.autograd.grad(found.sum(), u)[0], H)


class Product(torch.autograd.Function):
    """No spike: two inputs take a gradient."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, gradient):
        a, b = ctx.saved_tensors
        return gradient * b, gradient * a


def test_functions_that_are_no_spikes_keep_theirs():
    u, v = U.clone().requires_grad_(True), torch.rand(7, requires_grad=True)
    found = Product.apply(u, v)
    assert replace_own_spikes(found.sum(), SURROGATE) == 0
    assert torch.equal(torch.autograd.grad(found.sum(), u)[0], v)


def test_a_sound_spike_of_the_same_derivative_stays_as_it_was():
    u = U.clone().requires_grad_(True)
    found = SoftSpike.apply(u)
    before = torch.autograd.grad(found.sum(), u, retain_graph=True)[0]
    replace_own_spikes(found.sum(), SURROGATE)
    torch.testing.assert_close(torch.autograd.grad(found.sum(), u)[0], before)
