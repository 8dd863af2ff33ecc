# SPDX-License-Identifier: MIT
"""Blocks of neighbouring cells of one sample, in which query attacks insert or delete events together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from art_spiking.attacks.edits.space import budgets_of
from art_spiking.threats import EventThreat

Cells = npt.NDArray[np.int64]
"""Cells of one sample that are edited: indices, ascending, each once."""

Axes = tuple[int, int, int, int]
"""Steps, channels, rows, columns."""

_SIDE = 2
_DURATION = 6
_LEAST_BLOCKS = 5


class Box(NamedTuple):
    """A block: its first cell and its extent, along each axis."""

    first: Axes
    spans: Axes


def editable_cells(threat: EventThreat, x: Tensor) -> tuple[Tensor, Tensor]:
    """Where blocks edit: insertions where the threat allows any in a sample, else deletions.

    Returns:
        The sign of a sample's edits (N, 1), of x's dtype, and a bool mask (N, cells) of where they may be.
    """
    insertable, deletable = (mask.flatten(1) for mask in threat.allowed(x))
    inserts = insertable.any(1, keepdim=True)
    return torch.where(inserts, 1.0, -1.0).to(x.dtype), torch.where(inserts, insertable, deletable)


def grid_of(x: Tensor) -> Axes:
    """The axes of each sample of a batch; features are columns of one row and channel."""
    steps, channels, height, width = x.shape[1:] if x.ndim == 5 else (x.shape[1], 1, 1, x.shape[2])
    return int(steps), int(channels), int(height), int(width)


def block_sides(x: Tensor, budgets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Steps, rows and columns of the blocks of each sample, int64 (N,) each.

    Two by two pixels over a sixth of the recording, smaller where the budget (N,) buys fewer than five.
    """
    steps, _, height, width = grid_of(x)
    most = (budgets // _LEAST_BLOCKS).clamp(min=1)
    duration = most.clamp(max=max(1, round(steps / _DURATION)))
    widest = min(_SIDE, width) if x.ndim == 5 else 1
    columns = (most // duration).clamp(min=1, max=widest)
    return duration, (most // (duration * columns)).clamp(min=1, max=min(_SIDE, height)), columns


@dataclass(frozen=True, eq=False)
class Blocks:
    """The blocks that a search may edit in one sample, of several sizes.

    Attributes:
        grid: the sample's axes.
        sides: of a block, by `block_sides`.
        budget: the most edits that count.
        editable: bool (cells,).
        anchors: the cells that may be edited, ascending: blocks are drawn around them.
        levels: extents of blocks from one cell to a large part of the sample, each twice the one before.
        usual: the level of `sides`.
    """

    grid: Axes
    sides: Axes
    budget: int
    editable: npt.NDArray[np.bool_]
    anchors: Cells = field(init=False)
    levels: list[Axes] = field(init=False)
    usual: int = field(init=False)

    def __post_init__(self) -> None:
        """Finds the anchors and the levels."""
        object.__setattr__(self, "anchors", np.flatnonzero(self.editable))
        levels = [self.sides]
        while max(levels[0]) > 1:
            longest = max(range(4), key=lambda k: levels[0][k])
            levels.insert(0, _with(levels[0], longest, (levels[0][longest] + 1) // 2))
        object.__setattr__(self, "usual", len(levels) - 1)
        for _ in range(4):
            # Pixels first: what a neuron sums lies close in time already.
            steps, _, height, width = levels[-1]
            if min(height, width) * 4 > max(self.grid[2:]):
                steps = 2 * steps
            wider = (steps, 1, 2 * height, 2 * width)
            capped = [min(span, size) for span, size in zip(wider, self.grid, strict=True)]
            if (capped[0], 1, capped[2], capped[3]) == levels[-1]:
                break
            levels.append((capped[0], 1, capped[2], capped[3]))
        object.__setattr__(self, "levels", levels)

    @classmethod
    def of(cls, threat: EventThreat, x: Tensor) -> list[Blocks]:
        """The blocks of each sample of a batch."""
        _, editable = editable_cells(threat, x)
        budgets = budgets_of(threat, x).cpu()
        sides = torch.stack(block_sides(x, budgets), 1).tolist()
        return [
            cls(grid_of(x), (side[0], 1, side[1], side[2]), budget, mask)
            for side, budget, mask in zip(sides, budgets.tolist(), editable.cpu().numpy(), strict=True)
        ]

    def draw(self, rng: np.random.Generator, count: int, level: int | None = None) -> list[Box]:
        """Blocks of a level around cells drawn from those that may be edited, whole inside the grid."""
        spans = self.levels[self.usual if level is None else level]
        boxes = []
        for anchor in rng.choice(self.anchors, count):
            place = np.unravel_index(anchor, self.grid)
            first = [
                min(max(0, int(cell) - int(rng.integers(span))), size - span)
                for cell, span, size in zip(place, spans, self.grid, strict=True)
            ]
            boxes.append(Box((first[0], first[1], first[2], first[3]), spans))
        return boxes

    def cells(self, box: Box) -> Cells:
        """The cells of a block that may be edited."""
        axes = [np.arange(first, first + span) for first, span in zip(*box, strict=True)]
        cells = np.ravel_multi_index(np.meshgrid(*axes, indexing="ij"), self.grid).ravel()
        found: Cells = cells[self.editable[cells]]
        return found

    def parts(self, box: Box, level: int) -> list[Box]:
        """A block cut into those of a finer level, less those where nothing may be edited."""
        whole, parts = [box], []
        while whole:
            piece = whole.pop()
            axis = max(range(4), key=lambda k: piece.spans[k] / self.levels[level][k])
            if piece.spans[axis] > self.levels[level][axis]:
                whole += _halves(piece, axis)
            elif len(self.cells(piece)):
                parts.append(piece)
        return parts


def union(blocks: Iterable[Cells]) -> Cells:
    """All cells of several blocks, ascending, each once."""
    return np.unique(np.concatenate([np.empty(0, np.int64), *blocks]))


def _halves(box: Box, axis: int) -> tuple[Box, Box]:
    """A block cut across an axis; the first part is no smaller."""
    span = (box.spans[axis] + 1) // 2
    rest = Box(_with(box.first, axis, box.first[axis] + span), _with(box.spans, axis, box.spans[axis] - span))
    return Box(box.first, _with(box.spans, axis, span)), rest


def _with(values: Axes, axis: int, value: int) -> Axes:
    changed = [*values]
    changed[axis] = value
    return changed[0], changed[1], changed[2], changed[3]
