# SPDX-License-Identifier: MIT
"""The query attacks: what they ask, what they are told, and that they find what is planted."""

import attack_samples as samples
import numpy as np
import pytest
import torch

from art_spiking.attacks import (
    EventGenetic,
    EventGreedy,
    EventHopSkipJump,
    EventSignOPT,
    EventSquare,
    RandomEvents,
)
from art_spiking.attacks.queries.block_pool import BlockPool, best_of
from art_spiking.attacks.queries.blocks import Blocks, Box, union
from art_spiking.errors import InvalidInput
from art_spiking.estimators import BlackBoxEventClassifier, SpikingClassifier
from art_spiking.threats import EventEdits, PatchRegion

SHAPE = (12, 2, 10, 10)
LABELS_ALONE = (EventHopSkipJump, EventSignOPT)
LOGITS = (EventSquare, EventGenetic, EventGreedy)
ATTACKS = (*LABELS_ALONE, *LOGITS)
SIDE_BY_SIDE = (*LABELS_ALONE, EventGenetic, EventGreedy)


def corner(size: int = 4) -> torch.Tensor:
    """Weights of a corner of the sensor, at all steps."""
    weights = torch.zeros(SHAPE)
    weights[:, :, :size, :size] = 1.0
    return weights


class NoGradient(samples.WeakCells):
    """The planted weakness, behind a step that passes no gradient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).detach().round()


X = samples.recordings(8, seed=1, rate=0.05, shape=SHAPE)
Y = np.zeros(8, np.int64)
BAR = float((X * corner().numpy()).reshape(8, -1).sum(1).max()) + 12


def weak(bar: float = BAR) -> SpikingClassifier:
    return SpikingClassifier(NoGradient(corner(), bar), input_shape=SHAPE)


def fooled(model: SpikingClassifier, x: np.ndarray) -> np.ndarray:
    return model.predict(x).argmax(1) != 0


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_finds_what_is_planted_and_the_control_does_not(attack):
    model = weak()
    made = attack(model, EventEdits(40), queries=400)
    with model.counting() as counted:
        x_adv = made.generate(X, Y)
    assert fooled(model, x_adv).all()
    assert fooled(model, RandomEvents(model, EventEdits(40)).generate(X, Y)).sum() == 0
    assert counted.backwards == 0
    # One more for each finds those that are misclassified already.
    assert counted.forwards == made.query_counts.sum() + 8
    assert (made.query_counts >= 1).all()
    assert (made.query_counts <= 400).all()


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_more_questions_than_asked_for(attack):
    model = weak(1e6)
    made = attack(model, EventEdits(40), queries=21)
    with model.counting() as counted:
        made.generate(X, Y)
    np.testing.assert_array_equal(made.query_counts, 21)
    assert counted.forwards == 8 * 22


@pytest.mark.parametrize("attack", ATTACKS)
def test_questions_are_counted_for_the_samples_they_are_about(attack):
    model = weak()
    y = Y.copy()
    y[::2] = 1
    made = attack(model, EventEdits(40), queries=300, batch_size=3)
    made.generate(X, y)
    assert (made.query_counts[::2] == 0).all()
    assert (made.query_counts[1::2] > 0).all()
    again = attack(model, EventEdits(40), queries=300)
    again.generate(X[1::2], Y[1::2])
    np.testing.assert_array_equal(made.query_counts[1::2], again.query_counts)


@pytest.mark.parametrize("attack", LABELS_ALONE)
def test_a_decision_based_attack_is_told_classes_alone(attack):
    model = weak()
    box = BlackBoxEventClassifier(lambda x: model.predict(x).argmax(1), SHAPE, 2)
    threat = EventEdits(40)
    expected = attack(model, threat, queries=300).generate(X, Y)
    np.testing.assert_array_equal(attack(box, threat, queries=300).generate(X, Y), expected)
    assert fooled(model, expected).all()


@pytest.mark.parametrize("attack", LABELS_ALONE)
def test_fewest_goes_on_to_fewer_edits_and_never_to_more(attack):
    model = weak()
    spent = {}
    for fewest in (False, True):
        x_adv = attack(model, EventEdits(60), queries=800, fewest=fewest).generate(X, Y)
        assert fooled(model, x_adv).all()
        spent[fewest] = np.abs(x_adv - X).reshape(8, -1).sum(1)
    needed = BAR - (X * corner().numpy()).reshape(8, -1).sum(1) + 1
    assert (spent[True] >= needed).all()
    assert (spent[True] <= spent[False]).all()
    assert spent[True].sum() < 0.75 * spent[False].sum()
    assert np.median(spent[True] / needed) < 1.6


@pytest.mark.parametrize("attack", LABELS_ALONE)
def test_a_sample_for_which_nothing_is_found_stays_as_it_was(attack):
    np.testing.assert_array_equal(attack(weak(1e6), EventEdits(40), queries=40).generate(X, Y), X)


@pytest.mark.parametrize("attack", (EventGenetic, EventGreedy))
def test_a_search_by_logits_keeps_what_led_furthest(attack):
    model = weak(1e6)

    def evidence(queries: int) -> np.ndarray:
        return model.predict(attack(model, EventEdits(40), queries=queries).generate(X, Y))[:, 1]

    few, many = evidence(10), evidence(300)
    assert (many >= few).all()
    assert (many > few + 5).sum() >= 6


@pytest.mark.parametrize("attack", ATTACKS)
def test_targets_are_reached(attack):
    model = weak()
    x_adv = attack(model, EventEdits(40), queries=400, targeted=True).generate(X, np.ones(8, np.int64))
    assert fooled(model, x_adv).all()


@pytest.mark.parametrize("attack", SIDE_BY_SIDE)
@pytest.mark.parametrize(
    "threat",
    [EventEdits(41), EventEdits(0.5), EventEdits(40, polarity="same"), EventEdits(40) & PatchRegion(0.3)],
    ids=repr,
)
def test_a_sample_gets_the_same_result_in_any_batch(attack, threat):
    """Budgets by share differ per sample, so blocks do; one sample is empty, one all but full."""
    model = weak()
    x = np.concatenate([X[:1], np.zeros_like(X[:1]), 1 - corner().numpy()[None]])
    options = {"queries": 40, "seed": 3}
    together = attack(model, threat, **options).generate(x, Y[:3])
    assert threat.violations(together, x) == []
    alone = [attack(model, threat, **options).generate(one[None], Y[:1])[0] for one in x]
    np.testing.assert_array_equal(together, np.stack(alone))
    turned = attack(model, threat, batch_size=2, **options).generate(x[::-1], Y[:3])
    np.testing.assert_array_equal(together, turned[::-1])


@pytest.mark.parametrize("attack", SIDE_BY_SIDE)
def test_another_seed_draws_anew(attack):
    counts = []
    for seed in (0, 0, 1):
        made = attack(weak(), EventEdits(40), queries=300, seed=seed)
        made.generate(X, Y)
        counts.append(made.query_counts)
    np.testing.assert_array_equal(counts[0], counts[1])
    assert (counts[0] != counts[2]).any()


@pytest.mark.parametrize("attack", SIDE_BY_SIDE)
def test_features_without_rows_and_columns_and_deletions_alone(attack):
    x = samples.recordings(4, seed=5, rate=0.5, shape=(12, 30))
    weights = torch.zeros(12, 30)
    weights[:, :10] = -1.0
    model = SpikingClassifier(samples.WeakCells(weights, -40.0), input_shape=(12, 30))
    x_adv = attack(model, EventEdits(60, insert=False), queries=400).generate(x, Y[:4])
    assert (x_adv <= x).all()
    assert fooled(model, x_adv).all()


@pytest.mark.parametrize(
    ("attack", "options"),
    [
        (EventSignOPT, {"queries": 0}),
        (EventHopSkipJump, {"fewest": 1}),
        (EventGenetic, {"population": 1}),
        (EventGreedy, {"candidates": 0}),
        (EventGenetic, {"targeted": None}),
    ],
)
def test_options_that_do_not_fit_are_refused(attack, options):
    with pytest.raises(InvalidInput):
        attack(weak(), EventEdits(3), **options)


def blocks(sides=(3, 1, 2, 2)) -> Blocks:
    return Blocks((12, 2, 10, 10), sides, 40, np.ones(2400, np.bool_))


def test_blocks_lie_inside_the_grid_and_their_parts_make_them_up():
    draw = np.random.default_rng(0)
    found = blocks()
    assert found.levels[found.usual] == (3, 1, 2, 2)
    assert found.levels[0] == (1, 1, 1, 1)
    for level, spans in enumerate(found.levels):
        for box in found.draw(draw, 20, level):
            assert box.spans == spans
            cells = found.cells(box)
            assert len(np.unique(cells)) == len(cells) == np.prod(spans)
            assert cells.min() >= 0
            assert cells.max() < 2400
            if level:
                parts = [found.cells(part) for part in found.parts(box, level - 1)]
                assert len(parts) > 1
                assert sum(map(len, parts)) == len(cells)
                np.testing.assert_array_equal(union(parts), np.sort(cells))


def test_cells_that_may_not_be_edited_are_in_no_block():
    editable = np.zeros(2400, np.bool_)
    editable[:30] = True
    found = Blocks((12, 2, 10, 10), (3, 1, 2, 2), 40, editable)
    drawn = found.draw(np.random.default_rng(0), 50)
    assert set(union(map(found.cells, drawn))) <= set(range(30))
    assert found.parts(Box((6, 0, 0, 0), (3, 1, 2, 2)), 0) == []


def test_a_pool_learns_what_its_blocks_are_worth():
    draw = np.random.default_rng(1)
    found = blocks()
    pool = BlockPool(found, found.draw(draw, 20), [0.0] * 20)
    true = np.zeros(20)
    true[[3, 7]] = 1.5, -1.5
    for _ in range(200):
        mask = draw.random(20) < 0.5
        pool.observe(mask, 1.0 if mask @ true + 0.1 * draw.standard_normal() > 0 else -1.0)
    worth = pool.worth()
    assert worth.argmax() == 3
    assert worth.argmin() == 7
    np.testing.assert_array_equal(np.flatnonzero(best_of(worth, 1)), [3])
    spread = pool.drawn(draw, 4000)
    np.testing.assert_allclose(spread.mean(0), worth, atol=0.02)
    kept = list(pool.boxes)
    pool.replace_hopeless(draw, found.usual, 4)
    changed = [k for k in range(20) if pool.boxes[k] != kept[k]]
    assert 1 <= len(changed) <= 2
    assert 3 not in changed
    np.testing.assert_allclose(pool.worth()[changed], 0.0, atol=0.2)
