# SPDX-License-Identifier: MIT
"""Curves over budgets: which cases belong together, what a point counts, and the area below."""

from __future__ import annotations

from art_spiking_leaderboard.ranking import Entrant, rank
from art_spiking_leaderboard.site.curves import areas, curve_of, families
from art_spiking_leaderboard.site.plots import board_plots, pareto_plot
from art_spiking_leaderboard.site.views import RowView, row_view
from hypothesis import given
from hypothesis import strategies as st
from leaderboard_samples import make_manifest, make_record, predictions
from site_samples import LABELS, RICH, accepted_claim, rich_records

from art_spiking.suites import Case, Suite, load_suite


def row_of(records, **more):
    (row,) = rank([Entrant("alpha", "digits-dvs", 0.92, records, **more)], RICH)
    return row


def test_the_cases_that_differ_by_their_budget_alone_are_one_family():
    (family,) = families(RICH)
    assert [case.name for case in family.cases] == ["edits-5", "edits-20", "edits-50"]
    assert family.budgets == (5, 20, 50)
    assert (family.kind, family.axis) == ("Edits", "events edited")


def test_families_of_the_suites_that_are_there():
    found = {
        name: [(family.axis, family.budgets) for family in families(load_suite(name))]
        for name in ("events-v1", "timing-v1", "patch-v1", "blackbox-v1")
    }
    assert found["events-v1"] == [("events edited", (5, 10, 25, 50, 100))]
    assert found["timing-v1"] == [("largest shift, ms", (10, 20)), ("events moved", (50, 200))]
    assert found["patch-v1"] == [("patch, % of the sensor", (2.5, 5, 8))]
    # Of more queries is another attack, not another budget.
    assert found["blackbox-v1"] == [("events edited", (50, 200))]


def test_a_share_and_a_number_of_edits_are_not_on_one_axis():
    def case(budget: float) -> Case:
        threat = {"kind": "event-edits", "max_edits": budget}
        return Case(name=f"e{budget}", attack="event-gradient", threat=threat)

    assert families(Suite(name="s", version=1, cases=(case(5), case(0.1)))) == []
    (family,) = families(Suite(name="s", version=1, cases=(case(0.2), case(0.1))))
    assert family.budgets == (10, 20)
    assert family.axis == "events edited, % of the sample's own"


def test_the_area_is_the_mean_over_budgets():
    """92 at 0, 80 at 5, 60 at 20, 30 at 50: (5 * 86 + 15 * 70 + 30 * 45) / 50."""
    row = row_of(rich_records(92, 0))
    (family,) = families(RICH)
    curve = curve_of(row, family)
    assert [round(100 * point.value) for point in curve.points] == [92, 80, 60, 30]
    assert abs(curve.area - 0.566) < 1e-12
    assert areas(row, RICH) == {"edits-5": curve.area}


def test_a_sample_lost_to_few_edits_is_not_won_back_by_more():
    records = rich_records(92, 0)
    last = records["edits-50"]
    records["edits-50"] = last.model_copy(update={"adversarial": predictions(90, LABELS)})
    curve = curve_of(row_of(records), families(RICH)[0])
    assert [round(100 * point.value) for point in curve.points] == [92, 80, 60, 60]


def test_accepted_claims_lower_the_curve_from_their_budget_on():
    records = rich_records(92, 0)
    row = row_of(records, claims=(accepted_claim(records["edits-50"]),))
    curve = curve_of(row, families(RICH)[0])
    assert [round(100 * point.value) for point in curve.points] == [92, 80, 60, 28]


def test_without_one_of_the_numbers_there_is_no_curve():
    records = rich_records(92, 0)
    del records["edits-20"]
    assert curve_of(row_of(records), families(RICH)[0]) is None
    assert areas(row_of(records), RICH) == {"edits-5": None}


@given(st.lists(st.integers(0, 100), min_size=3, max_size=3), st.integers(0, 100))
def test_no_curve_rises_and_its_area_lies_between_its_ends(right, clean):
    records = {
        case: make_record(case, right=r, clean=clean, control=None, suite=RICH, labels=LABELS)
        for case, r in zip(("edits-5", "edits-20", "edits-50"), right, strict=True)
    }
    curve = curve_of(row_of(records), families(RICH)[0])
    values = [point.value for point in curve.points]
    assert values == sorted(values, reverse=True)
    assert values[-1] - 1e-12 <= curve.area <= values[0] + 1e-12
    assert curve.control == ()


def views(*numbers: tuple[str, int, int]) -> list[RowView]:
    entrants = [
        Entrant(name, "digits-dvs", clean / 100, rich_records(clean, worse)) for name, clean, worse in numbers
    ]
    return [row_view(row, RICH, make_manifest(row.name), f"{row.name}.html") for row in rank(entrants, RICH)]


def test_the_front_holds_those_that_no_other_beats_in_both():
    """Their worst cases are 30, 20, 10 and 0 of 100."""
    rows = views(("robust", 90, 0), ("clean", 96, 10), ("beaten", 93, 20), ("worst", 89, 30))
    plot = pareto_plot(rows)
    assert {dot.title for dot in plot.dots if dot.front} == {"Model robust", "Model clean"}
    assert len(plot.dots) == 4


def test_models_with_the_same_numbers_are_all_on_the_front_and_share_a_label():
    plot = pareto_plot(views(("first", 92, 0), ("second", 92, 0), ("third", 92, 0)))
    assert all(dot.front for dot in plot.dots)
    assert [dot.label for dot in plot.dots if dot.label] == ["Model first and 2 more"]


def test_one_model_is_no_front():
    assert pareto_plot(views(("alone", 92, 0))) is None


def test_a_plot_shows_the_first_models_and_says_how_many_more_there_are():
    rows = views(*((f"m{i}", 92, i) for i in range(9)))
    (plot,) = board_plots(rows)
    assert [line.title for line in plot.lines] == [row.title for row in rows[:6]]
    assert plot.left_out == 3
    assert [label for _, label in plot.ticks] == ["0", "5", "20", "50"]
