# SPDX-License-Identifier: MIT
"""The script that trains the bundled submissions: deterministic, and what it writes passes the check."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from art_spiking_leaderboard.check import Names, check_submission

from art_spiking.datasets import EventData
from art_spiking.events import Grid
from art_spiking.threats import EventEdits, PatchRegion

SCRIPT = Path(__file__).parents[1] / "leaderboard" / "train_submissions.py"
SUBMISSIONS = SCRIPT.parent / "submissions"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_submissions", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data() -> EventData:
    rng = np.random.default_rng(0)
    x = (rng.random((16, 30, 2, 34, 34)) < 0.03).astype(np.float32)
    return EventData(x, np.arange(16) % 10, Grid(30, 10_000, 34, 34), "digits-dvs", "train")


def recipe_named(script: ModuleType, name: str):
    return next(recipe for recipe in script.RECIPES if recipe.name == name)


@pytest.mark.parametrize("name", ["digits-plain", "digits-adversarial", "digits-filtered"])
def test_the_same_seed_trains_the_same_model_and_another_does_not(script, data, name):
    recipe = recipe_named(script, name)
    digests = [
        script.train(recipe, data, SUBMISSIONS, epochs=1, seed=seed).network.digest() for seed in (0, 0, 1)
    ]
    start = script.new_classifier(recipe, SUBMISSIONS, torch.Generator().manual_seed(0)).network.digest()
    assert digests[0] == digests[1]
    assert len({*digests, start}) == 3


def test_what_is_written_passes_the_check(script, data, tmp_path):
    recipe = recipe_named(script, "digits-filtered")
    classifier = script.new_classifier(recipe, tmp_path, torch.Generator().manual_seed(0))
    accuracy = script.clean_accuracy(classifier, data)
    script.write_submission(recipe, classifier, accuracy, tmp_path / recipe.name)
    submission = check_submission(tmp_path / recipe.name, Names.installed())
    assert submission.problems == ()
    assert submission.stored.network().digest() == classifier.network.digest()


def test_training_attacks_are_valid_and_keep_a_share_clean(script, data):
    recipe = recipe_named(script, "digits-adversarial")
    generator = torch.Generator().manual_seed(0)
    classifier = script.new_classifier(recipe, SUBMISSIONS, generator)
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    x_adv = script.attacked(classifier, (x, y), 1.0, generator)
    assert torch.equal(x_adv[:2], x[:2])
    assert EventEdits(301).violations(x_adv[2:8], x[2:8]) == []
    assert EventEdits(1201, delete=False).violations(x_adv[8:12], x[8:12]) == []
    assert PatchRegion(0.056).violations(x_adv[12:], x[12:]) == []
    assert all(bool((x_adv[i] != x[i]).any()) for i in range(2, 16))


def test_shifting_loses_only_what_leaves_the_sensor(script):
    x = torch.zeros(1, 1, 1, 34, 34)
    x[..., 17, 17] = 1
    generator = torch.Generator().manual_seed(0)
    places = set()
    for _ in range(40):
        moved = script.shifted(x, generator)
        assert moved.shape == x.shape
        assert moved.sum() == 1
        place = int(moved.flatten().argmax())
        places.add((place // 34 - 17, place % 34 - 17))
    assert len(places) > 10
    assert all(abs(down) <= 2 and abs(right) <= 2 for down, right in places)
