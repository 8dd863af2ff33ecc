# SPDX-License-Identifier: MIT
"""Vectors of compiled loops: the exponential, and the first elements alone."""

import numba
import numpy as np
import pytest

from art_spiking.kernels.vectors import LANES, exponential, load, load_first, store, store_first


@numba.njit
def exponentials(x, out):
    for k in range(0, len(x), LANES):
        store(out, k, exponential(load(x, k)))


@numba.njit
def copy_first(source, target, count):
    store_first(target, 1, load_first(source, 1, count), count)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exponentials_are_those_of_the_library(dtype):
    least = -87 if dtype == np.float32 else -708
    x = np.concatenate([np.linspace(least, 0, 4080), -np.geomspace(1e-9, 1, 15), [0.0]]).astype(dtype)
    found = np.full_like(x, np.nan)
    exponentials(x, found)
    expected = np.exp(x.astype(np.float64))
    assert np.max(np.abs(found / expected - 1)) < 2 * np.finfo(dtype).eps
    assert found[-1] == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_far_below_zero_becomes_next_to_nothing(dtype):
    x = np.array([-1e3, -1e6, -np.inf, -3e38] * 4, dtype)
    found = np.full_like(x, np.nan)
    exponentials(x, found)
    assert (found > 0).all()
    assert (found < 10 * np.finfo(dtype).tiny).all()


@pytest.mark.parametrize("count", [0, 1, 7, LANES])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_first_elements_alone_are_written(dtype, count):
    source, target = np.arange(20, dtype=dtype), np.full(20, -1, dtype)
    copy_first(source, target, count)
    assert np.array_equal(target[1 : 1 + count], source[1 : 1 + count])
    assert (np.delete(target, np.s_[1 : 1 + count]) == -1).all()
