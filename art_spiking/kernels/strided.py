# SPDX-License-Identifier: MIT
"""The gradient of a strided convolution by frames of few channels, in compiled loops."""

# ruff: noqa: PLR0913  compiled loops take rows; packing them into objects would cost them time

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from art_spiking.compiling import compiled
from art_spiking.kernels.aligned import aligned, row_of
from art_spiking.kernels.events import Window
from art_spiking.kernels.rows import row_loop
from art_spiking.kernels.vectors import (
    LANES,
    load,
    multiply_add,
    spread,
    spread_at,
    store,
    store_zipped,
    transpose,
)

Array = NDArray[Any]


def has_few_channels(window: Window) -> bool:
    """Whether `by_frames` pays: phases and channels fill half of oneDNN's vectors at most.

    Measured for 2 channels at stride 2: 0.5 of the time of one convolution for all phases.
    """
    return window.planar and window.channels * window.stride[0] * window.stride[1] <= LANES // 2


def packed_phases(weight: Array, stride: tuple[int, int]) -> Array:
    """Weights (O, C, K, L) as [r, r', pair, m, m', o, 2] in one axis, zeros where there is no tap or channel.

    The tap (r + s m, r' + t m') belongs to phase (r, r'), see `frames.input_gradient`; channels go in pairs.
    """
    outputs, channels, *kernel = weight.shape
    depth = [-(-k // s) for k, s in zip(kernel, stride, strict=True)]
    pairs = -(-channels // 2)
    full = np.zeros((outputs, 2 * pairs, depth[0] * stride[0], depth[1] * stride[1]), weight.dtype)
    full[:, :channels, : kernel[0], : kernel[1]] = weight
    split = full.reshape(outputs, pairs, 2, depth[0], stride[0], depth[1], stride[1])
    return aligned(split.transpose(4, 6, 1, 3, 5, 0, 2))


@compiled
def by_frames(by_y: Array, by_x: Array, window: Window, weights: Array, span: tuple[int, int]) -> None:
    """Writes the gradients by the frames of a span.

    Args:
        by_y: Gradients (M, H' * W' * O) by the output, channels last.
        by_x: Gradients (M, C * H * W), which are written.
        window: Sizes.
        weights: From `packed_phases`.
        span: First frame, and frame after the last.
    """
    planes, sums, line = room(window, weights)
    for frame in range(span[0], span[1]):
        by_frame(by_y[frame], by_x[frame], window, weights, planes, sums, line)


@row_loop
def _lengths(window: Window) -> tuple[int, int, int]:
    """From one row of a plane to the next, places before the first row, and places of a plane from there."""
    (height, width), (s_h, s_w) = window.out_sides, window.stride
    m_h, m_w = (window.kernel[0] + s_h - 1) // s_h, (window.kernel[1] + s_w - 1) // s_w
    pitch = width + m_w - 1
    places = ((height + m_h - 1) * pitch + LANES - 1) // LANES * LANES
    return pitch, (m_h - 1) * pitch + m_w - 1, places


@row_loop
def room(window: Window, weights: Array) -> tuple[Array, Array, Array]:
    """What `by_frame` works in: planes, whose margins stay zero, sums, and a line; small without weights."""
    if weights.size == 0:
        nothing = np.zeros(0, weights.dtype)
        return nothing, nothing, nothing
    pitch, before, places = _lengths(window)
    s_w = window.stride[1]
    planes = row_of(window.out_channels * (before + places), weights)
    sums = row_of(s_w * 2 * places + LANES, weights)
    line = row_of(max(s_w * (pitch + LANES), window.sides[1] + window.padding[1]) + LANES, weights)
    planes[:], sums[:], line[:] = 0, 0, 0
    return planes, sums, line


@row_loop
def by_frame(
    by_y: Array, by_x: Array, window: Window, weights: Array, planes: Array, sums: Array, line: Array
) -> None:
    """Writes the gradient by one frame; arguments as those of `by_frames`, and from `room`.

    The frame of by_y is laid out as one plane for each output channel, with zeros between its rows and
    before its first, so that a shift by (m, m') is one of places. A phase is then a sum of shifted planes
    times weights, of which two channels and four vectors of places are held in registers at a time.
    """
    kernel_h, kernel_w = window.kernel
    (s_h, s_w), outputs = window.stride, window.out_channels
    m_h, m_w = (kernel_h + s_h - 1) // s_h, (kernel_w + s_w - 1) // s_w
    pitch, before, places = _lengths(window)
    length = before + places
    pairs = (window.channels + 1) // 2
    _lay_out(by_y, window, planes, before, pitch, length)
    for r_h in range(s_h):
        for pair in range(pairs):
            for r_w in range(s_w):
                # Taps beyond the kernel are zero, and left out.
                taps = ((kernel_h - r_h + s_h - 1) // s_h, (kernel_w - r_w + s_w - 1) // s_w)
                at = ((r_h * s_w + r_w) * pairs + pair) * m_h * m_w * outputs * 2
                out = r_w * 2 * places
                _correlate(planes, before, pitch, length, outputs, weights, at, taps, m_w, sums, out, places)
            for c in range(2 * pair, min(2 * pair + 2, window.channels)):
                _interleave(sums, (c - 2 * pair) * places, places, pitch, window, c, r_h, line, by_x)


@row_loop
def _lay_out(frame: Array, window: Window, planes: Array, before: int, pitch: int, length: int) -> None:
    (height, width), outputs = window.out_sides, window.out_channels
    whole_j, whole_o = width // LANES * LANES, outputs // LANES * LANES
    for i in range(height):
        source, target = i * width * outputs, before + i * pitch
        for j in range(0, whole_j, LANES):
            for o in range(0, whole_o, LANES):
                transpose(frame, source + j * outputs + o, outputs, planes, o * length + target + j, length)
        for j in range(width):
            for o in range(whole_o if j < whole_j else 0, outputs):
                planes[o * length + target + j] = frame[source + j * outputs + o]


@row_loop
def _correlate(
    planes: Array,
    before: int,
    pitch: int,
    length: int,
    outputs: int,
    weights: Array,
    at: int,
    taps: tuple[int, int],
    m_w: int,
    sums: Array,
    out: int,
    places: int,
) -> None:
    """Writes one phase of two channels."""
    zero = spread(planes.dtype.type(0))
    four = places // (4 * LANES) * 4 * LANES
    for q in range(0, four, 4 * LANES):
        a0, a1, a2, a3, b0, b1, b2, b3 = zero, zero, zero, zero, zero, zero, zero, zero
        for k in range(taps[0]):
            for j in range(taps[1]):
                p, w = before + q - k * pitch - j, at + (k * m_w + j) * outputs * 2
                for _ in range(outputs):
                    first, second = spread_at(weights, w), spread_at(weights, w + 1)
                    x0, x1 = load(planes, p), load(planes, p + LANES)
                    x2, x3 = load(planes, p + 2 * LANES), load(planes, p + 3 * LANES)
                    a0, a1 = multiply_add(first, x0, a0), multiply_add(first, x1, a1)
                    a2, a3 = multiply_add(first, x2, a2), multiply_add(first, x3, a3)
                    b0, b1 = multiply_add(second, x0, b0), multiply_add(second, x1, b1)
                    b2, b3 = multiply_add(second, x2, b2), multiply_add(second, x3, b3)
                    p += length
                    w += 2
        store(sums, out + q, a0)
        store(sums, out + q + LANES, a1)
        store(sums, out + q + 2 * LANES, a2)
        store(sums, out + q + 3 * LANES, a3)
        store(sums, out + places + q, b0)
        store(sums, out + places + q + LANES, b1)
        store(sums, out + places + q + 2 * LANES, b2)
        store(sums, out + places + q + 3 * LANES, b3)
    for q in range(four, places, LANES):
        a0, b0 = zero, zero
        for k in range(taps[0]):
            for j in range(taps[1]):
                p, w = before + q - k * pitch - j, at + (k * m_w + j) * outputs * 2
                for _ in range(outputs):
                    x0 = load(planes, p)
                    a0 = multiply_add(spread_at(weights, w), x0, a0)
                    b0 = multiply_add(spread_at(weights, w + 1), x0, b0)
                    p += length
                    w += 2
        store(sums, out + q, a0)
        store(sums, out + places + q, b0)


@row_loop
def _interleave(
    sums: Array,
    at: int,
    places: int,
    pitch: int,
    window: Window,
    c: int,
    r_h: int,
    line: Array,
    frame: Array,
) -> None:
    """Writes the phases of a channel's rows s q + r - p to where they belong; zeros where no window reaches.

    A row is put together in `line`, whose place s q + r is x + p.
    """
    (height, width), (s_h, s_w), (p_h, p_w) = window.sides, window.stride, window.padding
    zero = spread(line.dtype.type(0))
    for y in range((r_h - p_h) % s_h, height, s_h):
        source = at + (y + p_h - r_h) // s_h * pitch
        reached = s_w * pitch if source < at + places - pitch + 1 else 0
        if s_w == 2:
            for q in range(0, reached // 2, LANES):
                store_zipped(line, 2 * q, load(sums, source + q), load(sums, source + 2 * places + q))
        else:
            for r in range(s_w):
                for q in range(reached // s_w):
                    line[s_w * q + r] = sums[source + r * 2 * places + q]
        for x in range(reached, width + p_w, LANES):
            store(line, x, zero)
        out = (c * height + y) * width
        whole = width // LANES * LANES
        for x in range(0, whole, LANES):
            store(frame, out + x, load(line, p_w + x))
        for x in range(whole, width):
            frame[out + x] = line[p_w + x]
