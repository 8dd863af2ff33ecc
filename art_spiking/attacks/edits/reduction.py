# SPDX-License-Identifier: MIT
"""Fewer edits that still fool: what a sample does not need is undone, asking for logits alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from art_spiking.attacks.edits.search import Probe
from art_spiking.attacks.edits.space import members_of
from art_spiking.threats import EventEdits, EventThreat, PatchRegion, PixelRate

_GROUPS = 16
_ROUNDS = 100
_AT_ONCE = 128


@dataclass(frozen=True, eq=False)
class Reduction:
    """Undoes edits of fooled samples.

    Attributes:
        threat: the rules, which hold after every undoing too.
        clean: (N, ...) counts.
        probe: tells by how much inputs are what the attacker wants; above 0 where they are.
        enough: int64 (N,): no trials are spent on a sample that has no more edits than this.
    """

    threat: EventThreat
    clean: Tensor
    probe: Probe
    enough: Tensor

    def by_value(self, x_adv: Tensor, samples: Tensor, value: Tensor) -> Tensor:
        """Keeps the shortest run of each sample's most valuable edits that bisection finds to fool it.

        Args:
            x_adv: (M, ...) samples that are fooled.
            samples: int64 (M,), their indices.
            value: like `x_adv`, higher for edits that matter more.
        """
        # Edits come first, whatever they are worth, so that the first places are theirs.
        edited = (x_adv != self.clean[samples]).flatten(1)
        rank = value.flatten(1).masked_fill(~edited, -torch.inf).argsort(1, descending=True).argsort(1)
        result = x_adv.clone()
        most = edited.sum(1)
        least = torch.zeros_like(most)
        for _ in range(int(most.max()).bit_length() if len(most) else 0):
            rows = torch.nonzero(most - least > 1)[:, 0]
            if not len(rows):
                break
            middle = (least[rows] + most[rows]) // 2
            undo = (rank[rows] >= middle[:, None]).view(x_adv[rows].shape)
            tried = self._without(x_adv[rows], samples[rows], undo)
            fools = self.probe(tried, samples[rows]) > 0
            most[rows[fools]], least[rows[~fools]] = middle[fools], middle[~fools]
            result[rows[fools]] = tried[fools]
        return result

    def by_trial(self, x_adv: Tensor, samples: Tensor) -> Tensor:
        """Undoes edits in groups until none is left that may be undone, or few enough are left.

        A round undoes each group of edits alone, orders the groups by what is left of the lead, and bisects
        how many of the first can be undone together: the reduction of SDA (arXiv 2503.03272), which does it
        once and with single edits. The next round divides those that could have been undone alone; once there
        are none, all edits are tried again but those that stood alone and were needed, in smaller groups if
        nothing was undone since they were tried before.

        Args:
            x_adv: (M, ...) samples that are fooled.
            samples: int64 (M,), their indices.
        """
        result = x_adv.clone()
        groups = torch.full_like(samples, _GROUPS)
        free = (x_adv != self.clean[samples]).flatten(1)
        tried, begun = free.clone(), edits_of(x_adv, self.clean[samples])
        open_ = torch.arange(len(samples), device=samples.device)
        for _ in range(_ROUNDS):
            count = edits_of(result[open_], self.clean[samples[open_]])
            wanted = (count > self.enough[samples[open_]].clamp(min=1)) & free[open_].any(1)
            open_ = open_[wanted]
            if not len(open_):
                break
            count = count[wanted]
            over = ~tried[open_].any(1)
            anew = open_[over]
            tried[anew] = free[anew]
            groups[open_[over & (begun[open_] == count)]] *= 2
            begun[anew] = count[over]
            result[open_], told, needed = self._round(
                result[open_], samples[open_], tried[open_], groups[open_]
            )
            left = (result[open_] != self.clean[samples[open_]]).flatten(1)
            free[open_] &= left & ~needed
            tried[open_] = left & told
        return result

    def _round(
        self, x_adv: Tensor, samples: Tensor, tried: Tensor, groups: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One round over some edits, bool (M, cells).

        Returns:
            The samples with fewer edits; which of the edits could be undone, with their group; and which
            could not, alone.
        """
        number = tried.sum(1)
        groups = torch.minimum(groups, number)
        place = (tried.cumsum(1) - 1) * groups[:, None] // number[:, None]
        member = place.masked_fill(~tried, -1)
        row = torch.repeat_interleave(torch.arange(len(x_adv), device=groups.device), groups)
        group = torch.cat([torch.arange(int(n), device=groups.device) for n in groups])
        leads = torch.full((len(x_adv), int(groups.max())), -torch.inf, device=x_adv.device)
        for part in torch.split(torch.arange(len(row), device=row.device), _AT_ONCE):
            rows = row[part]
            undo = (member[rows] == group[part, None]).view(x_adv[rows].shape)
            without = self._without(x_adv[rows], samples[rows], undo)
            leads[rows, group[part]] = self.probe(without, samples[rows]).to(leads.dtype)
        rank = leads.argsort(dim=1, descending=True, stable=True).argsort(1)
        rank = rank.gather(1, member.clamp(min=0)).masked_fill(~tried, leads.shape[1])
        told = (leads > 0).gather(1, member.clamp(min=0)) & tried
        needed = tried & ~told & (groups == number)[:, None]
        return self._longest(x_adv, samples, rank, (leads > 0).sum(1)), told, needed

    def _longest(self, x_adv: Tensor, samples: Tensor, rank: Tensor, most: Tensor) -> Tensor:
        """Undoes the longest run of first groups, at most `most`, that bisection finds not to be needed."""
        result = x_adv.clone()
        least = torch.zeros_like(most)
        while bool((most > least).any()):
            rows = torch.nonzero(most > least)[:, 0]
            middle = (least[rows] + most[rows] + 1) // 2
            undo = (rank[rows] < middle[:, None]).view(x_adv[rows].shape)
            tried = self._without(x_adv[rows], samples[rows], undo)
            fools = self.probe(tried, samples[rows]) > 0
            least[rows[fools]], most[rows[~fools]] = middle[fools], middle[~fools] - 1
            result[rows[fools]] = tried[fools]
        return result

    def _without(self, x_adv: Tensor, samples: Tensor, undo: Tensor) -> Tensor:
        """The inputs with some cells as they were, and whatever that forbids undone as well."""
        clean = self.clean[samples]
        tried = torch.where(undo, clean, x_adv)
        return tried if _undoes_freely(self.threat) else self.threat.project(tried, clean)


def edits_of(x_adv: Tensor, x: Tensor) -> Tensor:
    """Returns the events inserted and deleted of each sample, int64 (N,)."""
    return (x_adv - x).abs().flatten(1).sum(1, dtype=torch.float64).round().long()


def _undoes_freely(threat: EventThreat) -> bool:
    """Whether every part of allowed edits is allowed: a deletion taken back may crowd an insertion."""
    return all(
        isinstance(member, PixelRate | PatchRegion)
        or (isinstance(member, EventEdits) and not (member.refractory_us and member.insert and member.delete))
        for member in members_of(threat)
    )
