# SPDX-License-Identifier: MIT
"""Do the gradients that submitted code claims tell what edits do? Finite differences decide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from art_spiking.attacks import RandomEvents
from art_spiking.attacks.edits.space import EditSpace
from art_spiking.attacks.objectives import soft_gap
from art_spiking.checks import SAMPLES
from art_spiking.errors import InvalidModel
from art_spiking.estimators import SpikingClassifier
from art_spiking.records import Flag
from art_spiking.surroundings import own_surroundings
from art_spiking.threats import EventEdits

GROUPS = 4
"""Groups of edits that are tried on each sample: those that the gradient ranks first, in its order."""

LEAST_SHARE = 0.75
"""Of the groups, those that must gain more than random ones. With the gradients of the digits submissions .91
to 1.00 do; with zeros, noise, constants, absolute values or the gradient of another class at most .64."""

_CELLS_AN_EDIT, _LEAST_EDITS = 500, 8


def claimed_gradient_flag(
    estimator: SpikingClassifier, x: npt.NDArray[np.float32], y: npt.NDArray[np.int64], *, seed: int = 0
) -> Flag | None:
    """A flag when the edits that a claimed gradient ranks first gain hardly more than random ones do.

    Forward differences of the gap between logits: groups of one edit for each 500 cells, the highest ranked
    against as many random ones; ties count half. A spiking model's surrogate gradient is no derivative of its
    logits, so no closer agreement can be asked for. Half of the points are clean samples, half have random
    edits, as an attack's have; the worse half counts, so that code gains nothing by being honest at one.

    Args:
        estimator: the model; it is not changed.
        x: clean samples, (N, T, C, H, W); the first `SAMPLES` are used.
        y: labels, (N,).
        seed: of the random edits.

    Raises:
        InvalidModel: the model gives no logits.
    """
    # Without its defences, which are the host's: a filter that drops single events would hide what they do.
    bare = SpikingClassifier(
        estimator.model.network, input_shape=estimator.input_shape, nb_classes=estimator.nb_classes
    )
    x, y = np.ascontiguousarray(x[:SAMPLES]), np.ascontiguousarray(y[:SAMPLES])
    edits, labels = _edits(x), torch.from_numpy(y)
    with own_surroundings(seed):
        edited = RandomEvents(bare, EventEdits(edits), seed=seed).generate(x, y)
        points = {"clean": torch.from_numpy(x), "edited": torch.from_numpy(edited)}
        try:
            gradients = {
                what: bare.input_gradient(given, labels, objective=soft_gap)[0]
                for what, given in points.items()
            }
        except InvalidModel as error:
            return Flag(code="gradient-misleads", text=f"the code gives no gradient: {error}", value=0.0)
        generator = torch.Generator().manual_seed(seed)
        shares = {
            what: _share(_Trials(bare, points[what], labels, edits), gradient, generator)
            for what, gradient in gradients.items()
        }
    what = min(shares, key=lambda name: shares[name])
    if shares[what] >= LEAST_SHARE:
        return None
    text = (
        f"the code's gradient tells little of what edits do: {edits} edits that it ranks first gain more "
        f"than as many random ones in {shares[what]:.0%} of {GROUPS * len(x)} trials on {what} samples, "
        f"at least {LEAST_SHARE:.0%} were expected (chance is 50%)"
    )
    return Flag(code="gradient-misleads", text=text, value=shares[what])


def _edits(x: npt.NDArray[np.float32]) -> int:
    cells = int(x[0].size)
    return min(max(_LEAST_EDITS, cells // _CELLS_AN_EDIT), max(1, cells // GROUPS))


def _share(trials: _Trials, gradient: Tensor, generator: torch.Generator) -> float:
    """Of the groups that a gradient ranks first, how many gain more than random ones."""
    first, drawn = (torch.stack([_shuffled(row, generator) for row in gradient]) for _ in range(2))
    # Of equal ranks, any may be the first: where they come in their own order, time and place decide.
    wanted = (gradient * trials.direction).flatten(1).gather(1, first)
    ranked = first.gather(1, wanted.argsort(dim=1, descending=True, stable=True))
    wins = 0.0
    for start in range(0, GROUPS * trials.edits, trials.edits):
        best, random = (trials.gap(order[:, start : start + trials.edits]) for order in (ranked, drawn))
        wins += float((best > random).sum()) + 0.5 * float((best == random).sum())
    return wins / (GROUPS * len(gradient))


def _shuffled(row: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randperm(row.numel(), generator=generator)


@dataclass(frozen=True)
class _Trials:
    """Edits of these samples, tried on the model."""

    estimator: SpikingClassifier
    x: Tensor
    y: Tensor
    edits: int

    @property
    def direction(self) -> Tensor:
        """What one edit does in each cell: an event more, or one less."""
        return EditSpace.of(EventEdits(1), self.x).direction

    def gap(self, cells: Tensor) -> Tensor:
        """The gap of the samples with some cells edited, (N,)."""
        chosen = torch.zeros_like(self.x).flatten(1).scatter_(1, cells, 1.0).view_as(self.x)
        return soft_gap(self.estimator.predict_torch(self.x + chosen * self.direction, len(self.x)), self.y)
