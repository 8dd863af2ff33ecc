# SPDX-License-Identifier: MIT
"""The state of a per-sample search for edits: soft edits, shrinking budgets, and the best found so far."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from art_spiking.attacks.edits.space import EditSpace

_MOMENTUM = 0.7
_SHRINK = 0.85
_PROBES = 8
_COARSE = 8
_TELLS_APART = 1e-3

Probe = Callable[[Tensor, Tensor], Tensor]
"""(inputs (M, ...), indices of their samples (M,)) -> leads (M,): above 0 where the sample is fooled."""


class EditSearch:
    """Soft edits of a batch, moved by gradients, rounded and tried within budgets that shrink.

    Attributes:
        open: int64 (M,), the samples still searched, in the order of all (M, ...) arguments.
        result: (N, ...): for each sample the edits within its allowed budget that are fewest among those
            that fool, or that came closest where none does.
    """

    def __init__(self, space: EditSpace, *, allowed: Tensor, fewest: bool) -> None:
        """Starts without edits.

        Args:
            space: what may be edited, under the wide budgets which the search starts with.
            allowed: int64 (N,), the budgets that count.
            fewest: whether samples that are fooled stay open, to be fooled with fewer edits.
        """
        everyone = torch.arange(len(space.clean), device=space.clean.device)
        self.open = everyone
        self.result = space.clean.clone()
        self._found = allowed + 1
        self._lead = torch.full_like(allowed, -torch.inf, dtype=torch.float32)
        self._fewest = fewest
        self._space, self._allowed = space, allowed
        self._soft = torch.zeros_like(space.clean)
        self._velocity = torch.zeros_like(space.clean)
        self._budgets = space.budgets
        self._age = torch.zeros_like(allowed)

    def soft_input(self) -> Tensor:
        """Returns the open samples with their soft edits."""
        return self._space.clean + self._soft * self._space.direction

    def move(self, gradient: Tensor) -> None:
        """Moves the soft edits of the open samples towards the best hard ones.

        Args:
            gradient: of the objective at `soft_input`, (M, ...).
        """
        length = gradient.flatten(1).norm(dim=1).clamp(min=1e-30)
        self._velocity = _MOMENTUM * self._velocity + gradient / _beside(length, gradient)
        corner = self._space.best(self._velocity, self._budgets).abs()
        self._soft += _beside(2 / (self._age + 2), gradient) * (corner - self._soft)
        self._age = self._age + 1

    def attempt(self, probe: Probe) -> None:
        """Rounds the soft edits and tries them; samples that are fooled close, or get a smaller budget."""
        rows = torch.arange(len(self.open), device=self.open.device)
        within = torch.minimum(self._budgets, self._allowed)
        fooled = self._fools(rows, within, probe)
        if self._fewest:
            self._shrink(rows[fooled], torch.zeros_like(within[fooled]), within[fooled], probe)
        looser = rows[~fooled & (self._budgets > self._allowed)]
        looser = looser[self._fools(looser, self._budgets[looser], probe)]
        self._shrink(looser, self._allowed[looser], self._budgets[looser], probe)
        if not self._fewest:
            self._keep(~fooled)

    def _fools(self, rows: Tensor, budgets: Tensor, probe: Probe) -> Tensor:
        """Whether each row is fooled by its highest ranked edits, as many as its budget; notes the best."""
        if not len(rows):
            return rows > 0
        space, samples = self._space.part(rows), self.open[rows]
        edits = space.best(self._ranked(rows) * space.direction, budgets)
        edited = space.clean + edits
        lead = probe(edited, samples).to(self._lead.dtype)
        spent = (edits != 0).flatten(1).sum(1)
        fooled = lead > 0
        fewer = fooled & (spent < self._found[samples])
        closer = ~fooled & (spent <= self._allowed[rows]) & (lead > self._lead[samples])
        self._found[samples[fewer]] = spent[fewer]
        # A success is better than any failure, and only a success with fewer edits is better than that.
        self._lead[samples[fewer]] = torch.inf
        self._lead[samples[closer]] = lead[closer]
        self.result[samples[fewer | closer]] = edited[fewer | closer]
        return fooled

    def _ranked(self, rows: Tensor) -> Tensor:
        """The soft edits of some rows, where equals, as after a first step, rank by what they are worth."""
        worth = self._velocity[rows] * self._space.direction[rows]
        most = worth.abs().flatten(1).amax(1).clamp(min=1e-30)
        return self._soft[rows] * (1 + _TELLS_APART * worth / _beside(most, worth))

    def _shrink(self, rows: Tensor, least: Tensor, most: Tensor, probe: Probe) -> None:
        """Bisects how few edits fool each row, and sets its budget below that, but above `least`.

        Args:
            rows: open samples.
            least: int64, edits that do not fool them, or that the budget need not go below.
            most: int64, edits that do.
            probe: tries them.
        """
        if not len(rows):
            return
        floor = least.clamp(min=1)
        for _ in range(_PROBES):
            active = most - least > (1 if self._fewest else (most // _COARSE).clamp(min=1))
            if not bool(active.any()):
                break
            middle = (least + most) // 2
            fooled = torch.zeros_like(active)
            fooled[active] = self._fools(rows[active], middle[active], probe)
            most = torch.where(active & fooled, middle, most)
            least = torch.where(active & ~fooled, middle, least)
        budgets = torch.maximum((most.double() * _SHRINK).long(), floor)
        share = budgets / self._budgets[rows]
        self._soft[rows] *= _beside(share.to(self._soft.dtype), self._soft)
        self._budgets[rows] = budgets
        # The soft edits are to follow the new budget, so that steps are large again.
        self._age[rows] = self._age[rows].clamp(max=1)

    def _keep(self, rows: Tensor) -> None:
        """Goes on with some of the open samples: bool (M,)."""
        self.open, self._space, self._allowed = self.open[rows], self._space.part(rows), self._allowed[rows]
        self._soft, self._velocity = self._soft[rows], self._velocity[rows]
        self._budgets, self._age = self._budgets[rows], self._age[rows]


def _beside(per_sample: Tensor, like: Tensor) -> Tensor:
    """A value per sample, shaped to act on a batch."""
    return per_sample.view(-1, *[1] * (like.ndim - 1))
