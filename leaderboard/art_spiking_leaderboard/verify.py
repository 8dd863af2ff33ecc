# SPDX-License-Identifier: MIT
"""Derives a sample of cells anew, each in a fresh process, and compares them bit for bit."""

from __future__ import annotations

import multiprocessing
import random
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from art_spiking.errors import ArtSpikingError, InvalidInput
from art_spiking.records import Record
from art_spiking.suites import Suite, load_suite
from art_spiking_leaderboard.cells import BrokenCell, Cell, CellStore
from art_spiking_leaderboard.check import Submission, model_identity
from art_spiking_leaderboard.engine import CellSpec, Job, Workbench, model_digest, plan, run_cell
from art_spiking_leaderboard.origins import Origin

Verdict = Literal["same", "differs", "broken", "failed", "other", "whole"]
BAD: tuple[Verdict, ...] = ("differs", "broken", "failed")
"""The verdicts that cast doubt on the records."""

_SINCE = ("footprint", "clean_activity", "activity")
"""What cells from before it was counted do not state; they are compared in all else."""
_REPEATED = 60  # characters of a value that a finding repeats


class CannotDerive(ArtSpikingError):
    """A cell that could not be computed anew; says why."""


@dataclass(frozen=True)
class Finding:
    """What was found out about one cell.

    `verdict` is "same" or "differs" for a cell that was derived anew, "failed" where that could not be done,
    "broken" for a file that is no whole cell, "other" for a cell of another model, suite, data or provider
    than those at hand, "whole" for one that could be derived and was not chosen.
    """

    model: str
    suite: str
    case: str
    verdict: Verdict
    text: str = ""


@dataclass(frozen=True)
class Derivable:
    """A whole cell, and how to compute it anew."""

    cell: Cell
    spec: CellSpec


@dataclass(frozen=True)
class AtHand:
    """What the cells of one model and suite are held against; without a submission the digest is None."""

    model: str
    suite: Suite
    digest: str | None = None
    specs: Mapping[str, CellSpec] = field(default_factory=dict)

    @classmethod
    def of(cls, submission: Submission | None, model: str, job: Job, bench: Workbench) -> AtHand:
        """The digest of a submission's model and the cells that it has now, by key.

        Raises:
            ArtSpikingError: its data cannot be loaded, or its model cannot be built.
        """
        if submission is None:
            return cls(model, job.suite)
        specs = {spec.identity.key: spec for spec in plan(submission, job, bench)}
        return cls(model, job.suite, model_digest(model_identity(submission, bench.names)), specs)


def find_cells(records: Path) -> tuple[CellStore, list[tuple[str, str]]]:
    """The store that a folder is, or is a model's part of, and its (model, suite) pairs.

    Raises:
        InvalidInput: there is no such folder, or no cell in it.
    """
    folder = records.resolve()
    if folder.is_dir():
        # A model's folder first: deeper in it lie claims, and where models' folders lie there are no cells.
        part = sorted({path.parent for path in folder.glob("*/*.json")})
        if part:
            return CellStore(folder.parent), [(folder.name, path.name) for path in part]
        whole = sorted({path.parent for path in folder.glob("*/*/*.json")})
        if whole:
            return CellStore(folder), [(path.parent.name, path.name) for path in whole]
    raise InvalidInput(
        "there is no cell to verify",
        asked=records,
        accepted="the folder that `leaderboard run --out` wrote, or a model's folder in it",
    )


def sort_out(cells: Iterable[Cell | BrokenCell], at_hand: AtHand) -> tuple[list[Derivable], list[Finding]]:
    """The cells of one model and suite that can be derived anew, as the suite orders them; and the others."""
    derivable, findings = [], []
    for cell in cells:
        if isinstance(cell, BrokenCell):
            findings.append(Finding(at_hand.model, at_hand.suite.name, "", "broken", str(cell)))
            continue
        why = _why_other(cell, at_hand)
        if why:
            findings.append(Finding(at_hand.model, at_hand.suite.name, cell.record.case.name, "other", why))
        else:
            derivable.append(Derivable(cell, at_hand.specs[cell.identity.key]))
    order = list(at_hand.specs)
    derivable.sort(key=lambda entry: order.index(entry.cell.identity.key))
    return derivable, findings


def choose(cells: Sequence[Derivable], number: int | None, seed: int) -> list[Derivable]:
    """As many cells as asked, drawn by the seed and in their order; all of them for None."""
    if number is None or number >= len(cells):
        return list(cells)
    drawn = random.Random(seed).sample(range(len(cells)), number)
    return [cells[index] for index in sorted(drawn)]


def rederive(entry: Derivable, derive: Callable[[CellSpec], Cell], here: Origin) -> Finding:
    """Computes a cell anew, away from the records, and compares."""
    record = entry.cell.record
    place = (entry.spec.model, record.suite.name, record.case.name)
    with tempfile.TemporaryDirectory(prefix="art-spiking-verify.") as folder:
        spec = replace(entry.spec, job=replace(entry.spec.job, records=Path(folder), figures=None))
        try:
            found = derive(spec).record
        except CannotDerive as error:
            return Finding(*place, "failed", str(error))
    wrong = differences(record, found)
    if not wrong:
        return Finding(*place, "same", f"{len(record.labels)} samples")
    made = Origin.of(record.provenance)
    origin = "" if made == here else f"; it comes from {made.told(here)}, here it is {here.told(made)}"
    return Finding(*place, "differs", "; ".join(wrong) + origin)


def in_fresh_process(spec: CellSpec) -> Cell:
    """Computes a cell in a process that has imported nothing yet.

    Raises:
        CannotDerive: the process could not compute it, or died.
    """
    told = spec.job.records / "error.txt"
    process = multiprocessing.get_context("spawn").Process(target=_compute, args=(spec, told), daemon=True)
    process.start()
    try:
        process.join()
    finally:
        # An interrupt ends here what it interrupts.
        process.kill()
        process.join()
    cell = CellStore(spec.job.records).read(spec.model, spec.job.suite.name, spec.identity.key)
    if cell is None:
        reason = told.read_text() if told.exists() else f"its process ended with {process.exitcode}"
        raise CannotDerive("cannot be derived anew", found=reason)
    return cell


def differences(stated: Record, found: Record) -> list[str]:
    """Every field in which two records differ, those about time and place apart."""
    left_out = {name for name in _SINCE if getattr(stated, name) is None}
    one, other = (
        _flat({name: value for name, value in each.result().items() if name not in left_out})
        for each in (stated, found)
    )
    told = []
    for name in sorted(one.keys() | other.keys()):
        a, b = one.get(name), other.get(name)
        if a == b:
            continue
        if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            told.append(
                f"{name} differs in {sum(x != y for x, y in zip(a, b, strict=True))} of {len(a)} entries"
            )
        else:
            told.append(f"{name} is {_short(a)}, derived anew {_short(b)}")
    return told


def suite_of(name: str, given: str | None) -> Suite:
    """The suite of that name: the one given, if it is that, else the one that is installed.

    Raises:
        UnknownName: there is no such suite.
    """
    if given is not None:
        suite = load_suite(given)
        if suite.name == name:
            return suite
    return load_suite(name)


def _compute(spec: CellSpec, told: Path) -> None:
    """In the fresh process: the cell, or why there is none, goes to disk."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C reaches every process; the first one decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        run_cell(spec)
    except Exception as error:  # whatever it is, its text is all that can be told of it
        told.write_text(f"{type(error).__name__}: {error}")
        sys.exit(1)


def _why_other(cell: Cell, at_hand: AtHand) -> str:
    """Why a whole cell cannot be derived anew here; empty when it can."""
    if at_hand.digest is None:
        return "no submission of that name"
    if cell.record.suite.digest != at_hand.suite.digest():
        return f"of another version of the suite than the one at hand, {at_hand.suite.digest()}"
    if model_digest(cell.record.model) != at_hand.digest:
        return f"of a model with another digest than the submission's, {at_hand.digest}"
    if cell.identity.result not in {spec.identity.result for spec in at_hand.specs.values()}:
        return "of data with another digest than those at hand"
    if cell.identity.key not in at_hand.specs:
        return "of other providers' versions, or another kind of device, than those at hand"
    return "a case that failed; `run` tries it again" if cell.record.status == "error" else ""


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{above}{key}.")
        else:
            flat[f"{above}{key}"] = value
    return flat


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _REPEATED else text[: _REPEATED - 3] + "..."
