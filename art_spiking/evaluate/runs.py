# SPDX-License-Identifier: MIT
"""Runs cases: attack, check, score, control, record."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from art_spiking.attacks import AutoSpike
from art_spiking.attacks.ensemble.members import VERSION
from art_spiking.checks import adversarial_flags, control_flag
from art_spiking.estimators.own_surrogate import OwnSurrogateWarning, own_surrogate_text
from art_spiking.evaluate.activity import activity_of
from art_spiking.evaluate.parameters import check_parameters
from art_spiking.evaluate.settings import SCORING_BATCH, Providers, Setting, Splits, predict, prepare
from art_spiking.evaluate.threats import build_threat, kinds_in
from art_spiking.records import (
    CheckResult,
    Costs,
    EnsembleResult,
    Failure,
    Flag,
    MemberResult,
    Omission,
    Provenance,
    Record,
    TrustResult,
)
from art_spiking.suites import Case, Suite
from art_spiking.surroundings import own_surroundings
from art_spiking.trust import Battery, examine

if TYPE_CHECKING:
    from art_spiking.estimators import SpikingClassifier
    from art_spiking.threats import Cost, ThreatModel

SpikeArray = npt.NDArray[np.float32]
OnAdversarial = Callable[[Record, SpikeArray, SpikeArray], object]
"""Called with each finished record, the clean samples and the adversarial ones, for figures and files."""

_TRACEBACK_FRAMES = 12

_ATTACK_SHARE = 0.75
"""Of the minutes of a case, what its attack may take; the trust battery has the rest."""


@dataclass(frozen=True)
class _Asked:
    """An attack by name with its parameters, and the class it is to reach, if any."""

    attack: str
    parameters: dict[str, Any]
    seed: int
    target: int | None = None

    def classes(self, y: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """What the attack gets as y, (N,): the labels, or the target."""
        return y.copy() if self.target is None else np.full_like(y, self.target)


@dataclass(frozen=True)
class _Run:
    """What one attack returned, chose and took; queries are per sample that the attack worked on."""

    x_adv: Any
    chosen: dict[str, Any]
    ensemble: EnsembleResult | None
    forwards: float
    backwards: float
    seconds: float
    doubts: tuple[Flag, ...]


def evaluate(
    estimator: SpikingClassifier,
    splits: Splits,
    suite: Suite,
    *,
    name: str = "model",
    providers: Providers | None = None,
    cases: Sequence[str] | None = None,
    on_adversarial: OnAdversarial | None = None,
) -> Iterator[Record]:
    """Evaluates a model under a suite; yields one record per case, as each is finished.

    A case that raises becomes a record of status "error", and the next one runs. To resume, or to run cases
    in several processes, call `prepare` once and `evaluate_case` for each case.

    Args:
        estimator: the classifier, with its deployed readout and defences; it is not changed.
        splits: craft and test samples; the suite's numbers limit them.
        suite: the cases.
        name: what people call the model.
        providers: where attacks and threat models are looked up; by default everything installed.
        cases: names of the cases to run; by default all.
        on_adversarial: called with each record of status "ok", the clean and the adversarial samples.

    Raises:
        UnknownName: the suite has no case of a given name.
        InvalidInput: samples that do not fit the model.
    """
    chosen = suite.cases if cases is None else [suite.case(name_) for name_ in cases]
    setting = prepare(estimator, splits, suite, name=name, providers=providers)
    for case in chosen:
        yield evaluate_case(setting, case, on_adversarial=on_adversarial)


def evaluate_case(setting: Setting, case: Case, *, on_adversarial: OnAdversarial | None = None) -> Record:
    """Runs one case: the attack, the host's check of what it returned, the score, and the control beside it.

    The attack works on copies of the model, the samples and the threat model, so it can change neither what
    it is checked against nor what it is scored with. An exception, a call of sys.exit too, becomes a record
    of status "error"; KeyboardInterrupt passes through. Errors of `on_adversarial` are the caller's and pass
    through too.
    """
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    x = setting.splits.test.x
    try:
        record, x_adv = _attack_and_score(setting, case, started)
    except (Exception, SystemExit) as error:
        return _failed(setting, case, started, error)
    if on_adversarial is not None and x_adv is not None:
        on_adversarial(record, x, x_adv)
    return record


def failed_case(setting: Setting, case: Case, error: BaseException) -> Record:
    """The record, of status "error", of a case that could not be run to its end where it was tried.

    For errors that no `except` sees: a process that was killed, ran out of memory, or took too long.
    """
    return _failed(setting, case, datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), error)


def _failed(setting: Setting, case: Case, started: str, error: BaseException) -> Record:
    return _record(setting, case, started, status="error", flags=setting.flags, failure=_failure(error))


def _attack_and_score(setting: Setting, case: Case, started: str) -> tuple[Record, SpikeArray | None]:
    data = setting.splits.test
    if case.control is not None:
        setting.providers.attacks[case.control.attack].load()  # told before the work if it is absent
    threat = build_threat(case.threat, setting.providers.threats, dt_us=data.grid.dt_us)
    parameters = case.parameters if case.target is None else {**case.parameters, "targeted": True}
    if case.minutes is not None:
        parameters = {**parameters, "minutes": _ATTACK_SHARE * case.minutes}
    run = _run_attack(setting, _Asked(case.attack, parameters, case.seed, case.target), case)
    queries = {"forwards": run.forwards, "backwards": run.backwards, "wall_seconds": run.seconds}
    broken = adversarial_flags(run.x_adv, data.x, threat, binary=data.grid.binary)
    if broken:
        flags = (*setting.flags, *run.doubts, *broken)
        return _record(setting, case, started, status="invalid", flags=flags, **queries), None
    x_adv = _as_spikes(run.x_adv)
    adversarial = tuple(int(label) for label in predict(setting.estimator, x_adv, draws=setting.draws))
    control, control_cost, doubts = _run_control(setting, case, threat, adversarial)
    battery = _examined(setting, case, threat, adversarial, run.seconds)
    record = _record(
        setting,
        case,
        started,
        status="ok",
        adversarial=adversarial,
        cost=_costs(threat.cost(x_adv, data.x)),
        control=control,
        control_cost=control_cost,
        activity=activity_of(setting.estimator, x_adv, batch=SCORING_BATCH),
        chosen=run.chosen,
        ensemble=run.ensemble,
        trust=None if battery is None else _trust_result(battery),
        flags=(*setting.flags, *run.doubts, *_cut_short(run), *doubts, *(battery.flags if battery else ())),
        **queries,
    )
    return record, x_adv


def _run_attack(setting: Setting, asked: _Asked, case: Case) -> _Run:
    factory = setting.providers.attacks[asked.attack].load()
    # Its own: the host checks with another one, which no attack ever had in hand.
    threat = build_threat(case.threat, setting.providers.threats, dt_us=setting.splits.test.grid.dt_us)
    check_parameters(asked.attack, factory, asked.parameters)
    estimator = copy.deepcopy(setting.estimator)
    craft, test = setting.splits.craft, setting.splits.test
    start = time.perf_counter()
    doubts: tuple[Flag, ...] = ()
    with own_surroundings(asked.seed), warnings.catch_warnings(), estimator.counting() as count:
        warnings.simplefilter("ignore", OwnSurrogateWarning)  # the record's flag says it
        attack = factory(estimator, threat, **asked.parameters, seed=asked.seed)
        if getattr(attack, "surrogate", None) is not None and not estimator.exchanges_surrogate:
            doubts = (Flag(code="own-surrogate", text=own_surrogate_text(setting.estimator)),)
        if callable(getattr(attack, "tune", None)):
            attack.tune(craft.x.copy(), asked.classes(craft.y))
        if getattr(attack, "universal", False):
            perturbation = attack.fit(craft.x.copy(), asked.classes(craft.y))
            x_adv = perturbation.apply(test.x.copy(), seed=asked.seed)
            samples = len(craft.y)
        else:
            x_adv = attack.generate(test.x.copy(), asked.classes(test.y))
            samples = len(test.y)
    seconds = time.perf_counter() - start
    chosen = dict(getattr(attack, "chosen", {}))
    queries = count.forwards / samples, count.backwards / samples
    return _Run(x_adv, chosen, _ensemble_result(attack), *queries, seconds, doubts)


def _ensemble_result(attack: Any) -> EnsembleResult | None:
    """What the members of an ensemble did; None for another attack."""
    if not isinstance(attack, AutoSpike):
        return None
    return EnsembleResult(
        version=VERSION,
        members=tuple(MemberResult(**dataclasses.asdict(outcome)) for outcome in attack.outcomes),
        left_out=tuple(Omission(**dataclasses.asdict(entry)) for entry in attack.left_out),
    )


def _cut_short(run: _Run) -> tuple[Flag, ...]:
    """A flag when a time budget left out a part of the attack: the number may be too high."""
    left_out = () if run.ensemble is None else run.ensemble.left_out
    # What each member fools alone is told or not; it changes no number.
    late = [entry for entry in left_out if entry.timed and entry.what != "exhaustive"]
    if not late:
        return ()
    samples = {sample for entry in late for sample in entry.samples}
    names = ", ".join(dict.fromkeys(entry.what for entry in late))
    text = f"the time did not suffice: {names} left out or cut for up to {len(samples)} samples"
    return (Flag(code="cut-short", text=text, value=float(len(samples))),)


def _examined(
    setting: Setting, case: Case, threat: ThreatModel, adversarial: tuple[int, ...], spent: float
) -> Battery | None:
    """The trust battery, where the case asks for it: on what survived, in the time that is left."""
    if not case.trust:
        return None
    data = setting.splits.test
    minutes = None
    if case.minutes is not None:
        minutes = max((1 - _ATTACK_SHARE) / 2 * case.minutes, case.minutes - spent / 60)
    survivors = np.array(adversarial) == data.y
    return examine(
        setting.estimator, threat, data.x, data.y, survivors=survivors, seed=case.seed, minutes=minutes
    )


def _trust_result(battery: Battery) -> TrustResult:
    checks = tuple(CheckResult(**dataclasses.asdict(finding)) for finding in battery.findings)
    return TrustResult(checks=checks, left_out=battery.left_out)


def _run_control(
    setting: Setting, case: Case, threat: ThreatModel, adversarial: tuple[int, ...]
) -> tuple[tuple[int, ...], Costs, tuple[Flag, ...]]:
    """The control's predictions and cost, and the doubts it raises; no numbers from an invalid control."""
    if case.control is None:
        return (), Costs(), ()
    data = setting.splits.test
    run = _run_attack(setting, _Asked(case.control.attack, case.control.parameters, case.seed), case)
    broken = adversarial_flags(run.x_adv, data.x, threat, binary=data.grid.binary)
    if broken:
        text = f"the control {case.control.attack} is not valid: {broken[0].text}"
        return (), Costs(), (Flag(code="control-invalid", text=text),)
    x_control = _as_spikes(run.x_adv)
    control = tuple(int(label) for label in predict(setting.estimator, x_control, draws=setting.draws))
    doubt = control_flag(setting.labels, adversarial, control)
    return control, _costs(threat.cost(x_control, data.x)), () if doubt is None else (doubt,)


def _record(setting: Setting, case: Case, started: str, **outcome: Any) -> Record:
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


def _providers(setting: Setting, case: Case) -> dict[str, str]:
    """Who provided the attack, its control and the threat models, as far as they are known."""
    attacks = [case.attack, *([] if case.control is None else [case.control.attack])]
    named = [(f"attack {name}", name, setting.providers.attacks) for name in attacks]
    named += [(f"threat {kind}", kind, setting.providers.threats) for kind in kinds_in(case.threat)]
    return {what: source[name].provider for what, name, source in named if name in source}


def _device(estimator: SpikingClassifier) -> str:
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


def _costs(cost: Cost) -> Costs:
    columns = ("added", "removed", "moved", "own")
    return Costs(**{name: tuple(int(value) for value in getattr(cost, name)) for name in columns})


def _as_spikes(x_adv: Any) -> SpikeArray:
    """The returned samples, known to be valid, as float32 in memory of our own."""
    array = x_adv.detach().cpu().numpy() if isinstance(x_adv, torch.Tensor) else np.asarray(x_adv)
    return np.array(array, dtype=np.float32, order="C")
