# SPDX-License-Identifier: MIT
"""What the commands do; each function returns an exit code."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import click

from art_spiking.errors import ArtSpikingError, CannotWrite, InvalidInput
from art_spiking.files import write_atomically
from art_spiking.metrics import accuracy
from art_spiking.registry import unknown_name
from art_spiking.suites import Suite, load_suite
from art_spiking_leaderboard.cells import CellStore
from art_spiking_leaderboard.check import Names, Submission, check_submission, find_submissions
from art_spiking_leaderboard.claims import keep, read_events, read_form, score
from art_spiking_leaderboard.cluster import ClusterPool, ClusterUnavailable, check_parsl, check_scheduler
from art_spiking_leaderboard.coordinator import Crew, run_on
from art_spiking_leaderboard.costs import Costs
from art_spiking_leaderboard.current import Standing, Table, standings, tables
from art_spiking_leaderboard.engine import CellSpec, Job, Outcome, Workbench, plan, run, run_cell
from art_spiking_leaderboard.origins import Origin, resumed_from_elsewhere
from art_spiking_leaderboard.profiles import Profile
from art_spiking_leaderboard.progress import progress
from art_spiking_leaderboard.sandbox.policy import SandboxUnavailable, check_available
from art_spiking_leaderboard.site import Board, Content, render_site
from art_spiking_leaderboard.table import table_text
from art_spiking_leaderboard.workers import Bench, processes

CASE_FAILED, INVALID, NO_SANDBOX, INTERRUPTED = 1, 3, 4, 75


@dataclass(frozen=True)
class RunOptions:
    """The options of `leaderboard run`."""

    path: Path
    suite: str
    out: Path
    only: tuple[str, ...] = ()
    figures: Path | None = None
    data_dir: Path | None = None
    command: tuple[str, ...] = ()
    width: int = 100
    workers: int = 1
    engine: Profile | None = None
    cell_minutes: float | None = None
    index: str | None = None
    keep_events: bool = False


@dataclass(frozen=True)
class SiteOptions:
    """The options of `leaderboard site`."""

    records: Path
    submissions: Path
    out: Path
    suites: tuple[str, ...] = ()
    figures: Path | None = None


def check_all(
    path: Path,
    *,
    as_json: bool,
    strict: bool = False,
    data_dir: Path | None = None,
    names: Names | None = None,
) -> int:
    """Prints every problem of every submission; 3 when there is one, 4 when code could not be run."""
    names = Names.installed() if names is None else names
    checked = [check_submission(folder, names) for folder in find_submissions(path)]
    unconfined: list[str] = []
    if strict:
        from art_spiking_leaderboard.strict import strictly_checked

        for index, entry in enumerate(checked):
            try:
                checked[index] = strictly_checked(entry, names, data_dir)
            except SandboxUnavailable as error:
                unconfined.append(entry.name)
                click.echo(f"{entry.name} was not run: {error}", err=True)
    if as_json:
        found = {entry.name: [asdict(problem) for problem in entry.problems] for entry in checked}
        click.echo(json.dumps(found))
    else:
        for entry in checked:
            click.echo(f"{entry.name}: {_verdict(entry)}")
            for problem in entry.problems:
                click.echo(f"  {problem}")
    return INVALID if any(entry.problems for entry in checked) else NO_SANDBOX if unconfined else 0


def run_all(options: RunOptions, bench: Bench | None = None) -> int:
    """Evaluates the valid submissions, prints the ranking and where everything is.

    Raises:
        InvalidInput: no submission there, or a folder that cannot be written.
        UnknownName: no such suite, or no submission of a name in `only`.
        ClusterUnavailable: an engine was asked for that cannot be had.
    """
    if options.engine is not None:
        check_parsl()
        check_scheduler(options.engine)
        options = _absolute(options)
    suite = load_suite(options.suite)
    bench = Workbench if bench is None else bench
    workbench = bench()
    checked = _chosen(find_submissions(options.path), options.only, workbench.names)
    for folder in filter(None, (options.out, options.figures)):
        _check_writable(folder)
    refused = [entry for entry in checked if entry.problems]
    for entry in refused:
        click.echo(f"{entry.name}: {_verdict(entry)}; it is left out", err=True)
        for problem in entry.problems:
            click.echo(f"  {problem}", err=True)
    job = Job(
        suite,
        options.out,
        options.data_dir,
        options.figures,
        options.command,
        keep_events=options.keep_events,
        device="cpu" if options.engine is None else options.engine.device,
    )
    specs, left_out = _plan_all(checked, job, workbench)
    try:
        outcomes = _compute(specs, workbench, bench, options)
    except KeyboardInterrupt:
        click.echo(f"\ninterrupted; {_kept(specs, options)}", err=True)
        return INTERRUPTED
    except (CannotWrite, ClusterUnavailable) as error:
        click.echo(f"error: {error}\n{_kept(specs, options)}", err=True)
        return INTERRUPTED
    resumed = [outcome.cell.record for outcome in outcomes if outcome.resumed and outcome.cell is not None]
    elsewhere = resumed_from_elsewhere(resumed, Origin.here())
    if elsewhere is not None:
        _warn(elsewhere)
    standing = standings([entry for entry in checked if entry.name not in left_out], workbench.names)
    found = tables(standing, CellStore(options.out), suite, _warn)
    for table in found:
        click.echo(table_text(table, width=options.width))
        click.echo()
    click.echo(f"cells:   {options.out.resolve()}")
    if options.figures is not None:
        click.echo(f"figures: {options.figures.resolve()}")
    if refused or _claims_wrong(found):
        return INVALID
    if any(isinstance(error, SandboxUnavailable) for error in left_out.values()):
        return NO_SANDBOX
    return CASE_FAILED if left_out or not all(outcome.ok for outcome in outcomes) else 0


def claim_all(folder: Path, submissions: Path, records: Path, data_dir: Path | None, bench: Bench) -> int:
    """Checks and scores a claim, keeps it, and says what it lowers.

    Raises:
        InvalidInput: no cell that it could lower, events that the threat model forbids, or nothing lowered.
        ModelProblems: it is no claim.
        UnknownName: no such suite, case or submission.
    """
    form = read_form(folder)
    suite, workbench = load_suite(form.suite), bench()
    (submission,) = _chosen(find_submissions(submissions), (form.model,), workbench.names)
    job = Job(suite, records, data_dir)
    suite.case(form.case)
    (spec,) = (spec for spec in plan(submission, job, workbench) if spec.case == form.case)
    cell = CellStore(records).read(spec.model, suite.name, spec.identity.key)
    if cell is None or cell.record.status != "ok":
        raise InvalidInput(
            "there is no number that the claim could lower",
            asked=f"{form.model}, {form.suite}, {form.case}",
            remedy="run `art-spiking leaderboard run` first",
        )
    raw = read_events(folder)
    claim = score(raw, form, workbench.setting(spec), cell.record)
    before = accuracy(cell.record.labels, cell.record.adversarial).value
    after = accuracy(cell.record.labels, claim.lowered(cell.record)).value
    path = keep(claim, raw, records)
    click.echo(f"Accepted: {form.model} under {form.case} from {before:.3f} to {after:.3f}; kept as {path}")
    return 0


def write_site(options: SiteOptions, names: Names | None = None) -> int:
    """Renders the site from the cells on disk.

    Raises:
        InvalidInput: no submission there, no cell of any, or a folder that cannot be written.
        UnknownName: no such suite.
    """
    names = Names.installed() if names is None else names
    checked = [check_submission(folder, names) for folder in find_submissions(options.submissions)]
    standing = standings(checked, names)
    store = CellStore(options.records)
    suites = _suites(options, standing, store)
    found = [table for suite in suites for table in tables(standing, store, suite, _warn)]
    cells = sum(len(row.records) for table in found for row in table.rows)
    if not cells:
        raise InvalidInput(
            "there is nothing to show: no cell of these submissions as they are now",
            asked=f"--records {options.records} --submissions {options.submissions}",
            remedy="run `art-spiking leaderboard run` with --out of that folder first",
        )
    _check_writable(options.out)
    page = render_site(
        Content(
            boards=[Board(table.suite, table.data, table.rows, table.transfer) for table in found],
            manifests={entry.name: entry.manifest for entry in checked if entry.manifest is not None},
            digests={entry.submission.name: entry.digest for entry in standing},
            refused={entry.name: entry.problems for entry in checked if entry.problems},
            figures=options.figures,
            cells=cells,
        ),
        options.out,
        warn=_warn,
    )
    click.echo(f"site: {page.resolve()}")
    return 0


def _verdict(entry: Submission) -> str:
    count = len(entry.problems)
    return "ok" if not count else f"{count} problem{'' if count == 1 else 's'}"


def _chosen(folders: Sequence[Path], only: Sequence[str], names: Names) -> list[Submission]:
    known = [folder.name for folder in folders]
    for name in only:
        if name not in known:
            raise unknown_name("submissions", name, known)
    return [check_submission(folder, names) for folder in folders if not only or folder.name in only]


def _plan_all(
    checked: Sequence[Submission], job: Job, workbench: Workbench
) -> tuple[list[CellSpec], dict[str, ArtSpikingError]]:
    """All cells, and the submissions whose data or model cannot be had, with the reason."""
    specs: list[CellSpec] = []
    left_out: dict[str, ArtSpikingError] = {}
    for entry in checked:
        try:
            if entry.manifest is not None and entry.manifest.division == "code":
                check_available()
            specs += plan(entry, job, workbench)
        except ArtSpikingError as error:
            left_out[entry.name] = error
            click.echo(f"{entry.name} is left out: {error}", err=True)
    return specs, left_out


def _compute(
    specs: Sequence[CellSpec], workbench: Workbench, bench: Bench, options: RunOptions
) -> list[Outcome]:
    outcomes, costs, crew = [], Costs(), _crew(options, bench)
    with _indexed(options) as put, progress(specs, crew.workers if crew else 1, costs) as shown:
        if crew is None:
            steps = run(
                specs, lambda spec: run_cell(spec, workbench, _warn), warn=_warn, starting=shown.starting
            )
        else:
            steps = run_on(specs, crew, warn=_warn, starting=shown.starting, costs=costs)
        for outcome in steps:
            shown.finished(outcome)
            if outcome.spec.shard is None:
                put(outcome)
                outcomes.append(outcome)
    return outcomes


def _absolute(options: RunOptions) -> RunOptions:
    """With folders that mean the same on every node."""
    folders = {name: getattr(options, name) for name in ("path", "out", "figures", "data_dir")}
    return replace(options, **{name: folder and folder.resolve() for name, folder in folders.items()})


def _crew(options: RunOptions, bench: Bench) -> Crew | None:
    """The workers that the options ask for; None for this process alone."""
    if options.engine is not None:
        profile, minutes = options.engine, options.cell_minutes
        return Crew(lambda workers: ClusterPool(profile, minutes=minutes), profile.workers, bench)
    if options.workers == 1 and options.cell_minutes is None:
        return None
    threads = max(1, (os.cpu_count() or 1) // options.workers)
    return Crew(partial(processes, threads=threads, minutes=options.cell_minutes), options.workers, bench)


@contextmanager
def _indexed(options: RunOptions) -> Iterator[Callable[[Outcome], object]]:
    """What each outcome is told to: the index, if there is to be one."""
    if options.index is None:
        yield lambda outcome: None
        return
    from art_spiking_leaderboard.indexing import following  # SQLAlchemy takes its time

    with following(options.index, options.out) as put:
        yield put


def _kept(specs: Sequence[CellSpec], options: RunOptions) -> str:
    store = CellStore(options.out)
    done = sum(store.path(spec.model, spec.job.suite.name, spec.identity.key).exists() for spec in specs)
    return (
        f"{done} of {len(specs)} cells are finished and kept in {options.out}; "
        "run the same command again to resume"
    )


def _claims_wrong(found: Sequence[Table]) -> bool:
    """Prints the submissions whose claimed accuracy was not found; whether there is one."""
    wrong = [f"{row.name}: {row.claim_problem}" for table in found for row in table.rows if row.claim_problem]
    for line in wrong:
        click.echo(line, err=True)
    return bool(wrong)


def _suites(options: SiteOptions, standing: Sequence[Standing], store: CellStore) -> list[Suite]:
    if options.suites:
        return [load_suite(name) for name in options.suites]
    suites = []
    for name in sorted({name for entry in standing for name in store.suites(entry.submission.name)}):
        try:
            suites.append(load_suite(name))
        except ArtSpikingError as error:
            _warn(f"the cells of suite '{name}' are not shown: {error}")
    return suites


def _check_writable(folder: Path) -> None:
    """Fails before the work, not after it."""
    probe = folder / ".writable"
    try:
        write_atomically(probe, b"")
        probe.unlink()
    except (CannotWrite, OSError) as error:
        raise InvalidInput(
            "nothing can be written there",
            asked=folder,
            found=getattr(error, "found", error),
            remedy="name a folder that can be written",
        ) from error


def _warn(message: str) -> None:
    click.echo(f"warning: {message}", err=True)
