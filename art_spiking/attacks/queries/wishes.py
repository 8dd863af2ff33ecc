# SPDX-License-Identifier: MIT
"""Which pixels of one sample wish their events earlier and which later: what a search over moves draws."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from art_spiking.attacks.queries.blocks import Axes, grid_of
from art_spiking.threats import Retiming

Gain = npt.NDArray[np.float32]
"""What an event in a cell is worth, (steps, channels, rows, columns)."""

_SIDE = 2
_TILE = 4
_WIDEST = 0.6
_REACH = 2
_LEAST = 0.5


class Wishes(Protocol):
    """The wishes that a search may have for one sample; a state is what it wishes now."""

    def drawn(self) -> Any:
        """A first state."""

    def redrawn(self, state: Any, share: float) -> Any:
        """A state that differs from another in about a share."""

    def gain(self, state: Any) -> Gain:
        """What the state wishes, for `Retiming.best`."""


def wishes_for(threat: Retiming, x: Tensor, rng: np.random.Generator) -> Wishes:
    """The wishes that serve a threat's budgets: `Places` where moves are bounded in number, else `Tides`.

    Args:
        threat: the budgets, by `reached`.
        x: one sample (1, ...), with events.
        rng: the only source of randomness.
    """
    grid = grid_of(x)
    own = x.cpu().numpy().reshape(grid)
    moves, distance = (float(budget[0]) for budget in threat.budgets(own.sum()[None]))
    if np.isinf(moves) and np.isinf(distance):
        return Tides(grid, rng)
    return Places(own, rng, min(moves, distance / threat.largest_shift(grid[0])))


def reached(threat: Retiming, steps: int) -> Retiming:
    """The threat as it is searched: where the sum of shifts is bounded, no event spends much of it.

    Args:
        threat: the budgets.
        steps: of a recording.
    """
    if threat.max_total_shift is None or threat.largest_shift(steps) <= _REACH:
        return threat
    step = 1 if threat.unit == "steps" else threat.dt_us or 1
    return dataclasses.replace(threat, max_shift=_REACH * step)


class Tides:
    """Every pixel and polarity wishes its events earlier (-1) or later (1); neighbours mostly agree."""

    def __init__(self, grid: Axes, rng: np.random.Generator) -> None:
        self._grid, self._rng = grid, rng

    def drawn(self) -> npt.NDArray[np.float32]:
        """See `Wishes.drawn`: tiles of pixels that agree."""
        _, channels, height, width = self._grid
        tall, wide = min(_TILE, height), min(_TILE, width)
        signs = self._rng.choice([-1.0, 1.0], (channels, -(-height // tall), -(-width // wide)))
        whole = signs.repeat(tall, 1).repeat(wide, 2)[:, :height, :width]
        return whole.astype(np.float32)

    def redrawn(self, state: npt.NDArray[np.float32], share: float) -> npt.NDArray[np.float32]:
        """See `Wishes.redrawn`: a window of one polarity turns to one sign."""
        _, channels, height, width = self._grid
        tall, wide = (min(side, max(_SIDE, round(_WIDEST * side * share**0.5))) for side in (height, width))
        row, column = self._rng.integers(height - tall + 1), self._rng.integers(width - wide + 1)
        changed = state.copy()
        window = changed[self._rng.integers(channels), row : row + tall, column : column + wide]
        window[...] = self._rng.choice([-1.0, 1.0])
        return changed

    def gain(self, state: npt.NDArray[np.float32]) -> Gain:
        """See `Wishes.gain`."""
        return _slope(self._grid[0]) * state


class Place(NamedTuple):
    """Neighbouring pixels of one polarity that wish their events earlier or later.

    Attributes:
        channel: of all its pixels.
        row: the first.
        column: the first.
        sign: -1 for earlier, 1 for later.
        events: how many there are.
    """

    channel: int
    row: int
    column: int
    sign: int
    events: int


class Places:
    """A few places wish their events earlier or later, about as many as may move; the others stay."""

    def __init__(self, own: npt.NDArray[np.float32], rng: np.random.Generator, budget: float) -> None:
        self._own, self._rng = own, rng
        self._budget = max(1.0, min(budget, float(own.sum())))
        self._anchors = np.argwhere(own.sum(0) > 0)
        self._tall, self._wide = (min(_SIDE, side) for side in own.shape[2:])

    def drawn(self) -> list[Place]:
        """See `Wishes.drawn`: as many places as the budget pays."""
        return self._filled([])

    def redrawn(self, state: list[Place], share: float) -> list[Place]:
        """See `Wishes.redrawn`: a share of the places, at least one, is drawn anew."""
        out = max(1, int(share * len(state)))
        kept = sorted(self._rng.permutation(len(state))[out:])
        return self._filled([state[k] for k in kept])

    def gain(self, state: list[Place]) -> Gain:
        """See `Wishes.gain`; the last places weigh least and are dropped first where the budget is short."""
        signs = np.zeros(self._own.shape[1:], np.float32)
        for place, weight in zip(state, np.linspace(1, _LEAST, len(state)), strict=True):
            rows = slice(place.row, place.row + self._tall)
            signs[place.channel, rows, place.column : place.column + self._wide] = place.sign * weight
        return _slope(len(self._own)) * signs

    def _filled(self, places: list[Place]) -> list[Place]:
        events = sum(place.events for place in places)
        while events < self._budget:
            places.append(self._place())
            events += places[-1].events
        return places

    def _place(self) -> Place:
        """A place around a pixel that has events."""
        channel, *pixel = (int(at) for at in self._anchors[self._rng.integers(len(self._anchors))])
        row, column = (
            min(max(0, at - int(self._rng.integers(side))), size - side)
            for at, side, size in zip(pixel, (self._tall, self._wide), self._own.shape[2:], strict=True)
        )
        events = self._own[:, channel, row : row + self._tall, column : column + self._wide].sum()
        return Place(channel, row, column, int(self._rng.choice([-1, 1])), int(events))


def _slope(steps: int) -> Gain:
    """Worth that rises from step to step."""
    return np.linspace(0, 1, steps, dtype=np.float32)[:, None, None, None]
