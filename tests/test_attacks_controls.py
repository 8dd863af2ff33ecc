"""The random controls: fair draws, of the same form and budget as the attacks they stand beside."""

import attack_samples as samples
import numpy as np

from art_spiking.attacks import RandomEvents, RandomPatch, RandomUniversal
from art_spiking.threats import EventEdits, PatchRegion

MODEL = samples.weak(samples.planted_cells(5), bar=1e6)
X = samples.recordings(300, rate=0.3)
Y = np.zeros(300, np.int64)


def test_random_events_are_drawn_from_all_allowed_cells_alike():
    x_adv = RandomEvents(MODEL, EventEdits(60)).generate(X, Y)
    changed = x_adv != X
    assert (changed.reshape(300, -1).sum(1) == 60).all()
    share = changed.mean(0)
    expected = 60 / X[0].size
    spread = np.sqrt(expected * (1 - expected) / 300)
    assert abs(share - expected).max() < 5 * spread
    # Deletions are as frequent as events are.
    assert abs((x_adv < X).sum() / changed.sum() - X.mean()) < 0.02


def test_samples_get_different_random_events_and_no_query_is_spent():
    x = np.zeros((2, *samples.SHAPE), np.float32)
    with MODEL.counting() as counted:
        x_adv = RandomEvents(MODEL, EventEdits(30)).generate(x, Y[:2])
        RandomUniversal(MODEL, EventEdits(30)).fit(x, Y[:2])
        RandomPatch(MODEL, PatchRegion(0.15)).fit(x, Y[:2])
    assert (x_adv[0] != x_adv[1]).any()
    assert (counted.forwards, counted.backwards) == (0, 0)


def test_a_random_mask_spends_the_budget_and_is_static_where_asked():
    mask = RandomUniversal(MODEL, EventEdits(60, delete=False)).fit(X, Y)
    assert mask.size == 60
    static = RandomUniversal(MODEL, EventEdits(60, delete=False), static=True, max_shift=2).fit(X, Y)
    assert (static.values == static.values[:1]).all()
    assert (static.size, static.max_shift) == (60, 2)


def test_a_random_mask_of_deletions_spends_about_the_budget():
    mask = RandomUniversal(MODEL, EventEdits(60, insert=False)).fit(X, Y)
    removed = (X - mask.apply(X)).reshape(300, -1).sum(1)
    assert removed.max() <= 60
    assert removed.mean() > 50


def test_a_random_patch_has_the_density_asked_for():
    region = PatchRegion(0.6)
    patch = RandomPatch(MODEL, region, density=0.25, location=(1, 0), max_shift=1).fit(X, Y)
    assert abs(patch.events.mean() - 0.25) < 0.08
    assert (patch.location, patch.max_shift) == ((1, 0), 1)
    assert region.violations(patch.apply(X), X) == []
