# SPDX-License-Identifier: MIT
"""RobustUniversalPerturbation: one mask for any time, any place, and behind filters it was not told of."""

from dataclasses import replace

import attack_samples as samples
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from art_spiking.attacks import RandomUniversal, RobustUniversalPerturbation, SpikingUniversalPerturbation
from art_spiking.attacks.universal.movements import Movements, translated
from art_spiking.defences import BackgroundActivityFilter, MaskFilter
from art_spiking.errors import InvalidInput, UnknownName
from art_spiking.estimators import SpikingClassifier
from art_spiking.threats import EventEdits

CRAFT, TEST = (samples.recordings(40, seed=seed, rate=0.05) for seed in (1, 2))
LABELS = np.zeros(40, np.int64)


def fooled(model, x):
    return float((model.predict(x).argmax(1) == 1).mean())


def fit(model, threat, **options):
    return RobustUniversalPerturbation(model, threat, **options).fit(CRAFT, LABELS)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.integers(0, 4), translation=st.integers(0, 3))
def test_moving_back_is_the_adjoint_of_moving(seed, shift, translation):
    generator = torch.Generator().manual_seed(seed)
    moves = Movements.drawn(5, generator, max_shift=shift, max_translation=translation)
    if moves.none:
        assert shift == translation == 0
        return
    mask = torch.rand((2, *samples.SHAPE), generator=generator)
    batch = torch.rand((5, 2, *samples.SHAPE), generator=generator)
    torch.testing.assert_close((moves.of(mask) * batch).sum(), (mask * moves.back(batch).sum(0)).sum())


def test_a_translation_loses_what_leaves_the_sensor():
    grid = torch.arange(12.0).view(3, 4)
    torch.testing.assert_close(translated(grid, 1, -2), torch.tensor([[0.0] * 4, [2, 3, 0, 0], [6, 7, 0, 0]]))
    assert float(translated(grid, 3, 0).abs().sum()) == 0


def test_apply_moves_each_sample_its_own_way_and_follows_the_seed():
    weights = torch.zeros(samples.SHAPE)
    weights[:, 0, 4, 4] = 1.0
    mask = fit(samples.weak(weights, bar=3.0), EventEdits(6, delete=False), max_translation=2, max_shift=1)
    assert (mask.max_translation, mask.max_shift) == (2, 1)
    silence = np.zeros((200, *samples.SHAPE), np.float32)
    found = mask.apply(silence, seed=3)
    centres = {tuple(np.argwhere(sample.sum((0, 1)))[0]) for sample in found if sample.any()}
    assert len(centres) > 10
    np.testing.assert_array_equal(mask.apply(silence, seed=3), found)
    assert EventEdits(6, delete=False).violations(found, silence) == []


def test_knowing_of_the_movement_it_beats_the_mask_that_does_not_and_its_control():
    """A few single pixels are worth most; a square works wherever the mask lands within it."""
    weights = torch.zeros(samples.SHAPE)
    weights[:, 0, 1::3, 7] = 2.0
    weights[:, 1, 2:7, 0:5] = 1.0
    model = samples.weak(weights, bar=16.0)
    threat = EventEdits(12, delete=False)
    robust = fit(model, threat, max_translation=2, max_shift=2)
    plain = SpikingUniversalPerturbation(model, threat).fit(CRAFT, LABELS)
    moved = {"max_translation": 2, "max_shift": 2, "max_count": 1}
    unaware = replace(plain, **moved)
    by_chance = RandomUniversal(model, threat, max_shift=2).fit(CRAFT, LABELS)
    draws = [np.mean([fooled(model, m.apply(TEST, seed=k)) for k in range(4)]) for m in (robust, unaware)]
    assert draws[0] >= draws[1] + 0.3
    assert draws[0] >= fooled(model, by_chance.apply(TEST)) + 0.5


def test_it_survives_a_filter_that_the_model_was_not_known_to_have():
    """Scattered single events pay most, but only neighbours pass the background-activity filter."""
    weights = torch.zeros(samples.SHAPE)
    weights[0::3, 0, 1::3, 1::3] = 1.3
    weights[:, 1, 3:6, 5:8] = 1.0
    bare = samples.weak(weights, bar=9.0)
    craft, test = (samples.recordings(40, seed=seed, rate=0.005) for seed in (1, 2))
    noise_filter = BackgroundActivityFilter(1_000, 1_000)
    defended = SpikingClassifier(
        samples.WeakCells(weights, 9.0), input_shape=samples.SHAPE, preprocessing_defences=noise_filter
    )
    threat = EventEdits(14, delete=False)
    still = {"max_shift": 0, "max_translation": 0}
    named = {"name": "background-activity-filter", "window_us": 1_000, "dt_us": 1_000}
    unaware, aware, by_name = (
        RobustUniversalPerturbation(bare, threat, filters=filters, **still).fit(craft, LABELS)
        for filters in ((), (noise_filter,), [named])
    )
    assert fooled(bare, unaware.apply(test)) >= 0.9
    assert fooled(defended, aware.apply(test)) >= fooled(defended, unaware.apply(test)) + 0.3
    np.testing.assert_array_equal(by_name.insert, aware.insert)


def test_a_model_with_the_filter_is_attacked_through_it():
    weights = torch.zeros(samples.SHAPE)
    weights[:, 0, 4, 4] = 1.0
    weights[:, 1, 6] = 0.9
    x, y = samples.recordings(40, seed=5, rate=0.02), LABELS
    model = SpikingClassifier(
        samples.WeakCells(weights, 5.0), input_shape=samples.SHAPE, preprocessing_defences=MaskFilter(3)
    )
    threat = EventEdits(12, delete=False)
    mask = SpikingUniversalPerturbation(model, threat).fit(x, y)
    chance = RandomUniversal(model, threat).fit(x, y)
    assert fooled(model, mask.apply(x)) >= fooled(model, chance.apply(x)) + 0.5
    # Six events at the best pixel would silence it: they are spread over pixels below the limit.
    assert (mask.insert > 0).sum((0, 1)).max() <= 3


def test_options_that_do_not_fit_are_refused():
    model = samples.weak(torch.ones(samples.SHAPE), bar=3.0)
    for options in (
        {"max_translation": -1},
        {"max_translation": 1.5},
        {"max_translation": 8},
        {"filters": "background-activity-filter"},
        {"filters": [3]},
        {"filters": [{"name": "mask-filter", "max_event": 3}]},
        {"filters": [{"name": "mask-filter", "max_events": 0}]},
    ):
        with pytest.raises(InvalidInput):
            RobustUniversalPerturbation(model, EventEdits(3), **options)
    for form in ({"name": "mask-filtr"}, {"max_events": 3}):
        with pytest.raises(UnknownName):
            RobustUniversalPerturbation(model, EventEdits(3), filters=[form])
