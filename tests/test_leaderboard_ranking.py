# SPDX-License-Identifier: MIT
"""Ranking: per-sample worst case, ranks from intervals, and nobody ranked on missing or refused cells."""

from __future__ import annotations

import pytest
from art_spiking_leaderboard.ranking import Entrant, rank
from leaderboard_samples import SUITE, make_record, predictions

from art_spiking.metrics import wilson_interval
from art_spiking.records import Flag

MANY = tuple(i % 10 for i in range(200))


def entrant(name: str, *right: int, clean: int = 180, claimed: float = 0.9, labels=MANY) -> Entrant:
    records = {
        case.name: make_record(case.name, right=count, clean=clean, control=clean - 4, labels=labels)
        for case, count in zip(SUITE.cases, right, strict=True)
    }
    return Entrant(name, "digits-dvs", claimed, records)


def test_the_worst_case_is_per_sample_over_all_cases():
    """Two attacks that fool different halves leave nothing, though each leaves half."""
    low = make_record("edits-5", right=5, clean=10)
    high = make_record("patch-5", right=0, clean=10)
    half = high.adversarial[:5] + high.labels[5:]
    high = high.model_copy(update={"adversarial": half})
    (row,) = rank([Entrant("m", "digits-dvs", 1.0, {"edits-5": low, "patch-5": high})], SUITE)
    assert row.robust.count == 0


def test_a_sample_that_was_wrong_without_an_attack_is_not_robust():
    record = make_record("edits-5", right=10, clean=6)
    other = make_record("patch-5", right=10, clean=6)
    (row,) = rank([Entrant("m", "digits-dvs", 0.6, {"edits-5": record, "patch-5": other})], SUITE)
    assert (row.robust.count, row.clean.count) == (6, 6)


def test_the_interval_is_wilsons_and_the_control_is_a_worst_case_too():
    (row,) = rank([entrant("m", 90, 80)], SUITE)
    assert (row.robust.low, row.robust.high) == wilson_interval(80, 200)
    assert row.control.count == 176


def test_overlapping_intervals_share_a_rank_and_clear_gaps_do_not():
    rows = rank([entrant("low", 20, 20), entrant("high", 150, 150), entrant("near", 143, 143)], SUITE)
    assert [(row.name, row.rank) for row in rows] == [("high", 1), ("near", 1), ("low", 3)]


def test_a_rank_counts_those_entirely_above():
    """a and b overlap, b and c overlap, a lies above c: c is behind one model."""
    rows = rank([entrant("a", 150, 150), entrant("b", 135, 135), entrant("c", 120, 120)], SUITE)
    a, b, c = (row.robust for row in rows)
    assert a.low < b.high
    assert b.low < c.high
    assert a.low > c.high
    assert [row.rank for row in rows] == [1, 1, 2]


def test_within_a_rank_the_mean_over_cases_decides():
    rows = rank([entrant("low", 60, 60), entrant("high", 60, 100)], SUITE)
    assert [(row.name, row.rank) for row in rows] == [("high", 1), ("low", 1)]


def test_the_mean_is_there_exactly_where_every_case_has_a_number():
    whole = {"edits-5": make_record(right=3), "patch-5": make_record("patch-5", right=6)}
    part = {"edits-5": make_record(right=3)}
    rows = rank([Entrant("a", "d", 0.9, whole), Entrant("b", "d", 0.9, part)], SUITE)
    assert [(row.name, row.mean) for row in rows] == [("a", pytest.approx(0.45)), ("b", None)]


def test_the_order_of_entrants_does_not_matter():
    entrants = [entrant(name, right, right) for name, right in zip("abcd", (90, 90, 150, 10), strict=True)]
    assert rank(entrants, SUITE) == rank(reversed(entrants), SUITE)


def test_a_missing_case_is_a_reason_and_no_rank():
    whole, part = entrant("whole", 20, 20), entrant("part", 190, 190)
    rows = rank([Entrant("part", "digits-dvs", 0.9, {"edits-5": part.records["edits-5"]}), whole], SUITE)
    assert [(row.name, row.rank) for row in rows] == [("whole", 1), ("part", None)]
    assert rows[1].reasons == ("not yet evaluated: patch-5",)
    assert rows[1].robust is None
    assert rows[1].clean.count == 180


@pytest.mark.parametrize(
    ("status", "flags", "words"),
    [
        ("error", (), "edits-5 failed: ValueError: it broke"),
        (
            "invalid",
            (Flag(code="budget-violation", text="9 edits; at most 5"),),
            "edits-5 has no number: 9 edits; at most 5",
        ),
    ],
)
def test_a_failed_or_refused_case_is_a_reason_and_no_rank(status, flags, words):
    records = dict(entrant("m", 50, 50).records)
    records["edits-5"] = make_record("edits-5", status=status, flags=flags, clean=180, labels=MANY)
    (row,) = rank([Entrant("m", "digits-dvs", 0.9, records)], SUITE)
    assert row.rank is None
    assert row.reasons == (words,)


def test_nothing_evaluated_is_a_row_without_numbers():
    (row,) = rank([Entrant("m", "digits-dvs", 0.9, {})], SUITE)
    assert row.reasons == ("not yet evaluated: edits-5, patch-5",)
    assert row.clean is None


def test_a_claim_outside_the_measured_interval_is_a_problem():
    (row,) = rank([entrant("m", 50, 50, claimed=0.99)], SUITE)
    assert row.rank is None
    assert "claims a clean accuracy of 0.990; measured 0.900" in row.claim_problem
    (fine,) = rank([entrant("m", 50, 50, claimed=0.88)], SUITE)
    assert fine.claim_problem is None
    assert fine.rank == 1


def test_clean_predictions_that_differ_between_cases_are_a_reason():
    records = dict(entrant("m", 50, 50).records)
    records["patch-5"] = make_record("patch-5", right=50, clean=179, control=176, labels=MANY)
    (row,) = rank([Entrant("m", "digits-dvs", 0.9, records)], SUITE)
    assert "differ between cases" in row.reasons[0]


def test_other_samples_than_the_rest_are_not_compared():
    other = tuple((label + 1) % 10 for label in MANY)
    rows = rank([entrant("a", 90, 90), entrant("b", 80, 80), entrant("c", 199, 199, labels=other)], SUITE)
    assert [(row.name, row.rank) for row in rows] == [("a", 1), ("b", 1), ("c", None)]
    assert "other samples" in rows[2].reasons[0]


def test_flags_are_listed_with_their_cases_and_change_no_rank():
    flag = Flag(code="zero-gradient", text="the gradient is zero")
    records = dict(entrant("m", 150, 150).records)
    records["edits-5"] = records["edits-5"].model_copy(update={"flags": (flag,)})
    rows = rank([Entrant("m", "digits-dvs", 0.9, records), entrant("n", 20, 20)], SUITE)
    assert rows[0].flags == [("edits-5", flag)]
    assert [row.rank for row in rows] == [1, 2]


def test_the_helper_makes_the_predictions_it_says():
    assert predictions(3)[:4] == (0, 1, 2, 4)
