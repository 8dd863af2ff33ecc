# SPDX-License-Identifier: MIT
"""What query attacks share: counted questions, searches run side by side, random streams, bisection."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from art_spiking.attacks.base import EventAttack, ThreatT
from art_spiking.attacks.edits.space import cells_of, is_plain, widened
from art_spiking.attacks.options import check_whole
from art_spiking.attacks.queries.blocks import Blocks, Cells, editable_cells
from art_spiking.attacks.seeds import sample_keys
from art_spiking.estimators import EventClassifier

_SCHEDULE = ((0.02, 0.5), (0.1, 0.25), (0.25, 0.12), (0.5, 0.06), (1.0, 0.03))
"""Up to a share of the queries: the share of blocks that a random search draws anew."""

_WITHOUT_LIMIT = 10**6
_NOTHING: list[Cells] = []


@dataclass(frozen=True)
class Answer:
    """What the model said to one question.

    Attributes:
        lead: how far the sample is towards what the attacker wants; 1 or -1 where only labels are asked for.
        fooled: whether it is there.
        cells: the edits that were made: those asked for, less what the threat's rules forbid together.
    """

    lead: float
    fooled: bool
    cells: Cells


Search = Generator[list[Cells], list[Answer], None]
"""Asks about several sets of edits at once, as often as it likes; whoever runs it notes the best."""


class QueryAttack(EventAttack[ThreatT]):
    """An attack that asks the model and takes no gradient, at most `queries` times per sample.

    Attributes:
        query_counts: int64 (N,), the questions about each sample in the last `generate`; None before. The
            one that finds samples which are misclassified already is not among them.
    """

    gradients: ClassVar[bool] = False
    attack_params: ClassVar[list[str]] = [*EventAttack.attack_params, "queries"]
    query_counts: npt.NDArray[np.int64] | None = None

    def __init__(
        self,
        estimator: EventClassifier,
        threat: ThreatT,
        *,
        queries: int = 1000,
        targeted: bool = False,
        seed: int = 0,
        batch_size: int = 50,
    ) -> None:
        """Takes the hyper-parameters.

        Args:
            estimator: the model under attack: anything that predicts.
            threat: what may be changed.
            queries: most questions per sample.
            targeted: whether `y` holds classes to reach.
            seed: the same seed gives the same result.
            batch_size: samples attacked at once.

        Raises:
            InvalidInput: an option that does not fit.
        """
        super().__init__(estimator, threat, seed=seed, batch_size=batch_size)
        self.queries = queries
        self.targeted = targeted
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        if hasattr(self, "queries"):
            check_whole("queries", self.queries)

    def _generate(self, clean: Tensor, labels: Tensor, predicted: Tensor | None) -> Tensor:
        if predicted is None:
            predicted = self.estimator.predict_torch(clean, self.batch_size).argmax(1)
        self._asked: list[npt.NDArray[np.int64]] = []
        result = super()._generate(clean, labels, predicted)
        self.query_counts = np.zeros(len(clean), np.int64)
        open_ = ~self.fooled(predicted, labels).cpu().numpy()
        if self._asked:
            self.query_counts[open_] = np.concatenate(self._asked)
        return result

    def count(self, asked: npt.NDArray[np.int64]) -> None:
        """Notes how often `run` asked about each sample of its batch."""
        self._asked.append(asked)


class SearchAttack(QueryAttack):
    """A query attack that is written as the search for one sample; the searches of a batch run side by side.

    What a search asks depends on the seed and on its own sample alone, so a sample gets the same result in
    any batch, as long as the model's logits do not depend on it.

    Attributes:
        labels_only: whether the search is told classes alone.
        fewest: whether a sample that is fooled is searched further for fewer edits.
    """

    labels_only: ClassVar[bool] = False
    fewest: bool = False

    @abstractmethod
    def search(self, blocks: Blocks, rng: np.random.Generator) -> Search:
        """Searches for edits of one sample; ends by itself, or is closed.

        Args:
            blocks: where it may be edited; questions may go beyond the budget, answers beyond it never count.
            rng: the only source of randomness.
        """

    @final
    def run(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """See `EventAttack.run`; a sample that is not fooled keeps the best attempt within the budget."""
        told = _Told(self, x, y)
        keys = sample_keys(x, generator.initial_seed())
        blocks = Blocks.of(self.threat, x)
        searches = {
            row: self.search(blocks[row], np.random.default_rng(int(keys[row])))
            for row in range(len(x))
            if blocks[row].budget and len(blocks[row].anchors)
        }
        asked = np.zeros(len(x), np.int64)
        best = [_Best(row_blocks.budget, fewest=self.fewest) for row_blocks in blocks]
        questions = {row: next(search, _NOTHING) for row, search in searches.items()}
        while questions := {row: asks for row, asks in questions.items() if asks}:
            answers = told.answers(
                {row: asks[: self.queries - asked[row]] for row, asks in questions.items()}
            )
            for row, given in answers.items():
                asked[row] += len(given)
                best[row].note(given)
                if asked[row] >= self.queries or best[row].done:
                    questions[row] = _NOTHING
                    searches[row].close()
                else:
                    questions[row] = _resumed(searches[row], given)
        self.count(asked)
        return told.edited(torch.arange(len(x)), [found.cells for found in best])


def _resumed(search: Search, given: list[Answer]) -> list[Cells]:
    try:
        return search.send(given)
    except StopIteration:
        return _NOTHING


class _Best:
    """The best answer so far: within the budget, fooled before not, then fewer edits or a higher lead."""

    def __init__(self, budget: int, *, fewest: bool) -> None:
        self.cells: Cells = np.empty(0, np.int64)
        self._budget, self._fewest = budget, fewest
        self._rank = (False, -np.inf)
        self.done = False

    def note(self, answers: list[Answer]) -> None:
        for answer in answers:
            if len(answer.cells) > self._budget:
                continue
            rank = (answer.fooled, -len(answer.cells) if answer.fooled else answer.lead)
            if rank > self._rank:
                self._rank, self.cells = rank, answer.cells
        self.done = self._rank[0] and not self._fewest


class _Told:
    """Asks the model about edits of a batch, `batch_size` samples at a time."""

    def __init__(self, attack: SearchAttack, x: Tensor, y: Tensor) -> None:
        self._attack, self._x, self._y = attack, x, y
        self._sign, _ = editable_cells(attack.threat, x)
        self._plain = is_plain(attack.threat)
        # The rules hold for every question; the budget holds for what counts.
        self._rules = attack.threat if self._plain else widened(attack.threat, _WITHOUT_LIMIT, x)

    def answers(self, questions: dict[int, list[Cells]]) -> dict[int, list[Answer]]:
        """One answer to each question, by sample."""
        flat = [(row, cells) for row, asks in questions.items() for cells in asks]
        result: dict[int, list[Answer]] = {row: [] for row in questions}
        size = self._attack.batch_size
        for start in range(0, len(flat), size):
            part = flat[start : start + size]
            rows = torch.tensor([row for row, _ in part])
            candidate = self.edited(rows, [cells for _, cells in part])
            lead, fooled = self._attack.lead(candidate, self._y[rows])
            made = [cells for _, cells in part] if self._plain else cells_of(candidate, self._x[rows])
            for (row, _), cells, value, won in zip(part, made, lead.tolist(), fooled.tolist(), strict=True):
                told = (1.0 if won else -1.0) if self._attack.labels_only else value
                result[row].append(Answer(told, won, cells))
        return result

    def edited(self, rows: Tensor, edits: list[Cells]) -> Tensor:
        """Samples with their edits, as the threat's rules allow."""
        clean = self._x[rows]
        asked = torch.zeros_like(clean).flatten(1)
        for place, cells in enumerate(edits):
            asked[place, torch.from_numpy(cells)] = 1.0
        wanted = clean + (asked * self._sign[rows]).view(clean.shape)
        return wanted if self._plain else self._rules.project(wanted, clean)


def share_at(query: int, queries: int) -> float:
    """The share of blocks that a random search draws anew at a query, of so many in all."""
    return next(share for until, share in _SCHEDULE if query <= until * queries)
