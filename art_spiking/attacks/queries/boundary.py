# SPDX-License-Identifier: MIT
"""Decision-based attacks on events: a walk down the number of edits, along the boundary of a class."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from art_spiking.attacks.options import check_flag
from art_spiking.attacks.queries.block_pool import BlockPool, Mask, best_of
from art_spiking.attacks.queries.blocks import Blocks, Box, Cells, union
from art_spiking.attacks.queries.search import Answer, QueryAttack, Search, SearchAttack
from art_spiking.estimators import EventClassifier
from art_spiking.threats import EventThreat

Asking = Generator[list[Cells], list[Answer], None]

_START = 16
_TRIES = 3
_LEAST_POOL = 24
_PRIOR = 0.1
_PATIENCE = 48
_FEW = 4
_GAIN = 0.97
_SHORTER, _LONGER = 0.97, 1.012
_GROUP = 8
_GIVE_UP = 2
_MASKS = 16
_KEPT, _TAKEN = 0.85, 0.2


class BoundaryAttack(SearchAttack):
    """What the decision-based attacks share; they are told the predicted class and nothing else.

    The start: random blocks of edits, larger ones where they do not fool, far over the budget. The walk: a
    pool of blocks, some of which are in the set that fools; answers to random sets teach what each is worth,
    and sets of fewer edits are tried. Blocks that are surely worth little are exchanged for new ones. Where
    the number of edits falls no further, the blocks of the smallest set that fooled are cut into finer ones.
    A set within the budget ends the walk, or, with `fewest`, all queries are used to find a smaller one. A
    sample for which none is found is returned as it was.
    """

    labels_only: ClassVar[bool] = True
    attack_params: ClassVar[list[str]] = [*QueryAttack.attack_params, "fewest"]

    def __init__(
        self,
        estimator: EventClassifier,
        threat: EventThreat,
        *,
        queries: int = 1000,
        fewest: bool = False,
        targeted: bool = False,
        seed: int = 0,
        batch_size: int = 50,
    ) -> None:
        """Takes the hyper-parameters.

        Args:
            estimator: the model under attack; only its predicted classes are used.
            threat: what may be changed; EventEdits, alone or joined with others. Questions keep to its rules
                but go beyond its budget of edits.
            queries: most questions per sample.
            fewest: use all queries to find fewer edits, rather than stop at the first success.
            targeted: whether `y` holds classes to reach.
            seed: the same seed gives the same result.
            batch_size: samples attacked at once.

        Raises:
            InvalidInput: an option that does not fit.
        """
        super().__init__(
            estimator, threat, queries=queries, targeted=targeted, seed=seed, batch_size=batch_size
        )
        self.fewest = fewest
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        check_flag("fewest", self.fewest)

    @abstractmethod
    def step(self, walk: Walk) -> Asking:
        """Asks about some sets of the walk's blocks and lets it note the answers."""

    def search(self, blocks: Blocks, rng: np.random.Generator) -> Search:
        """See `SearchAttack.search`."""
        level, boxes, edits = yield from _start(blocks, rng)
        walk = Walk(blocks, rng, level, boxes, edits, finest=0 if self.fewest else blocks.usual)
        while True:
            yield from self.step(walk)
            walk.settle()


def _start(
    blocks: Blocks, rng: np.random.Generator
) -> Generator[list[Cells], list[Answer], tuple[int, list[Box], int]]:
    """Random blocks, larger and larger, over again, until some fool."""
    while True:
        for level in range(blocks.usual, len(blocks.levels)):
            last = level == len(blocks.levels) - 1
            for _ in range(_TRIES):
                boxes = blocks.draw(rng, _START * (4 if last else 1), level)
                (answer,) = yield [union(map(blocks.cells, boxes))]
                if answer.fooled:
                    return level, boxes, len(answer.cells)


class Walk:
    """Where the search for one sample is.

    Attributes:
        rng: the only source of randomness.
        pool: the blocks in play.
        size: how many of them are asked about; it shrinks when they fool and grows when they do not.
        edits: the fewest that fooled so far.
    """

    def __init__(
        self,
        blocks: Blocks,
        rng: np.random.Generator,
        level: int,
        boxes: list[Box],
        edits: int,
        *,
        finest: int,
    ) -> None:
        self.rng = rng
        self.edits = edits
        self._blocks, self._level, self._finest = blocks, level, finest
        self._found = boxes
        self._restart(boxes, [_PRIOR] * len(boxes))

    def _restart(self, boxes: list[Box], prior: list[float], *, least: int = _LEAST_POOL) -> None:
        fresh = self._blocks.draw(self.rng, max(0, least - len(boxes)), self._level)
        self.pool = BlockPool(self._blocks, [*boxes, *fresh], [*prior, *[0.0] * len(fresh)])
        self.size = float(len(boxes))
        self._lowest, self._since, self._dead = self.size, 0, 0

    @property
    def found(self) -> Mask:
        """Which of the pool's blocks are in the smallest set that fooled."""
        wanted = set(self._found)
        return np.array([box in wanted for box in self.pool.boxes])

    def note(self, masks: npt.NDArray[np.bool_], answers: list[Answer]) -> None:
        """Takes in the answers to sets of the pool's blocks."""
        for mask, answer in zip(masks, answers, strict=False):
            self.pool.observe(mask, answer.lead)
            if answer.fooled and len(answer.cells) < self.edits:
                self.edits = len(answer.cells)
                self._found = [self.pool.boxes[k] for k in np.flatnonzero(mask)]
            self.size *= _SHORTER if answer.fooled else _LONGER
        self.size = min(max(self.size, 1.0), float(len(self.pool)))
        self._since += len(answers)
        if self.size < _GAIN * self._lowest:
            self._lowest, self._since = self.size, 0
        lost = self.size >= len(self.pool) and not any(answer.fooled for answer in answers)
        self._dead = self._dead + 1 if lost else 0

    def settle(self) -> None:
        """Cuts the blocks, goes back to those that fooled, or exchanges hopeless ones, as things stand."""
        stuck = self._since >= _PATIENCE or self.size < _FEW
        if stuck and self._level > self._finest:
            self._cut()
        elif self._dead >= _GIVE_UP:
            # New blocks are in the way: all of the pool together fools no more.
            self._restart(self._found, [_PRIOR] * len(self._found), least=0)
        else:
            self.pool.replace_hopeless(self.rng, self._level, round(self.size))

    def _cut(self) -> None:
        self._level -= 1
        known = dict(zip(self.pool.boxes, self.pool.worth(), strict=True))
        cut = [(box, self._blocks.parts(box, self._level)) for box in self._found]
        boxes = [part for _, parts in cut for part in parts]
        prior = [known.get(box, 0.0) / len(parts) for box, parts in cut for _ in parts]
        self._restart(boxes, prior)


class EventSignOPT(BoundaryAttack):
    """A ranking of edits, improved by asking whether perturbed rankings still fool at equal length.

    Sign-OPT (Cheng et al., ICLR 2020) moves a direction in which the boundary is near, and learns from one
    question per perturbed direction on which side of the boundary it ends at equal length. Here a direction
    is a ranking of blocks of edits, and its length is how many of the first blocks are made: about the number
    at which a third of the perturbed rankings fool. What differs: lengths are numbers of edits; a ranking is
    perturbed where its worth is not known, by drawing from a Bayesian regression on all answers so far,
    rather than by noise of one width (Thompson sampling); there is no step size and no line search.
    """

    def step(self, walk: Walk) -> Asking:
        """Perturbed rankings, cut at the walk's length."""
        lengths = np.floor(walk.size + walk.rng.random(_GROUP)).astype(int).clip(1, len(walk.pool))
        worths = walk.pool.drawn(walk.rng, _GROUP)
        masks = np.stack([best_of(worth, length) for worth, length in zip(worths, lengths, strict=True)])
        answers = yield [walk.pool.edits(mask) for mask in masks]
        walk.note(masks, answers)


class EventHopSkipJump(BoundaryAttack):
    """A set of edits at the boundary, improved along a gradient that random masks estimate.

    HopSkipJump (Chen, Jordan and Wainwright, IEEE S&P 2020): at the boundary, random perturbations and the
    classes they give estimate the gradient; a step follows it, and bisection returns to the boundary. Here a
    point is a set of blocks of edits; a perturbation leaves some out and takes others in; the step ranks all
    blocks by the estimate, and bisection finds the fewest of the first that still fool. What differs: the
    distance is a number of edits; the estimate is a regression over all rounds so far, not the mean of one.
    """

    def step(self, walk: Walk) -> Asking:
        """Random masks around the smallest set that fooled; then the ranking, bisected."""
        kept = best_of(walk.pool.worth(), round(walk.size))
        masks = walk.rng.random((_MASKS, len(kept))) < np.where(kept, _KEPT, _TAKEN)
        answers = yield [walk.pool.edits(mask) for mask in masks]
        walk.note(masks, answers)
        ranking = np.argsort(-walk.pool.worth(), kind="stable")
        most, least = int(walk.found.sum()), 0
        while most - least > 1:
            mask = np.zeros(len(ranking), np.bool_)
            mask[ranking[: (middle := (most + least) // 2)]] = True
            (answer,) = yield [walk.pool.edits(mask)]
            walk.note(mask[None], [answer])
            most, least = (middle, least) if answer.fooled else (most, middle)
