# SPDX-License-Identifier: MIT
"""The Triton scan against the reference: on a GPU where there is one, else by Triton's own interpreter."""

import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from art_spiking.kernels import reference_scan
from art_spiking.kernels.triton_scan import triton_scan
from art_spiking.neurons import coefficients
from art_spiking.surrogates import Atan

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported
pytest.importorskip("triton", reason="Triton is not installed; `make test-triton` brings it")

import kernel_samples as samples  # noqa: E402


def compare(current, c, semantics, surrogate, *, tolerance):
    samples.compare(
        [reference_scan, triton_scan],
        current.to(DEVICE),
        c.map(lambda t: t.to(DEVICE)),
        semantics,
        surrogate,
        tolerance=tolerance,
    )


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(samples.KINDS),
    semantics=samples.SEMANTICS,
    surrogate=samples.SURROGATE,
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
    uniform=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_it_equals_the_reference(kind, semantics, surrogate, sizes, uniform, seed):
    generator = torch.Generator().manual_seed(seed)
    c = coefficients(samples.neuron_of(kind, (1,) if uniform else sizes[2:], generator), semantics, 1000)
    current = 2 * torch.randn(sizes, generator=generator, dtype=torch.float64)
    compare(current, c, semantics, surrogate, tolerance=1e-9)
    compare(current.float(), c.map(lambda t: t.float()), semantics, surrogate, tolerance=1e-3)


@pytest.mark.parametrize(
    "shape", [(0, 4, 5), (2, 0, 5), (2, 4, 0), (1, 1, 1), (3, 1, 5), (2, 3, 300)], ids=str
)
def test_sizes_of_zero_and_one_and_of_more_than_a_block(shape):
    compare(samples.some_input(*shape), samples.some_layer(shape[2:]), samples.PLAIN, Atan(), tolerance=1e-9)


@pytest.mark.parametrize("rearranged", samples.LAYOUTS.values(), ids=samples.LAYOUTS)
def test_any_strides(rearranged):
    current = rearranged(samples.some_input(2, 3, 3, 4, 6))
    compare(current, samples.some_layer((3, 4, 6)), samples.PLAIN, Atan(), tolerance=1e-9)


COMPILE = """
import itertools
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from art_spiking.kernels import triton_loops

FLAGS = ("WIDE", "SYNAPSE", "SEVERAL", "STRICT")
GIVEN = {
    "forward": {"SPIKES": True, "POTENTIALS": True, "CANDIDATES": True},
    "backward": {"THROUGH": True, "CODE": 6, "BY_SPIKES": True, "BY_POTENTIALS": True},
}
compiled = 0
for name, dtype, reset, flag in itertools.product(GIVEN, ("fp32", "fp64"), range(5), (False, True)):
    function = getattr(triton_loops, name)
    constants = {**GIVEN[name], **dict.fromkeys(FLAGS, flag), "RESET": reset, "BLOCK": 256}
    kinds = {"neurons": "i32", "steps": "i32", "features": "i32", **dict.fromkeys(constants, "constexpr")}
    signature = {argument: kinds.get(argument, f"*{dtype}") for argument in function.arg_names}
    places = {(function.arg_names.index(k),): v for k, v in constants.items()}
    source = ASTSource(function, signature, places)
    code = compile(source, target=GPUTarget("cuda", 80, 32), options={"enable_fp_fusion": False})
    if name == "forward":
        assert "fma" not in code.asm["ptx"], constants
        assert "div.full" not in code.asm["ptx"], constants
    compiled += 1
print(compiled)
"""


@pytest.mark.slow
def test_it_compiles_for_a_gpu_without_one_and_fuses_no_multiply_add(tmp_path):
    """What an interpreter cannot show: the programs are Triton's language, and rounding is IEEE's."""
    given = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {
        "TRITON_CACHE_DIR": str(tmp_path)
    }
    found = subprocess.run(
        [sys.executable, "-c", COMPILE], env=given, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr[-2000:]
    assert found.stdout.split() == ["40"]
