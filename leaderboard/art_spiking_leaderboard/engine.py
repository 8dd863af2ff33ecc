# SPDX-License-Identifier: MIT
"""Plans and computes cells; each writes its own result before it counts, so a killed run loses nothing."""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from art_spiking.errors import ArtSpikingError, CannotWrite
from art_spiking.evaluate import (
    Providers,
    Setting,
    evaluate_case,
    evaluate_shard,
    failed_case,
    identify_data,
    kinds_in,
    merge_shards,
    shards_of,
)
from art_spiking.evaluate.shards import part_of
from art_spiking.records import DataIdentity, ModelIdentity, Record, cell_key
from art_spiking.suites import Case, digest_of
from art_spiking_leaderboard.cells import BrokenCell, Cell, CellIdentity, CellStore
from art_spiking_leaderboard.check import Submission, model_identity
from art_spiking_leaderboard.drawing import lacks_events, show_events
from art_spiking_leaderboard.kept_events import forget_events, keep_events, kept_events
from art_spiking_leaderboard.specs import CellSpec, Job, Outcome
from art_spiking_leaderboard.workbench import Workbench, data_identity, suite_identity

__all__ = [
    "CellSpec",
    "Job",
    "Outcome",
    "Workbench",
    "finished_cell",
    "give_up",
    "model_digest",
    "plan",
    "run",
    "run_cell",
    "tidy",
]

SpikeArray = npt.NDArray[np.float32]

_FINISHED = ("ok", "invalid")  # an error is tried again, what the host refused would be refused again


def plan(submission: Submission, job: Job, workbench: Workbench) -> list[CellSpec]:
    """The cells of one checked submission.

    Raises:
        ArtSpikingError: its data cannot be loaded, or its model cannot be built.
    """
    if submission.manifest is None:
        return []
    splits = workbench.splits(submission.manifest.data, job)
    test, (craft, whole) = splits.test, data_identity(splits)
    model, suite = model_identity(submission, workbench.names), suite_identity(job.suite)
    device = job.device if submission.stored is not None else "cpu"  # code is confined to the CPU
    parts: dict[range, DataIdentity] = {}

    def identity(case: Case, data: DataIdentity, shard: tuple[int, int] = (0, 1)) -> CellIdentity:
        result = cell_key(model, suite, case, (craft, data))
        return CellIdentity(result, _providers_of(case, workbench.providers), shard, device_class=device)

    def shards(case: Case) -> tuple[CellIdentity, ...]:
        places = shards_of(case, len(test.y), job.suite.shard, workbench.providers.attacks)
        if len(places) == 1:
            return ()
        for each in places:
            if each not in parts:
                parts[each] = identify_data(test.subset(np.arange(each.start, each.stop)))
        return tuple(identity(case, parts[each], (i, len(places))) for i, each in enumerate(places))

    return [
        CellSpec(job, submission.folder, case.name, identity(case, whole), len(test.y), shards(case))
        for case in job.suite.cases
    ]


def model_digest(identity: ModelIdentity) -> str:
    """One hash of a model's graph, weights, semantics, readout and defences; not of its name."""
    return digest_of(identity.model_dump(mode="json", exclude={"name"}))


def finished_cell(spec: CellSpec, warn: Callable[[str], object]) -> Cell | None:
    """The cell's or shard's result where it is there already, with the files that the job asks for.

    A broken file is set aside, and counts as absent.

    Raises:
        CannotWrite: a broken file cannot be moved.
    """
    cell = _read(spec, warn)
    finished = cell is not None and cell.record.status in _FINISHED
    return cell if cell is not None and finished and not lacks_events(spec, cell) else None


def run_cell(
    spec: CellSpec,
    workbench: Workbench | None = None,
    tell: Callable[[str], object] = lambda message: None,
) -> Cell:
    """Computes one cell, or one of its shards, and writes it; the result depends on the spec alone.

    A divided cell takes the shards that are there, and computes the others. Of a finished cell that lacks
    figures or events which its job asks for, these alone are written: it is attacked again for them, and they
    are left out where that comes to something else than its record.

    Args:
        spec: the cell.
        workbench: what the cells of a process share.
        tell: told of figures and events that were left out.

    Raises:
        CannotWrite: full disk, or no permission.
        ArtSpikingError: the model cannot be prepared: it returns NaN, or does not fit its data.
    """
    setting = (workbench or Workbench()).setting(spec)
    if spec.shard is not None:
        return _run_shard(spec, setting)
    known = _read(spec, lambda message: None) if spec.job.shows_events else None
    finished = known if known is not None and known.record.status in _FINISHED else None
    record, x_adv = _put_together(spec, setting) if spec.shards else _attacked(spec, setting)
    if finished is not None and finished.record.result() != record.result():
        tell(
            f"no events are shown of {spec.model} {spec.case}: attacked again, it comes to other numbers "
            "than its record; `leaderboard verify` tells which"
        )
        return finished
    if x_adv is not None:
        test = setting.splits.test
        show_events(spec, record, test.x, x_adv, dt_us=test.grid.dt_us)
    cell = _written(spec, record) if finished is None else finished
    tidy(spec, cell)
    return cell


def give_up(spec: CellSpec, error: BaseException, workbench: Workbench | None = None) -> Cell:
    """Writes a cell of status "error" for one that could not be computed, so that everybody sees why.

    Raises:
        CannotWrite, ArtSpikingError: as for `run_cell`.
    """
    setting = (workbench or Workbench()).setting(spec)
    if spec.shard is not None:
        setting = part_of(setting, _places(spec, setting))
    return _written(spec, failed_case(setting, spec.job.suite.case(spec.case), error))


def tidy(spec: CellSpec, cell: Cell) -> None:
    """Removes the shards of a cell that is finished; of one that failed they are kept for the next run."""
    if not spec.shards or cell.record.status not in _FINISHED:
        return
    place = spec.units[0].place
    if not place.is_dir():
        return
    for unit in spec.units:
        (unit.place / f"{unit.key}.json").unlink(missing_ok=True)
        forget_events(unit.place, unit.key)
    with contextlib.suppress(OSError):  # another cell's shards are there
        place.rmdir()


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
            tidy(spec, cell)
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


def _attacked(spec: CellSpec, setting: Setting) -> tuple[Record, SpikeArray | None]:
    """The record of a cell that is not divided, and its attacked samples where they are wanted."""
    found: list[SpikeArray] = []

    def keep(record: Record, clean: SpikeArray, x_adv: SpikeArray) -> None:
        found.append(x_adv)

    wanted = keep if spec.job.shows_events else None
    record = evaluate_case(setting, spec.job.suite.case(spec.case), on_adversarial=wanted)
    return record, found[0] if found else None


def _put_together(spec: CellSpec, setting: Setting) -> tuple[Record, SpikeArray | None]:
    """The record of a divided cell, from its shards; those that are not there are computed."""
    cells = [_tried(unit, again=not spec.merging) or _run_shard(unit, setting) for unit in spec.units]
    record = merge_shards(setting, spec.job.suite.case(spec.case), [cell.record for cell in cells])
    if record.status != "ok" or not spec.job.shows_events:
        return record, None
    test, parts = setting.splits.test, []
    for unit in spec.units:
        shape = (unit.size, *test.x.shape[1:])
        kept = kept_events(unit.place, unit.key, shape, binary=test.grid.binary)
        if kept is None:
            return record, None
        parts.append(kept[0])
    return record, np.concatenate(parts).astype(np.float32)


def _tried(unit: CellSpec, *, again: bool) -> Cell | None:
    """A shard that is there; one that failed only if it is not to be tried again."""
    cell = finished_cell(unit, lambda message: None)
    return cell if cell is not None or again else _read(unit, lambda message: None)


def _run_shard(unit: CellSpec, setting: Setting) -> Cell:
    def keep(record: Record, clean: SpikeArray, x_adv: SpikeArray) -> None:
        keep_events(unit.place, unit.key, x_adv)

    wanted = keep if unit.job.shows_events else None
    case = unit.job.suite.case(unit.case)
    return _written(unit, evaluate_shard(setting, case, _places(unit, setting), on_adversarial=wanted))


def _places(unit: CellSpec, setting: Setting) -> range:
    case, suite = unit.job.suite.case(unit.case), unit.job.suite
    return shards_of(case, unit.samples, suite.shard, setting.providers.attacks)[unit.shard or 0]


def _read(spec: CellSpec, warn: Callable[[str], object]) -> Cell | None:
    store, place = CellStore(spec.job.records), (spec.model, spec.section, spec.key)
    try:
        return store.read(*place)
    except BrokenCell as error:
        warn(f"{error}; it was set aside as {store.set_aside(*place).name} and is computed again")
        return None


def _written(spec: CellSpec, record: Record) -> Cell:
    finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    cell = Cell(spec.own, record, finished)
    CellStore(spec.job.records).write(spec.model, spec.section, cell)
    return cell


def _providers_of(case: Case, providers: Providers) -> dict[str, str | None]:
    """Who provides what a case names, with versions; None for what nobody does."""
    attacks = [case.attack] if case.control is None else [case.attack, case.control.attack]
    wanted = [("attack", name, providers.attacks) for name in attacks]
    wanted += [("threat", kind, providers.threats) for kind in sorted(set(kinds_in(case.threat)))]
    return {f"{what} {name}": known[name].provider if name in known else None for what, name, known in wanted}
