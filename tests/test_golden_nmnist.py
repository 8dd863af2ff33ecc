# SPDX-License-Identifier: MIT
"""The 20 golden pairs of the community N-MNIST model: accuracy and output spikes under every semantics."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def golden() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("golden")


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


@pytest.mark.data
def test_snntorchs_import_fails_as_documented_and_runs_when_mended(shared_data: Path, golden: ModuleType):
    pytest.importorskip("nirtorch", reason="snnTorch imports NIR by nirtorch: see make test-frameworks")
    (importer,) = (one for one in golden.IMPORTERS if one.framework == "snntorch")
    data = golden.recordings(shared_data / "nmnist-1100", 31, False)
    model = shared_data / "nir" / "cnn_sinabs.nir"
    found = list(golden.imports(importer, model, data, 31))
    assert [one.pair.semantics for one in found] == ["reset to 0, one", "subtract, one"]
    for one in found:
        assert one.plain.startswith("TypeError: conv2d() received an invalid combination of arguments")
        assert one.differing == 0
        assert one.pair.agrees


def test_an_import_of_the_wrong_shape_is_no_success(golden: ModuleType):
    x = torch.zeros(2, 3, 2, 34, 34)
    assert golden.problem(lambda path, x: torch.zeros(*x.shape[:2], 10), Path(), x) is None
    assert golden.problem(lambda path, x: torch.zeros(3, 10), Path(), x) == "puts out (3, 10) for (2, 3, 10)"

    def fails(path, x):
        raise ValueError("no such\n node")

    assert golden.problem(fails, Path(), x) == "ValueError: no such node"
