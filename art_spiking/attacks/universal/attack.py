# SPDX-License-Identifier: MIT
"""What attacks that fit one perturbation for all samples do the same way: fit, race, score, apply."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol, final

import torch
from torch import Tensor

from art_spiking.attacks.base import Array, EventAttack
from art_spiking.attacks.objectives import gap
from art_spiking.attacks.universal.perturbations import Perturbation
from art_spiking.errors import InvalidInput


class Search(Protocol):
    """A fit of one perturbation, epoch by epoch.

    Attributes:
        label: by what it is differentiated, as plain data; see `labels_of`.
    """

    label: Mapping[str, Any]

    def epoch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Perturbation:
        """Goes once through the craft split and returns the valid perturbation it has come to."""


class UniversalAttack(EventAttack):
    """An attack that fits one perturbation for all samples on a craft split.

    `fit` makes it, `perturbation.apply` uses it on any other split; `generate` does both on one batch, as
    ART's universal attacks do, and its fooling rate is then an in-sample one. A subclass writes
    `fit_tensors`.

    Attributes:
        perturbation: what was fitted last; None before.
    """

    universal: ClassVar[bool] = True
    leaves_fooled: ClassVar[bool] = False

    perturbation: Perturbation | None = None

    @property
    def noise(self) -> Array | None:
        """What was fitted last, as an array; ART's name for it."""
        return None if self.perturbation is None else self.perturbation.values

    @abstractmethod
    def fit_tensors(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Perturbation:
        """Fits on checked tensors; see `EventAttack.run`."""

    @final
    def fit(self, x: Array, y: Array | None = None) -> Perturbation:
        """Fits the perturbation on a craft split and keeps it as `perturbation`.

        Args:
            x: (N, T, C, H, W) event counts.
            y: labels as indices or one-hot; the model's own predictions if None.

        Raises:
            InvalidInput: an input, labels or a budget that do not fit.
        """
        clean, labels, _ = self._prepare(x, y)
        with self._telling_of_gradients():
            self.perturbation = self.fit_tensors(clean, labels, torch.Generator().manual_seed(self.seed))
        return self.perturbation

    def race(
        self, searches: Sequence[Search], x: Tensor, y: Tensor, generator: torch.Generator, *, epochs: int
    ) -> tuple[Perturbation, tuple[float, float]]:
        """Runs every search for one epoch and the best one for the others; `chosen` says which that was.

        Returns:
            The best perturbation seen, by `craft_score`, and its score.
        """
        runs = []
        for search in searches:
            candidate = search.epoch(x, y, generator)
            runs.append((self.craft_score(candidate, x, y), candidate, search))
        score, best, search = min(runs, key=lambda run: run[0])
        self.note_race([(one.label, found) for found, _, one in runs], len(x))
        for _ in range(epochs - 1):
            candidate = search.epoch(x, y, generator)
            value = self.craft_score(candidate, x, y)
            if value < score:
                score, best = value, candidate
        return best, score

    def note_race(self, runs: Sequence[tuple[Mapping[str, Any], tuple[float, float]]], samples: int) -> None:
        """Puts into `chosen` what won a race on the craft split and how all did, in the form of `Choice`.

        Args:
            runs: by what each search is differentiated, and its `craft_score`; the lowest won.
            samples: of the craft split.
        """
        ranked = sorted(runs, key=lambda run: run[1])
        ranking = [{**label, "fooled": 1 - unfooled, "lead": -left} for label, (unfooled, left) in ranked]
        swept = self.chosen if "refused" in self.chosen else self.chosen.get("sweep")
        race = {"surrogate": ranking[0]["path"], "samples": samples, "ranking": ranking}
        self.chosen = race if swept is None else {**race, "sweep": swept}

    def craft_score(self, candidate: Perturbation, x: Tensor, y: Tensor) -> tuple[float, float]:
        """Scores a candidate on the craft split; lower is better for the attacker.

        Returns:
            The share of samples that are not fooled, and the mean gap by which they are not.
        """
        unfooled, lead = 0, 0.0
        for start in range(0, len(x), self.batch_size):
            part = slice(start, start + self.batch_size)
            edited = candidate.apply(x[part], seed=self.seed + start)
            logits = self.estimator.predict_torch(edited, self.batch_size)
            unfooled += int((~self.fooled(logits.argmax(1), y[part])).sum())
            lead += float(gap(logits, y[part]).sum()) * (1 if self.targeted else -1)
        return unfooled / len(x), lead / len(x)

    def run(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Applies what was fitted last, with the attack's own seed.

        Raises:
            InvalidInput: nothing was fitted.
        """
        if self.perturbation is None:
            raise InvalidInput("nothing is fitted yet", remedy="call fit or generate first")
        return self.perturbation.apply(x, seed=self.seed)

    def _generate(self, clean: Tensor, labels: Tensor, predicted: Tensor | None) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        self.perturbation = self.fit_tensors(clean, labels, generator)
        return self.threat.project(self.run(clean, labels, generator), clean)


def shuffled(samples: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yields the indices of all samples in random order, in batches."""
    yield from torch.split(torch.randperm(samples, generator=generator), batch_size)
