# SPDX-License-Identifier: MIT
"""The attacks that AutoSpike runs, in order: frozen, and a change of any is a new version."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from art_spiking.attacks.base import EventAttack
from art_spiking.attacks.edits.exchange import EventExchange
from art_spiking.attacks.edits.gradient import EventGradientAttack
from art_spiking.attacks.ensemble.next_classes import NextClasses
from art_spiking.attacks.queries.retiming import RetimingSquare
from art_spiking.attacks.queries.square import EventSquare
from art_spiking.attacks.retiming import SpikeRetiming
from art_spiking.gradient_paths import PotentialWidth
from art_spiking.surrogates import Atan, GradientPath
from art_spiking.threats import Retiming, ThreatModel

VERSION = 4
"""Of the ensembles; any change of a member is a new one."""


@dataclass(frozen=True)
class Member:
    """One attack of an ensemble.

    Attributes:
        name: what reports call it.
        build: its class.
        parameters: its hyper-parameters, without the surrogate.
        surrogate: the spike derivative that it asks for; None for the model's own.
        own: whether it is for models alone whose surrogate cannot be exchanged.
        restart: whether it starts anew where others failed, and so is among the first to go for want of time.
    """

    name: str
    build: type[EventAttack[Any]]
    parameters: dict[str, Any] = field(default_factory=dict)
    surrogate: GradientPath | None = None
    own: bool = False
    restart: bool = False

    @property
    def gradients(self) -> bool:
        """Whether it differentiates the model."""
        return self.build.gradients

    @property
    def gradients_per_sample(self) -> int:
        """At most."""
        steps = int(self.parameters.get("steps", 0)) * int(self.parameters.get("classes", 1))
        return steps + int(self.parameters.get("rounds", 0))

    @property
    def trials(self) -> int:
        """Forward passes of a sample, at most, beside those that its gradients take."""
        return self.queries + int(self.parameters.get("rounds", 0)) * int(
            self.parameters.get("candidates", 0)
        )

    @property
    def repeats(self) -> bool:
        """Whether it attacks what is left of a random model anew by other draws; trials make that dear."""
        return self.gradients and "rounds" not in self.parameters

    @property
    def queries(self) -> int:
        """Forward passes of a sample, at most, of a member without gradients."""
        return int(self.parameters.get("queries", 0))


_NARROW, _NO_RESET, _WIDE = Atan(3.0, through_reset=True), Atan(2.0), Atan(1.0, through_reset=True)
_SPREAD = PotentialWidth(through_reset=True)
_EXCHANGES = {"steps": 30, "rounds": 40, "candidates": 32}

EDITS = (
    Member("gradient, narrow", EventGradientAttack, {"steps": 30}, _NARROW),
    Member("gradient, own derivative", EventGradientAttack, {"steps": 30}, own=True),
    Member("gradient, no reset path", EventGradientAttack, {"steps": 30}, _NO_RESET),
    Member("gradient, wide, hard gap", EventGradientAttack, {"steps": 30, "objective": "gap"}, _WIDE),
    Member("gradient, potential width", EventGradientAttack, {"steps": 30}, _SPREAD),
    Member("gradient, narrow, long", EventGradientAttack, {"steps": 150}, _NARROW),
    Member("exchange, narrow", EventExchange, _EXCHANGES, _NARROW),
    Member("exchange, potential width", EventExchange, _EXCHANGES, _SPREAD),
    Member(
        "gradient, next classes",
        NextClasses,
        {"steps": 30, "classes": 4, "objective": "soft-gap"},
        _NARROW,
        restart=True,
    ),
    Member("square", EventSquare, {"queries": 1000}),
)
RETIMING = (
    Member("retiming, wide", SpikeRetiming, {"steps": 30}, _WIDE),
    Member("retiming, own derivative", SpikeRetiming, {"steps": 30}, own=True),
    Member("retiming, narrow", SpikeRetiming, {"steps": 30}, _NARROW),
    Member("retiming, no reset path", SpikeRetiming, {"steps": 30}, _NO_RESET),
    Member("retiming, potential width", SpikeRetiming, {"steps": 30}, _SPREAD),
    Member("retiming, narrow, long", SpikeRetiming, {"steps": 150}, _NARROW),
    Member(
        "retiming, next classes",
        NextClasses,
        {"steps": 30, "classes": 4, "objective": "soft-gap"},
        _WIDE,
        restart=True,
    ),
    Member("retiming square", RetimingSquare, {"queries": 1000}),
)

TUNING_STEPS, CHOSEN_STEPS = 10, 60
"""Gradients per sample of a trial on the craft split, and of the member that is chosen there."""


def ensemble_for(
    threat: ThreatModel, *, targeted: bool, exchanges: bool, gradients: bool = True
) -> tuple[Member, ...]:
    """The members for a threat model, in the order in which they run.

    Args:
        threat: of edits, or Retiming.
        targeted: whether a class is to be reached; there are no restarts towards other ones then.
        exchanges: whether the model's surrogate can be exchanged; its own derivative is tried where not.
        gradients: whether the model can be differentiated; the searches that ask it alone are left if not.
    """
    members = RETIMING if isinstance(threat, Retiming) else EDITS
    return tuple(
        member
        for member in members
        if not (member.own and exchanges)
        and not (member.restart and targeted)
        and (gradients or not member.gradients)
    )
