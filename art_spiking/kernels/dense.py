# SPDX-License-Identifier: MIT
"""The gradient of a small convolution by frames whose channels come last, in compiled loops."""

# ruff: noqa: PLR0913  compiled loops take rows; packing them into objects would cost them time

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from art_spiking.kernels.aligned import aligned, row_of
from art_spiking.kernels.events import Window
from art_spiking.kernels.rows import row_loop
from art_spiking.kernels.vectors import LANES, load, multiply_add, spread, spread_at, store

Array = NDArray[Any]

PLACES = 8
_CACHED = 1 << 13
"""Weights that stay in a core's first cache beside a frame; oneDNN takes more of them in blocks."""


def serves(window: Window) -> bool:
    """Whether `by_frame` can give the gradient, and pays."""
    return (
        not window.planar
        and window.stride == (1, 1)
        and window.channels % LANES == 0
        and window.sides[1] >= PLACES
        and all(p < k for p, k in zip(window.padding, window.kernel, strict=True))
        and window.channels * window.out_channels * window.kernel[0] * window.kernel[1] <= _CACHED
    )


def packed_taps(weight: Array) -> Array:
    """Weights (O, C, K, L), C a multiple of `LANES`, as [block of c, k, l, o, c] in one axis."""
    outputs, channels, *kernel = weight.shape
    blocks = weight.reshape(outputs, channels // LANES, LANES, *kernel)
    return aligned(blocks.transpose(1, 3, 4, 0, 2))


@row_loop
def margin_room(window: Window, weights: Array) -> Array:
    """What `by_frame` works in: a frame with zeros beside its rows; small without weights."""
    pitch = (window.out_sides[1] + 2 * (window.kernel[1] - 1)) * window.out_channels
    wide = row_of(window.out_sides[0] * pitch if weights.size else 0, weights)
    wide[:] = 0
    return wide


@row_loop
def by_frame(by_y: Array, by_x: Array, window: Window, weights: Array, wide: Array) -> None:
    """Writes the gradient by one frame, at stride 1.

    With dy zero beyond its sides, dx[y, z, c] = sum of w[o, c, k, l] dy[y + p - k, z + q - l, o]. Sums of
    eight places and 16 channels are held in registers at a time.

    Args:
        by_y: Gradient (H' * W' * O) by the output, channels last.
        by_x: Gradient (H * W * C), channels last, which is written.
        window: Sizes, for which `serves` holds.
        weights: From `packed_taps`.
        wide: From `margin_room`.
    """
    (height, width), outputs = window.out_sides, window.out_channels
    kernel, padding, channels = window.kernel, window.padding, window.channels
    line, margin = width * outputs, (kernel[1] - 1) * outputs
    pitch = line + 2 * margin
    for i in range(height):
        for j in range(line):
            wide[i * pitch + margin + j] = by_y[i * line + j]
    block = kernel[0] * kernel[1] * outputs * LANES
    for y in range(window.sides[0]):
        # Rows y + p - k of the output, for k from the first to the last that is one.
        first, last = max(0, y + padding[0] - height + 1), min(kernel[0], y + padding[0] + 1)
        for c in range(0, channels, LANES):
            taps = c // LANES * block
            at = y * window.sides[1] * channels + c
            for place in range(0, window.sides[1], PLACES):
                z = min(place, window.sides[1] - PLACES)  # the last ones may be computed twice
                source = (y + padding[0]) * pitch + (z + padding[1] + kernel[1] - 1) * outputs
                out = at + z * channels
                _eight(
                    wide, source, pitch, outputs, kernel[1], weights, taps, first, last, by_x, out, channels
                )


@row_loop
def _eight(
    wide: Array,
    source: int,
    pitch: int,
    outputs: int,
    columns: int,
    weights: Array,
    taps: int,
    first: int,
    last: int,
    by_x: Array,
    at: int,
    channels: int,
) -> None:
    """Writes eight places that follow each other in a row."""
    zero = spread(weights.dtype.type(0))
    a0, a1, a2, a3, a4, a5, a6, a7 = zero, zero, zero, zero, zero, zero, zero, zero
    for k in range(first, last):
        for j in range(columns):
            p, w = source - k * pitch - j * outputs, taps + (k * columns + j) * outputs * LANES
            for _ in range(outputs):
                tap = load(weights, w)
                a0 = multiply_add(spread_at(wide, p), tap, a0)
                a1 = multiply_add(spread_at(wide, p + outputs), tap, a1)
                a2 = multiply_add(spread_at(wide, p + 2 * outputs), tap, a2)
                a3 = multiply_add(spread_at(wide, p + 3 * outputs), tap, a3)
                a4 = multiply_add(spread_at(wide, p + 4 * outputs), tap, a4)
                a5 = multiply_add(spread_at(wide, p + 5 * outputs), tap, a5)
                a6 = multiply_add(spread_at(wide, p + 6 * outputs), tap, a6)
                a7 = multiply_add(spread_at(wide, p + 7 * outputs), tap, a7)
                p += 1
                w += LANES
    store(by_x, at, a0)
    store(by_x, at + channels, a1)
    store(by_x, at + 2 * channels, a2)
    store(by_x, at + 3 * channels, a3)
    store(by_x, at + 4 * channels, a4)
    store(by_x, at + 5 * channels, a5)
    store(by_x, at + 6 * channels, a6)
    store(by_x, at + 7 * channels, a7)
