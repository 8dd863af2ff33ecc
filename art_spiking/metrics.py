# SPDX-License-Identifier: MIT
"""Pure functions of per-sample outcomes: accuracy with an interval, worst case, size of a perturbation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from art_spiking.errors import InvalidInput

Classes = Sequence[int] | npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Share:
    """So many of so many samples, with the Wilson score interval of the proportion."""

    count: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share, in [0, 1]."""
        return self.count / self.total


@dataclass(frozen=True)
class EditSummary:
    """Medians over samples: events added, removed and moved, and edits in percent of the sample's own events.

    `percent` is None when a sample counted here has no event of its own.
    """

    samples: int
    added: float
    removed: float
    moved: float
    percent: float | None


def wilson_interval(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a proportion, which stays honest near 0 and 1 and for few samples.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference" (1927).

    Raises:
        InvalidInput: no samples, a count outside [0, total], or a confidence outside (0, 1).
    """
    if total < 1 or not 0 <= count <= total:
        raise InvalidInput("no interval", found=f"{count} of {total}", accepted="at least one sample")
    if not 0.0 < confidence < 1.0:
        raise InvalidInput("the confidence does not fit", found=confidence, accepted="between 0 and 1")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = count / total
    centre = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    # At the ends the interval is exact; rounding must not push it past them.
    low = 0.0 if count == 0 else max(0.0, centre - half)
    high = 1.0 if count == total else min(1.0, centre + half)
    return low, high


def share_of(mask: Mask | Sequence[bool], confidence: float = 0.95) -> Share:
    """How many entries of a mask are true, with the interval.

    Raises:
        InvalidInput: an empty mask.
    """
    values = np.asarray(mask, dtype=bool)
    count, total = int(values.sum()), int(values.size)
    low, high = wilson_interval(count, total, confidence)
    return Share(count, total, low, high)


def accuracy(labels: Classes, predictions: Classes) -> Share:
    """The share of all samples that are predicted right; of adversarial predictions, the robust accuracy.

    A sample that was wrong before the attack and right after it counts as right here; `worst_case` counts it
    as wrong, since an attacker may also leave a sample alone.

    Raises:
        InvalidInput: no samples, or lengths that differ.
    """
    return share_of(_right(labels, predictions))


def fooled(labels: Classes, clean: Classes, adversarial: Classes) -> Mask:
    """Which samples were right before the attack and wrong after it, (N,).

    Raises:
        InvalidInput: no samples, or lengths that differ.
    """
    return _right(labels, clean) & ~_right(labels, adversarial)


def attack_success(labels: Classes, clean: Classes, adversarial: Classes) -> Share:
    """The share of the samples right before the attack that are wrong after it.

    Raises:
        InvalidInput: no sample was right before the attack, so that none could be fooled.
    """
    attackable = _right(labels, clean)
    if not attackable.any():
        raise InvalidInput("no sample is classified right without an attack, so none can be fooled")
    return share_of(fooled(labels, clean, adversarial)[attackable])


def target_rate(labels: Classes, adversarial: Classes, target: int) -> Share:
    """The share of the samples of other classes that are taken for the target.

    Raises:
        InvalidInput: every sample is of the target class.
    """
    others = np.asarray(labels) != target
    if not others.any():
        raise InvalidInput("no sample is of another class than the target", found=f"target {target}")
    return share_of((np.asarray(adversarial) == target)[others])


def worst_case(labels: Classes, clean: Classes, adversarial: Sequence[Classes]) -> Mask:
    """Which samples are right without an attack and under every one of them, (N,).

    Raises:
        InvalidInput: no attack, no samples, or lengths that differ.
    """
    if len(adversarial) == 0:
        raise InvalidInput("the worst case needs at least one attack", found="none")
    right = _right(labels, clean)
    for predictions in adversarial:
        right = right & _right(labels, predictions)
    return right


def summarise_edits(
    added: Classes, removed: Classes, moved: Classes, own: Classes, *, over: Mask | None = None
) -> EditSummary | None:
    """Medians of what a perturbation changed, over chosen samples; None when none is chosen.

    Args:
        added: events added per sample, (N,).
        removed: events removed per sample, (N,).
        moved: pairs of one removed and one added event that count as one move, (N,).
        own: events of the clean sample, (N,).
        over: the samples to count, (N,) bool; by default all. Pass `fooled(...)` to leave out the samples on
            which the attack failed and spent nothing or everything.
    """
    columns = [np.asarray(values, dtype=np.int64) for values in (added, removed, moved, own)]
    if len({column.shape for column in columns}) != 1 or columns[0].ndim != 1:
        raise InvalidInput("the counts differ in length", found=[column.shape for column in columns])
    chosen = np.ones(len(columns[0]), dtype=bool) if over is None else np.asarray(over, dtype=bool)
    added_, removed_, moved_, own_ = (column[chosen] for column in columns)
    if not len(own_):
        return None
    edits = added_ + removed_
    percent = float(np.median(100.0 * edits / own_)) if (own_ > 0).all() else None
    return EditSummary(
        samples=len(own_),
        added=float(np.median(added_)),
        removed=float(np.median(removed_)),
        moved=float(np.median(moved_)),
        percent=percent,
    )


def mean_of_most(counts: Sequence[Sequence[int]]) -> float:
    """The mean over samples of the largest of several counts, such as what each costs at worst.

    Args:
        counts: one sequence (N,) per attack.

    Raises:
        InvalidInput: no counts, no samples, or lengths that differ.
    """
    if len(counts) == 0 or len({len(column) for column in counts}) != 1 or len(counts[0]) == 0:
        raise InvalidInput("the counts do not fit", found=[len(column) for column in counts])
    return float(np.max(np.asarray(counts, dtype=np.int64), axis=0).mean())


def _right(labels: Classes, predictions: Classes) -> Mask:
    expected, found = np.asarray(labels), np.asarray(predictions)
    if expected.ndim != 1 or expected.shape != found.shape:
        raise InvalidInput("labels and predictions differ in shape", asked=expected.shape, found=found.shape)
    if not len(expected):
        raise InvalidInput("no samples: an accuracy over nothing is not defined")
    right: Mask = expected == found
    return right
