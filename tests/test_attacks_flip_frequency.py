# SPDX-License-Identifier: MIT
"""HeatmapPerturbation and IterativePerturbation: single samples' edits become one mask for all."""

import attack_samples as samples
import numpy as np
import pytest
import torch

from art_spiking.attacks import (
    SAMPLE_SURROGATE,
    HeatmapPerturbation,
    IterativePerturbation,
    RandomUniversal,
)
from art_spiking.errors import InvalidInput
from art_spiking.threats import EventEdits, PatchRegion

CELLS = samples.planted_cells(30)
MODEL = samples.weak(CELLS, bar=9.5)
CRAFT, TEST = samples.recordings(40, seed=1), samples.recordings(40, seed=2)
LABELS = np.zeros(40, np.int64)
BOTH = (HeatmapPerturbation, IterativePerturbation)


def accuracy(model, x):
    return float((model.predict(x).argmax(1) == 0).mean())


@pytest.mark.parametrize("attack", BOTH)
def test_it_finds_planted_cells_and_beats_its_control_on_held_out_recordings(attack):
    threat = EventEdits(14, delete=False)
    made = attack(MODEL, threat)
    assert made.universal
    mask = made.fit(CRAFT, LABELS)
    assert 0 < mask.size <= 14
    assert ((mask.values > 0) <= (CELLS.numpy() > 0)).all()
    x_adv = mask.apply(TEST)
    assert threat.violations(x_adv, TEST) == []
    chance = RandomUniversal(MODEL, threat).fit(CRAFT, LABELS)
    assert accuracy(MODEL, x_adv) <= 0.25
    assert accuracy(MODEL, chance.apply(TEST)) >= 0.9


@pytest.mark.parametrize("attack", BOTH)
def test_deletions_are_made_where_samples_live(attack):
    weights = torch.zeros(samples.SHAPE)
    weights[:, :, 2:5, 2:5] = -1.0
    craft, test = (samples.recordings(40, seed=seed, rate=0.3) for seed in (1, 2))
    model = samples.weak(weights, bar=-16.5)
    threat = EventEdits(25, insert=False)
    mask = attack(model, threat).fit(craft, LABELS)
    assert not (mask.insert > 0).any()
    x_adv = mask.apply(test)
    assert threat.violations(x_adv, test) == []
    assert accuracy(model, x_adv) <= accuracy(model, test) - 0.4


def test_the_heatmap_counts_how_many_samples_each_cell_fools(monkeypatch):
    """The cells that are needed most often are kept."""
    edits = torch.zeros((2, *samples.SHAPE))
    edits[0, 1, 0, 2, 2], edits[0, 3, 1, 4, 4], edits[0, 5, 0, 7, 7] = 3.0, 2.0, 1.0
    asked = []

    def counted(self, x, y, generator):
        asked.append(len(x))
        return edits

    monkeypatch.setattr(HeatmapPerturbation, "_edits", counted)
    mask = HeatmapPerturbation(MODEL, EventEdits(2, delete=False), batch_size=15).fit(CRAFT, LABELS)
    assert asked == [15, 15, 10]
    assert [tuple(cell) for cell in np.argwhere(mask.insert > 0)] == [(1, 0, 2, 2), (3, 1, 4, 4)]


def test_samples_that_stay_unfooled_count_for_nothing():
    out_of_reach = samples.weak(CELLS, bar=1e6)
    mask = HeatmapPerturbation(out_of_reach, EventEdits(3, delete=False)).fit(CRAFT, LABELS)
    assert mask.size == 0
    np.testing.assert_array_equal(mask.apply(TEST), TEST)


def test_fooled_samples_are_not_attacked_again():
    x = np.ones((4, *samples.SHAPE), np.float32)
    mask = HeatmapPerturbation(MODEL, EventEdits(5)).fit(x, np.zeros(4, np.int64))
    assert mask.size == 0


@pytest.mark.parametrize("eviction", ["frequency", "random"])
def test_the_budget_holds_under_both_evictions(eviction):
    threat = EventEdits(10, delete=False)
    mask = IterativePerturbation(MODEL, threat, eviction=eviction).fit(CRAFT, LABELS)
    assert 0 < mask.size <= 10
    assert threat.violations(mask.apply(TEST), TEST) == []


def test_it_takes_the_first_samples_of_each_class_in_small_rounds(monkeypatch):
    seen = []

    def noted(self, x, y, generator):
        seen.append(len(x))
        return torch.zeros((2, *samples.SHAPE))

    monkeypatch.setattr(IterativePerturbation, "_edits", noted)
    IterativePerturbation(MODEL, EventEdits(3), passes=2, per_class=7, samples_at_once=5).fit(CRAFT, LABELS)
    assert seen == [5, 2, 5, 2]


def test_the_best_mask_of_all_passes_is_returned(monkeypatch):
    seen = []

    def worse_each_time(self, candidate, x, y):
        seen.append(candidate)
        return (len(seen) / 10, 0.0)

    monkeypatch.setattr(IterativePerturbation, "craft_score", worse_each_time)
    mask = IterativePerturbation(MODEL, EventEdits(6), passes=3).fit(CRAFT, LABELS)
    assert len(seen) == 3
    assert mask is seen[0]


@pytest.mark.parametrize("attack", BOTH)
def test_targeted_it_drives_samples_to_one_class(attack):
    made = attack(MODEL, EventEdits(14, delete=False), targeted=True)
    mask = made.fit(CRAFT, np.ones(40, np.int64))
    assert (MODEL.predict(mask.apply(TEST)).argmax(1) == 1).mean() >= 0.75
    with pytest.raises(InvalidInput, match="target classes"):
        made.fit(CRAFT)


@pytest.mark.parametrize("attack", BOTH)
def test_a_random_turn_is_applied_to_the_finished_mask(attack):
    mask = attack(MODEL, EventEdits(10, delete=False), max_shift=2).fit(CRAFT, LABELS)
    assert mask.max_shift == 2
    silence = np.zeros((30, *samples.SHAPE), np.float32)
    assert len({sample.tobytes() for sample in mask.apply(silence)}) > 1


def test_options_that_do_not_fit_are_refused():
    threat = EventEdits(3)
    for attack in BOTH:
        for options in ({"steps": 0}, {"max_shift": -1}, {"surrogate": 1}, {"surrogate": [SAMPLE_SURROGATE]}):
            with pytest.raises(InvalidInput):
                attack(MODEL, threat, **options)
        with pytest.raises(InvalidInput, match="needs a budget"):
            attack(MODEL, PatchRegion(0.2)).fit(CRAFT, LABELS)
    for options in ({"passes": 0}, {"per_class": 1.5}, {"samples_at_once": 0}, {"eviction": "oldest"}):
        with pytest.raises(InvalidInput):
            IterativePerturbation(MODEL, threat, **options)
