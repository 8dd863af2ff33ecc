# SPDX-License-Identifier: MIT
"""What goes into the record of a case: the setting's part, the attack's, and how the case failed."""

from __future__ import annotations

import dataclasses
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from art_spiking.attacks import AutoSpike
from art_spiking.attacks.ensemble.members import VERSION
from art_spiking.evaluate.settings import Setting
from art_spiking.evaluate.threats import kinds_in
from art_spiking.records import (
    CheckResult,
    Costs,
    EnsembleResult,
    Failure,
    MemberResult,
    Omission,
    Provenance,
    Record,
    TrustResult,
)
from art_spiking.suites import Case
from art_spiking.trust import Battery

if TYPE_CHECKING:
    from art_spiking.estimators import EventClassifier
    from art_spiking.threats import Cost

_TRACEBACK_FRAMES = 12


def case_record(setting: Setting, case: Case, started: str, **outcome: Any) -> Record:
    """A record of this setting and case; `outcome` holds the fields that differ from case to case."""
    return Record(
        model=setting.model,
        suite=setting.suite,
        case=case,
        craft=setting.craft,
        test=setting.test,
        labels=setting.labels,
        clean=setting.clean,
        draws=setting.draws,
        footprint=setting.footprint,
        clean_activity=setting.activity,
        provenance=Provenance(
            packages=setting.packages,
            providers=_providers(setting, case),
            device=_device(setting.estimator),
            threads=torch.get_num_threads(),
            started=started,
            commit=setting.commit,
            command=setting.command,
        ),
        **outcome,
    )


def failed_record(setting: Setting, case: Case, started: str, error: BaseException) -> Record:
    """A record of status "error": the exception that ended the case."""
    return case_record(setting, case, started, status="error", flags=setting.flags, failure=_failure(error))


def ensemble_result(attack: Any) -> EnsembleResult | None:
    """What the members of an ensemble did; None for another attack."""
    if not isinstance(attack, AutoSpike):
        return None
    return EnsembleResult(
        version=VERSION,
        members=tuple(MemberResult(**dataclasses.asdict(outcome)) for outcome in attack.outcomes),
        left_out=tuple(Omission(**dataclasses.asdict(entry)) for entry in attack.left_out),
    )


def trust_result(battery: Battery) -> TrustResult:
    """What the trust battery found, for the record."""
    checks = tuple(CheckResult(**dataclasses.asdict(finding)) for finding in battery.findings)
    return TrustResult(checks=checks, left_out=battery.left_out)


def costs_of(cost: Cost) -> Costs:
    """What a perturbation changed, as whole numbers."""
    columns = ("added", "removed", "moved", "own")
    return Costs(**{name: tuple(int(value) for value in getattr(cost, name)) for name in columns})


def _providers(setting: Setting, case: Case) -> dict[str, str]:
    """Who provided the attack, its control and the threat models, as far as they are known."""
    attacks = [case.attack, *([] if case.control is None else [case.control.attack])]
    named = [(f"attack {name}", name, setting.providers.attacks) for name in attacks]
    named += [(f"threat {kind}", kind, setting.providers.threats) for kind in kinds_in(case.threat)]
    return {what: source[name].provider for what, name, source in named if name in source}


def _device(estimator: EventClassifier) -> str:
    device = torch.device(estimator.device)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _failure(error: BaseException) -> Failure:
    """The exception and its last frames, without the folders of the machine it was raised on."""
    frames = traceback.extract_tb(error.__traceback__)[-_TRACEBACK_FRAMES:]
    return Failure(
        type=type(error).__name__,
        message=" ".join(str(error).split()) or type(error).__name__,
        traceback=tuple(f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames),
    )
