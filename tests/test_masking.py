# SPDX-License-Identifier: MIT
"""Planted gradient masking: AutoSpike breaks the model as it breaks its unmasked twin, and trust flags it."""

import host_samples
import masked_models
import numpy as np
import pytest
import torch

from art_spiking.attacks import AutoSpike
from art_spiking.estimators import SpikingClassifier
from art_spiking.estimators.draws import decide
from art_spiking.threats import EventEdits
from art_spiking.trust import trust

MASKS = masked_models.masks()
SAMPLES, BUDGET = 40, 6


def right_by(model, x, y):
    """Robust accuracy under AutoSpike, by fresh draws where the model is random."""
    x_adv = AutoSpike(model, EventEdits(BUDGET)).generate(x, y)
    classes, _ = decide(model, torch.from_numpy(x_adv), draws=11, seed=5)
    return float((classes.numpy() == y).mean())


def samples_of(model):
    """Samples labelled by the model itself: its clean accuracy is 1."""
    x = host_samples.data("test", SAMPLES, seed=4).x
    classes, _ = decide(model, torch.from_numpy(x), draws=11, seed=6)
    return x, classes.numpy()


@pytest.mark.parametrize("name", list(MASKS))
def test_a_masked_model_is_broken_as_its_twin_is(name):
    masked, twin, _ = MASKS[name]
    x, y = samples_of(twin)
    robust = right_by(twin, x, y)
    assert robust < 0.8
    assert right_by(masked, x, y) <= robust + 0.03


@pytest.mark.parametrize("name", list(MASKS))
def test_a_mask_is_flagged(name):
    masked, _, codes = MASKS[name]
    x, y = samples_of(masked)
    found = {flag.code for flag in trust(masked, EventEdits(3), x, y)}
    assert found & codes


def test_a_sound_model_is_not_flagged():
    model = masked_models.unmasked()
    x, y = samples_of(model)
    assert trust(model, EventEdits(BUDGET), x, y) == ()
    assert np.array_equal(model.predict(x).argmax(1), y)


class NearAndFar(torch.nn.Module):
    """Class 0 leads, and six edits of the last cells reach class 7.

    Classes 1 to 6 gain more by an edit of their own cells, and stay out of reach.
    """

    def __init__(self):
        super().__init__()
        own = torch.cat([torch.zeros(1, dtype=torch.int64), torch.arange(1, 7).repeat_interleave(20)])
        self.cells = torch.nn.functional.one_hot(torch.cat([own, torch.full((6,), 7)]), 8).float()
        self.cells[-6:] *= 0.9
        self.behind = torch.tensor([0.0, *[100.0] * 6, 5.0])

    def forward(self, x):
        return x.sum(1) @ self.cells - self.behind


@pytest.mark.parametrize("mask", [masked_models.Around, masked_models.Scaled, "softmax"])
def test_a_near_class_is_found_whatever_hides_which_one_it_is(mask):
    inner = NearAndFar()
    module = (
        torch.nn.Sequential(masked_models.Scaled(inner), torch.nn.Softmax(1))
        if mask == "softmax"
        else mask(inner)
    )
    model = SpikingClassifier(module, input_shape=(1, 127))
    x_adv = AutoSpike(model, EventEdits(6)).generate(np.zeros((2, 1, 127), np.float32), np.zeros(2, np.int64))
    assert (model.predict(x_adv).argmax(1) == 7).all()
