# SPDX-License-Identifier: MIT
"""What is global in the libraries: seeded for a block, and as it was afterwards."""

import random

import numpy as np
import pytest
import torch

from art_spiking.surroundings import own_surroundings


def draws() -> tuple[float, float, float]:
    return float(torch.rand(())), float(np.random.rand()), random.random()  # noqa: NPY002 (the global ones)


def test_one_seed_gives_the_same_numbers_and_another_gives_others():
    with own_surroundings(3):
        first = draws()
    with own_surroundings(3):
        assert draws() == first
    with own_surroundings(4):
        assert all(a != b for a, b in zip(draws(), first, strict=True))


def test_what_is_global_is_put_back_after_an_error_too():
    state = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    threads = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="midway"), own_surroundings(0):
        draws()
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(threads + 1)
        raise RuntimeError("midway")
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.array_equal(np.random.get_state()[1], state[1])  # noqa: NPY002
    assert random.getstate() == state[2]
