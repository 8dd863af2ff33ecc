# SPDX-License-Identifier: MIT
"""SparseDynamicAttack: flips that gradients propose and single trials confirm."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from art_spiking.attacks.edits.searched import EditAttack, allowed_edits, won
from art_spiking.attacks.edits.space import EditSpace, strongest
from art_spiking.attacks.options import check_whole
from art_spiking.attacks.paths import SAMPLE_SURROGATE, OneSurrogate
from art_spiking.estimators import SpikingClassifier
from art_spiking.threats import EventThreat

_AT_ONCE = 128
_BLIND = 1e-6


class SparseDynamicAttack(EditAttack):
    """Tries the flips that the gradient ranks highest one by one, and keeps all that do not hurt.

    The sparse dynamic attack (SDA, arXiv 2503.03272, section 4). Round n offers `width` * (n + 1) cells that
    are not flipped yet: those of largest gradient, and cells without any gradient in random order after
    them. Each is flipped alone and tried; those that do not lower the loss are kept together. Once the sample
    is fooled, flips of least effect are undone, as many as bisection finds. What differs: the gradient is
    that of any surrogate, by default one through the reset, where SDA widens its surrogate by the spread of
    potentials over the batch (PDSG), so that a result depends on the samples beside it; a failed sample
    keeps its best edits, where SDA returns the clean one; all flips obey the threat model.

    White box: needs gradients, and many forward passes: one for each flip that is tried. Budget in events.
    Serves EventEdits, PixelRate and PatchRegion, and several joined by &.
    """

    attack_params: ClassVar[list[str]] = [*EditAttack.attack_params, "rounds", "width"]

    def __init__(  # noqa: PLR0913 (five hyper-parameters, and what ART attacks)
        self,
        estimator: SpikingClassifier,
        threat: EventThreat,
        *,
        rounds: int = 30,
        width: int = 10,
        objective: str = "gap",
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
            rounds: gradients per sample, at most; round n tries width * (n + 1) flips.
            width: flips tried in the first round.
            objective: "soft-gap", "gap" or "cross-entropy".
            surrogate: gradient path, its dict or its name, or "sweep"; None for the estimator's own.
            fewest: go on to fewer edits, rather than stop within the budget.
            targeted: whether `y` holds classes to reach.
            seed: of the order of cells without a gradient.
            batch_size: samples attacked at once.

        Raises:
            InvalidInput: an option that does not fit.
            UnknownName: no such objective.
        """
        super().__init__(
            estimator,
            threat,
            objective=objective,
            surrogate=surrogate,
            fewest=fewest,
            targeted=targeted,
            seed=seed,
            batch_size=batch_size,
        )
        self.rounds = rounds
        self.width = width
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        if not hasattr(self, "width"):
            return
        check_whole("rounds", self.rounds)
        check_whole("width", self.width)

    def collect(self, space: EditSpace, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """See `EditAttack.collect`."""
        view, objective = self.view(), self.loss()
        result, worth = space.clean.clone(), torch.zeros_like(space.clean)
        open_ = torch.arange(len(y), device=y.device)
        for number in range(self.rounds):
            part, x = space.part(open_), result[open_]
            gradient, logits = view.input_gradient(x, y[open_], objective=objective)
            gain = (gradient * part.direction).clamp(min=0)
            blind = torch.rand(gain.shape, generator=generator).to(gain)
            blind = (
                blind * _BLIND * gain.flatten(1).amax(1).clamp(min=_BLIND).view(-1, *[1] * (gain.ndim - 1))
            )
            # A cell whose gradient points the other way is no offer; one without any is the last.
            gain = torch.where((gradient == 0) & (part.direction != 0), blind, gain)
            gain = gain.masked_fill(x != part.clean, 0.0)
            offered = strongest(gain, torch.full_like(open_, self.width * (number + 1))) > 0
            change = self._trials(part, x, y[open_], objective(logits, y[open_]), offered)
            kept = offered & (change >= 0)
            edits = (x != part.clean) | kept
            # Earlier flips stay, whatever the new ones are worth.
            value = torch.where(kept, change, worth[open_])
            rank = torch.where(kept, value / (1 + value), 1.0)
            edits = allowed_edits(part, edits, rank)
            worth[open_] = torch.where(edits, value, 0.0)
            result[open_] = part.clean + edits * part.direction
            open_ = open_[won(self, result[open_], y[open_]) <= 0]
            if not len(open_):
                break
        return result, worth

    def _trials(self, space: EditSpace, x: Tensor, y: Tensor, loss: Tensor, offered: Tensor) -> Tensor:
        """By how much each offered flip alone raises the loss, like `x`; 0 elsewhere."""
        row, cell = torch.nonzero(offered.flatten(1), as_tuple=True)
        objective = self.loss()
        change = torch.zeros_like(x).flatten(1)
        for part in torch.split(torch.arange(len(row), device=row.device), _AT_ONCE) if len(row) else ():
            rows, cells = row[part], cell[part]
            tried = x[rows].flatten(1)
            step = space.direction.flatten(1)[rows, cells]
            tried[torch.arange(len(rows), device=rows.device), cells] += step
            logits = self.estimator.predict_torch(tried.view(x[rows].shape), _AT_ONCE)
            change[rows, cells] = (objective(logits, y[rows]) - loss[rows]).to(change.dtype)
        return change.view_as(x)
