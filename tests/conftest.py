# SPDX-License-Identifier: MIT
"""Fixtures that every test module may use."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from site_browser import started_browser
from spiking_stand_ins import CLASSES, SHAPE, TinyNetwork, events, spiking_network

from art_spiking.estimators import SpikingClassifier

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure(config):
    """The stand-ins have derivatives of their own, and attacks on them say so; one test expects that."""
    config.addinivalue_line("filterwarnings", "ignore:the attack's surrogate could not be used")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings and community models beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real recordings are not here: no folder {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(params=[TinyNetwork, spiking_network], ids=["any-module", "spiking-network"])
def network(request) -> torch.nn.Module:
    """A tiny network, once as any module and once as a SpikingNetwork."""
    return request.param()


@pytest.fixture
def clf(network) -> SpikingClassifier:
    """The classifier of that network."""
    return SpikingClassifier(network, input_shape=SHAPE, nb_classes=CLASSES)


@pytest.fixture
def batch() -> tuple[np.ndarray, np.ndarray]:
    """Twelve samples and their labels."""
    return events(12)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A browser for the tests of the leaderboard's page."""
    with started_browser() as started:
        yield started
