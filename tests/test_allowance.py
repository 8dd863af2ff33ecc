# SPDX-License-Identifier: MIT
"""The time budget: what goes first, in the stated order, and no sooner than it must."""

from itertools import pairwise

import pytest

from art_spiking.attacks.ensemble.allowance import Allowance, Prices, plan
from art_spiking.attacks.ensemble.members import EDITS

PRICES = Prices(forward=0.001, gradient=0.002)
MEMBERS = [member for member in EDITS if not member.own]


def planned(left, *, exhaustive=False, samples=10):
    return plan(MEMBERS, samples, everyone=100, exhaustive=exhaustive, prices=PRICES, left=left)


def cost(members, samples=10):
    return sum(PRICES.of(member, samples) for member in members)


def test_trials_of_a_member_with_gradients_are_paid_for():
    (exchange, *_) = [member for member in MEMBERS if "rounds" in member.parameters]
    assert PRICES.of(exchange, 2) == pytest.approx(2 * ((30 + 40) * 0.005 + 40 * 32 * 0.001))
    twice = Prices(forward=0.001, gradient=0.002, tries=2)
    assert twice.of(exchange, 1) == pytest.approx(PRICES.of(exchange, 1))
    assert twice.of(MEMBERS[0], 1) == pytest.approx(PRICES.of(MEMBERS[0], 2))
    assert twice.of(MEMBERS[-1], 1) == PRICES.of(MEMBERS[-1], 1) == pytest.approx(1.0)


def test_with_time_enough_nothing_goes():
    found = planned(cost(MEMBERS, 100), exhaustive=True)
    assert found.dropped == ()
    assert list(found.members) == MEMBERS


def test_things_go_in_the_stated_order():
    order = ["exhaustive", "gradient, next classes", "square: 300 queries", "square: 100 queries", "square"]
    order += [member.name for member in reversed(MEMBERS[1:-2])]
    seconds = [cost(MEMBERS, 100) * 0.99**step for step in range(1500)]
    found = [planned(left, exhaustive=True).dropped for left in seconds]
    assert found[-1] == tuple(order)
    for earlier, later in pairwise(found):
        assert later[: len(earlier)] == earlier


def test_the_member_whose_turn_it_is_stays():
    assert planned(0.0).members[0] == MEMBERS[0]
    assert set(planned(0.0).members[1:]) == {None}


@pytest.mark.parametrize("seconds", [None, 10.0])
def test_an_allowance_counts_by_its_clock(seconds):
    now = iter([100.0, 104.0, 111.0])
    allowance = Allowance(seconds, lambda: next(now))
    if seconds is None:
        assert allowance.left == float("inf")
        assert allowance.samples_at_once(PRICES, MEMBERS[0], 50) == 50
    else:
        assert allowance.left == 6.0
        assert allowance.left == -1.0


def test_parts_are_small_enough_to_stop_in_between():
    allowance = Allowance(16.0, lambda: 0.0)
    each = PRICES.of(MEMBERS[-1], 1)
    assert allowance.samples_at_once(PRICES, MEMBERS[-1], 50) == int(2.0 / each)
    assert allowance.samples_at_once(Prices(10.0, 10.0), MEMBERS[-1], 50) == 1
