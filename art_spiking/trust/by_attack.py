# SPDX-License-Identifier: MIT
"""Checks that attack again: longer, without a limit, through another derivative, without gradients."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from art_spiking.attacks.edits.space import widened
from art_spiking.attacks.paths import SAMPLE_SURROGATE
from art_spiking.attacks.queries.retiming import RetimingSquare
from art_spiking.attacks.queries.square import EventSquare
from art_spiking.threats import EventEdits, EventThreat, Retiming, ThreatModel
from art_spiking.trust.findings import Finding, Subject

PLATEAU_STEPS, SHORT_STEPS = 1000, 30
PLATEAU_SAMPLES = 8
QUERIES = 300
WIDER = 4

PLATEAU_SHARE = 0.1
"""From this share of survivors on that more steps fool, the attack was too short."""
PLATEAU_POINTS = 0.03
"""But the accuracy in doubt has to fall by as much, if it is that share of all survivors."""
UNBOUNDED_SHARE = 0.05
"""From above this share of samples on that withstand unlimited edits, attacks do not see their way."""
BLACK_BOX_SHARE = 0.1
"""From this share of samples on that only the attack without gradients fools, gradients are masked."""
TRANSFER_SHARE = 0.5
"""Where the own derivative fools less than this share of what another one does, it masks."""

_LEAST = 3


def plateau(subject: Subject) -> Finding:
    """Do 1,000 gradient steps fool samples that survived?"""
    x, y = subject.x, subject.y
    survivors, who = subject.survivors, "survived"
    if survivors is None:
        survivors, who = ~_by_gradients(subject, x, y, SHORT_STEPS), f"{SHORT_STEPS} steps left"
    rows = torch.nonzero(survivors)[:PLATEAU_SAMPLES, 0]
    if not len(rows):
        return Finding("plateau", "no sample survived, so more steps have nothing to gain")
    gained = _by_gradients(subject, x[rows], y[rows], PLATEAU_STEPS)
    count, share = int(gained.sum()), float(gained.float().mean())
    text = f"{PLATEAU_STEPS:,} gradient steps fool {count} of {len(rows)} samples that {who}"
    # Of the few that an attack leaves one is a large share, and yet next to nothing of the number.
    if subject.robust is None:
        little = share * float(survivors.float().mean()) < PLATEAU_SHARE
    else:
        little = share * subject.robust < PLATEAU_POINTS
    if share < PLATEAU_SHARE or little:
        return Finding("plateau", text, value=share, samples=len(rows))
    text += ": more steps still gain, the number is too high"
    return Finding("plateau", text, "more-steps-gain", share, len(rows))


def unbounded(subject: Subject) -> Finding:
    """Does an attack with unlimited edits fool every sample?"""
    x, y = subject.x, subject.y
    count = max(1, int(x.max()), getattr(subject.threat, "max_count", 1))
    everything = EventEdits(x[0].numel() * count, max_count=count)
    surrogate = SAMPLE_SURROGATE if subject.estimator.exchanges_surrogate else None
    fooled = subject.fooled_by_gradients(surrogate, x, y, threat=everything, steps=SHORT_STEPS)
    left, share = int((~fooled).sum()), float((~fooled).float().mean())
    text = f"gradients with unlimited edits leave {left} of {len(x)} samples right"
    if share <= UNBOUNDED_SHARE:
        return Finding("unbounded", text, value=share, samples=len(x))
    text += ": they must leave none, so gradients do not show the way"
    return Finding("unbounded", text, "unbounded-fails", share, len(x))


def transfer(subject: Subject) -> Finding:
    """Do gradients through another derivative fool far more than those through the model's own?"""
    x, y, threat = subject.x, subject.y, _wide(subject)
    if subject.view(SAMPLE_SURROGATE) is None:
        return Finding("transfer", "no other derivative leads to a gradient, so none compares")
    own = subject.fooled_by_gradients(None, x, y, threat=threat, steps=SHORT_STEPS)
    other = subject.fooled_by_gradients(SAMPLE_SURROGATE, x, y, threat=threat, steps=SHORT_STEPS)
    mine, theirs = int(own.sum()), int(other.sum())
    text = (
        f"within {_times(threat, subject)} gradients through the model's own spike derivative fool {mine} of "
        f"{len(x)} samples, through another one {theirs}"
    )
    value = float((theirs - mine) / len(x))
    if theirs - mine < _LEAST or mine >= TRANSFER_SHARE * theirs:
        return Finding("transfer", text, value=value, samples=len(x))
    text += ": the model's own derivative masks, attacks that use it flatter the model"
    return Finding("transfer", text, "own-derivative-masks", value, len(x))


def black_box(subject: Subject) -> Finding:
    """Does a search without gradients fool samples that the model's own gradients do not?"""
    threat = _wide(subject)
    if not isinstance(threat, EventThreat | Retiming):
        return Finding("black-box", "no search without gradients serves this threat model")
    x, y = subject.x, subject.y
    own = subject.fooled_by_gradients(None, x, y, threat=threat, steps=SHORT_STEPS)
    view = subject.view() or subject.estimator
    attack: EventSquare | RetimingSquare
    if isinstance(threat, Retiming):
        attack = RetimingSquare(view, threat, queries=QUERIES, seed=subject.seed)
    else:
        attack = EventSquare(view, threat, queries=QUERIES, seed=subject.seed)
    found = torch.from_numpy(attack.generate(x.cpu().numpy(), y.cpu().numpy())).to(x)
    blind = subject.fooled(found, y)
    only, share = int((blind & ~own).sum()), float((blind & ~own).float().mean())
    text = (
        f"within {_times(threat, subject)} {QUERIES} queries without gradients fool {int(blind.sum())} of "
        f"{len(x)} samples, {only} of them untouched by the model's own gradients"
    )
    if share < BLACK_BOX_SHARE:
        return Finding("black-box", text, value=share, samples=len(x))
    text += ": the gradients are masked"
    return Finding("black-box", text, "black-box-beats-white-box", share, len(x))


def _by_gradients(subject: Subject, x: Tensor, y: Tensor, steps: int) -> Tensor:
    """By the best derivative there is."""
    surrogate = None if subject.view(SAMPLE_SURROGATE) is None else SAMPLE_SURROGATE
    return subject.fooled_by_gradients(surrogate, x, y, threat=subject.threat, steps=steps)


def _wide(subject: Subject) -> ThreatModel:
    """The threat with several times its budget, where a sound gradient fools most samples."""
    threat = subject.threat
    if isinstance(threat, Retiming):
        grown = {
            name: WIDER * getattr(threat, name)
            for name in ("max_moved", "max_total_shift")
            if isinstance(getattr(threat, name), int)
        }
        return dataclasses.replace(threat, **grown)
    return widened(threat, WIDER, subject.x) if isinstance(threat, EventThreat) else threat


def _times(threat: ThreatModel, subject: Subject) -> str:
    return "the budget" if threat == subject.threat else f"{WIDER} times the budget"
