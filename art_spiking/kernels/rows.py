# SPDX-License-Identifier: MIT
"""One time step of a row of neurons, forward and backward; the equations are those of `neurons.step`.

A row is a block of a layer's features, contiguous, in loops that the compiler turns into vector instructions.
Choices (reset, surrogate, ...) are taken per row, outside the inner loops. Fast-math and fused multiply-add
stay off: they would change spikes.
"""

# ruff: noqa: PLR0913  the helpers take rows; packing their rows into objects would cost the vector loops

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from art_spiking.kernels.vectors import (
    LANES,
    add,
    divide,
    exponential,
    load_first,
    multiply,
    spread,
    store_first,
)

F = TypeVar("F", bound=Callable[..., Any])
Array = NDArray[Any]

NONE, SUBTRACT, VALUE, SUBTRACT_LATER, BLANK_LATER = range(5)
ATAN, FAST_SIGMOID, TRIANGLE, RECTANGLE, STRAIGHT_THROUGH, GAUSSIAN, SIGMOID = range(7)


def inlined(function: F) -> F:
    """A part of a longer compiled function."""
    made: F = numba.njit(inline="always", error_model="numpy")(function)
    return made


def row_loop(function: F) -> F:
    """A function of its own: in a longer one the compiler cannot tell rows apart, and makes no vectors."""
    made: F = numba.njit(nogil=True, error_model="numpy")(function)
    return made


@inlined
def _spread(parameter: Array, first: int, count: int, out: Array) -> None:
    """Copies a block of a parameter, or its single element, to a row."""
    if parameter.size == 1:
        out[:count] = parameter[0]
    else:
        out[:count] = parameter[first : first + count]


@inlined
def _drop(rows: Array, reset: int) -> None:
    """What a spike takes off at once, to row 9, and at the next step, to row 10: the threshold or nothing."""
    rows[9:11] = 0
    if reset == SUBTRACT:
        rows[9] = rows[6]
    elif reset == SUBTRACT_LATER:
        rows[10] = rows[6]


@inlined
def start(
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


@row_loop
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
    least, drop, later = rows[7], rows[9], rows[10]
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


@row_loop
def _advance_alike(
    x: Array,
    potential: Array,
    past: Array,
    decay: float,
    gain: float,
    offset: float,
    v_reset: float,
    least: float,
    drop: float,
    later: float,
    low: float,
    hard: bool,
    u: Array,
    spikes: Array,
    n: int,
) -> None:
    """`_advance_plainly` for neurons that are all alike: their parameters stay in registers."""
    one, zero = u.dtype.type(1), u.dtype.type(0)
    for j in range(n):
        v = decay * potential[j] + gain * x[j] + offset - later * past[j]
        v = low if v <= low else v
        fired = one if v >= least else zero
        u[j] = v
        spikes[j] = fired
        past[j] = fired
        v = v - drop * fired
        potential[j] = v_reset if hard and fired > zero else v


@row_loop
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


@row_loop
def _retreat_alike(
    v: Array,
    by_spikes: Array,
    carried: Array,
    h: Array,
    decay: float,
    gain: float,
    least: float,
    low: float,
    hard: bool,
    by_x: Array,
    n: int,
) -> None:
    """`_retreat_plainly` for neurons that are all alike."""
    zero = v.dtype.type(0)
    for j in range(n):
        leak = decay * carried[j]
        leak = zero if hard and v[j] >= least else leak
        total = h[j] * by_spikes[j] + leak
        total = total if v[j] > low else zero
        carried[j] = total
        by_x[j] = gain * total


@inlined
def advance(
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
    synapse, several, strict, reset, _, _, alike = flags
    current, potential, past = state[0], state[1], state[2]
    decay, gain, offset, v_reset, threshold, least = rows[0], rows[1], rows[2], rows[3], rows[6], rows[7]
    one, zero = u.dtype.type(1), u.dtype.type(0)
    drive = x
    if synapse:
        drive = current
        for j in range(n):
            current[j] = rows[4, j] * current[j] + rows[5, j] * x[j]
    if not several and reset != BLANK_LATER:
        hard = reset == VALUE
        if alike:
            a, g, b, v, least0, d, later = (
                rows[0, 0], rows[1, 0], rows[2, 0], rows[3, 0], rows[7, 0], rows[9, 0], rows[10, 0]
            )  # fmt: skip
            _advance_alike(drive, potential, past, a, g, b, v, least0, d, later, low, hard, u, spikes, n)
        else:
            _advance_plainly(drive, potential, past, rows, low, hard, u, spikes, n)
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


@row_loop
def write_surrogate(
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
        for j in range(0, n, LANES):
            some = min(LANES, n - j)
            distance = load_first(h, j, some)
            power = multiply(multiply(spread(-b), distance), distance)
            store_first(h, j, multiply(spread(a), exponential(power)), some)
    else:
        for j in range(n):
            h[j] = abs(h[j])
        for j in range(0, n, LANES):
            some = min(LANES, n - j)
            e = exponential(multiply(spread(-b), load_first(h, j, some)))
            sum_of = add(spread(one), e)
            store_first(h, j, divide(multiply(spread(a), e), multiply(sum_of, sum_of)), some)


@inlined
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


@inlined
def retreat(
    t: int,
    u: Array,
    counts: Array,
    candidates: Array,
    by_spikes: Array,
    by_potentials: Array,
    rows: Array,
    spare: Array,
    numbers: Array,
    flags: tuple[int, ...],
    by_x: Array,
    n: int,
) -> None:
    """One step of the backward pass: writes the gradient by the row's input.

    `by_potentials` is empty or a row. `spare` holds, from step to step, the gradients by the potential and by
    the synaptic current, both zero at first, and has room for three rows more.
    """
    synapse, several, _, reset, through, code, alike = flags
    keeps_counts = several or reset == BLANK_LATER
    hard = reset == VALUE
    v, low, zero = u[t], numbers[0], u.dtype.type(0)
    decay, gain, least = rows[0], rows[1], rows[7]
    carried, by_current, h, by_fired, leaked = spare[0], spare[1], spare[2], spare[3], spare[4]
    write_surrogate(v, rows[6], n, several, code, numbers[1], numbers[2], h)
    if not through and not keeps_counts and by_potentials.size == 0:
        if alike:
            _retreat_alike(v, by_spikes, carried, h, decay[0], gain[0], least[0], low, hard, by_x, n)
        else:
            _retreat_plainly(v, by_spikes, carried, h, rows, low, hard, by_x, n)
    else:
        for j in range(n):
            leaked[j] = decay[j] * carried[j]
            by_fired[j] = by_spikes[j]
        if through:
            _through(u, candidates, carried, leaked, rows, n, t, reset, by_fired)
        if reset in (VALUE, BLANK_LATER):
            for j in range(n):
                fires = (counts[t, j] > zero) if keeps_counts else (v[j] >= least[j])
                leaked[j] = zero if fires else leaked[j]
        for j in range(n):
            carried[j] = h[j] * by_fired[j] + leaked[j]
        if by_potentials.size:
            for j in range(n):
                carried[j] += by_potentials[j]
        for j in range(n):
            carried[j] = carried[j] if v[j] > low else zero
            by_x[j] = gain[j] * carried[j]
        if reset == BLANK_LATER and t > 0:
            # The current of a blanked step reaches nothing.
            for j in range(n):
                by_x[j] = zero if counts[t - 1, j] > zero else by_x[j]
    if synapse:
        for j in range(n):
            by_current[j] = by_x[j] + rows[4, j] * by_current[j]
            by_x[j] = rows[5, j] * by_current[j]
