# SPDX-License-Identifier: MIT
"""EventExchange: edits that a gradient proposes to exchange, and trials on the model decide about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from art_spiking.attacks.edits.gradient import EventGradientAttack
from art_spiking.attacks.edits.searched import won
from art_spiking.attacks.edits.space import EditSpace, cells_of, is_plain
from art_spiking.attacks.objectives import objective_named
from art_spiking.attacks.options import check_whole
from art_spiking.attacks.paths import SAMPLE_SURROGATE, OneSurrogate, attack_views
from art_spiking.attacks.seeds import sample_keys
from art_spiking.estimators import SpikingClassifier
from art_spiking.threats import EventThreat

Cells = npt.NDArray[np.int64]

_POOL = 128
_FEW = 4
_AT_ONCE = 128


class EventExchange(EventGradientAttack):
    """Exchanges a few edits of each sample at a time for better ones: a gradient proposes, trials decide.

    The search starts from the best attempt of `EventGradientAttack`. Each round takes the gradient at the
    edited sample, where there are whole events only, which ranks the edits made and the cells left. Some
    exchanges are drawn, of one, two or four edits, or up to an eighth of a large budget; the least worth and
    the most are preferred. All are tried, and the best is taken, unless it leads back. Equals are taken too:
    a lead is a whole number of spikes on many models, and the search has to cross its plains.

    The greedy coordinate gradient of Zou et al. (arXiv 2307.15043) searches prompts of text so, one token at
    a time; what differs: several edits at once, a start, and which ones are drawn. Where gradients of spikes
    are wrong, and rounding of soft edits loses what they promised, trials are not misled.

    White box: needs gradients, and `rounds` * `candidates` forward passes. Budget in events. Serves
    EventEdits, PixelRate and PatchRegion, and several joined by &.
    """

    attack_params: ClassVar[list[str]] = [*EventGradientAttack.attack_params, "rounds", "candidates"]

    def __init__(  # noqa: PLR0913 (six hyper-parameters, and what ART attacks)
        self,
        estimator: SpikingClassifier,
        threat: EventThreat,
        *,
        rounds: int = 40,
        candidates: int = 32,
        steps: int = 30,
        objective: str = "soft-gap",
        surrogate: OneSurrogate | None = SAMPLE_SURROGATE,
        fewest: bool = False,
        targeted: bool = False,
        seed: int = 0,
        batch_size: int = 50,
    ) -> None:
        """Takes the hyper-parameters.

        Args:
            estimator: the model under attack.
            threat: what may be changed.
            rounds: of exchanges, at most.
            candidates: exchanges tried in a round.
            steps: gradients of the attack that it starts from, at most.
            objective: "soft-gap", "gap" or "cross-entropy".
            surrogate: gradient path, its dict or its name, or "sweep"; None for the estimator's own.
            fewest: use all rounds to find fewer edits, rather than stop at the first success.
            targeted: whether `y` holds classes to reach.
            seed: the same seed gives the same result.
            batch_size: samples attacked at once.

        Raises:
            InvalidInput: an option that does not fit.
            UnknownName: no such objective.
        """
        super().__init__(
            estimator,
            threat,
            steps=steps,
            objective=objective,
            surrogate=surrogate,
            fewest=fewest,
            targeted=targeted,
            seed=seed,
            batch_size=batch_size,
        )
        self.rounds = rounds
        self.candidates = candidates
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        if not hasattr(self, "candidates"):
            return
        check_whole("rounds", self.rounds)
        check_whole("candidates", self.candidates)

    def run(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """See `EventAttack.run`."""
        (view,) = attack_views(self.estimator, self.surrogate)
        objective = objective_named(self.objective, targeted=self.targeted)
        space = EditSpace.of(self.threat, x)
        first = self.threat.project(super().run(x, y, generator), x)
        leads, made = won(self, first, y).tolist(), cells_of(first, x)
        keys = sample_keys(x, generator.initial_seed())
        budgets = space.budgets.tolist()
        searches = [
            _Exchange(cells, lead, budget, np.random.default_rng(int(key)))
            for cells, lead, budget, key in zip(made, leads, budgets, keys, strict=True)
        ]
        for search, lead in zip(searches, leads, strict=True):
            search.settle(lead, fewest=self.fewest)
        for _ in range(self.rounds):
            open_ = [row for row, search in enumerate(searches) if search.open]
            if not open_:
                break
            rows = torch.tensor(open_, device=x.device)
            edited = self._edited(space, rows, [searches[row].cells for row in open_])
            gradient, _ = view.input_gradient(edited, y[rows], objective=objective)
            worth = (gradient * space.direction[rows]).flatten(1)
            for place in torch.nonzero(~worth.any(1))[:, 0].tolist():
                drawn = searches[open_[place]].rng.random(worth.shape[1])
                worth[place] = torch.from_numpy(drawn).to(worth)  # nothing tells one cell from another
            pools = _pools(worth, space.direction[rows].flatten(1), [searches[row].cells for row in open_])
            asked = [
                searches[row].proposals(pool, value, self.candidates)
                for row, pool, value in zip(open_, pools, worth, strict=True)
            ]
            for row, tried in zip(open_, self._tried(space, y, open_, asked), strict=True):
                searches[row].note(tried, fewest=self.fewest)
        return self._edited(space, torch.arange(len(x), device=x.device), [one.best for one in searches])

    def _tried(
        self, space: EditSpace, y: Tensor, open_: list[int], asked: list[list[Cells]]
    ) -> list[list[tuple[float, Cells]]]:
        """The lead of each proposal, above 0 exactly where it fools, with the cells that the rules left."""
        flat = [(place, cells) for place, sets in enumerate(asked) for cells in sets]
        result: list[list[tuple[float, Cells]]] = [[] for _ in asked]
        for start in range(0, len(flat), _AT_ONCE):
            part = flat[start : start + _AT_ONCE]
            rows = torch.tensor([open_[place] for place, _ in part], device=y.device)
            candidates = self._edited(space, rows, [cells for _, cells in part])
            leads = won(self, candidates, y[rows]).tolist()
            plain = is_plain(self.threat)
            made = [cells for _, cells in part] if plain else cells_of(candidates, space.clean[rows])
            for (place, _), cells, lead in zip(part, made, leads, strict=True):
                result[place].append((lead, cells))
        return result

    def _edited(self, space: EditSpace, rows: Tensor, edits: list[Cells]) -> Tensor:
        """Samples with their edits, as the threat's rules allow."""
        clean, direction = space.clean[rows], space.direction.flatten(1)
        wanted = clean.flatten(1).clone()
        for place, cells in enumerate(edits):
            index = torch.from_numpy(cells).to(wanted.device)
            wanted[place, index] += direction[rows[place], index]
        found = wanted.view(clean.shape)
        return found if is_plain(self.threat) else self.threat.project(found, clean)


@dataclass
class _Exchange:
    """The search of one sample.

    Attributes:
        cells: those edited now.
        lead: of these.
        limit: most edits.
        rng: the only source of randomness.
        best: the cells of the result.
        open: whether it goes on.
    """

    cells: Cells
    lead: float
    limit: int
    rng: np.random.Generator

    def __post_init__(self) -> None:
        """The start is the best so far."""
        self.best, self.most, self.open = self.cells, self.lead, self.limit > 0

    def proposals(self, pool: Cells, worth: Tensor, count: int) -> list[Cells]:
        """Sets of cells, each a few exchanges away.

        Args:
            pool: cells that are not edited, those of most worth first.
            worth: (cells,), of all.
            count: how many sets.
        """
        own = self.cells[np.argsort(worth[torch.from_numpy(self.cells).to(worth.device)].cpu().numpy())]
        largest = max(_FEW, self.limit // 8)
        sizes = 2 ** self.rng.integers(0, largest.bit_length(), count)
        added, dropped = (_preferred(self.rng, count, len(cells)) for cells in (pool, own))
        result = []
        for size, add, drop in zip(sizes.tolist(), added, dropped, strict=True):
            new = pool[add[: min(size, self.limit)]]
            over = max(0, len(own) + len(new) - self.limit)
            result.append(np.concatenate([np.delete(own, drop[:over]), new]))
        return result

    def note(self, tried: list[tuple[float, Cells]], *, fewest: bool) -> None:
        """Takes the best of a round, unless it leads back."""
        if not tried:
            self.open = False  # no cell is left to edit
            return
        lead, cells = max(tried, key=lambda one: one[0])
        if lead >= self.lead:
            self.cells, self.lead = cells, lead
        if lead > self.most:
            self.best, self.most = cells, lead
        self.settle(lead, fewest=fewest)

    def settle(self, lead: float, *, fewest: bool) -> None:
        """A sample that is fooled is done, or goes on within one edit less."""
        if lead <= 0:
            return
        self.best, self.limit = self.cells, len(self.cells) - 1
        # What does not fool is no longer better than the best.
        self.lead, self.most = -np.inf, np.inf
        self.open = fewest and self.limit > 0


def _preferred(rng: np.random.Generator, count: int, places: int) -> npt.NDArray[np.int64]:
    """Orders (count, places) drawn at random, in which early places tend to come first."""
    waits = rng.exponential(size=(count, places)) * np.sqrt(1.0 + np.arange(places))
    order: npt.NDArray[np.int64] = np.argsort(waits, 1)
    return order


def _pools(worth: Tensor, direction: Tensor, edited: list[Cells]) -> list[Cells]:
    """The cells of most worth of each sample that may be edited and are not, best first."""
    free = direction != 0
    for place, cells in enumerate(edited):
        free[place, torch.from_numpy(cells).to(free.device)] = False
    most = min(_POOL, worth.shape[1])
    top = worth.masked_fill(~free, -torch.inf).topk(most, 1)
    found = [index[value > -torch.inf] for value, index in zip(top.values, top.indices, strict=True)]
    return [index.cpu().numpy() for index in found]
