# SPDX-License-Identifier: MIT
"""A time budget: what the work that is left would take, and what goes first where there is not enough."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from art_spiking.attacks.ensemble.members import Member

Clock = Callable[[], float]

QUERIES = (300, 100)
"""What the queries of a search without gradients are cut to, in turn."""

# A step of the gradient attacks tries a few roundings on the model; bisections bring it to about this many.
_FORWARDS_A_STEP = 3
_PARTS = 8


@dataclass(frozen=True)
class Prices:
    """Seconds per sample of one forward pass and of one gradient, as measured on this machine.

    Attributes:
        forward: of a pass.
        gradient: of a gradient.
        tries: how often members that repeat attack a sample.
    """

    forward: float
    gradient: float
    tries: int = 1

    def of(self, member: Member, samples: int) -> float:
        """What a member takes at most, with every sample open to the end."""
        per_step = self.gradient + _FORWARDS_A_STEP * self.forward
        each = member.gradients_per_sample * per_step + member.trials * self.forward
        return samples * each * (self.tries if member.repeats else 1)


@dataclass(frozen=True)
class Plan:
    """What is still to be done: a member with its parameters, or None in its place where it is left out.

    Attributes:
        members: those that are left, in order.
        exhaustive: whether members go on attacking samples that others fooled.
        dropped: what was left out or cut, in words, in the order of `plan`.
    """

    members: tuple[Member | None, ...]
    exhaustive: bool
    dropped: tuple[str, ...] = ()


class Allowance:
    """Seconds that may pass, by a clock; endless where there is no budget."""

    def __init__(self, seconds: float | None, clock: Clock = time.perf_counter) -> None:
        """Starts now."""
        self._clock, self._seconds, self._start = clock, seconds, clock()

    @property
    def limited(self) -> bool:
        """Whether there is a budget at all."""
        return self._seconds is not None

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    @property
    def left(self) -> float:
        """Seconds that are left; infinite without a budget."""
        if self._seconds is None:
            return float("inf")
        return self._seconds - self.elapsed

    def samples_at_once(self, prices: Prices | None, member: Member, most: int) -> int:
        """How many samples a member should take at a time, so that it can stop in between."""
        if prices is None or not self.limited:
            return most
        each = max(prices.of(member, 1), 1e-9)
        return max(1, min(most, int(self.left / _PARTS / each)))


def plan(
    members: Sequence[Member], samples: int, *, everyone: int, exhaustive: bool, prices: Prices, left: float
) -> Plan:
    """What can be done in the seconds that are left, giving up in this order.

    1. attacking samples that are fooled already (`exhaustive`); 2. restarts; 3. queries, first to 300, then
    to 100; 4. members, the last first, but never the one whose turn it is.

    Args:
        members: those that have not run; the first one's turn it is.
        samples: that no member has fooled yet.
        everyone: that there are to attack.
        exhaustive: whether the run was to be.
        prices: what things cost.
        left: seconds.
    """
    kept: list[Member | None] = list(members)
    dropped: list[str] = []

    def cost() -> float:
        open_ = everyone if exhaustive else samples
        return sum(prices.of(member, open_) for member in kept if member is not None)

    if exhaustive and cost() > left:
        exhaustive = False
        dropped.append("exhaustive")
    for place, member in enumerate(kept):
        if member is not None and member.restart and cost() > left:
            kept[place] = None
            dropped.append(member.name)
    for queries in QUERIES:
        for place, member in enumerate(kept):
            if member is not None and member.queries > queries and cost() > left:
                kept[place] = dataclasses.replace(member, parameters=member.parameters | {"queries": queries})
                dropped.append(f"{member.name}: {queries} queries")
    for place in range(len(kept) - 1, 0, -1):
        found = kept[place]
        if found is not None and cost() > left:
            kept[place] = None
            dropped.append(found.name)
    return Plan(tuple(kept), exhaustive, tuple(dropped))
