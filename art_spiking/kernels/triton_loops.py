# SPDX-License-Identifier: MIT
"""The Triton programs of the scan on CUDA; the equations are those of `neurons.step`, in the same order.

A program holds a block of neurons, each of one sample, and goes through time with their state in registers.
Launch them without fused multiply-add (`enable_fp_fusion=False`): it would change spikes.
"""

# Triton reads these functions as a language of its own: no annotations but its own, every array and constant
# an argument, plain branches.
# ruff: noqa: ANN001, ANN201, ANN202, PLR0913, SIM102, SIM108, SIM109
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls

import triton
import triton.language as tl

NONE, SUBTRACT, VALUE, SUBTRACT_LATER, BLANK_LATER = (tl.constexpr(k) for k in range(5))
FAST_SIGMOID, TRIANGLE, RECTANGLE, STRAIGHT_THROUGH, GAUSSIAN, SIGMOID = (
    tl.constexpr(k) for k in range(1, 7)
)
ATAN = tl.constexpr(0)


@triton.jit
def _parameter(table, k: tl.constexpr, feature, features, WIDE: tl.constexpr, live):
    """Row k of the parameters at every neuron's feature; rows have one element unless WIDE."""
    if WIDE:
        value = tl.load(table + k * features + feature, mask=live, other=1)
    else:
        value = tl.load(table + k + 0 * feature)
    return value


@triton.jit
def _quotient(u, threshold):
    """The ratio u / threshold, rounded as IEEE says; the plain operator is not, in float32."""
    if u.dtype == tl.float32:
        ratio = tl.math.div_rn(u, threshold)
    else:
        ratio = u / threshold
    return ratio


@triton.jit
def _count(u, threshold, least, SEVERAL: tl.constexpr, STRICT: tl.constexpr):
    """How often a neuron at potential u fires; see `neurons.spike_counts`."""
    one = tl.full(u.shape, 1, u.dtype)
    zero = tl.full(u.shape, 0, u.dtype)
    if SEVERAL:
        ratio = _quotient(u, threshold)
        if STRICT:
            whole = tl.ceil(ratio) - one
        else:
            whole = tl.floor(ratio)
        count = tl.where(whole > zero, whole, zero)
    else:
        count = tl.where(u >= least, one, zero)
    return count


@triton.jit
def _surrogate(u, threshold, a, b, SEVERAL: tl.constexpr, CODE: tl.constexpr):
    """The derivative at u's distance from its nearest step; a, b: `Surrogate.kernel_constants`."""
    one = tl.full(u.shape, 1, u.dtype)
    zero = tl.full(u.shape, 0, u.dtype)
    d = u - threshold
    if SEVERAL:
        ratio = _quotient(u, threshold)
        low = tl.floor(ratio)
        over = ratio - low
        half = tl.floor(low * 0.5) * 2 != low  # a half is rounded to the even number
        up = (over > 0.5) | ((over == 0.5) & half)
        step = tl.where(up, low + one, low)
        d = u - threshold * tl.where(step > one, step, one)
    if CODE == ATAN:
        h = a / (one + (b * d) * (b * d))
    elif CODE == FAST_SIGMOID:
        slope = one + b * tl.abs(d)
        h = a / (slope * slope)
    elif CODE == TRIANGLE:
        height = one - b * tl.abs(d)
        h = a * tl.where(height > zero, height, zero)
    elif CODE == RECTANGLE:
        h = tl.where(tl.abs(d) < b, a + zero, zero)
    elif CODE == STRAIGHT_THROUGH:
        h = a + zero
    elif CODE == GAUSSIAN:
        h = a * tl.exp(-b * d * d)
    else:
        e = tl.exp(-b * tl.abs(d))
        h = a * e / ((one + e) * (one + e))
    return h


@triton.jit
def forward(
    x,
    spikes,
    potentials,
    candidates,
    table,
    numbers,
    neurons,
    steps,
    features,
    WIDE: tl.constexpr,
    SYNAPSE: tl.constexpr,
    SEVERAL: tl.constexpr,
    STRICT: tl.constexpr,
    RESET: tl.constexpr,
    SPIKES: tl.constexpr,
    POTENTIALS: tl.constexpr,
    CANDIDATES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Writes spikes, potentials and what a delayed reset blanked (N, T, F), each if its constant says so.

    Args:
        x: Input (N, T, F), contiguous.
        spikes: Output.
        potentials: Output.
        candidates: Output.
        table: (8, F) or (8, 1): decay, gain, offset, v_reset, synapse decay and gain, threshold, least
            potential that fires.
        numbers: Lower clamp, and the surrogate's two constants.
        neurons: N * F.
        steps: T.
        features: F.
        WIDE: Whether the table has a column for each feature.
        SYNAPSE: Whether there is a synaptic current.
        SEVERAL: Whether a neuron may fire several times a step.
        STRICT: Whether it fires above its threshold only.
        RESET: The kind of reset.
        SPIKES: Whether spikes are wanted.
        POTENTIALS: Whether potentials are wanted.
        CANDIDATES: Whether blanked potentials are wanted.
        BLOCK: Neurons of a program.
    """
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    live = lane < neurons
    feature = lane % features
    place = lane // features * steps * features + feature
    decay = _parameter(table, 0, feature, features, WIDE, live)
    gain = _parameter(table, 1, feature, features, WIDE, live)
    offset = _parameter(table, 2, feature, features, WIDE, live)
    v_reset = _parameter(table, 3, feature, features, WIDE, live)
    synapse_decay = _parameter(table, 4, feature, features, WIDE, live)
    synapse_gain = _parameter(table, 5, feature, features, WIDE, live)
    threshold = _parameter(table, 6, feature, features, WIDE, live)
    least = _parameter(table, 7, feature, features, WIDE, live)
    low = tl.load(numbers)
    v = tl.zeros((BLOCK,), x.dtype.element_ty)
    current = tl.zeros((BLOCK,), x.dtype.element_ty)
    past = tl.zeros((BLOCK,), x.dtype.element_ty)
    for _ in range(steps):
        drive = tl.load(x + place, mask=live, other=0)
        if SYNAPSE:
            current = synapse_decay * current + synapse_gain * drive
            drive = current
        u = decay * v + gain * drive + offset
        if RESET == SUBTRACT_LATER:
            u = u - threshold * past
        elif RESET == BLANK_LATER:
            if CANDIDATES:
                tl.store(candidates + place, u, mask=live)
            u = tl.where(past > 0, v_reset, u)
        u = tl.where(u <= low, low, u)
        count = _count(u, threshold, least, SEVERAL, STRICT)
        if SPIKES:
            tl.store(spikes + place, count, mask=live)
        if POTENTIALS:
            tl.store(potentials + place, u, mask=live)
        past = count
        v = u
        if RESET == SUBTRACT:
            v = u - threshold * count
        elif RESET == VALUE:
            v = tl.where(count > 0, v_reset, u)
        place += features


@triton.jit
def backward(
    potentials,
    candidates,
    by_spikes,
    by_potentials,
    by_x,
    table,
    numbers,
    neurons,
    steps,
    features,
    WIDE: tl.constexpr,
    SYNAPSE: tl.constexpr,
    SEVERAL: tl.constexpr,
    STRICT: tl.constexpr,
    RESET: tl.constexpr,
    THROUGH: tl.constexpr,
    CODE: tl.constexpr,
    BY_SPIKES: tl.constexpr,
    BY_POTENTIALS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Writes the gradient by the input (N, T, F); the recurrence is that of `loops.backward`.

    Args:
        potentials: What `forward` wrote.
        candidates: What `forward` wrote, if a delayed reset blanks and THROUGH holds.
        by_spikes: Gradient by the spikes (N, T, F), contiguous.
        by_potentials: Gradient by the potentials, likewise.
        by_x: Output.
        table: See `forward`.
        numbers: See `forward`.
        neurons: N * F.
        steps: T.
        features: F.
        WIDE: See `forward`.
        SYNAPSE: See `forward`.
        SEVERAL: See `forward`.
        STRICT: See `forward`.
        RESET: See `forward`.
        THROUGH: Whether the gradient flows through the reset.
        CODE: The surrogate's formula.
        BY_SPIKES: Whether there is a gradient by the spikes.
        BY_POTENTIALS: Whether there is one by the potentials.
        BLOCK: Neurons of a program.
    """
    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    live = lane < neurons
    feature = lane % features
    place = (lane // features * steps + steps - 1) * features + feature
    decay = _parameter(table, 0, feature, features, WIDE, live)
    gain = _parameter(table, 1, feature, features, WIDE, live)
    v_reset = _parameter(table, 3, feature, features, WIDE, live)
    synapse_decay = _parameter(table, 4, feature, features, WIDE, live)
    synapse_gain = _parameter(table, 5, feature, features, WIDE, live)
    threshold = _parameter(table, 6, feature, features, WIDE, live)
    least = _parameter(table, 7, feature, features, WIDE, live)
    low = tl.load(numbers)
    a = tl.load(numbers + 1)
    b = tl.load(numbers + 2)
    zero = tl.zeros((BLOCK,), by_x.dtype.element_ty)
    carried = zero
    by_current = zero
    blanked = zero  # what the next step would have been, had it not been blanked
    for back in range(steps):
        u = tl.load(potentials + place, mask=live, other=0)
        count = _count(u, threshold, least, SEVERAL, STRICT)
        leaked = decay * carried
        by_fired = zero
        if BY_SPIKES:
            by_fired = tl.load(by_spikes + place, mask=live, other=0)
        if THROUGH:
            if RESET == SUBTRACT:
                by_fired -= threshold * leaked
            elif RESET == SUBTRACT_LATER:
                by_fired -= threshold * carried
            elif RESET == VALUE:
                by_fired += (v_reset - u) * leaked
            elif RESET == BLANK_LATER:
                # `carried` is zero at the last step, and `blanked` of no meaning there.
                by_fired += tl.where(carried != 0, (v_reset - blanked) * carried, zero)
                blanked = tl.load(candidates + place, mask=live, other=0)
        if RESET == VALUE or RESET == BLANK_LATER:
            leaked = tl.where(count > 0, zero, leaked)
        total = _surrogate(u, threshold, a, b, SEVERAL, CODE) * by_fired + leaked
        if BY_POTENTIALS:
            total += tl.load(by_potentials + place, mask=live, other=0)
        carried = tl.where(u > low, total, zero)
        reached = gain * carried
        if RESET == BLANK_LATER:
            # The current of a blanked step reaches nothing.
            if back < steps - 1:
                before = tl.load(potentials + place - features, mask=live, other=0)
                fired = _count(before, threshold, least, SEVERAL, STRICT)
                reached = tl.where(fired > 0, zero, reached)
        if SYNAPSE:
            by_current = reached + synapse_decay * by_current
            reached = synapse_gain * by_current
        tl.store(by_x + place, reached, mask=live)
        place -= features
