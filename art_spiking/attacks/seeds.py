# SPDX-License-Identifier: MIT
"""Random streams that belong to samples, whatever else is in their batch."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
from torch import Tensor


def sample_keys(x: Tensor, seed: int) -> npt.NDArray[np.uint64]:
    """A number for each sample, by the seed and its own events: what is drawn for it starts there."""
    keys = [hashlib.blake2b(str(seed).encode(), digest_size=8) for _ in x]
    for key, sample in zip(keys, x.cpu().numpy(), strict=True):
        key.update(np.ascontiguousarray(sample).data)
    return np.array([int.from_bytes(key.digest(), "little") for key in keys], np.uint64)
