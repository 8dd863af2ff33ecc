# SPDX-License-Identifier: MIT
"""The edits that a threat model leaves open to each sample, and the best of them for a linear gain."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from art_spiking.threats import AllOf, EventEdits, EventThreat

OFFERS = (4, 16, 64)
"""Edits offered, in budgets, to a projection that refuses some: more if it refused too many."""

_ANY_COUNT = 2**20


def members_of(threat: EventThreat) -> tuple[EventThreat, ...]:
    """Returns the threat models that all hold."""
    return threat.members if isinstance(threat, AllOf) else (threat,)


def budgets_of(threat: EventThreat, x: Tensor) -> Tensor:
    """Returns int64 (N,): the most edits of each sample of `x`; all its cells where nothing limits them."""
    cells = x[0].numel()
    own = x.flatten(1).sum(1, dtype=torch.float64).tolist()
    limits = [m for m in members_of(threat) if isinstance(m, EventEdits)]
    least = [min([cells, *(m.budget(int(events), cells) for m in limits)]) for events in own]
    return torch.tensor(least, dtype=torch.int64, device=x.device)


def widened(threat: EventThreat, factor: int, x: Tensor) -> EventThreat:
    """Returns the threat with `factor` times its budgets of edits, as far as the input `x` reaches."""

    def wider(member: EventThreat) -> EventThreat:
        if not isinstance(member, EventEdits):
            return member
        if isinstance(member.max_edits, float):
            return dataclasses.replace(member, max_edits=min(1.0, factor * member.max_edits))
        most = max(member.max_edits, x[0].numel() * member.max_count)
        return dataclasses.replace(member, max_edits=min(factor * member.max_edits, most))

    members = tuple(wider(member) for member in members_of(threat))
    return AllOf(members) if len(members) > 1 else members[0]


def lifted(threat: EventThreat, x: Tensor) -> EventThreat:
    """Returns the threat without its budgets of edits: all cells of the input `x`, whatever its events."""

    def free(member: EventThreat) -> EventThreat:
        if not isinstance(member, EventEdits):
            return member
        return dataclasses.replace(member, max_edits=x[0].numel() * member.max_count)

    members = tuple(free(member) for member in members_of(threat))
    return AllOf(members) if len(members) > 1 else members[0]


def capped(threat: EventThreat, budget: int) -> EventThreat:
    """Returns the threat with at most `budget` edits of each sample."""

    def fewer(member: EventThreat) -> EventThreat:
        if isinstance(member, EventEdits) and isinstance(member.max_edits, int):
            return dataclasses.replace(member, max_edits=min(budget, member.max_edits))
        return member

    members = tuple(fewer(member) for member in members_of(threat))
    if not any(isinstance(m, EventEdits) and isinstance(m.max_edits, int) for m in members):
        # The other members say what a cell may hold; this one only counts.
        members = (*members, EventEdits(budget, max_count=_ANY_COUNT))
    return AllOf(members) if len(members) > 1 else members[0]


def is_plain(threat: EventThreat) -> bool:
    """Whether edits of distinct allowed cells are allowed together whenever they fit the budget."""
    return isinstance(threat, EventEdits) and threat.refractory_us is None


@dataclass(frozen=True, eq=False)
class EditSpace:
    """What may be edited in a batch, one event a cell.

    Attributes:
        threat: the rules.
        clean: (N, ...) counts.
        direction: like `clean`: 1 where an edit of the cell inserts, -1 where it deletes, 0 where none may
            be. A cell that allows both is emptied if it holds an event; a binary cell never allows both.
        budgets: int64 (N,).
    """

    threat: EventThreat
    clean: Tensor
    direction: Tensor
    budgets: Tensor

    @classmethod
    def of(cls, threat: EventThreat, x: Tensor) -> EditSpace:
        """The edit space of a batch."""
        insertable, deletable = threat.allowed(x)
        direction = torch.where(deletable, -1.0, insertable.to(x.dtype))
        return cls(threat, x, direction.to(x.dtype), budgets_of(threat, x))

    def part(self, keep: Tensor) -> EditSpace:
        """The edit space of some of the samples: bool or index (M,)."""
        return EditSpace(self.threat, self.clean[keep], self.direction[keep], self.budgets[keep])

    def best(self, gain: Tensor, budgets: Tensor | None = None) -> Tensor:
        """Returns the allowed edits, 1 or -1 a cell, that maximise the sum of a linear gain.

        It is the linear oracle of the Frank-Wolfe method on the convex hull of allowed edits: exactly so for
        a plain budget, greedily where a refractory period or another rule couples cells.

        Args:
            gain: like `clean`: what one event more in the cell is worth.
            budgets: int64 (N,), fewer edits than allowed; the threat's own by default.
        """
        budgets = self.budgets if budgets is None else budgets
        value = gain * self.direction
        if is_plain(self.threat):
            return strongest(value, budgets) * self.direction
        # Offered more than the budget, the projection refuses what the rules forbid and keeps the strongest
        # of the rest; a part of its choice may break a rule again, so the rules have the last word.
        wanted = torch.minimum(budgets, (value > 0).flatten(1).sum(1))
        for offer in OFFERS:
            kept = self._projected(value * strongest(value, budgets * offer))
            if bool(((kept != 0).flatten(1).sum(1) >= wanted).all()):
                break
        return self._projected(value * strongest(value * (kept != 0), budgets))

    def _projected(self, value: Tensor) -> Tensor:
        value = value.clamp(min=0)
        # The projection ranks changes by size, and reads 1.5 or more as several events.
        most = value.flatten(1).amax(1).clamp(min=1e-30).view(-1, *[1] * (value.ndim - 1))
        strength = torch.where(value > 0, (value / most).clamp(min=1e-3), 0.0)
        return self.threat.project(self.clean + strength * self.direction, self.clean) - self.clean


def cells_of(edited: Tensor, clean: Tensor) -> list[npt.NDArray[np.int64]]:
    """The cells of each sample (N, ...) that were edited: indices, ascending, each once."""
    changed = (edited != clean).flatten(1).cpu().numpy()
    return [np.flatnonzero(sample) for sample in changed]


def strongest(value: Tensor, budgets: Tensor) -> Tensor:
    """Returns 1 for each sample's `budgets` (N,) largest values above 0, and 0 elsewhere."""
    flat = value.flatten(1)
    most = min(int(budgets.max()) if len(budgets) else 0, flat.shape[1])
    if most == 0:
        return torch.zeros_like(value)
    top = flat.topk(most, 1)
    rank = torch.arange(most, device=value.device)
    chosen = (top.values > 0) & (rank < budgets[:, None])
    return torch.zeros_like(flat).scatter_(1, top.indices, chosen.to(value.dtype)).view_as(value)
