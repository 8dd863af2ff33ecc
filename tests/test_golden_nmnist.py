# SPDX-License-Identifier: MIT
"""The 20 golden pairs of the community N-MNIST model: accuracy and output spikes under every semantics."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "golden.py"


@pytest.fixture(scope="module")
def golden() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_benchmark", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.data
@pytest.mark.parametrize(
    ("steps", "binary"),
    [
        pytest.param(31, False, id="10 ms, counts"),
        pytest.param(31, True, id="10 ms, binary"),
        pytest.param(310, False, id="1 ms, counts", marks=pytest.mark.slow),
        pytest.param(310, True, id="1 ms, binary", marks=pytest.mark.slow),
    ],
)
def test_golden_pairs(shared_data: Path, golden: ModuleType, steps: int, binary: bool):
    data = golden.recordings(shared_data / "nmnist-1100", steps, binary)
    assert len(data.y) == 100
    found = list(golden.pairs(shared_data / "nir" / "cnn_sinabs.nir", data, steps, binary))
    assert len(found) == 5
    assert [pair for pair in found if not pair.agrees] == []


def test_a_pair_that_is_off_does_not_agree(golden: ModuleType):
    near = golden.Pair("", 31, True, 0.95, 100.4, 0.94, 100.0, 0.0)
    assert near.agrees
    assert not golden.Pair("", 31, True, 0.96, 100.4, 0.94, 100.0, 0.0).agrees
    assert not golden.Pair("", 31, True, 0.94, 100.6, 0.94, 100.0, 0.0).agrees
