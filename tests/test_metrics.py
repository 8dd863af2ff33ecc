# SPDX-License-Identifier: MIT
"""Metrics: known values, bounds, and nothing defined over nothing."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from art_spiking.errors import InvalidInput
from art_spiking.metrics import (
    accuracy,
    attack_success,
    fooled,
    share_of,
    summarise_edits,
    target_rate,
    wilson_interval,
    worst_case,
)

LABELS = [0, 1, 2, 0]
CLEAN = [0, 1, 2, 1]
FIRST = [1, 1, 2, 0]
SECOND = [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    # Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_has_the_published_values(count, total, low, high):
    assert wilson_interval(count, total) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_share_and_mirrors(counts):
    count, total = counts
    low, high = wilson_interval(count, total)
    assert 0.0 <= low <= count / total <= high <= 1.0
    mirrored = wilson_interval(total - count, total)
    assert (low, high) == pytest.approx((1 - mirrored[1], 1 - mirrored[0]))


@pytest.mark.parametrize(("count", "total"), [(0, 0), (3, 2), (-1, 5)])
def test_impossible_counts_are_refused(count, total):
    with pytest.raises(InvalidInput, match="no interval"):
        wilson_interval(count, total)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95])
def test_an_impossible_confidence_is_refused(confidence):
    with pytest.raises(InvalidInput, match="confidence"):
        wilson_interval(1, 2, confidence)


def test_accuracy_counts_all_samples():
    share = accuracy(LABELS, FIRST)
    assert (share.count, share.total, share.value) == (3, 4, 0.75)
    assert share.low < 0.75 < share.high


def test_success_is_over_the_samples_right_before():
    assert fooled(LABELS, CLEAN, FIRST).tolist() == [True, False, False, False]
    share = attack_success(LABELS, CLEAN, FIRST)
    assert (share.count, share.total) == (1, 3)


def test_the_worst_case_is_per_sample_and_may_leave_a_sample_alone():
    assert worst_case(LABELS, CLEAN, [FIRST]).tolist() == [False, True, True, False]
    assert worst_case(LABELS, CLEAN, [FIRST, SECOND]).tolist() == [False, True, False, False]


def test_the_target_rate_leaves_out_the_targets_own_class():
    share = target_rate([0, 1, 2, 1], [1, 1, 0, 1], 1)
    assert (share.count, share.total) == (1, 2)


@pytest.mark.parametrize(
    "call",
    [
        lambda: accuracy([], []),
        lambda: fooled([], [], []),
        lambda: attack_success([0], [1], [1]),
        lambda: worst_case(LABELS, CLEAN, []),
        lambda: target_rate([1, 1], [0, 1], 1),
        lambda: share_of([]),
        lambda: accuracy([0, 1], [0]),
        lambda: accuracy([[0, 1]], [[0, 1]]),
        lambda: summarise_edits([1], [1, 2], [0], [3]),
    ],
)
def test_nothing_is_defined_over_nothing(call):
    with pytest.raises(InvalidInput):
        call()


def test_medians_are_over_the_chosen_samples():
    added, removed, moved, own = [1, 3, 5, 100], [1, 1, 1, 100], [0, 0, 2, 0], [10, 10, 10, 10]
    summary = summarise_edits(added, removed, moved, own, over=np.array([True, True, True, False]))
    assert (summary.samples, summary.added, summary.removed, summary.moved) == (3, 3.0, 1.0, 0.0)
    assert summary.percent == 40.0
    assert summarise_edits(added, removed, moved, own).added == 4.0
    assert summarise_edits(added, removed, moved, own, over=np.zeros(4, bool)) is None


def test_a_share_of_no_events_is_not_a_number():
    summary = summarise_edits([5], [0], [0], [0])
    assert summary.percent is None
    assert math.isfinite(summary.added)
