# SPDX-License-Identifier: MIT
"""Planted gradient masking: AutoSpike breaks the model as it breaks its unmasked twin, and trust flags it."""

import host_samples
import masked_models
import numpy as np
import pytest
import torch

from art_spiking.attacks import AutoSpike
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
