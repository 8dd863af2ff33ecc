# SPDX-License-Identifier: MIT
"""The gradients that submitted code claims: those that tell what edits do pass, lies are flagged in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from art.defences.preprocessor import Preprocessor
from art_spiking_leaderboard.claimed_gradients import LEAST_SHARE, claimed_gradient_flag
from art_spiking_leaderboard.sandbox.client import ModelFailed

from art_spiking.estimators import SpikingClassifier

LIES = {
    "none at all": lambda gradient, x: 0 * gradient,
    "the opposite": lambda gradient, x: -gradient,
    "noise": lambda gradient, x: torch.randn(gradient.shape, generator=torch.Generator().manual_seed(1)),
    "one number": lambda gradient, x: torch.ones_like(gradient),
    "its size": lambda gradient, x: gradient.abs(),
    "of other recordings": lambda gradient, x: gradient.flip(-2),
}
SHAPE, CLASSES = (5, 2, 6, 6), 3
WEIGHTS = torch.randn(CLASSES, *SHAPE, generator=torch.Generator().manual_seed(0))
X = (np.random.default_rng(0).random((20, *SHAPE)) < 0.3).astype(np.float32)
Y = np.arange(20) % CLASSES


class Claiming(torch.nn.Module):
    """Logits with a gradient that is told by `claim`."""

    def __init__(self, claim):
        super().__init__()
        self.claim = claim

    def forward(self, x):
        return _Claimed.apply(x, self.claim)


class _Claimed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, claim):
        ctx.save_for_backward(x)
        ctx.claim = claim
        return logits(x)

    @staticmethod
    def backward(ctx, by):
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(logits(leaf), leaf, by)
        return ctx.claim(gradient, x), None


def logits(x):
    return torch.tanh(torch.einsum("ntchw,ktchw->nk", x, WEIGHTS) / 20)


def flag_of(claim, **options):
    model = SpikingClassifier(Claiming(claim), input_shape=SHAPE, nb_classes=CLASSES, **options)
    return claimed_gradient_flag(model, X, Y)


def test_the_true_gradient_and_a_rough_one_pass():
    assert flag_of(lambda gradient, x: gradient) is None
    assert flag_of(lambda gradient, x: gradient.sign() * 7.0) is None


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lie_is_flagged_in_words(lie):
    flag = flag_of(lie)
    assert flag.code == "gradient-misleads"
    assert flag.value < LEAST_SHARE
    assert f"in {flag.value:.0%} of 64 trials" in flag.text
    assert flag_of(lie) == flag


def test_code_gains_nothing_by_being_honest_on_clean_recordings_only():
    known = {sample.tobytes() for sample in X}

    def claim(gradient, x):
        honest = torch.tensor([sample.numpy().tobytes() in known for sample in x])
        return torch.where(honest[:, None, None, None, None], gradient, -gradient)

    flag = flag_of(claim)
    assert flag.code == "gradient-misleads"
    assert "edited samples" in flag.text


def test_without_a_gradient_it_is_said():
    def claim(gradient, x):
        raise ModelFailed("the submitted code failed", found="nothing to differentiate")

    flag = flag_of(claim)
    assert "no gradient" in flag.text
    assert "nothing to differentiate" in flag.text


def test_the_hosts_defences_do_not_hide_what_single_edits_do():
    class Same(Preprocessor):
        """A filter that takes every edit back."""

        def __call__(self, x, y=None):
            return np.broadcast_to(X[:1], x.shape).copy(), y

    assert flag_of(lambda gradient, x: gradient, preprocessing_defences=Same()) is None
