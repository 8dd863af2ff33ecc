# SPDX-License-Identifier: MIT
"""RetimingSquare: moves in time from answers alone, within every budget, better than chance."""

import attack_samples as samples
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from art_spiking.attacks import RandomRetiming, RetimingSquare
from art_spiking.attacks.queries.wishes import Places, Tides, reached, wishes_for
from art_spiking.estimators import BlackBoxEventClassifier, SpikingClassifier
from art_spiking.threats import Retiming

SHAPE = (12, 2, 8, 8)
X = samples.recordings(4, seed=3, rate=0.15, shape=SHAPE)
Y = np.zeros(4, np.int64)
FAR = 1e6
"""A bar that no sample reaches."""


def late_corner() -> torch.Tensor:
    """Weights that read the last third of the steps of a corner."""
    weights = torch.zeros(SHAPE)
    weights[8:, :, :4, :4] = 1.0
    return weights


def evidence(x: np.ndarray) -> np.ndarray:
    """Events in the corner, late."""
    found: np.ndarray = (x * late_corner().numpy()).reshape(len(x), -1).sum(1)
    return found


class NoGradient(samples.WeakCells):
    """The planted weakness, behind a step that passes no gradient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).detach().round()


def blind(bar: float) -> SpikingClassifier:
    return SpikingClassifier(NoGradient(late_corner(), bar), input_shape=SHAPE)


@pytest.mark.parametrize(
    "threat", [Retiming(3), Retiming(max_moved=30), Retiming(3, max_moved=30), Retiming(max_total_shift=60)]
)
def test_it_needs_no_gradients_and_comes_nearer_to_the_best_than_chance(threat):
    model, before = blind(FAR), evidence(X)
    with model.counting() as counted:
        gained = evidence(RetimingSquare(model, threat, queries=150).generate(X, Y)) - before
    by_chance = evidence(RandomRetiming(model, threat).generate(X, Y)) - before
    best = threat.best(late_corner().expand(4, *SHAPE), torch.from_numpy(X)).numpy()
    assert counted.backwards == 0
    assert (gained > by_chance).all()
    assert gained.sum() > 0.25 * (evidence(best) - before).sum()


def test_it_fools_and_stops():
    bar = float(evidence(X).max()) + 8.5
    attack = RetimingSquare(blind(bar), Retiming(max_moved=30), queries=300)
    x_adv = attack.generate(X, Y)
    assert (evidence(x_adv) > bar).all()
    assert (attack.query_counts < 300).all()
    assert (attack.query_counts > 1).all()


@pytest.mark.parametrize("threat", [Retiming(2), Retiming(max_moved=10)])
def test_no_more_queries_than_asked_for(threat):
    model = samples.weak(late_corner(), FAR)
    attack = RetimingSquare(model, threat, queries=20)
    with model.counting() as counted:
        attack.generate(X, Y)
    # One more finds the samples that are misclassified already.
    assert counted.forwards == 4 * 21
    np.testing.assert_array_equal(attack.query_counts, 20)


def test_targets_are_reached():
    model = samples.weak(late_corner(), float(evidence(X).max()) + 3.5)
    attack = RetimingSquare(model, Retiming(max_moved=30), queries=300, targeted=True)
    assert (model.predict(attack.generate(X, np.ones(4, np.int64))).argmax(1) == 1).all()


def test_it_runs_on_a_black_box():
    model = samples.weak(late_corner(), FAR)
    box = BlackBoxEventClassifier(model.predict, SHAPE, 2)
    for threat in (Retiming(2), Retiming(max_moved=10)):
        np.testing.assert_array_equal(
            RetimingSquare(box, threat, queries=30).generate(X, Y),
            RetimingSquare(model, threat, queries=30).generate(X, Y),
        )


@pytest.mark.parametrize("threat", [Retiming(2), Retiming(max_moved=0.2)])
def test_a_sample_gets_the_same_result_in_any_batch(threat):
    model = samples.weak(late_corner(), FAR)
    together = RetimingSquare(model, threat, queries=20).generate(X, Y)
    for rows in ([2], [3, 2, 0]):
        np.testing.assert_array_equal(
            RetimingSquare(model, threat, queries=20).generate(X[rows], Y[rows]), together[rows]
        )


def test_a_sample_without_events_is_not_asked_about():
    mixed = np.concatenate([X[:1], np.zeros_like(X[:1])])
    attack = RetimingSquare(samples.weak(late_corner(), FAR), Retiming(1), queries=5)
    x_adv = attack.generate(mixed, Y[:2])
    np.testing.assert_array_equal(x_adv[1], 0)
    assert attack.query_counts.tolist() == [5, 0]


def test_features_are_moved_too():
    weights = torch.zeros(10, 6)
    weights[7:, :3] = 1.0
    model = samples.weak(weights, FAR)
    x = (np.random.default_rng(0).random((4, 10, 6)) < 0.3).astype(np.float32)
    for threat in (Retiming(1), Retiming(max_moved=4), Retiming(2, max_moved=4)):
        x_adv = RetimingSquare(model, threat, queries=30).generate(x, Y)
        assert threat.violations(x_adv, x) == []
        assert (model.predict(x_adv)[:, 1] >= model.predict(x)[:, 1]).all()


@given(
    shift=st.none() | st.integers(1, 6),
    total=st.none() | st.integers(1, 40),
    moved=st.none() | st.integers(1, 40),
    seed=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_whatever_the_budgets_every_query_keeps_them(shift, total, moved, seed):
    if shift is None and total is None and moved is None:
        return
    threat = Retiming(shift, total, moved)
    asked = []

    def answers(x):
        asked.append(x.copy())
        return np.zeros((len(x), 2))

    box = BlackBoxEventClassifier(answers, SHAPE, 2)
    RetimingSquare(box, threat, queries=4, seed=seed).generate(X[:2], Y[:2])
    assert len(asked) == 5
    assert all(threat.violations(found, X[:2]) == [] for found in asked)


@pytest.mark.parametrize(
    ("threat", "kind"),
    [(Retiming(1), Tides), (Retiming(1, max_moved=10), Places), (Retiming(max_total_shift=10), Places)],
)
def test_all_pixels_move_where_only_the_largest_shift_is_bounded(threat, kind):
    assert isinstance(wishes_for(threat, torch.from_numpy(X[:1]), np.random.default_rng(0)), kind)


def test_a_bounded_sum_of_shifts_is_not_spent_on_a_few_events():
    assert reached(Retiming(max_total_shift=60), 12) == Retiming(2, max_total_shift=60)
    assert reached(Retiming(1, max_total_shift=60), 12) == Retiming(1, max_total_shift=60)
    assert reached(Retiming(max_moved=9), 12) == Retiming(max_moved=9)
    in_us = Retiming(max_total_shift=60_000, unit="us", dt_us=1000)
    assert reached(in_us, 12).largest_shift(12) == 2
