# SPDX-License-Identifier: MIT
"""The best times for the events of each pixel and polarity: exact, by dynamic programming."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from art_spiking.compiling import compiled

Array = NDArray[Any]


def best_times(
    clean: Array, value: Array, price: Array, *, max_shift: int, max_count: int, crowding: float
) -> tuple[Array, Array]:
    """Moves events along their lines so that the value of their cells, less the price of moving, is largest.

    Events of a line keep their order, which costs nothing: they cannot be told apart. An event that stays is
    free. A cell takes as many events as `max_count`, or as it held.

    Args:
        clean: int32 (N, lines, T), events now.
        value: float32 (N, lines, T), what an event in the cell is worth.
        price: float64 (N, 2), what moving an event costs, and every step that it moves.
        max_shift: most steps that an event may move.
        max_count: most events that a cell may take.
        crowding: how much less each further event of a cell is worth.

    Returns:
        int32 (N, lines, T), the events as placed, as many in each line as before; and int64 (N, 2), how many
        of them moved, and how many steps together.
    """
    placed = np.empty_like(clean)
    spent = np.zeros((len(clean), 2), np.int64)
    _place(clean, value, price, max_shift, max_count, crowding, placed, spent)
    return placed, spent


@compiled
def _place(
    clean: Array,
    value: Array,
    price: Array,
    max_shift: int,
    max_count: int,
    crowding: float,
    placed: Array,
    spent: Array,
) -> None:
    samples, lines, steps = clean.shape
    for n in range(samples):
        each, every_step = price[n]
        for line in range(lines):
            events = 0
            for t in range(steps):
                placed[n, line, t] = clean[n, line, t]
                events += clean[n, line, t]
            if events == 0:
                continue
            times = np.empty(events, np.int64)
            k = 0
            for t in range(steps):
                for _ in range(clean[n, line, t]):
                    times[k] = t
                    k += 1
            # best[j]: most that j events are worth in the cells so far; taken[t, j]: how many of them at t.
            best = np.full(events + 1, -np.inf)
            best[0] = 0.0
            taken = np.zeros((steps, events + 1), np.int32)
            for t in range(steps):
                room = max(max_count, clean[n, line, t])
                for j in range(events, 0, -1):
                    worth, count, first = best[j], 0, 0.0
                    for k in range(1, min(room, j) + 1):
                        shift = abs(times[j - k] - t)
                        if shift > max_shift:
                            break
                        first += value[n, line, t] - crowding * (k - 1)
                        if shift > 0:
                            first -= each + every_step * shift
                        if best[j - k] + first > worth:
                            worth, count = best[j - k] + first, k
                    best[j], taken[t, j] = worth, count
            j = events
            for t in range(steps - 1, -1, -1):
                placed[n, line, t] = taken[t, j]
                for _ in range(taken[t, j]):
                    j -= 1
                    shift = abs(times[j] - t)
                    if shift > 0:
                        spent[n, 0] += 1
                        spent[n, 1] += shift


def matched_shifts(after: Array, before: Array) -> Array:
    """How many steps each event moved, (events,), in a sample (T, ...) whose lines hold as many as before.

    Events of a line are matched in order, which makes both the largest and the total shift least.
    """
    return _times(after) - _times(before)


def _times(sample: Array) -> Array:
    """The step of every event, line by line and in order of time."""
    lines = sample.reshape(len(sample), -1).T
    grid = np.broadcast_to(np.arange(len(sample)), lines.shape)
    times: Array = np.repeat(grid.ravel(), lines.ravel())
    return times
