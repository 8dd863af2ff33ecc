# SPDX-License-Identifier: MIT
"""What an author of an attack tests: the contract, and what the attack is meant to do."""

import numpy as np
import pytest
from art_spiking_example.hot_pixels import HotPixels

from art_spiking.errors import InvalidInput
from art_spiking.testing import check_attack, small_classifier, small_data
from art_spiking.threats import EventEdits

INSERTIONS = EventEdits(20, delete=False)


def attacked(pixels, threat=INSERTIONS):
    x, y = small_data().x, small_data().y
    return x, HotPixels(small_classifier(), threat, pixels=pixels).generate(x, y)


def test_it_keeps_the_contract_of_an_attack():
    check_attack(HotPixels)


def test_the_busiest_pixel_fires_at_every_step():
    x, x_adv = attacked(pixels=1)
    activity = x.sum(axis=1).reshape(len(x), -1)
    activity[activity == x.shape[1]] = 0  # fires at every step already
    hot = (x_adv != x).any(axis=1).reshape(len(x), -1)
    for sample in range(len(x)):
        (pixel,) = np.flatnonzero(hot[sample])
        assert activity[sample, pixel] == activity[sample].max()
        assert x_adv[sample].reshape(len(x[0]), -1)[:, pixel].all()


def test_it_only_inserts_and_spends_its_budget():
    x, x_adv = attacked(pixels=16)
    assert (x_adv >= x).all()
    assert ((x_adv - x).reshape(len(x), -1).sum(axis=1) == 20).all()


def test_the_busiest_pixels_come_first_when_the_budget_is_short():
    x, x_adv = attacked(pixels=16, threat=EventEdits(3, delete=False))
    activity = x.sum(axis=1).reshape(len(x), -1)
    activity[activity == x.shape[1]] = 0
    hot = (x_adv != x).any(axis=1).reshape(len(x), -1)
    for sample in range(len(x)):
        least = activity[sample][hot[sample]].min()
        assert least >= np.sort(activity[sample])[-3]


def test_without_insertions_it_can_do_nothing():
    x, x_adv = attacked(pixels=4, threat=EventEdits(20, insert=False))
    assert np.array_equal(x, x_adv)


def test_samples_that_are_misclassified_already_are_left_alone():
    x, wrong = small_data().x, (small_data().y + 1) % 3
    x_adv = HotPixels(small_classifier(), INSERTIONS, pixels=4).generate(x, wrong)
    assert np.array_equal(x, x_adv)


@pytest.mark.parametrize("pixels", [0, -1, 1.5, True])
def test_a_number_of_pixels_that_does_not_fit_is_refused(pixels):
    with pytest.raises(InvalidInput, match="pixels does not fit"):
        HotPixels(small_classifier(), INSERTIONS, pixels=pixels)
