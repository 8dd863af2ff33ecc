# SPDX-License-Identifier: MIT
"""The edit masks that a threat model leaves open, and the best of them for a linear gain."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from art_spiking.attacks.edits.space import OFFERS, budgets_of, is_plain, members_of
from art_spiking.attacks.universal.perturbations import EditMask
from art_spiking.errors import InvalidInput
from art_spiking.threats import AllOf, EventEdits, EventThreat, PatchRegion

_RARE = 0.02
_LEAST_PRIORITY = 0.25


@dataclass(frozen=True, eq=False)
class MaskSpace:
    """What a mask for all samples may hold. Masks are (2, T, C, H, W): insertions, then deletions.

    An inserted cell costs one edit, whatever the sample holds there, since the attacker emits the event
    anyway. A deleted cell costs the events that samples hold there on average: many cells may be deleted
    where each is seldom occupied, and `EditMask.threat` then keeps every single sample within its budget.

    Attributes:
        threat: the rules of a sample.
        budget: edits of a mask: the largest budget of any craft sample.
        cost: like a mask: edits that a cell costs on average.
        static: whether a cell is edited at all steps or at none.
    """

    threat: EventThreat
    budget: int
    cost: Tensor
    static: bool = False

    @classmethod
    def of(cls, threat: EventThreat, x: Tensor, *, static: bool = False) -> MaskSpace:
        """The mask space of a craft split (N, T, C, H, W).

        Raises:
            InvalidInput: nothing limits the number of edits, or the budget is too small for one static cell.
        """
        if not any(isinstance(member, EventEdits) for member in members_of(threat)):
            raise InvalidInput(
                "a universal perturbation needs a budget of edits",
                asked=repr(threat),
                remedy="join it with one: threat & EventEdits(500)",
            )
        budget = int(budgets_of(threat, x).max())
        if static and budget < x.shape[1]:
            raise InvalidInput(
                "the budget does not reach for one cell at all steps",
                asked=f"static=True with {budget} edits",
                found=f"{x.shape[1]} steps",
                remedy="raise max_edits, or let the perturbation vary in time",
            )
        held = torch.zeros_like(x[0])
        for part in torch.split(x, 64):
            held += threat.allowed(part)[1].sum(0)
        return cls(threat, budget, torch.stack([torch.ones_like(held), held / len(x)]), static)

    @property
    def max_count(self) -> int:
        """The most events that a cell may hold after an insertion."""
        return min(
            member.max_count
            for member in members_of(self.threat)
            if isinstance(member, EventEdits | PatchRegion)
        )

    def best(self, gain: Tensor) -> Tensor:
        """Returns the mask of 0 and 1 that maximises the sum of a linear gain within the budget.

        Cells are taken by gain per cost, the greedy solution of the knapsack, which is exact but for its last
        cell and wholly so for insertions alone.

        Args:
            gain: (2, T, C, H, W): what editing the cell is worth.
        """
        cost = self.cost.clone()
        if self.static:
            gain, cost = gain.sum(1, keepdim=True), cost.sum(1, keepdim=True)
        cost[1] += _RARE * self.steps_per_cell  # a rate seen in few samples is not to be trusted
        chosen = _knapsack(gain, cost, self.budget)
        if not is_plain(self.threat):
            chosen = self._lawful(chosen.expand(gain.shape), gain.clamp(min=0))
        return chosen.expand(self.cost.shape).clone()

    @property
    def steps_per_cell(self) -> int:
        """Cells of the grid that one entry of the mask stands for."""
        return self.cost.shape[1] if self.static else 1

    def _lawful(self, chosen: Tensor, gain: Tensor) -> Tensor:
        """Chooses the insertions again, by the rules that bind them among each other."""
        wanted = int(chosen[0].expand(self.cost.shape[1:]).sum())
        if wanted == 0:
            return chosen
        insertions = gain[0].expand(self.cost.shape[1:])
        members = tuple(
            dataclasses.replace(
                m,
                max_edits=wanted,
                insert=True,
                delete=False,
                polarity="free" if m.polarity == "same" else m.polarity,
            )
            if isinstance(m, EventEdits)
            else m
            for m in members_of(self.threat)
        )
        rules = AllOf(members) if len(members) > 1 else members[0]
        silence = torch.zeros_like(insertions)[None]
        for offer in OFFERS:
            top = insertions.flatten().topk(min(wanted * offer, insertions.numel()))
            strength = (top.values / top.values[0].clamp(min=1e-30)).clamp(min=0)
            asked = torch.zeros_like(insertions).flatten().index_copy(0, top.indices, strength)
            kept = rules.project(asked.view_as(silence), silence)[0]
            if kept.sum() >= min(wanted, int((insertions > 0).sum())):
                break
        return torch.stack([kept, chosen[1].expand(self.cost.shape[1:])])

    def perturbation(self, soft: Tensor, *, max_shift: int = 0, max_translation: int = 0) -> EditMask:
        """Returns the hard mask nearest to a soft one (2, T, C, H, W), the weights as priorities."""
        hard = self.best(soft)
        weight = soft.clamp(min=0) / soft.amax().clamp(min=1e-30)
        priority = hard * (_LEAST_PRIORITY + (1 - _LEAST_PRIORITY) * weight)
        insert, delete = priority.cpu().numpy()
        return EditMask(
            insert=insert,
            delete=delete,
            max_count=self.max_count,
            max_shift=max_shift,
            max_translation=max_translation,
            threat=None if self._self_evident(hard) else self.threat,
        )

    def _self_evident(self, hard: Tensor) -> bool:
        """Whether the mask alone keeps every sample within the rules."""
        return (
            is_plain(self.threat)
            and isinstance(self.threat, EventEdits)
            and isinstance(self.threat.max_edits, int)
            and self.threat.polarity != "same"
            and not bool(hard[1].any())
        )


def _knapsack(gain: Tensor, cost: Tensor, budget: int) -> Tensor:
    """Returns 1 for the entries of greatest gain per cost above 0 that fit the budget in that order."""
    density = (gain / cost).flatten()
    if not bool((gain[1] > 0).any()):
        # Insertions alone cost the same each: no need to sort everything.
        order = density[: gain[0].numel()].topk(min(budget, gain[0].numel())).indices
    else:
        order = density.argsort(descending=True)
    order = order[density[order] > 0]
    spent = cost.flatten()[order].cumsum(0)
    chosen = torch.zeros_like(density)
    chosen[order[spent <= budget + 1e-6]] = 1.0
    return chosen.view_as(gain)
