# SPDX-License-Identifier: MIT
"""Convolution that costs what its input holds: each non-zero adds its weights to the outputs it reaches.

With weights w[o, c, k, l], strides s, t and paddings p, q, over the non-zero x[c, y, z] alone:

    out[i, j, o] = sum of w[o, c, k, l] x[c, y, z],   k = y + p - s i in [0, K),  l = z + q - t j in [0, L)

The terms of an output are added in the order of (k, l, c), by multiply-adds that round once. That is also the
order of oneDNN's direct convolution, up to 16 channels: spikes in, the same bits out. A term of zero would
change no sum, so leaving it out does not either.
"""

# ruff: noqa: PLR0913  compiled loops take rows; packing them into objects would cost them time

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from art_spiking.kernels.rows import inlined, row_loop
from art_spiking.kernels.vectors import LANES, load, lowest_bit, multiply_add, nonzero, spread_at, store

Array = NDArray[Any]


class Window(NamedTuple):
    """The sizes of a convolution; what is of two axes comes as rows, columns."""

    channels: int
    sides: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    out_channels: int
    out_sides: tuple[int, int]
    planar: bool
    """Whether a frame lies in memory as (C, H, W), or else as (H, W, C)."""

    @property
    def lanes(self) -> int:
        """Output channels, rounded up to whole vectors."""
        return -(-self.out_channels // LANES) * LANES


def packed(weight: Array, lanes: int) -> Array:
    """Weights (O, C, K, L) as [c, k, l, o] in one axis, o filled up with zeros."""
    full = np.zeros((*weight.shape[1:], lanes), weight.dtype)
    full[..., : weight.shape[0]] = weight.transpose(1, 2, 3, 0)
    return full.reshape(-1)


@row_loop
def reach(window: Window, lanes: int) -> Array:
    """For each (z, c) of an input row: place of the first output it reaches, of its weights, and how many.

    From one output to the next the place falls by `lanes`, that of the weights grows by t * lanes.
    """
    channels, stride, padding = window.channels, window.stride[1], window.padding[1]
    taps = window.kernel[0] * window.kernel[1]
    table = np.zeros((3, window.sides[1] * channels), np.int64)
    for z in range(window.sides[1]):
        tap = (z + padding) % stride
        j = (z + padding - tap) // stride
        beyond = max(0, j - window.out_sides[1] + 1)
        j, tap = j - beyond, tap + beyond * stride
        count = max(0, min((window.kernel[1] - tap + stride - 1) // stride, j + 1))
        for c in range(channels):
            place = z * channels + c
            table[0, place], table[1, place], table[2, place] = j * lanes, (c * taps + tap) * lanes, count
    return table


@row_loop
def add_frame(
    frame: Array,
    window: Window,
    weights: Array,
    lanes: int,
    table: Array,
    values: Array,
    places: Array,
    band: tuple[int, int],
    out: Array,
) -> None:
    """Adds the convolution of a frame, for a band of output rows, to `out` [i, j, o] in one axis.

    Args:
        frame: The frame in one axis.
        window: Sizes.
        weights: From `packed`.
        lanes: Output channels in `weights` and `out`.
        table: From `reach`.
        values: Room for the non-zeros of a row, W * C of the type of `weights`.
        places: Room for where they are, W * C.
        band: First row, and row after the last.
        out: Output.
    """
    first, last = band
    height, kernel, stride, padding = window.sides[0], window.kernel[0], window.stride[0], window.padding[0]
    row = window.out_sides[1] * lanes
    weights_row = window.kernel[1] * lanes
    for y in range(max(0, first * stride - padding), min(height, (last - 1) * stride - padding + kernel)):
        if window.planar:
            count = _find_planar(frame, y, window, values, places)
        else:
            count = _find(frame, y, window, values, places)
        if count == 0:
            continue
        # Output rows i = high, high - 1, ... are reached by the weights of rows tap, tap + stride, ...
        tap = (y + padding) % stride
        high = (y + padding - tap) // stride
        beyond = max(0, high - last + 1)
        high, tap = high - beyond, tap + beyond * stride
        reached = min((kernel - tap + stride - 1) // stride, high - first + 1)
        out_at, weights_at = (high - first) * row, tap * weights_row
        steps = (row, stride * weights_row, window.stride[1] * lanes)
        _scatter(count, values, places, table, weights, weights_at, out, out_at, reached, steps, lanes)


@row_loop
def _find(frame: Array, y: int, window: Window, values: Array, places: Array) -> int:
    """Lists the non-zeros of row y, of a frame whose channels come last, in the order of (z, c)."""
    length = window.sides[1] * window.channels
    start, count = y * length, 0
    whole = length // LANES * LANES
    for k in range(0, whole, LANES):
        bits = nonzero(frame, start + k)
        while bits:
            place = k + lowest_bit(bits)
            bits &= bits - 1
            values[count], places[count] = frame[start + place], place
            count += 1
    for place in range(whole, length):
        if frame[start + place] != 0:
            values[count], places[count] = frame[start + place], place
            count += 1
    return count


@row_loop
def _find_planar(frame: Array, y: int, window: Window, values: Array, places: Array) -> int:
    """`_find` for a frame whose channels come first; places and order are the same."""
    channels, width = window.channels, window.sides[1]
    plane = window.sides[0] * width
    start, count = y * width, 0
    for k in range(0, width, LANES):
        at, bits = k, np.int64(0)
        if width >= LANES:
            at = min(k, width - LANES)
            for c in range(channels):
                bits |= nonzero(frame, start + c * plane + at)
            bits = bits >> (k - at) << (k - at)
        else:
            for c in range(channels):
                for z in range(width):
                    bits |= np.int64(frame[start + c * plane + z] != 0) << z
        while bits:
            z = at + lowest_bit(bits)
            bits &= bits - 1
            for c in range(channels):
                value = frame[start + c * plane + z]
                if value != 0:
                    values[count], places[count] = value, z * channels + c
                    count += 1
    return count


@row_loop
def _scatter(
    count: int,
    values: Array,
    places: Array,
    table: Array,
    weights: Array,
    weights_at: int,
    out: Array,
    out_at: int,
    reached: int,
    steps: tuple[int, int, int],
    lanes: int,
) -> None:
    """Adds what the listed non-zeros of one input row give to the output rows it reaches."""
    row, weights_row, weights_step = steps
    for e in range(count):
        value, place = spread_at(values, e), places[e]
        o, w, taps = out_at + table[0, place], weights_at + table[1, place], table[2, place]
        for _ in range(reached):
            if taps == 3 and lanes == LANES:  # a kernel of three columns, or of five at stride two
                _add(value, weights, w, out, o)
                _add(value, weights, w + weights_step, out, o - LANES)
                _add(value, weights, w + 2 * weights_step, out, o - 2 * LANES)
            else:
                for tap in range(taps):
                    for k in range(0, lanes, LANES):
                        _add(value, weights, w + tap * weights_step + k, out, o - tap * lanes + k)
            o -= row
            w += weights_row


@inlined
def _add(value: Any, weights: Array, w: int, out: Array, o: int) -> None:
    store(out, o, multiply_add(value, load(weights, w), load(out, o)))
