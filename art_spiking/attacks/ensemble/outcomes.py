# SPDX-License-Identifier: MIT
"""What an ensemble did and what it left out, as plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MemberOutcome:
    """What one attack of the ensemble did.

    Attributes:
        name: of the member.
        tried: samples that it attacked.
        fooled: how many of these it fooled.
        alone: how many samples no other member fooled; None unless the run was exhaustive.
        forwards: samples passed forward.
        backwards: samples passed back.
        seconds: by the clock.
    """

    name: str
    tried: int
    fooled: int
    alone: int | None
    forwards: int
    backwards: int
    seconds: float


@dataclass(frozen=True)
class LeftOut:
    """What was not done, for want of time or because no gradient could be had.

    Attributes:
        what: a member, or a part of the work.
        why: in words, with the figures that decided it.
        samples: which samples it would have been done for, by their place in the batch.
        timed: whether it was for want of time.
    """

    what: str
    why: str
    samples: tuple[int, ...] = ()
    timed: bool = True
