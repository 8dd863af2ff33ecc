# SPDX-License-Identifier: MIT
"""Arrays that begin where a cache line does: a vector that lies across two lines costs twice."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from art_spiking.kernels.rows import row_loop

Array = NDArray[Any]

_LINE = 64


def aligned(array: Array) -> Array:
    """A contiguous copy, in one axis."""
    loose = np.empty(array.nbytes + _LINE, np.uint8)
    skip = -loose.ctypes.data % _LINE
    found: Array = loose[skip : skip + array.nbytes].view(array.dtype)
    found[:] = array.reshape(-1)
    return found


@row_loop
def row_of(count: int, like: Array) -> Array:
    """Room for some numbers of the type of another array, for compiled loops."""
    items = _LINE // like.itemsize
    loose = np.empty(count + items, like.dtype)
    skip = -(loose.ctypes.data // like.itemsize) % items
    return loose[skip : skip + count]


@row_loop
def rows_of(rows: int, count: int, like: Array) -> Array:
    """`row_of` for rows one after the other; each begins with a line where `count` fills whole ones."""
    return row_of(rows * count, like).reshape(rows, count)
