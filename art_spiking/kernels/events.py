# SPDX-License-Identifier: MIT
"""Convolution that costs what its input holds: each non-zero adds its weights to the outputs it reaches.

With weights w[o, c, k, l], strides s, t and paddings p, q, over the non-zero x[c, y, z] alone:

    out[i, j, o] = sum of w[o, c, k, l] x[c, y, z],   k = y + p - s i in [0, K),  l = z + q - t j in [0, L)

The terms of an output are added in the order of (k, l, c), by multiply-adds that round once. That is also the
order of oneDNN's direct convolution, up to 16 channels: spikes in, the same bits out. A term of zero would
change no sum: leaving one out does not either, nor does adding one where there is no tap.
"""

# ruff: noqa: PLR0913  compiled loops take rows; packing them into objects would cost them time

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from art_spiking.kernels.aligned import aligned
from art_spiking.kernels.rows import inlined, row_loop
from art_spiking.kernels.vectors import LANES, load, lowest_bit, multiply_add, nonzero, spread_at, store

Array = NDArray[Any]

_WORD = 64


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


def packed(weight: Array, stride: tuple[int, int]) -> Array:
    """Weights (O, C, K, L) as [r, r', c, m, m', o] in one axis, zeros where there is no tap or channel.

    Tap (r + s m, r' + t m') is what an input at a place of phase (r, r') has for the output m rows and m'
    columns before the last that it reaches; o is filled up to whole vectors.
    """
    outputs, channels, *kernel = weight.shape
    depth = [-(-k // s) for k, s in zip(kernel, stride, strict=True)]
    lanes = -(-outputs // LANES) * LANES
    full = np.zeros((lanes, channels, depth[0] * stride[0], depth[1] * stride[1]), weight.dtype)
    full[:outputs, :, : kernel[0], : kernel[1]] = weight
    split = full.reshape(lanes, channels, depth[0], stride[0], depth[1], stride[1])
    return aligned(split.transpose(3, 5, 1, 2, 4, 0))


@row_loop
def margins(window: Window) -> tuple[int, int, int]:
    """Rows around a band of outputs that inputs add to in vain, columns before it, and columns in all."""
    (s_h, s_w), (k_h, k_w) = window.stride, window.kernel
    rows, columns = (k_h + s_h - 1) // s_h - 1, (k_w + s_w - 1) // s_w - 1
    last = (window.sides[1] - 1 + window.padding[1]) // s_w
    return rows, columns, columns + max(window.out_sides[1], last + 1)


@row_loop
def sums_size(window: Window, lanes: int, band_rows: int) -> int:
    """Numbers that `add_frame` needs for a band of some rows."""
    rows, _, columns = margins(window)
    return (band_rows + 2 * rows) * columns * lanes


@row_loop
def reach(window: Window, lanes: int) -> Array:
    """For each (z, c) of an input row: place of the last output it reaches, and of its weights."""
    channels, stride, padding = window.channels, window.stride[1], window.padding[1]
    _, before, _ = margins(window)
    taps = ((window.kernel[0] + window.stride[0] - 1) // window.stride[0]) * (before + 1)
    table = np.zeros((2, window.sides[1] * channels), np.int64)
    for z in range(window.sides[1]):
        phase, j = (z + padding) % stride, (z + padding) // stride
        for c in range(channels):
            place = z * channels + c
            table[0, place] = (before + j) * lanes
            table[1, place] = (phase * channels + c) * taps * lanes
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
    ends: Array,
    band: tuple[int, int],
    out: Array,
) -> None:
    """Adds the convolution of a frame, for a band of output rows, to `out` [row, column, o] in one axis.

    With `margins` around it every input adds to equally many places, and none asks which are outputs.

    Args:
        frame: The frame in one axis.
        window: Sizes.
        weights: From `packed`.
        lanes: Output channels in `weights` and `out`.
        table: From `reach`.
        values: Room for the non-zeros of a frame, H * W * C of the type of `weights`.
        places: Room for where in a row they are, H * W * C.
        ends: Room for how many there are up to the end of each row, H.
        band: First row, and row after the last.
        out: Output, of `sums_size`.
    """
    first, last = band
    stride, padding = window.stride[0], window.padding[0]
    rows = (
        max(0, first * stride - padding),
        min(window.sides[0], (last - 1) * stride - padding + window.kernel[0]),
    )
    # Two calls for a frame: for each of its rows, passing so many arrays took as long as the rest.
    if window.planar:
        count = _find_planar(frame, rows, window, values, places, ends)
    else:
        count = _find(frame, rows, window, values, places, ends)
    if count:
        _scatter(rows, first, values, places, ends, table, weights, out, window, lanes)


@row_loop
def _find(
    frame: Array, rows: tuple[int, int], window: Window, values: Array, places: Array, ends: Array
) -> int:
    """Lists the non-zeros of some rows, of a frame whose channels come last, in the order of (y, z, c)."""
    length = window.sides[1] * window.channels
    count, whole = 0, length // LANES * LANES
    for y in range(rows[0], rows[1]):
        start = y * length
        for k in range(0, whole, _WORD):
            bits = np.int64(0)
            for at in range(k, min(k + _WORD, whole), LANES):
                bits |= nonzero(frame, start + at) << (at - k)
            while bits:
                place = k + lowest_bit(bits)
                bits &= bits - 1
                values[count], places[count] = frame[start + place], place
                count += 1
        for place in range(whole, length):
            if frame[start + place] != 0:
                values[count], places[count] = frame[start + place], place
                count += 1
        ends[y] = count
    return count


@row_loop
def _find_planar(
    frame: Array, rows: tuple[int, int], window: Window, values: Array, places: Array, ends: Array
) -> int:
    """`_find` for a frame whose channels come first; places and order are the same."""
    channels, width = window.channels, window.sides[1]
    plane, count = window.sides[0] * width, 0
    for y in range(rows[0], rows[1]):
        start = y * width
        for k in range(0, width, _WORD):
            bits = np.int64(0)
            for c in range(channels):
                if width < LANES:
                    for z in range(width):
                        bits |= np.int64(frame[start + c * plane + z] != 0) << z
                for first in range(k, min(k + _WORD, width) if width >= LANES else 0, LANES):
                    at = min(first, width - LANES)  # the last ones may be looked at twice
                    some = nonzero(frame, start + c * plane + at)
                    bits |= some << (at - k) if at >= k else some >> (k - at)
            while bits:
                z = k + lowest_bit(bits)
                bits &= bits - 1
                for c in range(channels):
                    # Written in any case, counted if it is one: in which channel, none has to guess.
                    value = frame[start + c * plane + z]
                    values[count], places[count] = value, z * channels + c
                    count += value != 0
        ends[y] = count
    return count


@row_loop
def _scatter(
    rows: tuple[int, int],
    first: int,
    values: Array,
    places: Array,
    ends: Array,
    table: Array,
    weights: Array,
    out: Array,
    window: Window,
    lanes: int,
) -> None:
    """Adds what the listed non-zeros of some input rows give to the outputs they reach."""
    stride, padding = window.stride[0], window.padding[0]
    above, before, columns = margins(window)
    pitch = columns * lanes
    nine = above == 2 and before == 2 and lanes == LANES  # three rows and columns, or five at stride two
    begin = 0
    for y in range(rows[0], rows[1]):
        phase, row = (y + padding) % stride, (y + padding) // stride
        weights_at, out_at = phase * (weights.size // stride), (row - first + above) * pitch
        for e in range(begin, ends[y]):
            place = places[e]
            o, w = out_at + table[0, place], weights_at + table[1, place]
            if not np.isfinite(values[e]):
                _add_real_taps(values[e], weights, w, out, o, pitch, window, phase, place, lanes)
                continue
            value = spread_at(values, e)
            if nine:
                for _ in range(3):
                    _add(value, weights, w, out, o)
                    _add(value, weights, w + LANES, out, o - LANES)
                    _add(value, weights, w + 2 * LANES, out, o - 2 * LANES)
                    o -= pitch
                    w += 3 * LANES
                continue
            for _ in range(above + 1):
                for tap in range(before + 1):
                    for k in range(0, lanes, LANES):
                        _add(value, weights, w + tap * lanes + k, out, o - tap * lanes + k)
                o -= pitch
                w += (before + 1) * lanes
        begin = ends[y]


@row_loop
def _add_real_taps(
    value: float,
    weights: Array,
    w: int,
    out: Array,
    o: int,
    pitch: int,
    window: Window,
    phase: int,
    place: int,
    lanes: int,
) -> None:
    """`_scatter` of an infinity or NaN, which times the zero of a tap that there is not would not be zero."""
    above, before, _ = margins(window)
    column = (place // window.channels + window.padding[1]) % window.stride[1]
    for m in range(above + 1):
        for tap in range(before + 1):
            if phase + m * window.stride[0] < window.kernel[0] and (
                column + tap * window.stride[1] < window.kernel[1]
            ):
                for c in range(window.out_channels):
                    at = o - m * pitch - tap * lanes + c
                    out[at] += value * weights[w + (m * (before + 1) + tap) * lanes + c]


@inlined
def _add(value: Any, weights: Array, w: int, out: Array, o: int) -> None:
    store(out, o, multiply_add(value, load(weights, w), load(out, o)))
