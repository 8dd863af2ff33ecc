# SPDX-License-Identifier: MIT
"""Sum and mean pooling of a block of neurons in compiled loops, channels last, over windows that tile it."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from art_spiking.kernels.events import Window
from art_spiking.kernels.rows import row_loop
from art_spiking.kernels.vectors import LANES, add, load, load_first, multiply_add, spread, store, store_first

Array = NDArray[Any]


@row_loop
def write_pooled(
    fired: Array, first: int, n: int, window: Window, pool: tuple[int, int], share: float, pooled: Array
) -> None:
    """Writes `share` of the sums over the windows of n features from `first` to a pooled frame."""
    zero, part = spread(pooled.dtype.type(0)), spread(pooled.dtype.type(share))
    channels, line = window.out_channels, window.out_channels * window.out_sides[1]
    whole = channels // LANES * LANES
    rest = channels - whole
    out = first // line // pool[0] * (line // pool[1])
    for corner_row in range(0, n, pool[0] * line):
        for corner in range(corner_row, corner_row + line, pool[1] * channels):
            for c in range(0, whole, LANES):
                total = zero
                for k in range(pool[0]):
                    for j in range(pool[1]):
                        total = add(total, load(fired, corner + k * line + j * channels + c))
                store(pooled, out + c, multiply_add(total, part, zero))
            if rest:
                total = zero
                for k in range(pool[0]):
                    for j in range(pool[1]):
                        at = corner + k * line + j * channels + whole
                        total = add(total, load_first(fired, at, rest))
                store_first(pooled, out + whole, multiply_add(total, part, zero), rest)
            out += channels


@row_loop
def spread_pooled(
    pooled: Array, first: int, n: int, window: Window, pool: tuple[int, int], share: float, row: Array
) -> None:
    """Writes to n features from `first` `share` of what a pooled frame has for their windows."""
    zero, part = spread(row.dtype.type(0)), spread(row.dtype.type(share))
    channels, line = window.out_channels, window.out_channels * window.out_sides[1]
    whole = channels // LANES * LANES
    rest = channels - whole
    source = first // line // pool[0] * (line // pool[1])
    for corner_row in range(0, n, pool[0] * line):
        for corner in range(corner_row, corner_row + line, pool[1] * channels):
            for k in range(pool[0]):
                for j in range(pool[1]):
                    at = corner + k * line + j * channels
                    for c in range(0, whole, LANES):
                        store(row, at + c, multiply_add(load(pooled, source + c), part, zero))
                    if rest:
                        some = multiply_add(load_first(pooled, source + whole, rest), part, zero)
                        store_first(row, at + whole, some, rest)
            source += channels
