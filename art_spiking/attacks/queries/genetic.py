# SPDX-License-Identifier: MIT
"""Attacks that choose blocks of edits by the logits: a genetic search and a greedy one."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from art_spiking.attacks.options import check_whole
from art_spiking.attacks.queries.blocks import Blocks, Box, Cells, union
from art_spiking.attacks.queries.search import QueryAttack, Search, SearchAttack
from art_spiking.estimators import EventClassifier
from art_spiking.threats import EventThreat

_FIRST_SHARE, _DECAY = 0.5, 0.9


class EventGenetic(SearchAttack):
    """A population of sets of blocks of edits, crossed and mutated; the fittest lead furthest.

    GenAttack (Alzantot et al., GECCO 2019): the best member lives on, parents are drawn by a softmax of their
    fitness, a child takes each part from one parent by their odds, and mutations grow rarer when generations
    bring no gain. What differs: a member is a set of blocks of edits that uses the whole budget, as in
    `EventSquare`, a mutation draws a block anew, and the softmax is in units of the population's own spread,
    since spike counts have no common scale.
    """

    attack_params: ClassVar[list[str]] = [*QueryAttack.attack_params, "population"]

    def __init__(
        self,
        estimator: EventClassifier,
        threat: EventThreat,
        *,
        queries: int = 1000,
        population: int = 8,
        targeted: bool = False,
        seed: int = 0,
        batch_size: int = 50,
    ) -> None:
        """Takes the hyper-parameters.

        Args:
            estimator: the model under attack; only its logits are used.
            threat: what may be changed; EventEdits, alone or joined with others.
            queries: most questions per sample.
            population: members of a generation, at least 2.
            targeted: whether `y` holds classes to reach.
            seed: the same seed gives the same result.
            batch_size: samples attacked at once.

        Raises:
            InvalidInput: an option that does not fit.
        """
        super().__init__(
            estimator, threat, queries=queries, targeted=targeted, seed=seed, batch_size=batch_size
        )
        self.population = population
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        if hasattr(self, "population"):
            check_whole("population", self.population, least=2)

    def search(self, blocks: Blocks, rng: np.random.Generator) -> Search:
        """See `SearchAttack.search`."""
        slots = slots_of(blocks)
        members = [blocks.draw(rng, slots) for _ in range(self.population)]
        answers = yield [edits_of(blocks, member) for member in members]
        leads = [answer.lead for answer in answers]
        share = _FIRST_SHARE
        while True:
            best = int(np.argmax(leads))
            odds = _odds(leads)
            children = [
                self._child(blocks, [members[k] for k in parents], odds[parents], share, rng)
                for parents in rng.choice(len(members), (self.population - 1, 2), p=odds)
            ]
            answers = yield [edits_of(blocks, child) for child in children]
            found = [answer.lead for answer in answers]
            if max(found) <= leads[best]:
                share = max(1 / slots, share * _DECAY)
            members = [members[best], *children]
            leads = [leads[best], *found]

    @staticmethod
    def _child(
        blocks: Blocks,
        parents: list[list[Box]],
        odds: npt.NDArray[np.float64],
        share: float,
        rng: np.random.Generator,
    ) -> list[Box]:
        slots = len(parents[0])
        first = rng.random(slots) < odds[0] / odds.sum()
        anew = rng.random(slots) < share
        drawn = blocks.draw(rng, slots)
        return [drawn[k] if anew[k] else parents[0][k] if first[k] else parents[1][k] for k in range(slots)]


class EventGreedy(SearchAttack):
    """Adds one block of edits at a time, the best of a few random ones.

    The greedy black-box search of Marchisio et al. (arXiv 1902.01147) ranks groups of pixels by what a change
    of each does to the output, and changes the best. What differs: a group is a block of events in space and
    time, drawn anew each round; a block is kept if the true class does not gain by it; and once the budget is
    spent, a block takes the place of a random one.
    """

    attack_params: ClassVar[list[str]] = [*QueryAttack.attack_params, "candidates"]

    def __init__(
        self,
        estimator: EventClassifier,
        threat: EventThreat,
        *,
        queries: int = 1000,
        candidates: int = 8,
        targeted: bool = False,
        seed: int = 0,
        batch_size: int = 50,
    ) -> None:
        """Takes the hyper-parameters.

        Args:
            estimator: the model under attack; only its logits are used.
            threat: what may be changed; EventEdits, alone or joined with others.
            queries: most questions per sample.
            candidates: blocks compared in a round.
            targeted: whether `y` holds classes to reach.
            seed: the same seed gives the same result.
            batch_size: samples attacked at once.

        Raises:
            InvalidInput: an option that does not fit.
        """
        super().__init__(
            estimator, threat, queries=queries, targeted=targeted, seed=seed, batch_size=batch_size
        )
        self.candidates = candidates
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        if hasattr(self, "candidates"):
            check_whole("candidates", self.candidates)

    def search(self, blocks: Blocks, rng: np.random.Generator) -> Search:
        """See `SearchAttack.search`."""
        slots = slots_of(blocks)
        chosen: list[Box] = []
        lead = -np.inf
        while True:
            sets = []
            for box in blocks.draw(rng, self.candidates):
                out = int(rng.integers(slots))
                kept = chosen if len(chosen) < slots else chosen[:out] + chosen[out + 1 :]
                sets.append([*kept, box])
            answers = yield [edits_of(blocks, one) for one in sets]
            best = max(range(len(answers)), key=lambda k: answers[k].lead)
            if answers[best].lead >= lead:
                chosen, lead = sets[best], answers[best].lead


def slots_of(blocks: Blocks) -> int:
    """How many blocks of the usual size the budget buys; all that fit the sample where nothing limits it."""
    size = math.prod(blocks.sides)
    return max(1, min(blocks.budget, len(blocks.anchors)) // size)


def edits_of(blocks: Blocks, boxes: list[Box]) -> Cells:
    """The cells of several blocks, within the budget."""
    return union(map(blocks.cells, boxes))


def _odds(leads: list[float]) -> npt.NDArray[np.float64]:
    """A softmax of the leads, in units of their spread."""
    values = np.array(leads, np.float64)
    spread = values.std()
    weights = np.exp((values - values.max()) / (spread if spread > 0 else 1.0))
    odds: npt.NDArray[np.float64] = weights / weights.sum()
    return odds
