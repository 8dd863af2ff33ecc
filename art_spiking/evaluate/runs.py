# SPDX-License-Identifier: MIT
"""Runs cases: attack, check, score, control, record."""

from __future__ import annotations

import copy
import datetime
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from art_spiking.checks import adversarial_flags, control_flag
from art_spiking.estimators.own_surrogate import OwnSurrogateWarning, own_surrogate_text
from art_spiking.evaluate.activity import activity_of
from art_spiking.evaluate.case_records import (
    case_record,
    costs_of,
    ensemble_result,
    failed_record,
    trust_result,
)
from art_spiking.evaluate.parameters import check_parameters
from art_spiking.evaluate.settings import SCORING_BATCH, Providers, Setting, Splits, predict, prepare
from art_spiking.evaluate.shards import flags_of, part_of, put_together, shards_of
from art_spiking.evaluate.threats import build_threat
from art_spiking.records import (
    Costs,
    EnsembleResult,
    Flag,
    Record,
)
from art_spiking.suites import Case, Suite
from art_spiking.surroundings import own_surroundings
from art_spiking.trust import Battery, examine

if TYPE_CHECKING:
    from art_spiking.estimators import EventClassifier
    from art_spiking.threats import ThreatModel

SpikeArray = npt.NDArray[np.float32]
OnAdversarial = Callable[[Record, SpikeArray, SpikeArray], object]
"""Called with each finished record, the clean samples and the adversarial ones, for figures and files."""

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
    estimator: EventClassifier,
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
    x = setting.splits.test.x
    places = shards_of(case, len(x), setting.shard, setting.providers.attacks)
    if len(places) == 1:
        return _evaluated(setting, case, on_adversarial)
    found: list[SpikeArray] = []
    parts = [
        evaluate_shard(setting, case, each, on_adversarial=lambda part, clean, x_adv: found.append(x_adv))
        for each in places
    ]
    record = merge_shards(setting, case, parts)
    if on_adversarial is not None and record.status == "ok":
        on_adversarial(record, x, np.concatenate(found))
    return record


def evaluate_shard(
    setting: Setting, case: Case, places: range, *, on_adversarial: OnAdversarial | None = None
) -> Record:
    """Runs one of the shards that `shards_of` names; its record is of their samples alone.

    The attack has the case's seed, so that what it chooses on the craft split is the same for every shard.
    """
    return _evaluated(part_of(setting, places), case, on_adversarial, whole=False)


def merge_shards(setting: Setting, case: Case, records: Sequence[Record]) -> Record:
    """The record of a case from those of all its shards, in their order.

    The trust battery, where the case asks for it, examines what survived in all of them. A shard that failed,
    or that the host refused, makes the case so.
    """
    started = min(record.provenance.started for record in records)
    flags = flags_of(records)
    failed = next((record.failure for record in records if record.failure is not None), None)
    if failed is not None:
        return case_record(setting, case, started, status="error", flags=setting.flags, failure=failed)
    if any(record.status == "invalid" for record in records):
        return case_record(setting, case, started, status="invalid", flags=(*setting.flags, *flags))
    outcome = put_together(records)
    control = outcome["control"]
    doubt = control_flag(setting.labels, outcome["adversarial"], control) if control else None
    try:
        threat = build_threat(case.threat, setting.providers.threats, dt_us=setting.splits.test.grid.dt_us)
        battery = _examined(setting, case, threat, outcome["adversarial"], outcome["wall_seconds"])
    except (Exception, SystemExit) as error:
        return failed_record(setting, case, started, error)
    outcome["flags"] = (
        *setting.flags,
        *flags,
        *([] if doubt is None else [doubt]),
        *(battery.flags if battery else ()),
    )
    outcome["trust"] = None if battery is None else trust_result(battery)
    return case_record(setting, case, started, status="ok", **outcome)


def _evaluated(
    setting: Setting, case: Case, on_adversarial: OnAdversarial | None, *, whole: bool = True
) -> Record:
    started = _now()
    try:
        record, x_adv = _attack_and_score(setting, case, started, whole=whole)
    except (Exception, SystemExit) as error:
        return failed_record(setting, case, started, error)
    if on_adversarial is not None and x_adv is not None:
        on_adversarial(record, setting.splits.test.x, x_adv)
    return record


def failed_case(setting: Setting, case: Case, error: BaseException) -> Record:
    """The record, of status "error", of a case that could not be run to its end where it was tried.

    For errors that no `except` sees: a process that was killed, ran out of memory, or took too long.
    """
    return failed_record(setting, case, _now(), error)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _attack_and_score(
    setting: Setting, case: Case, started: str, *, whole: bool
) -> tuple[Record, SpikeArray | None]:
    """One attack on the samples of a setting; what is said of a case as a `whole` is left out of a shard."""
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
        return case_record(setting, case, started, status="invalid", flags=flags, **queries), None
    x_adv = _as_spikes(run.x_adv)
    adversarial = tuple(int(label) for label in predict(setting.estimator, x_adv, draws=setting.draws))
    control, control_cost, doubts = _run_control(setting, case, threat)
    if whole and control:
        doubt = control_flag(setting.labels, adversarial, control)
        doubts = () if doubt is None else (doubt,)
    battery = _examined(setting, case, threat, adversarial, run.seconds) if whole else None
    record = case_record(
        setting,
        case,
        started,
        status="ok",
        adversarial=adversarial,
        cost=costs_of(threat.cost(x_adv, data.x)),
        control=control,
        control_cost=control_cost,
        activity=activity_of(setting.estimator, x_adv, batch=SCORING_BATCH),
        chosen=run.chosen,
        ensemble=run.ensemble,
        trust=None if battery is None else trust_result(battery),
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
    return _Run(x_adv, chosen, ensemble_result(attack), *queries, seconds, doubts)


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


def _run_control(
    setting: Setting, case: Case, threat: ThreatModel
) -> tuple[tuple[int, ...], Costs, tuple[Flag, ...]]:
    """The control's predictions and cost; of an invalid control no numbers, but a flag that says so."""
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
    return control, costs_of(threat.cost(x_control, data.x)), ()


def _as_spikes(x_adv: Any) -> SpikeArray:
    """The returned samples, known to be valid, as float32 in memory of our own."""
    array = x_adv.detach().cpu().numpy() if isinstance(x_adv, torch.Tensor) else np.asarray(x_adv)
    return np.array(array, dtype=np.float32, order="C")
