# SPDX-License-Identifier: MIT
"""The background-activity filter: what it keeps, what an attacker sees through it, where it applies."""

import copy
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spiking_stand_ins import CLASSES, SHAPE, TinyNetwork, events

from art_spiking.defences import BackgroundActivityFilter
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier


def slow_filter(x: np.ndarray, window: int, support: int) -> np.ndarray:
    """The filter by its definition, event by event."""
    kept = np.zeros_like(x)
    height, width = x.shape[-2:]
    for n, t, c, i, j in np.argwhere(x > 0):
        rows = range(max(0, i - 1), min(height, i + 2))
        columns = range(max(0, j - 1), min(width, j + 2))
        count = sum(
            x[n, s, :, a, b].sum()
            for s in range(max(0, t - window), t + 1)
            for a in rows
            for b in columns
            if (a, b) != (i, j)
        )
        kept[n, t, c, i, j] = x[n, t, c, i, j] * (count >= support)
    return kept


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    window=st.integers(0, 6),
    support=st.integers(1, 4),
    binary=st.booleans(),
)
def test_keeps_what_the_definition_keeps(seed, window, support, binary):
    draw = np.random.default_rng(seed)
    x = draw.poisson(0.12, (2, 5, 2, 4, 6)).astype(np.float32)
    x = np.minimum(x, 1) if binary else x
    noise_filter = BackgroundActivityFilter(max(window * 100, 1), 100, support=support)
    found, _ = noise_filter(x)
    np.testing.assert_array_equal(found, slow_filter(x, window, support))


def event_pair(gap: int, *, offset: tuple[int, int] = (0, 1), polarity: int = 1) -> np.ndarray:
    x = np.zeros((1, 12, 2, 5, 5), dtype=np.float32)
    x[0, 1, 0, 2, 2] = 1
    x[0, 1 + gap, polarity, 2 + offset[0], 2 + offset[1]] = 1
    return x


@pytest.mark.parametrize(
    ("window_us", "dt_us", "reach"),
    [(5_000, 1_000, 5), (5_999, 1_000, 5), (6_000, 1_000, 6), (999, 1_000, 0), (10_000, 10_000, 1)],
)
def test_the_window_in_microseconds_is_the_reach_in_steps(window_us, dt_us, reach):
    noise_filter = BackgroundActivityFilter(window_us, dt_us)
    assert noise_filter.window_steps == reach
    inside, _ = noise_filter(event_pair(reach))
    outside, _ = noise_filter(event_pair(reach + 1))
    assert inside[0, 1 + reach, 1, 2, 3] == 1
    assert outside.sum() == 0


def test_an_event_supports_later_events_only():
    filtered, _ = BackgroundActivityFilter(3_000, 1_000)(event_pair(2))
    assert filtered[0, 1].sum() == 0
    assert filtered[0, 3].sum() == 1


def test_events_of_one_step_support_each_other():
    filtered, _ = BackgroundActivityFilter(1, 1_000)(event_pair(0))
    assert filtered.sum() == 2


@pytest.mark.parametrize("offset", [(-1, -1), (-1, 0), (0, -1), (1, 1), (1, 0)])
@pytest.mark.parametrize("polarity", [0, 1])
def test_all_eight_neighbours_and_both_polarities_count(offset, polarity):
    filtered, _ = BackgroundActivityFilter(2_000, 1_000)(event_pair(1, offset=offset, polarity=polarity))
    assert filtered[0, 2].sum() == 1


@pytest.mark.parametrize("offset", [(0, 0), (0, 2), (2, 1)])
def test_a_pixel_does_not_support_itself_nor_pixels_two_away(offset):
    filtered, _ = BackgroundActivityFilter(2_000, 1_000)(event_pair(1, offset=offset))
    assert filtered.sum() == 0


def test_the_first_window_is_no_loophole():
    x = np.zeros((1, 12, 2, 5, 5), dtype=np.float32)
    x[0, 0, 0, 1, 1] = 1
    x[0, 2, 1, 3, 3] = 1
    filtered, _ = BackgroundActivityFilter(10_000, 1_000)(x)
    assert filtered.sum() == 0


@pytest.mark.parametrize(("window", "support"), [(0, 1), (1, 3), (4, 2), (9, 1)])
def test_the_gradient_is_that_of_a_smooth_twin(window, support):
    x = torch.rand((2, 5, 2, 4, 6), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    twin = x.clone().requires_grad_(True)
    padded = torch.nn.functional.pad(twin.sum(2), (1, 1, 1, 1))
    around = torch.nn.functional.avg_pool2d(padded, 3, 1) * 9 - twin.sum(2)
    recent = torch.stack([around[:, max(0, t - window) : t + 1].sum(1) for t in range(5)], 1)
    share = 0.5 + ((recent - support + 0.5) / max(0.5, support / 4)).atan() / torch.pi
    (twin * share[:, :, None] * weight).sum().backward()
    leaf = x.clone().requires_grad_(True)
    noise_filter = BackgroundActivityFilter(max(1, window * 100), 100, support=support)
    filtered, labels = noise_filter.forward(leaf, "labels")
    assert labels == "labels"
    (filtered * weight).sum().backward()
    torch.testing.assert_close(leaf.grad, twin.grad)


def test_no_gradient_is_masked_and_a_supporter_is_worth_what_it_saves():
    x = torch.from_numpy(event_pair(1)).requires_grad_(True)
    filtered, _ = BackgroundActivityFilter(1_000, 1_000, support=2).forward(x)
    assert float(filtered.detach().sum()) == 0
    filtered.sum().backward()
    assert (x.grad > 0).all()
    beside, alone = x.grad[0, 2, 0, 2, 2], x.grad[0, 9, 0, 2, 2]
    assert beside > alone + 0.1


def test_the_input_is_left_alone():
    x, _ = events(2)
    before = x.copy()
    BackgroundActivityFilter(1, 1_000, support=9)(x)
    np.testing.assert_array_equal(x, before)


def test_a_second_of_recordings_is_filtered_in_less_than_a_second():
    x = torch.from_numpy((np.random.default_rng(0).random((16, 100, 2, 34, 34)) < 0.02).astype(np.float32))
    start = time.perf_counter()
    BackgroundActivityFilter(5_000, 1_000).forward(x)
    assert time.perf_counter() - start < 1.0


@pytest.mark.parametrize(
    "arguments",
    [
        {"window_us": 0, "dt_us": 1},
        {"window_us": 1, "dt_us": 0},
        {"window_us": 1.5, "dt_us": 1},
        {"window_us": 1, "dt_us": 1, "support": 0},
        {"window_us": 1, "dt_us": 1, "support": True},
    ],
)
def test_wrong_parameters_are_refused(arguments):
    with pytest.raises(InvalidInput, match=r"a whole number of (µs|events), 1 or more; give"):
        BackgroundActivityFilter(**arguments)


def test_a_wrong_parameter_is_told_with_its_unit_and_meaning():
    with pytest.raises(InvalidInput, match=r"window_us=-3; accepted: .* µs, 1 or more; give how long"):
        BackgroundActivityFilter(-3, 1_000)
    assert BackgroundActivityFilter(np.int64(4_000), 1_000).window_steps == 4


def test_set_params_checks():
    noise_filter = BackgroundActivityFilter(1_000, 1_000)
    noise_filter.set_params(window_us=4_000)
    assert noise_filter.window_steps == 4
    with pytest.raises(InvalidInput, match="support"):
        noise_filter.set_params(window_us=7_000, support=-1)
    assert (noise_filter.window_us, noise_filter.support) == (4_000, 1)


def test_input_without_pixels_is_refused():
    with pytest.raises(InvalidInput, match="needs pixels"):
        BackgroundActivityFilter(1_000, 1_000)(np.zeros((2, 5, 10), dtype=np.float32))


@pytest.fixture
def defended() -> SpikingClassifier:
    noise_filter = BackgroundActivityFilter(1, 1_000, support=4)
    return SpikingClassifier(
        TinyNetwork(), input_shape=SHAPE, nb_classes=CLASSES, preprocessing_defences=noise_filter
    )


def test_every_way_into_the_classifier_is_filtered(defended):
    x, y = events(6)
    filtered, _ = defended.preprocessing_defences[0](x)
    assert (filtered != x).any()
    bare = SpikingClassifier(defended.model.network, input_shape=SHAPE)
    expected = bare.predict(filtered)
    assert (expected != bare.predict(x)).any()
    np.testing.assert_array_equal(defended.predict(x), expected)
    np.testing.assert_array_equal(defended.logits(torch.from_numpy(x)).numpy(), expected)
    np.testing.assert_array_equal(defended.predict_torch(torch.from_numpy(x), batch_size=4).numpy(), expected)
    folded = defended.folded()
    np.testing.assert_array_equal(folded.predict(folded.fold(x)), expected)
    gradient, logits = defended.input_gradient(torch.from_numpy(x), torch.from_numpy(y))
    np.testing.assert_array_equal(logits.numpy(), expected)
    leaf = torch.from_numpy(x).requires_grad_(True)
    behind = bare.input_gradient(torch.from_numpy(filtered), torch.from_numpy(y))[0]
    assert float(behind.abs().max()) > 0
    (through,) = torch.autograd.grad(defended.preprocessing_defences[0].forward(leaf)[0], leaf, behind)
    torch.testing.assert_close(gradient, through)
    np.testing.assert_allclose(defended.loss_gradient(x, y), gradient.numpy(), rtol=1e-6)
    np.testing.assert_allclose(
        folded.loss_gradient(folded.fold(x), y), folded.fold(gradient).numpy(), rtol=1e-6
    )


def test_copies_and_clones_keep_the_filter(defended):
    x, _ = events(4)
    np.testing.assert_array_equal(copy.deepcopy(defended).predict(x), defended.predict(x))
    assert defended.clone_for_refitting().preprocessing_defences[0].support == 4
    assert defended.with_readout("membrane-max").preprocessing_defences[0].support == 4


def test_it_can_be_left_out_of_predictions():
    x, _ = events(6)
    network = TinyNetwork()
    train_only = BackgroundActivityFilter(1, 1_000, support=4, apply_predict=False)
    clf = SpikingClassifier(network, input_shape=SHAPE, preprocessing_defences=train_only)
    np.testing.assert_array_equal(clf.predict(x), SpikingClassifier(network, input_shape=SHAPE).predict(x))


def test_its_repr_names_the_parameters():
    assert "window_us=2000" in repr(BackgroundActivityFilter(2_000, 1_000))
