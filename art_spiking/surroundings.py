# SPDX-License-Identifier: MIT
"""What is global in the libraries, in a given state for a while: code that is not ours draws from it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def own_surroundings(seed: int) -> Iterator[None]:
    """Seeds torch's, numpy's and Python's generators for a `with` block, and puts back what is global.

    For models and attacks that draw from global generators: two calls under one seed draw the same numbers,
    and nothing that a block does to generators, gradient mode, default type or threads outlives it.

    Args:
        seed: 0 to 2**32 - 1, as numpy takes it.
    """
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002 (it is put back)
    gradients, dtype, threads = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002 (for code that is not ours)
            random.seed(seed)
            yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
        torch.set_grad_enabled(gradients)
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
