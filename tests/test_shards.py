# SPDX-License-Identifier: MIT
"""Cases divided by samples: the same record whoever computes the shards; some cases must not be divided."""

from __future__ import annotations

import random

import numpy as np
import pytest
from host_samples import CLASSES, FirstCells, Universal, case, classifier, providers, splits, suite

from art_spiking.evaluate import evaluate_case, evaluate_shard, merge_shards, prepare, shards_of
from art_spiking.records import (
    Activity,
    Costs,
    EnsembleResult,
    MemberResult,
    Omission,
    Record,
)
from art_spiking.suites import Suite, parse_suite

ATTACK = {
    "attack": "event-gradient",
    "threat": {"kind": "event-edits", "max_edits": 6},
    "parameters": {"steps": 3},
    "control": {"attack": "random-events"},
}


def prepared(shard, *cases, test=8, **attacks):
    whole = suite(*cases, shard=shard)
    return prepare(classifier(), splits(test=test), whole, providers=providers(**attacks))


def places(samples, shard, one=None, **attacks):
    return shards_of(one or case("first-cells"), samples, shard, providers(**attacks).attacks)


def same(one: Record, other: Record) -> bool:
    return one.result() == other.result()


def test_shards_cover_every_sample_once():
    assert places(8, 3) == (range(3), range(3, 6), range(6, 8))
    assert places(8, 8) == places(8, 9) == places(8, None) == (range(8),)


@pytest.mark.parametrize("one", [case("universal"), case("first-cells", minutes=1.0), case("not-there")])
def test_what_is_fitted_timed_or_unknown_is_not_divided(one):
    assert places(8, 3, one) == (range(8),)


def test_an_attack_that_does_not_say_is_not_divided():
    """A plugin's factory may be a function: nobody knows what it makes."""
    assert places(8, 3, case("unsaid"), unsaid=lambda *a, **k: FirstCells(*a, **k)) == (range(8),)


@pytest.mark.parametrize("shard", [1, 3, 5, 7])
def test_an_attack_without_randomness_comes_to_the_same_in_any_shards(shard):
    """Every field: what is forgotten when a field is added to the records is seen here."""
    one = case("first-cells", control="nothing", trust=True)
    whole = evaluate_case(prepared(None, one), one)
    divided = evaluate_case(prepared(shard, one), one)
    left = {"suite": whole.suite}  # another one: it states the shards
    assert same(divided.model_copy(update=left), whole)
    assert divided.suite != whole.suite


@pytest.mark.parametrize("seed", [0, 1])
def test_whoever_computes_the_shards_in_whatever_order_gets_the_same_record(seed):
    from art_spiking.evaluate import Providers
    from art_spiking.suites import Case

    one = Case.model_validate({"name": "edits", "seed": seed, **ATTACK})
    setting = prepare(classifier(), splits(), suite(one, shard=3), providers=Providers.installed())
    alone = evaluate_case(setting, one)
    every = shards_of(one, 8, 3, setting.providers.attacks)
    assert len(every) == 3
    order = list(every)
    random.Random(seed).shuffle(order)
    found = {each: evaluate_shard(setting, one, each) for each in order}
    assert same(merge_shards(setting, one, [found[each] for each in every]), alone)
    assert [record.test.samples for record in found.values()] == [len(each) for each in order]


def test_the_attacked_samples_come_in_their_order():
    one, seen = case("first-cells"), []
    setting = prepared(3, one)
    evaluate_case(setting, one, on_adversarial=lambda *given: seen.append(given))
    ((record, x, x_adv),) = seen
    assert x is setting.splits.test.x
    assert np.array_equal(x_adv, FirstCells(setting.estimator, None).generate(x, setting.splits.test.y))
    assert record.status == "ok"


def test_one_shard_that_fails_makes_the_case_fail():
    class Late(FirstCells):
        def generate(self, x, y):
            if len(x) == 2:
                raise RuntimeError("out of spikes")
            return super().generate(x, y)

    one = case("late")
    record = evaluate_case(prepared(3, one, late=Late), one)
    assert (record.status, record.failure.message) == ("error", "out of spikes")


def test_one_shard_that_cheats_makes_the_case_invalid():
    class Greedy(FirstCells):
        def generate(self, x, y):
            return 1 - x if len(x) == 2 else super().generate(x, y)

    one = case("greedy")
    record = evaluate_case(prepared(3, one, greedy=Greedy), one)
    assert record.status == "invalid"
    assert [flag.code for flag in record.flags] == ["budget-violation"]


def test_a_universal_attack_is_fitted_once():
    Universal.fitted.clear()
    one = case("universal")
    assert evaluate_case(prepared(3, one), one).status == "ok"
    assert len(Universal.fitted) == 1


def test_members_of_an_ensemble_are_added_up_and_samples_keep_their_places():
    def part(record, member, left):
        result = EnsembleResult(
            version=1,
            members=(MemberResult(name="one", **member),),
            left_out=(Omission(what="two", why="nothing left", samples=left, timed=False),),
        )
        return record.model_copy(update={"ensemble": result})

    counts = {"tried": 3, "fooled": 2, "alone": None, "forwards": 30, "backwards": 20, "seconds": 0.5}
    one = case("first-cells")
    setting = prepared(4, one)
    parts = [evaluate_shard(setting, one, each) for each in (range(4), range(4, 8))]
    merged = merge_shards(setting, one, [part(parts[0], counts, (1,)), part(parts[1], counts, (0, 3))])
    assert merged.ensemble.members == (
        MemberResult(name="one", tried=6, fooled=4, alone=None, forwards=60, backwards=40, seconds=1.0),
    )
    assert [entry.samples for entry in merged.ensemble.left_out] == [(1, 4, 7)]


def test_a_choice_that_differs_is_stated_shard_by_shard():
    one = case("first-cells")
    setting = prepared(4, one)
    parts = [evaluate_shard(setting, one, each) for each in (range(4), range(4, 8))]
    chosen = [part.model_copy(update={"chosen": {"surrogate": k}}) for k, part in enumerate(parts)]
    assert merge_shards(setting, one, chosen).chosen == {"shards": [{"surrogate": 0}, {"surrogate": 1}]}
    assert merge_shards(setting, one, [chosen[0], chosen[0]]).chosen == {"surrogate": 0}


def test_the_suite_states_the_shards_and_older_suites_keep_their_digests():
    text = (
        b'name = "s"\nversion = 1\nshard = 25\n[[cases]]\nname = "a"\nattack = "b"\nthreat = {kind = "c"}\n'
    )
    with_shards = parse_suite(text, "it")
    without = parse_suite(text.replace(b"shard = 25\n", b""), "it")
    assert (with_shards.shard, without.shard) == (25, None)
    assert with_shards.digest() != without.digest()
    assert "shard" not in without.model_dump(mode="json")
    assert Suite.model_validate(with_shards.model_dump()) == with_shards


def test_costs_and_activity_stand_side_by_side():
    one = case("first-cells")
    setting = prepared(3, one)
    record = evaluate_case(setting, one)
    assert isinstance(record.cost, Costs)
    assert isinstance(record.activity, Activity)
    assert len(record.cost.own) == len(record.activity.spikes) == 8
    assert set(record.labels) <= set(range(CLASSES))
