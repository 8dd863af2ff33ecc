# SPDX-License-Identifier: MIT
"""The battery: which checks run, on which samples, in which order, within which time."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from art_spiking.checks import model_flags
from art_spiking.errors import InvalidInput
from art_spiking.estimators import EventClassifier
from art_spiking.estimators.draws import DECISION_DRAWS, decide, is_random
from art_spiking.records import Flag
from art_spiking.surroundings import own_surroundings
from art_spiking.threats import ThreatModel
from art_spiking.trust.by_attack import black_box, plateau, transfer, unbounded
from art_spiking.trust.by_gradient import differences, saturation
from art_spiking.trust.findings import Finding, Subject

Array = npt.NDArray[Any]
Check = Callable[[Subject], Finding]

CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "saturation": saturation,
        "differences": differences,
        "unbounded": unbounded,
        "transfer": transfer,
        "black-box": black_box,
        "plateau": plateau,
    }
)
"""The checks by name, from cheap to dear."""

SAMPLES = 16
"""Samples that the battery looks at; the plateau takes up to 8 of those that survived."""
_FEWER = 4
_FEW = 4


@dataclass(frozen=True)
class Battery:
    """What the battery found, and what it left out for want of time.

    Attributes:
        findings: of the checks that ran, in order.
        left_out: what did not run, or ran on fewer samples, in words.
    """

    findings: tuple[Finding, ...]
    left_out: tuple[str, ...] = ()

    @property
    def flags(self) -> tuple[Flag, ...]:
        """The doubts that it raises."""
        return tuple(flag for finding in self.findings if (flag := finding.flag()) is not None)


def trust(
    estimator: EventClassifier, threat: ThreatModel, x: Array, y: Array, *, seed: int = 0
) -> tuple[Flag, ...]:
    """Every doubt about numbers of this model under this threat model: `checks.model_flags` and `examine`.

    Args:
        estimator: the model; it is copied, not changed.
        threat: what an attacker may change.
        x: clean samples, (N, T, C, H, W).
        y: labels, (N,).
        seed: the same seed gives the same flags.
    """
    return (*model_flags(estimator, x, y), *examine(estimator, threat, x, y, seed=seed).flags)


def examine(
    estimator: EventClassifier,
    threat: ThreatModel,
    x: Array,
    y: Array,
    *,
    survivors: Array | None = None,
    seed: int = 0,
    minutes: float | None = None,
) -> Battery:
    """Runs every check on the first samples that are classified right.

    Of a black box every check says that it does not apply: all of them compare with gradients.

    It costs about 9,000 gradients and 40,000 forward passes where the plateau runs to its end, most of them
    there (8 samples, 1,000 steps); a tenth of that where no sample survives.

    Args:
        estimator: the model; it is copied, not changed.
        threat: what an attacker may change: edits or retiming.
        x: clean samples, (N, T, C, H, W).
        y: labels, (N,).
        survivors: which samples withstood the attack whose number is in doubt, bool (N,); they come first.
            Without it the plateau is measured against a short attack.
        seed: of what is drawn.
        minutes: most time. What goes where it is short: samples, from 16 to 4, once half of the time is up;
            then the checks whose turn has not come.
    """
    begin = time.perf_counter()
    with own_surroundings(seed):
        subject = _subject(copy.deepcopy(estimator), threat, x, y, survivors, seed)
        findings: list[Finding] = []
        left_out: list[str] = []
        for name, check in CHECKS.items():
            passed = time.perf_counter() - begin
            if minutes is not None and passed > 60 * minutes:
                left_out.append(f"{name}: time was up")
                continue
            if not len(subject.x):
                findings.append(Finding(name, "no sample is classified right without an attack"))
                continue
            given = subject
            if minutes is not None and passed > 30 * minutes and len(subject.x) > _FEWER:
                given = _part(subject, _FEWER)
                left_out.append(f"{name}: {len(subject.x)} samples cut to {_FEWER}, half of the time is up")
            findings.append(_timed(name, check, given))
    return Battery(tuple(findings), tuple(left_out))


def _timed(name: str, check: Check, subject: Subject) -> Finding:
    begin = time.perf_counter()
    with subject.estimator.counting() as counted:
        try:
            found = check(subject)
        except InvalidInput as error:
            found = Finding(name, f"does not apply: {error.what}")
    seconds = time.perf_counter() - begin
    return replace(found, forwards=counted.forwards, backwards=counted.backwards, seconds=seconds)


def _subject(
    estimator: EventClassifier,
    threat: ThreatModel,
    x: Array,
    y: Array,
    survivors: Array | None,
    seed: int,
) -> Subject:
    given = torch.from_numpy(np.array(x, dtype=np.float32)).to(estimator.device)
    labels = torch.as_tensor(np.asarray(y, dtype=np.int64), device=estimator.device)
    random = is_random(estimator, given[:_FEW])
    classes, _ = decide(estimator, given, draws=DECISION_DRAWS if random else 1)
    right = (classes == labels).cpu()
    lasting = right if survivors is None else right & torch.from_numpy(np.asarray(survivors, dtype=bool))
    # Survivors first: the plateau is about them.
    rows = torch.cat([torch.nonzero(lasting)[:, 0], torch.nonzero(right & ~lasting)[:, 0]])[:SAMPLES]
    known = None if survivors is None else lasting[rows]
    share = None if survivors is None else float(lasting.float().mean())
    return Subject(estimator, threat, given[rows], labels[rows], known, share, random, seed)


def _part(subject: Subject, samples: int) -> Subject:
    survivors = None if subject.survivors is None else subject.survivors[:samples]
    return replace(subject, x=subject.x[:samples], y=subject.y[:samples], survivors=survivors)
