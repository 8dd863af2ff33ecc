# SPDX-License-Identifier: MIT
"""Plans and computes cells; each writes its own result before it counts, so a killed run loses nothing."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from art_spiking.datasets import load_data
from art_spiking.errors import ArtSpikingError, CannotWrite, InvalidInput
from art_spiking.evaluate import (
    Providers,
    Setting,
    Splits,
    evaluate_case,
    failed_case,
    identify_data,
    kinds_in,
    prepare,
)
from art_spiking.records import DataIdentity, ModelIdentity, Record, SuiteIdentity, cell_key
from art_spiking.suites import Case, Suite, digest_of
from art_spiking_leaderboard.cells import BrokenCell, Cell, CellIdentity, CellStore
from art_spiking_leaderboard.check import (
    Names,
    Submission,
    build_classifier,
    check_submission,
    model_identity,
)
from art_spiking_leaderboard.claimed_gradients import claimed_gradient_flag
from art_spiking_leaderboard.kept_events import keep_events
from art_spiking_leaderboard.manifest import Data
from art_spiking_leaderboard.recordings import SUFFIX, recording_of, write_recording

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_FINISHED = ("ok", "invalid")  # an error is tried again, what the host refused would be refused again


@dataclass(frozen=True)
class Job:
    """What a run was asked for, the same for all its cells; `device` is "cpu", or "cuda" for graphs."""

    suite: Suite
    records: Path
    data_dir: Path | None = None
    figures: Path | None = None
    command: tuple[str, ...] = ()
    keep_events: bool = False
    device: str = "cpu"


@dataclass(frozen=True)
class CellSpec:
    """One cell to compute: plain data that can be sent to another process."""

    job: Job
    folder: Path
    case: str
    identity: CellIdentity
    samples: int = 1

    @property
    def model(self) -> str:
        """The submission's name."""
        return self.folder.name

    @property
    def key(self) -> str:
        """The cell's key."""
        return self.identity.key

    @property
    def section(self) -> str:
        """Where its file is, below the model's folder."""
        return self.job.suite.name


@dataclass(frozen=True)
class Outcome:
    """What became of a cell; without a cell, `problem` says why its model could not be evaluated at all.

    `seconds` is how long it took just now, with all that belongs to it.
    """

    spec: CellSpec
    cell: Cell | None
    problem: str = ""
    resumed: bool = False
    seconds: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the cell has a number."""
        return self.cell is not None and self.cell.record.status == "ok"


@dataclass(frozen=True)
class _Telling:
    """The sample that is shown of a case: its place, its label and classes, and its events."""

    sample: int
    classes: tuple[int, int, int]
    clean: npt.NDArray[np.float32]
    adversarial: npt.NDArray[np.float32]


class Workbench:
    """What the cells of one process share: plugins, loaded data, prepared models. It only saves time."""

    def __init__(self, names: Names | None = None, providers: Providers | None = None) -> None:
        """Looks up every installed plugin, unless told where to look names up."""
        self.names = Names.installed() if names is None else names
        self.providers = Providers.installed() if providers is None else providers
        self._splits: dict[tuple[Any, ...], Splits] = {}
        self._setting: tuple[tuple[str, ...], Setting] | None = None

    def splits(self, data: Data, job: Job) -> Splits:
        """The samples that a suite takes."""
        key = (data, job.data_dir, job.suite.craft, job.suite.test)
        if key not in self._splits:

            def load(split: str, limit: int | None) -> Any:
                return load_data(
                    data.name,
                    split,
                    steps=data.steps,
                    dt_us=data.dt_us,
                    binary=data.binary,
                    data_dir=job.data_dir,
                    limit=limit,
                    datasets=self.names.datasets,
                )

            self._splits[key] = Splits(
                craft=load("train", job.suite.craft), test=load("test", job.suite.test)
            )
        return self._splits[key]

    def setting(self, spec: CellSpec) -> Setting:
        """The model of a cell, prepared for its suite; kept until another model is asked for.

        Raises:
            InvalidInput: the submission or its data is not what the cell was planned for.
            InvalidModel: the model returns NaN.
        """
        suite, case = spec.job.suite, spec.job.suite.case(spec.case)
        key = (str(spec.folder), suite.digest(), spec.identity.device_class)
        if self._setting is not None and self._setting[0] == key:
            kept = self._setting[1]
            if cell_key(kept.model, kept.suite, case, (kept.craft, kept.test)) == spec.identity.result:
                return kept
        submission = check_submission(spec.folder, self.names)
        classifier = build_classifier(submission, self.names, device=spec.identity.device_class)
        if submission.manifest is None:
            raise TypeError("a classifier was built without a manifest")
        is_code, splits = submission.stored is None, self.splits(submission.manifest.data, spec.job)
        model = model_identity(submission, self.names)
        if cell_key(model, _suite_identity(suite), case, _data_identity(splits)) != spec.identity.result:
            raise InvalidInput(
                f"the files or the data of {spec.model} changed since the run was planned",
                remedy="run the same command again",
            )
        setting = prepare(
            classifier,
            splits,
            suite,
            name=spec.model,
            providers=self.providers,
            command=spec.job.command,
        )
        doubt = claimed_gradient_flag(classifier, splits.craft.x, splits.craft.y) if is_code else None
        setting = replace(setting, model=model, flags=(*setting.flags, *([doubt] if doubt else [])))
        self._setting = (key, setting)
        return setting


def plan(submission: Submission, job: Job, workbench: Workbench) -> list[CellSpec]:
    """The cells of one checked submission.

    Raises:
        ArtSpikingError: its data cannot be loaded, or its model cannot be built.
    """
    if submission.manifest is None:
        return []
    splits = workbench.splits(submission.manifest.data, job)
    data, samples = _data_identity(splits), len(splits.test.y)
    model, suite = model_identity(submission, workbench.names), _suite_identity(job.suite)

    device = job.device if submission.stored is not None else "cpu"  # code is confined to the CPU

    def identity(case: Case) -> CellIdentity:
        providers = _providers_of(case, workbench.providers)
        return CellIdentity(cell_key(model, suite, case, data), providers, device_class=device)

    return [CellSpec(job, submission.folder, case.name, identity(case), samples) for case in job.suite.cases]


def model_digest(identity: ModelIdentity) -> str:
    """One hash of a model's graph, weights, semantics, readout and defences; not of its name."""
    return digest_of(identity.model_dump(mode="json", exclude={"name"}))


def finished_cell(spec: CellSpec, warn: Callable[[str], object]) -> Cell | None:
    """The cell's result where it is there already; a broken file is set aside, and counts as absent.

    Raises:
        CannotWrite: a broken file cannot be moved.
    """
    store = CellStore(spec.job.records)
    place = (spec.model, spec.section, spec.key)
    try:
        cell = store.read(*place)
    except BrokenCell as error:
        warn(f"{error}; it was set aside as {store.set_aside(*place).name} and is computed again")
        return None
    return cell if cell is not None and cell.record.status in _FINISHED else None


def run_cell(spec: CellSpec, workbench: Workbench | None = None) -> Cell:
    """Computes one cell and writes it; the result depends on the spec alone.

    Raises:
        CannotWrite: full disk, or no permission.
        ArtSpikingError: the model cannot be prepared: it returns NaN, or does not fit its data.
    """
    setting = (workbench or Workbench()).setting(spec)
    kept: list[_Telling] = []

    def keep(record: Record, clean: npt.NDArray[np.float32], adversarial: npt.NDArray[np.float32]) -> None:
        if spec.job.keep_events:
            keep_events(spec.job.records / spec.model / spec.job.suite.name, spec.identity.key, adversarial)
        if spec.job.figures is not None:
            index = _telling_sample(record)
            classes = (record.labels[index], record.clean[index], record.adversarial[index])
            kept.append(_Telling(index, classes, clean[index].copy(), adversarial[index].copy()))

    cell = _written(spec, evaluate_case(setting, spec.job.suite.case(spec.case), on_adversarial=keep))
    for telling in kept:
        _draw(spec, telling, setting.splits.test.grid.dt_us)
    return cell


def give_up(spec: CellSpec, error: BaseException, workbench: Workbench | None = None) -> Cell:
    """Writes a cell of status "error" for one that could not be computed, so that everybody sees why.

    Raises:
        CannotWrite, ArtSpikingError: as for `run_cell`.
    """
    setting = (workbench or Workbench()).setting(spec)
    return _written(spec, failed_case(setting, spec.job.suite.case(spec.case), error))


def _written(spec: CellSpec, record: Record) -> Cell:
    finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    cell = Cell(spec.identity, record, finished)
    CellStore(spec.job.records).write(spec.model, spec.job.suite.name, cell)
    return cell


def run(
    specs: Sequence[CellSpec],
    compute: Callable[[CellSpec], Cell],
    *,
    warn: Callable[[str], object],
    starting: Callable[[CellSpec], object] = lambda spec: None,
) -> Iterator[Outcome]:
    """Computes the cells that are not there yet, and yields every cell's outcome, in order.

    A model that cannot be prepared costs its own cells only. CannotWrite and KeyboardInterrupt pass through;
    cells finished by then are on disk.

    Args:
        specs: the cells.
        compute: computes and writes one, such as `run_cell`.
        warn: told of broken files.
        starting: told of each cell before it is computed.
    """
    failed: dict[str, str] = {}
    for spec in specs:
        cell = finished_cell(spec, warn)
        if cell is not None:
            yield Outcome(spec, cell, resumed=True)
            continue
        if spec.model in failed:
            yield Outcome(spec, None, failed[spec.model])
            continue
        starting(spec)
        began = time.perf_counter()
        try:
            yield Outcome(spec, compute(spec), seconds=time.perf_counter() - began)
        except CannotWrite:
            raise
        except (ArtSpikingError, ArithmeticError, MemoryError, RuntimeError, TypeError, ValueError) as error:
            failed[spec.model] = f"{type(error).__name__}: {error}"
            yield Outcome(spec, None, failed[spec.model])


def _suite_identity(suite: Suite) -> SuiteIdentity:
    return SuiteIdentity(name=suite.name, version=suite.version, digest=suite.digest())


def _data_identity(splits: Splits) -> tuple[DataIdentity, DataIdentity]:
    return identify_data(splits.craft), identify_data(splits.test)


def _providers_of(case: Case, providers: Providers) -> dict[str, str | None]:
    """Who provides what a case names, with versions; None for what nobody does."""
    attacks = [case.attack] if case.control is None else [case.attack, case.control.attack]
    wanted = [("attack", name, providers.attacks) for name in attacks]
    wanted += [("threat", kind, providers.threats) for kind in sorted(set(kinds_in(case.threat)))]
    return {f"{what} {name}": known[name].provider if name in known else None for what, name, known in wanted}


def _telling_sample(record: Record) -> int:
    """The first sample that the attack fooled, or else the first."""
    outcomes = zip(record.labels, record.clean, record.adversarial, strict=True)
    return next((i for i, (label, clean, adv) in enumerate(outcomes) if clean == label != adv), 0)


def _draw(spec: CellSpec, telling: _Telling, dt_us: int) -> None:
    """Writes the sample as a picture, and as events for the player on the page."""
    from art_spiking.figures import attack_figure, save_figure

    if spec.job.figures is None:
        return
    place = spec.job.figures / spec.model / spec.job.suite.name
    clean, adversarial = telling.clean, telling.adversarial
    figure = attack_figure(clean, adversarial, title=f"{spec.model}, {spec.case}", dt_us=dt_us)
    save_figure(figure, place / f"{spec.case}.png")
    recording = recording_of(clean, adversarial, dt_us=dt_us, sample=telling.sample, classes=telling.classes)
    write_recording(recording, place / f"{spec.case}{SUFFIX}")
