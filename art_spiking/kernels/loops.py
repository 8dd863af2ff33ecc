# SPDX-License-Identifier: MIT
"""The compiled loops of a layer of neurons over all time steps, forward and backward.

One algorithm serves every neuron: `neurons.Coefficients` made them the same recurrence. A tile is one sample
and a block of features; in a tile, time is the outer loop and features the inner one, see `rows`. What enters
is the neurons' current, or the input of a convolution, see `events`, whose output never leaves the cache.
What leaves may be summed over the windows of a pooling at once.
"""

# ruff: noqa: PLR0913  compiled loops take rows; packing them into objects would cost them time

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from art_spiking.compiling import compiled
from art_spiking.kernels import dense, strided
from art_spiking.kernels.aligned import row_of, rows_of
from art_spiking.kernels.events import Window, add_frame, margins, reach, sums_size
from art_spiking.kernels.pooling import spread_pooled, write_pooled
from art_spiking.kernels.rows import BLANK_LATER, advance, retreat, row_loop, start
from art_spiking.kernels.vectors import LANES, add, load, load_first, spread, store, store_first

Array = NDArray[Any]

_TILE_BYTES = 1 << 23
"""What a tile's potentials may take in the backward pass, all steps together.

Bands of a convolution's rows look at the rows of input around them twice, so that long recordings are faster
in few: with 2 MiB a gradient of the community N-MNIST network took 1.2 times as long at 310 and 1000 steps.
"""


def tile_width(steps: int, features: int, item_bytes: int, unit: int = 1) -> int:
    """How many features a tile takes: up to 4096, fewer where many steps would need much memory.

    Short rows cost more, because rows of a batch lie far apart in memory: 1024 of 4096 features take twice
    the time of all of them per element forward, and 1.6 times backward (measured at 31 steps).

    Args:
        steps: Time steps.
        features: Of the layer.
        item_bytes: Of one number.
        unit: Features that stay together, as those of a row of places.
    """
    fitting = _TILE_BYTES // (max(steps, 1) * item_bytes)
    width = max(1, min(features, max(128, min(4096, fitting // 16 * 16))))
    return max(1, width // unit) * unit


@row_loop
def write_currents(
    frame: Array,
    first: int,
    n: int,
    window: Window,
    weights: Array,
    lanes: int,
    table: Array,
    values: Array,
    places: Array,
    ends: Array,
    sums: Array,
    bias: Array,
    row: Array,
) -> None:
    """Writes what enters the neurons of a tile, from the input of a convolution, to `row`.

    `sums`, of `sums_size`, is zero where there are outputs, before and after.
    """
    channels, width = window.out_channels, window.out_sides[1]
    line = channels * width
    band = (first // line, (first + n) // line)
    add_frame(frame, window, weights, lanes, table, values, places, ends, band, sums)
    rows, columns, pitch = margins(window)
    zero = spread(sums.dtype.type(0))
    for i in range(band[1] - band[0]):
        source, target = ((i + rows) * pitch + columns) * lanes, i * line
        if lanes == channels:
            for k in range(0, line, LANES):
                store(row, target + k, add(load(sums, source + k), load(bias, target + k)))
                store(sums, source + k, zero)
        else:
            whole = channels // LANES * LANES
            for _ in range(width):
                for c in range(0, whole, LANES):
                    store(row, target + c, add(load(sums, source + c), load(bias, target + c)))
                    store(sums, source + c, zero)
                rest = channels - whole
                total = add(load(sums, source + whole), load_first(bias, target + whole, rest))
                store_first(row, target + whole, total, rest)
                store(sums, source + whole, zero)
                source += lanes
                target += channels


@compiled
def forward(
    x: Array,
    spikes: Array,
    potentials: Array,
    currents: Array,
    parameters: tuple[Array, ...],
    numbers: Array,
    flags: tuple[int, ...],
    window: Window,
    weights: Array,
    lanes: int,
    pool: tuple[int, int],
    span: tuple[int, ...],
) -> None:
    """Writes spikes, potentials and currents (N, T, F), each unless it is empty, of the tiles of a span.

    Args:
        x: The neurons' current (N, T, F), or the input of a convolution (N, T, E); contiguous.
        spikes: Output, or an array of size 0.
        potentials: Output, or an array of size 0.
        currents: What a convolution gives the neurons, to be kept, or an array of size 0.
        parameters: Nine arrays of F elements or one: decay, gain, offset, v_reset, synapse decay and gain,
            threshold, least potential that fires, bias of the convolution.
        numbers: Lower clamp, the surrogate's two constants, and the share of a window's sum that is put out.
        flags: Synapse, several spikes, strict comparison, reset, through the reset, surrogate, and whether
            all neurons are alike.
        window: Sizes of the convolution.
        weights: From `events.packed`, or of size 0 without a convolution.
        lanes: `window.lanes`.
        pool: Sides of windows over which spikes are summed; they tile the places of a tile. (1, 1): none.
        span: First tile, tile after the last, features per tile.
    """
    reset = flags[3]
    begin, stop, width = span
    steps = x.shape[1]
    convolves, pools = weights.size > 0, pool[0] * pool[1] > 1
    features = window.out_channels * window.out_sides[0] * window.out_sides[1] if convolves else x.shape[2]
    rows = rows_of(11, width, x)
    state = rows_of(3, width, x)
    spare = rows_of(4, width, x)
    table = reach(window, lanes)
    inputs = window.sides[0] * window.sides[1] * window.channels
    values, places, ends = row_of(inputs, x), np.empty(inputs, np.int64), np.empty(window.sides[0], np.int64)
    band_rows = width // (window.out_channels * window.out_sides[1])
    sums = row_of(sums_size(window, lanes, band_rows) if convolves else 0, x)
    for tile in range(begin, stop):
        sample, first, n = start(tile, features, width, parameters, reset, rows, state)
        sums[:] = 0
        for t in range(steps):
            if convolves:
                x_row = currents[sample, t, first : first + n] if currents.size else spare[3]
                frame = x[sample, t]
                write_currents(
                    frame, first, n, window, weights, lanes, table, values, places, ends, sums, rows[8], x_row
                )
            else:
                x_row = x[sample, t, first : first + n]
            u = potentials[sample, t, first : first + n] if potentials.size else spare[0]
            fired = spare[1] if pools or not spikes.size else spikes[sample, t, first : first + n]
            advance(x_row, state, rows, n, numbers[0], flags, u, fired, spare[2])
            if pools:
                write_pooled(fired, first, n, window, pool, numbers[3], spikes[sample, t])


@compiled
def backward(
    x: Array,
    by_spikes: Array,
    by_potentials: Array,
    by_x: Array,
    by_frames: Array,
    parameters: tuple[Array, ...],
    numbers: Array,
    flags: tuple[int, ...],
    window: Window,
    weights: Array,
    taps: Array,
    lanes: int,
    pool: tuple[int, int],
    span: tuple[int, ...],
) -> None:
    """Writes the gradient by the current (N, T, F), for the tiles of a span; arguments as those of `forward`.

    With `taps`, the gradient by the input of the convolution is written instead, to `by_frames` (N, T, E): a
    tile must then be a whole sample, and `by_x` is of size 0. They are from `strided.packed_phases` where a
    frame of the input is planar, or else from `dense.packed_taps`.

    With a[t] = dL/du[t] before clamp and delayed reset, h the surrogate, and everything at step t:

        dL/ds = by_spikes + [through the reset] * (dL/dv dv/ds + a[t+1] du[t+1]/ds)
        dL/du = h dL/ds + decay a[t+1] dv/du + by_potentials,     a[t] = dL/du where u > low, else 0
        dL/di = gain a[t] + synapse_decay dL/di[t+1],             dL/dx = synapse_gain dL/di

    Potentials are computed again first, and kept for one tile: of a layer that convolves nothing is stored
    but its input.
    """
    _, several, _, reset, _, _, _ = flags
    begin, stop, width = span
    steps = x.shape[1]
    convolves, pools = weights.size > 0, pool[0] * pool[1] > 1
    features = window.out_channels * window.out_sides[0] * window.out_sides[1] if taps.size else by_x.shape[2]
    rows = rows_of(11, width, x)
    state = rows_of(3, width, x)
    spare = rows_of(8, width, x)
    silent, drive, by_row = spare[5], spare[6], spare[7]
    phases, wide = (taps, taps[:0]) if window.planar else (taps[:0], taps)
    planes, phase_sums, line = strided.room(window, phases)
    padded = dense.margin_room(window, wide)
    keeps_counts = several or reset == BLANK_LATER
    u = rows_of(steps, width, x)
    counts = rows_of(steps if keeps_counts else 1, width, x)
    candidates = rows_of(steps if reset == BLANK_LATER else 1, width, x)
    nothing = np.empty(0, x.dtype)
    table = reach(window, lanes)
    inputs = window.sides[0] * window.sides[1] * window.channels
    values, places, ends = row_of(inputs, x), np.empty(inputs, np.int64), np.empty(window.sides[0], np.int64)
    band_rows = width // (window.out_channels * window.out_sides[1])
    sums = row_of(sums_size(window, lanes, band_rows) if convolves else 0, x)
    for tile in range(begin, stop):
        sample, first, n = start(tile, features, width, parameters, reset, rows, state)
        spare[:], sums[:] = 0, 0
        for t in range(steps):
            if convolves:
                x_row = drive
                frame = x[sample, t]
                write_currents(
                    frame, first, n, window, weights, lanes, table, values, places, ends, sums, rows[8], x_row
                )
            else:
                x_row = x[sample, t, first : first + n]
            count = counts[t if keeps_counts else 0]
            candidate = candidates[t if reset == BLANK_LATER else 0]
            advance(x_row, state, rows, n, numbers[0], flags, u[t], count, candidate)
        for t in range(steps - 1, -1, -1):
            by_x_row = by_row if taps.size else by_x[sample, t, first : first + n]
            if pools:
                by_spikes_row = drive
                spread_pooled(by_spikes[sample, t], first, n, window, pool, numbers[3], by_spikes_row)
            else:
                by_spikes_row = by_spikes[sample, t, first : first + n] if by_spikes.size else silent
            by_u = by_potentials[sample, t, first : first + n] if by_potentials.size else nothing
            retreat(t, u, counts, candidates, by_spikes_row, by_u, rows, spare, numbers, flags, by_x_row, n)
            if phases.size:
                strided.by_frame(by_row, by_frames[sample, t], window, phases, planes, phase_sums, line)
            elif wide.size:
                dense.by_frame(by_row, by_frames[sample, t], window, wide, padded)
