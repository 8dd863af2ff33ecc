# SPDX-License-Identifier: MIT
"""The table of attacks names everything that is registered, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from art_spiking import attacks
from art_spiking.gradient_paths import PATHS
from art_spiking.registry import catalogue

TEXT = (Path(__file__).parents[1] / "docs" / "attacks.md").read_text(encoding="utf-8")
QUOTED = set(re.findall(r"`([^`]+)`", TEXT))


@pytest.mark.parametrize("kind", ["attacks", "threats", "defences", "suites"])
def test_what_is_registered_is_in_the_tables(kind):
    own = {name for name, entry in catalogue(kind).items() if entry.provider.startswith("art-spiking ")}
    assert own
    assert sorted(own - QUOTED) == []


def test_rows_name_classes_that_are_there():
    classes = re.findall(r"^\| `[a-z-]+` \| `([A-Za-z]+)` \|", TEXT, flags=re.MULTILINE)
    assert len(classes) >= 19
    assert [name for name in classes if not hasattr(attacks, name)] == []


def test_every_gradient_path_is_in_its_table():
    assert sorted(set(PATHS) - QUOTED) == []
