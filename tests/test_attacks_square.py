"""EventSquare: a search that sees logits alone, within budget and queries."""

import attack_samples as samples
import numpy as np
import pytest
import torch

from art_spiking.attacks import EventSquare, RandomEvents
from art_spiking.attacks.queries.square import _Draws
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.threats import EventEdits

SHAPE = (12, 2, 10, 10)


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


def fooled(model: SpikingClassifier, x: np.ndarray) -> np.ndarray:
    return model.predict(x).argmax(1) != 0


def test_it_needs_no_gradients_and_beats_the_control():
    model = SpikingClassifier(NoGradient(corner(), BAR), input_shape=SHAPE)
    with model.counting() as counted:
        x_adv = EventSquare(model, EventEdits(40), queries=300).generate(X, Y)
    assert fooled(model, x_adv).all()
    assert fooled(model, RandomEvents(model, EventEdits(40)).generate(X, Y)).sum() == 0
    assert counted.backwards == 0
    assert counted.forwards <= 8 * 301


def test_no_more_queries_than_asked_for():
    model = samples.weak(corner(), 1e6)
    with model.counting() as counted:
        EventSquare(model, EventEdits(40), queries=20).generate(X, Y)
    # One more finds the samples that are misclassified already.
    assert counted.forwards == 8 * 21


def test_a_query_is_kept_only_if_the_true_class_does_not_gain():
    model = samples.weak(corner(), 1e6)

    def evidence(queries: int) -> np.ndarray:
        x_adv = EventSquare(model, EventEdits(40), queries=queries).generate(X, Y)
        return model.predict(x_adv)[:, 1]

    assert (evidence(200) > evidence(1) + 10).all()


def test_targets_are_reached():
    model = samples.weak(corner(), BAR)
    x_adv = EventSquare(model, EventEdits(40), queries=300, targeted=True).generate(X, np.ones(8, np.int64))
    assert fooled(model, x_adv).all()


def test_shares_of_a_samples_own_events():
    x = np.concatenate([X[:4], np.zeros_like(X[:1]), samples.recordings(3, seed=2, rate=0.4, shape=SHAPE)])
    threat = EventEdits(0.2)
    x_adv = EventSquare(samples.weak(corner(), 1e6), threat, queries=5).generate(x, Y)
    assert threat.violations(x_adv, x) == []
    spent = np.abs(x_adv - x).reshape(8, -1).sum(1)
    assert spent[4] == 0
    assert spent[5:].min() > spent[:4].max() > 0


@pytest.mark.parametrize(
    "threat", [EventEdits(41), EventEdits(0.1), EventEdits(40, polarity="same")], ids=repr
)
def test_a_sample_gets_the_same_result_in_any_batch(threat):
    """Budgets by share differ per sample, so blocks do; one sample is empty, one all but full."""
    model = samples.weak(corner(), BAR)
    x = np.concatenate([X[:6], np.zeros_like(X[:1]), 1 - corner().numpy()[None]])
    assert (model.predict(x).argmax(1) == 0).all()
    together = EventSquare(model, threat, queries=60, seed=3).generate(x, Y)
    alone = [EventSquare(model, threat, queries=60, seed=3).generate(one[None], Y[:1])[0] for one in x]
    np.testing.assert_array_equal(together, np.stack(alone))
    turned = EventSquare(model, threat, queries=60, seed=3, batch_size=3).generate(x[::-1], Y)
    np.testing.assert_array_equal(together, turned[::-1])
    assert not np.array_equal(together, x)


def test_another_seed_draws_anew():
    model = samples.weak(corner(), 1e6)
    found = [EventSquare(model, EventEdits(40), queries=5, seed=seed).generate(X, Y) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).reshape(8, -1).any(1).all()
    edits = found[0] - X
    assert all((edits[0] != edits[k]).any() for k in range(1, 8))


def test_draws_are_uniform_and_unlike_each_other():
    draws = _Draws(torch.from_numpy(X), 0)
    rows = torch.arange(8)
    numbers = np.stack([draws.at(rows, query, purpose, 64) for query in range(40) for purpose in (0, 1)])
    assert len(np.unique(numbers)) == numbers.size
    share = (numbers >> np.uint64(11)).astype(np.float64) / 2**53
    # 40,960 numbers: the standard error of a mean is 0.0014, of a decile's share too.
    assert abs(share.mean() - 0.5) < 0.007
    np.testing.assert_allclose(np.histogram(share, 10, (0, 1))[0] / share.size, 0.1, atol=0.008)
    for other in (share[1:, :, :], share[:, 1:, :], share[:, :, 1:]):
        same = share[tuple(slice(n) for n in other.shape)]
        assert abs(np.corrcoef(same.ravel(), other.ravel())[0, 1]) < 0.03


def test_deletions_alone():
    model = SpikingClassifier(samples.WeakCells(-corner(), -4.0), input_shape=SHAPE)
    x = samples.recordings(8, seed=1, rate=0.2, shape=SHAPE)
    threat = EventEdits(int(x[0].sum()), insert=False)
    x_adv = EventSquare(model, threat, queries=200).generate(x, Y)
    assert (x_adv <= x).all()
    gone = (x * corner().numpy()).sum() - (x_adv * corner().numpy()).sum()
    # A sixth of all events lie there.
    assert gone > 0.3 * (x - x_adv).sum()


def test_features_without_rows_and_columns():
    x = samples.recordings(4, seed=5, shape=(12, 30))
    weights = torch.zeros(12, 30)
    weights[:, :10] = 1.0
    model = SpikingClassifier(samples.WeakCells(weights, 40.0), input_shape=(12, 30))
    x_adv = EventSquare(model, EventEdits(45), queries=300).generate(x, Y[:4])
    assert fooled(model, x_adv).all()


@pytest.mark.parametrize("options", [{"queries": 0}, {"queries": 1.5}, {"targeted": "yes"}])
def test_options_that_do_not_fit_are_refused(options):
    with pytest.raises(InvalidInput):
        EventSquare(samples.weak(corner(), 1.0), EventEdits(3), **options)
