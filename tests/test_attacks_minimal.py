"""MinimalEdits: the fewest edits that any attack on single samples comes to, by bisection and by trials."""

import attack_samples as samples
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from art_spiking.attacks import (
    EventGradientAttack,
    EventSquare,
    MinimalEdits,
    SparseDynamicAttack,
    SpikeFool,
    SpikingUniversalPerturbation,
)
from art_spiking.attacks.base import EventAttack
from art_spiking.attacks.edits.reduction import Reduction, edits_of
from art_spiking.attacks.edits.space import capped, lifted
from art_spiking.errors import InvalidInput, UnknownName
from art_spiking.threats import EventEdits, PatchRegion, PixelRate

CELLS = samples.planted_cells(60, seed=1)
X = samples.recordings(8, seed=1, rate=0.1)
Y = np.zeros(8, np.int64)
EVIDENCE = (X * CELLS.numpy()).reshape(8, -1).sum(1)
BAR = float(EVIDENCE.max()) + 8
LACKS = np.floor(BAR - EVIDENCE) + 1


def spent(x_adv, x=X):
    return np.abs(x_adv - x).reshape(len(x), -1).sum(1)


@pytest.mark.parametrize(
    "attack", ["event-gradient", "spike-fool", EventGradientAttack, SpikeFool, SparseDynamicAttack]
)
def test_the_smallest_number_is_found_where_it_is_known(attack):
    model = samples.weak(CELLS, BAR)
    minimal = MinimalEdits(model, EventEdits(200), attack=attack, probes=0)
    assert minimal.edits is None
    x_adv = minimal.generate(X, Y)
    assert (model.predict(x_adv).argmax(1) == 1).all()
    np.testing.assert_array_equal(minimal.edits, LACKS)
    np.testing.assert_array_equal(spent(x_adv), LACKS)


class Spendthrift(EventAttack):
    """Fills the planted cells from one end, and whatever else the budget buys."""

    def run(self, x, y, generator):
        order = (
            torch.where(CELLS > 0, 2.0, 1.0) - torch.arange(CELLS.numel()).view(CELLS.shape) / CELLS.numel()
        )
        return x + self.threat.project(order.expand_as(x) * (x == 0) + x, x) - x


def test_trials_undo_what_an_attack_spends_for_nothing():
    model = samples.weak(CELLS, BAR)
    wasteful = Spendthrift(model, EventEdits(150)).generate(X, Y)
    np.testing.assert_array_equal(spent(wasteful), np.full(8, 150.0))
    minimal = MinimalEdits(model, EventEdits(150), attack=Spendthrift, probes=0)
    minimal.generate(X, Y)
    np.testing.assert_array_equal(minimal.edits, LACKS)


def test_smaller_budgets_are_tried_where_an_attack_spends_whatever_it_has():
    model = samples.weak(CELLS, BAR)
    threat = EventEdits(150)
    few = MinimalEdits(model, threat, attack=EventSquare, parameters={"queries": 60}, probes=0)
    more = MinimalEdits(model, threat, attack=EventSquare, parameters={"queries": 60})
    with model.counting() as without:
        few.generate(X, Y)
    with model.counting() as counted:
        x_adv = more.generate(X, Y)
    found = ~np.isnan(more.edits)
    assert found.any()
    assert (more.edits[found] <= few.edits[found]).all()
    assert counted.forwards > without.forwards
    assert counted.backwards == 0
    np.testing.assert_array_equal(spent(x_adv)[found], more.edits[found])


def test_what_failed_has_no_number_and_what_was_wrong_needs_no_edit():
    model = samples.weak(CELLS, BAR)
    labels = Y.copy()
    labels[::2] = 1
    minimal = MinimalEdits(model, EventEdits(int(LACKS.min())), attack="event-gradient")
    x_adv = minimal.generate(X, labels)
    np.testing.assert_array_equal(minimal.edits[::2], np.zeros(4))
    expected = np.where(LACKS.min() == LACKS, LACKS, np.nan)[1::2]
    np.testing.assert_array_equal(minimal.edits[1::2], expected)
    np.testing.assert_array_equal(x_adv[::2], X[::2])
    # A failure keeps its last attempt, within the budget.
    assert (spent(x_adv)[1::2] > 0).all()
    minimal.generate(X, np.ones(8, np.int64))
    np.testing.assert_array_equal(minimal.edits, np.zeros(8))


def test_targets_that_are_met_already_need_no_edit():
    model = samples.weak(CELLS, BAR)
    minimal = MinimalEdits(model, EventEdits(200), targeted=True)
    minimal.generate(X, np.array([1, 0] * 4))
    np.testing.assert_array_equal(minimal.edits, np.where(np.arange(8) % 2, 0, LACKS))


@pytest.mark.parametrize("threat", list(samples.EDIT_THREATS.values()), ids=list(samples.EDIT_THREATS))
def test_every_threat_model_of_edits_holds(threat):
    model = samples.weak(CELLS, float(EVIDENCE.max()))
    x_adv = MinimalEdits(model, threat, parameters={"steps": 4}, probes=1).generate(X[:4], Y[:4])
    assert threat.violations(x_adv, X[:4]) == []


@given(
    seed=st.integers(0, 10_000),
    threat=st.sampled_from(
        [
            EventEdits(60),
            EventEdits(60, refractory_us=2500, dt_us=1000),
            EventEdits(60) & PixelRate(400.0, 1000),
        ]
    ),
)
@settings(max_examples=15, deadline=None)
def test_reduced_samples_still_fool_are_allowed_and_hold_nothing_to_spare(seed, threat):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy((rng.random((3, *samples.SHAPE)) < 0.15).astype(np.float32))
    weights = torch.from_numpy(rng.random(samples.SHAPE).astype(np.float32))
    wanted = x + torch.from_numpy(rng.normal(size=x.shape).astype(np.float32)) * 0.4
    x_adv = threat.project(wanted, x)
    gain = ((x_adv - x).abs() * weights).flatten(1).sum(1)

    def probe(edited, rows):
        # Fooled while at least half of the gain is left.
        left = ((edited - x[rows]).abs() * weights).flatten(1).sum(1)
        return left - 0.5 * gain[rows] + 1e-4

    rows = torch.nonzero(gain > 0.1)[:, 0]
    if not len(rows):
        return
    everyone = torch.arange(len(x))
    reduction = Reduction(threat, x, probe, torch.ones(3, dtype=torch.int64))
    for found in (
        reduction.by_trial(x_adv[rows], rows),
        reduction.by_value(x_adv[rows], rows, weights.expand_as(x_adv[rows])),
    ):
        assert (probe(found, everyone[rows]) > 0).all()
        assert threat.violations(found, x[rows]) == []
        assert (edits_of(found, x[rows]) <= edits_of(x_adv[rows], x[rows])).all()
        assert ((found == x_adv[rows]) | (found == x[rows])).all()
    if threat.to_dict().get("refractory_us") is None:
        last = reduction.by_trial(x_adv[rows], rows)
        for place, row in enumerate(rows):
            for cell in torch.nonzero((last[place] != x[row]).flatten())[:, 0]:
                without = last[place].flatten().clone()
                without[cell] = x[row].flatten()[cell]
                assert (
                    probe(without.view(1, *samples.SHAPE), row[None]) <= 0
                    or edits_of(last[place : place + 1], x[row : row + 1]) == 1
                )


def test_budgets_are_lifted_and_capped_and_other_rules_stay():
    x = torch.from_numpy(X)
    threat = EventEdits(7, delete=False, polarity="on") & PatchRegion(0.3)
    assert lifted(threat, x) == EventEdits(X[0].size, delete=False, polarity="on") & PatchRegion(0.3)
    assert capped(threat, 3) == EventEdits(3, delete=False, polarity="on") & PatchRegion(0.3)
    assert capped(threat, 9) == threat
    share = capped(EventEdits(0.5), 3)
    x_adv = share.project(1 - x, x)
    assert edits_of(x_adv, x).tolist() == [3] * 8
    assert lifted(EventEdits(0.5), x) == EventEdits(X[0].size)
    assert capped(PatchRegion(0.3), 3).violations(*(2 * [X])) == []


@pytest.mark.parametrize(
    "options",
    [
        {"attack": SpikingUniversalPerturbation},
        {"attack": "minimal-edits"},
        {"attack": 3},
        {"parameters": {"stepz": 3}},
        {"parameters": {"threat": EventEdits(3)}},
        {"parameters": {"steps": 0}},
        {"attack": EventSquare, "parameters": {"steps": 3}},
        {"probes": -1},
    ],
)
def test_options_that_do_not_fit_are_refused(options):
    with pytest.raises(InvalidInput):
        MinimalEdits(samples.weak(CELLS, BAR), EventEdits(3), **options)
    with pytest.raises(UnknownName):
        MinimalEdits(samples.weak(CELLS, BAR), EventEdits(3), attack="event-gradeint")
