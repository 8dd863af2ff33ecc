# SPDX-License-Identifier: MIT
"""The mask filter: which pixels it silences, and what an attacker sees through it."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spiking_stand_ins import CLASSES, SHAPE, TinyNetwork, events

from art_spiking.defences import MaskFilter
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.registry import catalogue


def slow_filter(x: np.ndarray, limit: int) -> np.ndarray:
    """The filter by its definition, pixel by pixel."""
    kept = x.copy()
    for n, i, j in np.ndindex(x.shape[0], *x.shape[3:]):
        if x[n, :, :, i, j].sum() > limit:
            kept[n, :, :, i, j] = 0
    return kept


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), limit=st.integers(1, 12), binary=st.booleans())
def test_keeps_what_the_definition_keeps(seed, limit, binary):
    x = np.random.default_rng(seed).poisson(0.4, (2, 5, 2, 4, 6)).astype(np.float32)
    x = np.minimum(x, 1) if binary else x
    found, _ = MaskFilter(limit)(x)
    np.testing.assert_array_equal(found, slow_filter(x, limit))


def test_a_pixel_at_the_limit_is_kept_and_one_event_more_silences_all_of_it():
    x = np.zeros((1, 6, 2, 3, 3), np.float32)
    x[0, :3, 0, 1, 1] = 1
    x[0, 4, 1, 1, 1] = 1
    x[0, 0, 0, 0, 0] = 1
    np.testing.assert_array_equal(MaskFilter(4)(x)[0], x)
    found = MaskFilter(3)(x)[0]
    assert found[0, 0, 0, 0, 0] == found.sum() == 1


def test_the_gradient_is_that_of_a_smooth_twin():
    x = torch.rand((2, 5, 2, 3, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for limit in (3, 5, 40):
        width = max(0.5, limit / 16)
        twin = x.clone().requires_grad_(True)
        over = (twin.sum((1, 2), keepdim=True) - limit - 0.5) / width
        (twin * (0.5 - over.atan() / torch.pi) * weight).sum().backward()
        leaf = x.clone().requires_grad_(True)
        filtered, labels = MaskFilter(limit).forward(leaf, "labels")
        (filtered * weight).sum().backward()
        assert labels == "labels"
        torch.testing.assert_close(leaf.grad, twin.grad)


def test_an_event_is_worth_its_all_below_the_limit_and_less_than_nothing_at_it():
    x = torch.zeros((1, 20, 2, 1, 3))
    x[0, :2, 0, 0, 0], x[0, :16, 0, 0, 1], x[0, :, 0, 0, 2] = 1, 1, 1
    x.requires_grad_(True)
    MaskFilter(16).forward(x)[0].sum().backward()
    quiet, full, silenced = x.grad[0, -1, 1, 0]
    assert quiet > 0.9
    assert full < 0
    assert silenced < 0
    # A silenced pixel comes back if events are deleted: not even there is the gradient masked.
    assert (x.grad != 0).all()


def test_the_input_is_left_alone():
    x, _ = events(2)
    before = x.copy()
    MaskFilter(1)(x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("limit", [0, -3, 1.5, True, "4"])
def test_a_wrong_limit_is_refused(limit):
    with pytest.raises(InvalidInput, match=r"mask filter's max_events .* events, 1 or more; give the most"):
        MaskFilter(limit)


def test_set_params_checks():
    mask_filter = MaskFilter(4)
    mask_filter.set_params(max_events=7)
    with pytest.raises(InvalidInput):
        mask_filter.set_params(max_events=0)
    assert mask_filter.max_events == 7
    assert repr(mask_filter) == "MaskFilter(max_events=7, apply_fit=True, apply_predict=True)"


def test_input_without_pixels_is_refused():
    with pytest.raises(InvalidInput, match="mask filter needs pixels"):
        MaskFilter(2)(np.zeros((2, 5, 10), np.float32))


def test_every_way_into_the_classifier_is_filtered():
    x, y = events(6)
    limit = int(np.median(x.sum((1, 2))))
    network = TinyNetwork()
    defended = SpikingClassifier(
        network, input_shape=SHAPE, nb_classes=CLASSES, preprocessing_defences=MaskFilter(limit)
    )
    bare = SpikingClassifier(network, input_shape=SHAPE)
    filtered = slow_filter(x, limit)
    expected = bare.predict(filtered)
    assert (expected != bare.predict(x)).any()
    np.testing.assert_array_equal(defended.predict(x), expected)
    np.testing.assert_array_equal(defended.predict_torch(torch.from_numpy(x)).numpy(), expected)
    gradient, logits = defended.input_gradient(torch.from_numpy(x), torch.from_numpy(y))
    np.testing.assert_array_equal(logits.numpy(), expected)
    assert float(gradient.abs().max()) > 0
    np.testing.assert_array_equal(copy.deepcopy(defended).predict(x), expected)


def test_it_is_registered():
    assert catalogue("defences")["mask-filter"].load() is MaskFilter
