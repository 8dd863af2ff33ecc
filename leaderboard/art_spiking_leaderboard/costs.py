# SPDX-License-Identifier: MIT
"""What cells cost, learned from those that are finished: for the order of work, and for how long it takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from art_spiking_leaderboard.engine import CellSpec, Outcome

_ROUNDS = 10
_GROWTH = 1.02
"""By how much there must be more finished cells until the means are taken anew."""


class Costs:
    """Seconds of a case times how dear a model is, from the seconds that finished cells' records state.

    A case costs what it cost the models seen so far, on average, and a model is as much dearer than they are
    in the cases that it has. What surrounds an attack (controls, checks, preparing the model) is learned as a
    factor from the cells that were computed here.
    """

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str], float] = {}  # of a model and case, for one sample
        self._cases: dict[str, float] = {}
        self._models: dict[str, float] = {}
        self._here = (0.0, 0.0)  # seconds that cells took here, and what their records state
        self._ordered_at = self._fitted_at = 0

    @property
    def news(self) -> bool:
        """Whether so much was learned since cells were put in order that it is worth doing anew."""
        return len(self._seconds) > 2 * self._ordered_at

    def learn(self, outcome: Outcome) -> None:
        """Takes in a finished cell; one that failed tells nothing."""
        spec, cell = outcome.spec, outcome.cell
        if cell is None or cell.record.status == "error":
            return
        stated = cell.record.wall_seconds
        self._seconds[spec.model, spec.case] = stated / spec.size
        if outcome.seconds is not None:
            self._here = (self._here[0] + outcome.seconds, self._here[1] + stated)

    def seconds(self, spec: CellSpec) -> float | None:
        """What a cell takes, probably; None before anything is known."""
        if not self._seconds:
            return None
        self._fit()
        case = self._cases.get(spec.case, fmean(self._cases.values()))
        around = self._here[0] / self._here[1] if self._here[1] > 0 else 1.0
        return case * self._models.get(spec.model, 1.0) * spec.size * around

    def dearest_first(self, specs: Iterable[CellSpec]) -> list[CellSpec]:
        """The cells in the order in which they are best begun: none is left for the end by itself.

        A case that nothing is known of goes first.
        """
        self._ordered_at = max(1, len(self._seconds))
        self._fit()

        def worth(spec: CellSpec) -> float:
            return (self.seconds(spec) or 0.0) if spec.case in self._cases else math.inf

        return sorted(specs, key=worth, reverse=True)

    def left(self, waiting: Sequence[CellSpec], running: dict[str, float], workers: int) -> float | None:
        """Seconds until all cells are finished, probably; None before anything is known.

        Args:
            waiting: the cells that have no outcome yet, those under way too.
            running: for how many seconds each cell has been computed, by key.
            workers: how many cells are computed at once.
        """
        rests = []
        for spec in waiting:
            whole = self.seconds(spec)
            if whole is None:
                return None
            rests.append(max(0.0, whole - running.get(spec.key, 0.0)))
        # No number of workers makes one cell shorter.
        return max([sum(rests) / workers, *rests], default=0.0)

    def _fit(self) -> None:
        """Means of the cases, each model's seconds divided by how dear the model is; in a few rounds."""
        if len(self._seconds) <= _GROWTH * self._fitted_at:
            return
        self._fitted_at = len(self._seconds)
        by_case: dict[str, dict[str, float]] = {}
        by_model: dict[str, dict[str, float]] = {}
        for (model, case), seconds in self._seconds.items():
            by_case.setdefault(case, {})[model] = seconds
            by_model.setdefault(model, {})[case] = seconds
        dear = dict.fromkeys(by_model, 1.0)
        for _ in range(_ROUNDS):
            means = {case: fmean(s / dear[m] for m, s in of.items()) for case, of in by_case.items()}
            dear = {
                model: sum(of.values()) / max(sum(means[case] for case in of), 1e-9) or 1.0
                for model, of in by_model.items()
            }
        self._cases, self._models = means, dear
