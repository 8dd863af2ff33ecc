# SPDX-License-Identifier: MIT
"""The compiled loops of the fused scan; the equations are those of `neurons.step`, in the same order.

One algorithm serves every neuron: `neurons.Coefficients` made them the same recurrence. A tile is one sample
and a block of features; in a tile, time is the outer loop and features the inner one, over contiguous memory,
so that the compiler turns it into vector instructions. Choices (reset, surrogate, ...) are taken per row,
outside the inner loops. Fast-math and fused multiply-add stay off: they would change spikes.
"""

# ruff: noqa: PLR0913  the helpers take rows; packing their rows into objects would cost the vector loops

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from art_spiking.compiling import compiled

F = TypeVar("F", bound=Callable[..., Any])
Array = NDArray[Any]

_TILE_BYTES = 1 << 21
"""What a tile's potentials may take in the backward pass, all steps together."""

NONE, SUBTRACT, VALUE, SUBTRACT_LATER, BLANK_LATER = range(5)
ATAN, FAST_SIGMOID, TRIANGLE, RECTANGLE, STRAIGHT_THROUGH, GAUSSIAN, SIGMOID = range(7)


def tile_width(steps: int, features: int, item_bytes: int) -> int:
    """How many features a tile takes: up to 4096, fewer where many steps would need much memory.

    Short rows cost more, because rows of a batch lie far apart in memory: 1024 of 4096 features take twice
    the time of all of them per element forward, and 1.6 times backward (measured at 31 steps).
    """
    fitting = _TILE_BYTES // (max(steps, 1) * item_bytes)
    return max(1, min(features, max(128, min(4096, fitting // 16 * 16))))


def _inlined(function: F) -> F:
    made: F = numba.njit(inline="always", error_model="numpy")(function)
    return made


def _row_loop(function: F) -> F:
    """A function of its own: in a longer one the compiler cannot tell rows apart, and makes no vectors."""
    made: F = numba.njit(nogil=True, error_model="numpy")(function)
    return made


@_inlined
def _spread(parameter: Array, first: int, count: int, out: Array) -> None:
    """Copies a block of a parameter, or its single element, to a row."""
    if parameter.size == 1:
        out[:count] = parameter[0]
    else:
        out[:count] = parameter[first : first + count]


@_inlined
def _drop(rows: Array, reset: int) -> None:
    """What a spike takes off at once, in row 8, and at the next step, in row 9: the threshold, or nothing."""
    rows[8:10] = 0
    if reset == SUBTRACT:
        rows[8] = rows[6]
    elif reset == SUBTRACT_LATER:
        rows[9] = rows[6]


@_inlined
def _start(
    tile: int,
    features: int,
    width: int,
    parameters: tuple[Array, ...],
    reset: int,
    rows: Array,
    state: Array,
) -> tuple[int, int, int]:
    """A tile's sample, first feature and number of features; its parameters to rows, its state to zeros."""
    blocks = (features + width - 1) // width
    sample, first = tile // blocks, tile % blocks * width
    n = min(width, features - first)
    for k, parameter in enumerate(parameters):
        _spread(parameter, first, n, rows[k])
    _drop(rows, reset)
    state[:] = 0
    return sample, first, n


@_row_loop
def _advance_plainly(
    x: Array,
    potential: Array,
    past: Array,
    rows: Array,
    low: float,
    hard: bool,
    u: Array,
    spikes: Array,
    n: int,
) -> None:
    """`_advance` in one pass, for neurons that fire once a step and whose reset blanks nothing."""
    decay, gain, offset, v_reset = rows[0], rows[1], rows[2], rows[3]
    least, drop, later = rows[7], rows[8], rows[9]
    one, zero = u.dtype.type(1), u.dtype.type(0)
    for j in range(n):
        v = decay[j] * potential[j] + gain[j] * x[j] + offset[j] - later[j] * past[j]
        v = low if v <= low else v
        fired = one if v >= least[j] else zero
        u[j] = v
        spikes[j] = fired
        past[j] = fired
        v = v - drop[j] * fired
        potential[j] = v_reset[j] if hard and fired > zero else v


@_row_loop
def _retreat_plainly(
    v: Array,
    by_spikes: Array,
    carried: Array,
    h: Array,
    rows: Array,
    low: float,
    hard: bool,
    by_x: Array,
    n: int,
) -> None:
    """One step of the backward pass, if nothing flows through the reset and no count is kept."""
    decay, gain, least, zero = rows[0], rows[1], rows[7], v.dtype.type(0)
    for j in range(n):
        leak = decay[j] * carried[j]
        leak = zero if hard and v[j] >= least[j] else leak
        total = h[j] * by_spikes[j] + leak
        total = total if v[j] > low else zero
        carried[j] = total
        by_x[j] = gain[j] * total


@_inlined
def _advance(
    x: Array,
    state: Array,
    rows: Array,
    n: int,
    low: float,
    flags: tuple[int, ...],
    u: Array,
    spikes: Array,
    candidate: Array,
) -> None:
    """One step of a row: writes potential before the reset and spikes, and updates the state.

    `state` holds the synaptic current, the potential and, for delayed resets, the last spikes; `candidate`
    gets the potential that a delayed reset to a value blanks.
    """
    synapse, several, strict, reset, _, _ = flags
    current, potential, past = state[0], state[1], state[2]
    decay, gain, offset, v_reset, threshold, least = rows[0], rows[1], rows[2], rows[3], rows[6], rows[7]
    one, zero = u.dtype.type(1), u.dtype.type(0)
    drive = x
    if synapse:
        drive = current
        for j in range(n):
            current[j] = rows[4, j] * current[j] + rows[5, j] * x[j]
    if not several and reset != BLANK_LATER:
        _advance_plainly(drive, potential, past, rows, low, reset == VALUE, u, spikes, n)
        return
    for j in range(n):
        u[j] = decay[j] * potential[j] + gain[j] * drive[j] + offset[j]
    if reset == SUBTRACT_LATER:
        for j in range(n):
            u[j] = u[j] - threshold[j] * past[j]
    elif reset == BLANK_LATER:
        for j in range(n):
            candidate[j] = u[j]
            u[j] = v_reset[j] if past[j] > zero else u[j]
    for j in range(n):
        u[j] = low if u[j] <= low else u[j]
    if not several:
        for j in range(n):
            spikes[j] = one if u[j] >= least[j] else zero
    elif strict:
        for j in range(n):
            count = np.ceil(u[j] / threshold[j]) - one
            spikes[j] = count if count > zero else zero
    else:
        for j in range(n):
            count = np.floor(u[j] / threshold[j])
            spikes[j] = count if count > zero else zero
    for j in range(n):
        past[j] = spikes[j]
    if reset == SUBTRACT:
        for j in range(n):
            potential[j] = u[j] - threshold[j] * spikes[j]
    elif reset == VALUE:
        for j in range(n):
            potential[j] = v_reset[j] if spikes[j] > zero else u[j]
    else:
        for j in range(n):
            potential[j] = u[j]


@_row_loop
def _surrogate(
    u: Array, threshold: Array, n: int, several: int, code: int, a: float, b: float, h: Array
) -> None:
    """Writes h at the distance of u from its nearest step; a and b are `Surrogate.kernel_constants`."""
    one, zero = u.dtype.type(1), u.dtype.type(0)
    if several:
        for j in range(n):
            step = np.rint(u[j] / threshold[j])
            h[j] = u[j] - threshold[j] * (step if step > one else one)
    else:
        for j in range(n):
            h[j] = u[j] - threshold[j]
    if code == ATAN:
        for j in range(n):
            h[j] = a / (one + (b * h[j]) * (b * h[j]))
    elif code == FAST_SIGMOID:
        for j in range(n):
            slope = one + b * abs(h[j])
            h[j] = a / (slope * slope)
    elif code == TRIANGLE:
        for j in range(n):
            height = one - b * abs(h[j])
            h[j] = a * height if height > zero else zero
    elif code == RECTANGLE:
        for j in range(n):
            h[j] = a if abs(h[j]) < b else zero
    elif code == STRAIGHT_THROUGH:
        for j in range(n):
            h[j] = a
    elif code == GAUSSIAN:
        for j in range(n):
            h[j] = a * np.exp(-b * h[j] * h[j])
    else:
        for j in range(n):
            e = np.exp(-b * abs(h[j]))
            h[j] = a * e / ((one + e) * (one + e))


@compiled
def forward(
    x: Array,
    spikes: Array,
    potentials: Array,
    parameters: tuple[Array, ...],
    numbers: Array,
    flags: tuple[int, ...],
    span: tuple[int, ...],
) -> None:
    """Writes spikes and potentials (N, T, F), each unless it is empty, of the tiles of a span.

    Args:
        x: Input (N, T, F), contiguous.
        spikes: Output, or an array of size 0.
        potentials: Output, or an array of size 0.
        parameters: Eight arrays of F elements or one: decay, gain, offset, v_reset, synapse decay and gain,
            threshold, least potential that fires.
        numbers: Lower clamp, and the surrogate's two constants.
        flags: Synapse, several spikes, strict comparison, reset, through the reset, surrogate.
        span: First tile, tile after the last, features per tile.
    """
    reset = flags[3]
    start, stop, width = span
    steps, features = x.shape[1], x.shape[2]
    rows = np.empty((10, width), x.dtype)
    state = np.empty((3, width), x.dtype)
    spare = np.empty((3, width), x.dtype)
    for tile in range(start, stop):
        sample, first, n = _start(tile, features, width, parameters, reset, rows, state)
        for t in range(steps):
            x_row = x[sample, t, first : first + n]
            u = potentials[sample, t, first : first + n] if potentials.size else spare[0]
            fired = spikes[sample, t, first : first + n] if spikes.size else spare[1]
            _advance(x_row, state, rows, n, numbers[0], flags, u, fired, spare[2])


@compiled
def backward(
    x: Array,
    by_spikes: Array,
    by_potentials: Array,
    by_x: Array,
    parameters: tuple[Array, ...],
    numbers: Array,
    flags: tuple[int, ...],
    span: tuple[int, ...],
) -> None:
    """Writes the gradient by the input (N, T, F), for the tiles of a span; arguments as those of `forward`.

    With a[t] = dL/du[t] before clamp and delayed reset, h the surrogate, and everything at step t:

        dL/ds = by_spikes + [through the reset] * (dL/dv dv/ds + a[t+1] du[t+1]/ds)
        dL/du = h dL/ds + decay a[t+1] dv/du + by_potentials,     a[t] = dL/du where u > low, else 0
        dL/di = gain a[t] + synapse_decay dL/di[t+1],             dL/dx = synapse_gain dL/di

    Potentials are computed again first, and kept for one tile.
    """
    synapse, several, _, reset, through, code = flags
    start, stop, width = span
    steps, features = x.shape[1], x.shape[2]
    rows = np.empty((10, width), x.dtype)
    state = np.empty((3, width), x.dtype)
    spare = np.empty((6, width), x.dtype)
    carried, by_current, h = spare[0], spare[1], spare[2]
    by_fired, leaked, silent = spare[3], spare[4], spare[5]
    keeps_counts = several or reset == BLANK_LATER
    u = np.empty((steps, width), x.dtype)
    counts = np.empty((steps if keeps_counts else 1, width), x.dtype)
    candidates = np.empty((steps if reset == BLANK_LATER else 1, width), x.dtype)
    low, zero = numbers[0], x.dtype.type(0)
    hard = reset == VALUE
    plain = not through and not keeps_counts and by_potentials.size == 0
    for tile in range(start, stop):
        sample, first, n = _start(tile, features, width, parameters, reset, rows, state)
        spare[:] = 0
        decay, gain, threshold, least = rows[0], rows[1], rows[6], rows[7]
        syn_decay, syn_gain = rows[4], rows[5]
        for t in range(steps):
            count = counts[t if keeps_counts else 0]
            candidate = candidates[t if reset == BLANK_LATER else 0]
            _advance(x[sample, t, first : first + n], state, rows, n, low, flags, u[t], count, candidate)
        for t in range(steps - 1, -1, -1):
            v = u[t]
            by_x_row = by_x[sample, t, first : first + n]
            by_spikes_row = by_spikes[sample, t, first : first + n] if by_spikes.size else silent
            _surrogate(v, threshold, n, several, code, numbers[1], numbers[2], h)
            if plain:
                _retreat_plainly(v, by_spikes_row, carried, h, rows, low, hard, by_x_row, n)
            else:
                for j in range(n):
                    leaked[j] = decay[j] * carried[j]
                    by_fired[j] = by_spikes_row[j]
                if through:
                    _through(u, candidates, carried, leaked, rows, n, t, reset, by_fired)
                if reset in (VALUE, BLANK_LATER):
                    for j in range(n):
                        fires = (counts[t, j] > zero) if keeps_counts else (v[j] >= least[j])
                        leaked[j] = zero if fires else leaked[j]
                for j in range(n):
                    carried[j] = h[j] * by_fired[j] + leaked[j]
                if by_potentials.size:
                    by_potentials_row = by_potentials[sample, t, first : first + n]
                    for j in range(n):
                        carried[j] += by_potentials_row[j]
                for j in range(n):
                    carried[j] = carried[j] if v[j] > low else zero
                    by_x_row[j] = gain[j] * carried[j]
                if reset == BLANK_LATER and t > 0:
                    # The current of a blanked step reaches nothing.
                    for j in range(n):
                        by_x_row[j] = zero if counts[t - 1, j] > zero else by_x_row[j]
            if synapse:
                for j in range(n):
                    by_current[j] = by_x_row[j] + syn_decay[j] * by_current[j]
                    by_x_row[j] = syn_gain[j] * by_current[j]


@_inlined
def _through(
    u: Array,
    candidates: Array,
    carried: Array,
    leaked: Array,
    rows: Array,
    n: int,
    t: int,
    reset: int,
    by_fired: Array,
) -> None:
    """Adds to dL/ds what flows back through the reset that the spikes of step t cause."""
    v_reset, threshold = rows[3], rows[6]
    if reset == SUBTRACT:
        for j in range(n):
            by_fired[j] -= threshold[j] * leaked[j]
    elif reset == SUBTRACT_LATER:
        for j in range(n):
            by_fired[j] -= threshold[j] * carried[j]
    elif reset == VALUE:
        for j in range(n):
            by_fired[j] += (v_reset[j] - u[t, j]) * leaked[j]
    elif reset == BLANK_LATER and t + 1 < u.shape[0]:
        for j in range(n):
            by_fired[j] += (v_reset[j] - candidates[t + 1, j]) * carried[j]
