# SPDX-License-Identifier: MIT
"""The compiled loops of blocks that feed each other: in each time step, a frame passes through all of them.

What flows between two blocks is a row, forward and backward, that never leaves the cache. A block is a
convolution, neurons and, perhaps, a sum pooling; what a single block is given, `loops` says.
"""

# ruff: noqa: PLR0913  compiled loops take rows; packing them into objects would cost them time

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from art_spiking.compiling import compiled
from art_spiking.kernels import dense, strided
from art_spiking.kernels.aligned import row_of, rows_of
from art_spiking.kernels.events import Window, reach, sums_size
from art_spiking.kernels.loops import write_currents
from art_spiking.kernels.pooling import spread_pooled, write_pooled
from art_spiking.kernels.rows import BLANK_LATER, advance, retreat, row_loop, start

Array = NDArray[Any]
Pair = tuple[int, int]


@row_loop
def _neurons(window: Window) -> int:
    return window.out_channels * window.out_sides[0] * window.out_sides[1]


@row_loop
def _inputs(window: Window) -> int:
    return window.channels * window.sides[0] * window.sides[1]


@row_loop
def _room(
    windows: tuple[Window, ...], lanes: tuple[int, ...], pools: tuple[Pair, ...], like: Array
) -> tuple[list[Array], ...]:
    """For each block what `write_currents` works in, and a row for what its windows put out."""
    blocks = len(windows)
    tables = [reach(windows[b], lanes[b]) for b in range(blocks)]
    values = [row_of(_inputs(windows[b]), like) for b in range(blocks)]
    places = [np.empty(_inputs(windows[b]), np.int64) for b in range(blocks)]
    ends = [np.empty(windows[b].sides[0], np.int64) for b in range(blocks)]
    sums = [row_of(sums_size(windows[b], lanes[b], windows[b].out_sides[0]), like) for b in range(blocks)]
    pooled = [row_of(_neurons(windows[b]) // (pools[b][0] * pools[b][1]), like) for b in range(blocks)]
    return tables, values, places, ends, sums, pooled


@compiled
def forward(
    x: Array,
    output: Array,
    kept: tuple[Array, ...],
    parameters: tuple[tuple[Array, ...], ...],
    numbers: tuple[Array, ...],
    flags: tuple[tuple[int, ...], ...],
    windows: tuple[Window, ...],
    weights: tuple[Array, ...],
    lanes: tuple[int, ...],
    pools: tuple[Pair, ...],
    span: Pair,
) -> None:
    """Writes the output (N, T, G) of the last block, for the samples of a span.

    Args:
        x: Input (N, T, E) of the first block.
        output: Spikes of the last block, summed over windows if it pools.
        kept: For each block its neurons' currents (N, T, F), which are written, or an array of size 0.
        parameters: For each block, as are all that follow, what `loops.forward` takes.
        numbers: As there.
        flags: As there.
        windows: As there.
        weights: As there.
        lanes: As there.
        pools: As there.
        span: First sample, and sample after the last.
    """
    steps, blocks = x.shape[1], len(windows)
    rows = [rows_of(11, _neurons(windows[b]), numbers[0]) for b in range(blocks)]
    state = [rows_of(3, _neurons(windows[b]), numbers[0]) for b in range(blocks)]
    spare = [rows_of(4, _neurons(windows[b]), numbers[0]) for b in range(blocks)]
    tables, values, places, ends, sums, pooled = _room(windows, lanes, pools, numbers[0])
    for b in range(blocks):
        n = _neurons(windows[b])
        start(0, n, n, parameters[b], flags[b][3], rows[b], state[b])
    for sample in range(span[0], span[1]):
        for b in range(blocks):
            state[b][:], sums[b][:] = 0, 0
        for t in range(steps):
            frame = x[sample, t]
            for b in range(blocks):
                window, pool, n, own = windows[b], pools[b], _neurons(windows[b]), spare[b]
                x_row = kept[b][sample, t] if kept[b].size else own[3]
                write_currents(
                    frame, 0, n, window, weights[b], lanes[b], tables[b], values[b], places[b], ends[b],
                    sums[b], rows[b][8], x_row,
                )  # fmt: skip
                last, pools_here = b == blocks - 1, pool[0] * pool[1] > 1
                fired = output[sample, t] if last and not pools_here else own[1]
                advance(x_row, state[b], rows[b], n, numbers[b][0], flags[b], own[0], fired, own[2])
                frame = fired
                if pools_here:
                    frame = output[sample, t] if last else pooled[b]
                    write_pooled(fired, 0, n, window, pool, numbers[b][3], frame)


@compiled
def backward(
    x: Array,
    by_output: Array,
    by_x: Array,
    kept: tuple[Array, ...],
    parameters: tuple[tuple[Array, ...], ...],
    numbers: tuple[Array, ...],
    flags: tuple[tuple[int, ...], ...],
    windows: tuple[Window, ...],
    weights: tuple[Array, ...],
    taps: tuple[Array, ...],
    lanes: tuple[int, ...],
    pools: tuple[Pair, ...],
    span: Pair,
) -> None:
    """Writes the gradient (N, T, E) by the input of the first block, by the equations of `loops.backward`.

    Potentials are computed again first, and kept for one sample.

    Args:
        x: Input, as that of `forward`.
        by_output: Gradient (N, T, G) by the output.
        by_x: Gradient by the input, which is written.
        kept: From `forward`; blocks before the last one that kept something are run again.
        parameters: As those of `forward`, as are all that follow.
        numbers: As there.
        flags: As there.
        windows: As there.
        weights: As there.
        taps: For each block, what `loops.backward` takes.
        lanes: As there.
        pools: As there.
        span: First sample, and sample after the last.
    """
    steps, blocks = x.shape[1], len(windows)
    rows = [rows_of(11, _neurons(windows[b]), numbers[0]) for b in range(blocks)]
    state = [rows_of(3, _neurons(windows[b]), numbers[0]) for b in range(blocks)]
    spare = [rows_of(7, _neurons(windows[b]), numbers[0]) for b in range(blocks)]
    tables, values, places, ends, sums, pooled = _room(windows, lanes, pools, numbers[0])
    u = [rows_of(steps, _neurons(windows[b]), numbers[0]) for b in range(blocks)]
    keeps = [flags[b][1] != 0 or flags[b][3] == BLANK_LATER for b in range(blocks)]
    counts = [rows_of(steps if keeps[b] else 1, _neurons(windows[b]), numbers[0]) for b in range(blocks)]
    blanked = [flags[b][3] == BLANK_LATER for b in range(blocks)]
    candidates = [
        rows_of(steps if blanked[b] else 1, _neurons(windows[b]), numbers[0]) for b in range(blocks)
    ]
    by_input = [row_of(_inputs(windows[b]), numbers[0]) for b in range(blocks)]
    planar = [taps[b] if windows[b].planar else taps[b][:0] for b in range(blocks)]
    wide = [taps[b][:0] if windows[b].planar else taps[b] for b in range(blocks)]
    planes = [strided.room(windows[b], planar[b]) for b in range(blocks)]
    margins = [dense.margin_room(windows[b], wide[b]) for b in range(blocks)]
    nothing = row_of(0, numbers[0])
    for b in range(blocks):
        n = _neurons(windows[b])
        start(0, n, n, parameters[b], flags[b][3], rows[b], state[b])
    for sample in range(span[0], span[1]):
        for b in range(blocks):
            state[b][:], spare[b][:], sums[b][:] = 0, 0, 0
        for t in range(steps):
            frame = x[sample, t]
            for b in range(blocks):
                window, pool, n, own = windows[b], pools[b], _neurons(windows[b]), spare[b]
                x_row = own[6]
                if kept[b].size:
                    x_row = kept[b][sample, t]
                else:
                    write_currents(
                        frame, 0, n, window, weights[b], lanes[b], tables[b], values[b], places[b], ends[b],
                        sums[b], rows[b][8], x_row,
                    )  # fmt: skip
                count = counts[b][t if keeps[b] else 0]
                candidate = candidates[b][t if blanked[b] else 0]
                advance(x_row, state[b], rows[b], n, numbers[b][0], flags[b], u[b][t], count, candidate)
                frame = count
                if pool[0] * pool[1] > 1 and b < blocks - 1 and not kept[b + 1].size:
                    frame = pooled[b]
                    write_pooled(count, 0, n, window, pool, numbers[b][3], frame)
        for t in range(steps - 1, -1, -1):
            by_row = by_output[sample, t]
            for b in range(blocks - 1, -1, -1):
                window, pool, n, own = windows[b], pools[b], _neurons(windows[b]), spare[b]
                by_spikes = by_row
                if pool[0] * pool[1] > 1:
                    by_spikes = own[6]
                    spread_pooled(by_row, 0, n, window, pool, numbers[b][3], by_spikes)
                by_current = own[5]
                retreat(
                    t, u[b], counts[b], candidates[b], by_spikes, nothing, rows[b], own, numbers[b], flags[b],
                    by_current, n,
                )  # fmt: skip
                by_row = by_x[sample, t] if b == 0 else by_input[b]
                if window.planar:
                    strided.by_frame(by_current, by_row, window, planar[b], *planes[b])
                else:
                    dense.by_frame(by_current, by_row, window, wide[b], margins[b])
