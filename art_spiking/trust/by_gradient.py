# SPDX-License-Identifier: MIT
"""Checks of the gradient itself: does it vanish in a usual loss, and does it rank edits as trials do?"""

from __future__ import annotations

import torch
from torch import Tensor

from art_spiking.attacks.edits.space import EditSpace
from art_spiking.attacks.objectives import cross_entropy, soft_gap
from art_spiking.attacks.paths import SAMPLE_SURROGATE
from art_spiking.errors import InvalidModel
from art_spiking.estimators import SpikingClassifier
from art_spiking.metrics import wilson_interval
from art_spiking.threats import EventEdits
from art_spiking.trust.findings import Finding, Subject

SATURATED_SHARE = 0.1
"""From this share of samples without a gradient of cross entropy on, that loss is saturated."""

SIZES, GROUPS = (1, 4, 16), 4
"""Edits that are tried together, and how many groups of each size: the highest ranked, and random ones."""


def saturation(subject: Subject) -> Finding:
    """Does the gradient of cross entropy vanish where that of the gap between logits does not?"""
    try:
        zero = _zero(subject, cross_entropy)
        blind = _zero(subject, soft_gap)
    except InvalidModel:
        return Finding("saturation", "there is no gradient at all, of cross entropy or of anything")
    share = float(zero.float().mean())
    text = f"the gradient of cross entropy is exactly zero for {share:.0%} of {len(zero)} samples"
    if share < SATURATED_SHARE:
        return Finding("saturation", text, value=share, samples=len(zero))
    text += (
        ", and so is that of the gap between outputs: outputs are saturated"
        if bool((zero & blind).any())
        else ": that loss is saturated, attacks that ascend it are blind; those here ascend the gap of logits"
    )
    return Finding("saturation", text, "saturated-loss", share, len(zero))


def differences(subject: Subject) -> Finding:
    """Do the edits that the model's own gradient ranks highest gain more, when tried, than random ones?

    Forward differences: groups of 1, 4 and 16 edits of each clean sample, the highest ranked against random
    ones of the same size, by the gap of logits. Chance is 0.5; ties count half. It is also held against the
    ranking through another derivative.
    """
    try:
        own = _wins(subject, subject.view())
    except InvalidModel:
        return Finding("differences", "there is no gradient to compare with trials")
    trials = len(SIZES) * GROUPS * len(subject.x)
    low, high = wilson_interval(round(own), trials)
    share = own / trials
    text = (
        f"edits that the model's own gradient ranks first beat random ones in {share:.0%} of {trials} trials "
        f"({low:.0%} to {high:.0%}; chance is 50%)"
    )
    other = subject.view(SAMPLE_SURROGATE)
    # Where no derivative beats chance, single edits decide nothing here, and no gradient is to blame.
    misled = low <= 0.5
    if other is not None:
        theirs = _wins(subject, other)
        least, _ = wilson_interval(round(theirs), trials)
        text += f", those of another derivative in {theirs / trials:.0%}"
        misled = least > 0.5 and (misled or high < least)
    if not misled:
        return Finding("differences", text, value=share, samples=len(subject.x))
    text += ": the model's own gradient tells little of what edits do"
    return Finding("differences", text, "gradient-misleads", share, len(subject.x))


def _wins(subject: Subject, view: SpikingClassifier | None) -> float:
    """How many groups of edits that a gradient ranks first gain more than random ones.

    Raises:
        InvalidModel: there is no gradient.
    """
    if view is None:
        raise InvalidModel("no gradient")
    x, y = subject.x, subject.y
    gradient, _ = view.input_gradient(x, y, objective=soft_gap)
    direction = EditSpace.of(EventEdits(1), x).direction
    ranked = (gradient * direction).flatten(1).argsort(dim=1, descending=True, stable=True)
    generator = torch.Generator().manual_seed(subject.seed)
    drawn = torch.stack([torch.randperm(ranked.shape[1], generator=generator) for _ in x]).to(x.device)
    wins = 0.0
    for size in SIZES:
        for group in range(GROUPS):
            part = slice(group * size, (group + 1) * size)
            best, random = (_gain(subject, direction, order[:, part]) for order in (ranked, drawn))
            wins += float((best > random).sum()) + 0.5 * float((best == random).sum())
    return wins


def _zero(subject: Subject, objective: object) -> Tensor:
    view = subject.view() or subject.estimator
    gradient, _ = view.input_gradient(subject.x, subject.y, objective=objective)  # type: ignore[arg-type]
    return gradient.flatten(1).abs().amax(1) == 0


def _gain(subject: Subject, direction: Tensor, cells: Tensor) -> Tensor:
    """The gap of the samples with some cells edited, (N,)."""
    edits = torch.zeros_like(direction).flatten(1).scatter_(1, cells, 1.0).view_as(direction) * direction
    view = subject.view() or subject.estimator
    return soft_gap(view.predict_torch(subject.x + edits, len(edits)), subject.y)
