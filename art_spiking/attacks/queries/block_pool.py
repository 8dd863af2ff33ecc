# SPDX-License-Identifier: MIT
"""Blocks in play and what they seem to be worth, by regression on the answers to random sets of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from art_spiking.attacks.queries.blocks import Blocks, Box, Cells, union

Mask = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float64]

_PRECISION = 4.0
_BASE_PRECISION = 0.1
_REPLACED = 10


class BlockPool:
    """Blocks, of which sets were asked about; a Bayesian linear regression says what each is worth.

    The worth of a block is how much it adds to the answer, from -1 for "not fooled" to 1; before any answer
    it is normal with mean `prior` and variance 1/4, and the answers have variance 1.

    Attributes:
        boxes: the blocks.
        cells: of each.
    """

    def __init__(self, blocks: Blocks, boxes: Sequence[Box], prior: Sequence[float] | Values) -> None:
        self._blocks = blocks
        self.boxes = list(boxes)
        self.cells: list[Cells] = [blocks.cells(box) for box in boxes]
        # The last column is what no block explains.
        self._precision = np.diag([*[_PRECISION] * len(boxes), _BASE_PRECISION])
        self._moment = np.append(_PRECISION * np.asarray(prior, np.float64), 0.0)

    def __len__(self) -> int:
        return len(self.boxes)

    def edits(self, mask: Mask) -> Cells:
        """The cells of a set of blocks."""
        return union(self.cells[k] for k in np.flatnonzero(mask))

    def observe(self, mask: Mask, value: float) -> None:
        """Takes in the answer to a set."""
        row = np.append(mask, True).astype(np.float64)
        self._precision += np.outer(row, row)
        self._moment += value * row

    def worth(self) -> Values:
        """The mean worth of each block."""
        found: Values = np.linalg.solve(self._precision, self._moment)[:-1]
        return found

    def drawn(self, rng: np.random.Generator, count: int) -> Values:
        """Worths drawn from what is known and what is not, (count, blocks)."""
        root = np.linalg.inv(np.linalg.cholesky(self._precision))
        mean = root.T @ (root @ self._moment)
        found: Values = (mean + rng.standard_normal((count, len(mean))) @ root)[:, :-1]
        return found

    def replace_hopeless(self, rng: np.random.Generator, level: int, used: int) -> None:
        """Draws new blocks for some that are surely worth less than the `used` best."""
        covariance = np.linalg.inv(self._precision)
        mean = (covariance @ self._moment)[:-1]
        at_best = mean + np.sqrt(np.diag(covariance)[:-1])
        bar = np.sort(mean)[-min(len(self), max(2, used))]
        hopeless = np.flatnonzero(at_best < bar)
        hopeless = hopeless[np.argsort(at_best[hopeless])][: max(1, len(self) // _REPLACED)]
        for place, box in zip(hopeless, self._blocks.draw(rng, len(hopeless), level), strict=True):
            self.boxes[place], self.cells[place] = box, self._blocks.cells(box)
            self._precision[place, :] = self._precision[:, place] = self._moment[place] = 0.0
            self._precision[place, place] = _PRECISION


def best_of(worth: Values, count: int) -> Mask:
    """The `count` blocks that are worth most."""
    mask = np.zeros(len(worth), np.bool_)
    mask[np.argsort(-worth, kind="stable")[:count]] = True
    return mask
