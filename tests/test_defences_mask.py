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


def test_the_gradient_knows_that_an_event_may_silence_its_pixel():
    x = torch.zeros((1, 4, 2, 1, 3))
    x[0, :2, 0, 0, 0] = 1  # one event below the limit
    x[0, :, 0, 0, 1] = 1  # silenced
    x.requires_grad_(True)
    filtered, labels = MaskFilter(3).forward(x, "labels")
    assert labels == "labels"
    assert float(filtered.detach().sum()) == 2
    filtered.sum().backward()
    gradient = x.grad[0, :, :, 0]
    # Far from the limit straight through; near it, an event costs what its pixel would lose.
    assert (gradient[..., 2] == 1).all()
    assert (gradient[..., 1] < 1).all()
    near = MaskFilter(2)
    y = x.detach().clone().requires_grad_(True)
    near.forward(y)[0].sum().backward()
    assert (y.grad[0, :, :, 0, 0] < gradient[..., 0]).all()


def test_the_gradient_is_never_masked():
    x = torch.ones((1, 4, 2, 2, 2), requires_grad=True)
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    filtered, _ = MaskFilter(1).forward(x)
    assert float(filtered.detach().sum()) == 0
    (filtered * weight).sum().backward()
    torch.testing.assert_close(x.grad, weight)


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
