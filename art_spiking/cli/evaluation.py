# SPDX-License-Identifier: MIT
"""`art-spiking evaluate`: one model under a suite; resumable, with a table or JSON at the end."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from art_spiking.cli.stated import check_text, stated_semantics
from art_spiking.errors import InvalidInput, InvalidModel
from art_spiking.files import set_aside

if TYPE_CHECKING:
    from art_spiking.datasets import EventData
    from art_spiking.estimators import SpikingClassifier
    from art_spiking.evaluate import Setting
    from art_spiking.graphs import GraphSpec
    from art_spiking.network import SpikingNetwork
    from art_spiking.records import Record
    from art_spiking.registry import Catalogue
    from art_spiking.suites import Case

_CASE_FAILED = 1


@dataclass(frozen=True)
class Request:
    """What was asked on the command line."""

    model: Path
    data: str
    data_dir: Path | None
    dt_us: int | None
    steps: int | None
    suite: str
    semantics: str | None
    readout: str
    binary: bool
    cases: tuple[str, ...]
    limit: int | None
    out: Path | None
    as_json: bool


@click.command("evaluate", short_help="Evaluate one model under a suite of attacks.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", required=True, metavar="NAME", help="The data set; see `art-spiking list datasets`.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Where its recordings are; digits-dvs, which simulates its own, keeps them there.",
)
@click.option("--dt-us", type=click.IntRange(min=1), help="Width of a time step in µs, as trained.")
@click.option("--steps", type=click.IntRange(min=1), help="Number of time steps, as trained.")
@click.option("--suite", default="events-quick", show_default=True, help="A suite's name, or a .toml file.")
@click.option(
    "--semantics",
    metavar="TEXT",
    help="The dynamics that a .nir file leaves open: a preset (nir, sinabs, snntorch, norse, spikingjelly, "
    "slayer), key=value pairs that differ from it, or both: sinabs,spikes=one,v_min=-1. A layer that "
    "differs comes after a semicolon: 'snntorch;out:reset=none'. Needed unless the file states it.",
)
@click.option(
    "--readout",
    default="spike-count",
    show_default=True,
    metavar="NAME",
    help="What is scored: spike-count, membrane-mean or membrane-max.",
)
@click.option("--binary/--counts", default=True, help="Frames of 0 and 1 (the default), or event counts.")
@click.option("--cases", multiple=True, metavar="NAME", help="Run this case only; may be given again.")
@click.option("--limit", type=click.IntRange(min=1), help="Use at most this many samples of each split.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep one record per case here; a run that was interrupted resumes from them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
def evaluate_command(**options: Any) -> int:
    """Evaluate MODEL under a suite of attacks.

    MODEL is a .nir file, or a folder with graph.json and weights.safetensors. The table gives, per case, the
    robust accuracy with a 95 % interval, the accuracy under random edits of equal budget, and what the attack
    changed and took. It goes to stdout, progress to stderr.
    """
    from art_spiking.cli.output import summary, table

    request = Request(**options)
    records = _run(request)
    if request.as_json:
        click.echo(json.dumps(summary(records), allow_nan=False))
    else:
        click.echo(table(records, width=min(100, max(80, shutil.get_terminal_size().columns))))
    return _CASE_FAILED if any(record.status != "ok" for record in records) else 0


def _run(request: Request) -> list[Record]:
    from art_spiking.evaluate import Providers, Splits, prepare
    from art_spiking.registry import catalogue, plugin_manager
    from art_spiking.suites import load_suite

    # What can be wrong cheaply is found first: names, then the folder, then the model, then the data.
    manager = plugin_manager()
    suite = load_suite(request.suite, catalogue("suites", manager))
    cases = [suite.case(name) for name in request.cases] or list(suite.cases)
    twice = sorted({name for name in request.cases if request.cases.count(name) > 1})
    if twice:
        raise InvalidInput(
            "a case is named twice", asked=f"--cases {', '.join(twice)}", remedy="name each case once"
        )
    datasets = catalogue("datasets", manager)
    datasets[request.data]  # raises for an unknown name before anything is read
    if request.out is not None:
        check_writable(request.out)
    network, steps = load_network(request)

    def load(split: str, most: int | None) -> EventData:
        return load_split(request, split, most, network=network, steps=steps, datasets=datasets)

    splits = Splits(craft=load("train", suite.craft), test=load("test", suite.test))
    setting = prepare(
        classifier(network, splits.test, request.readout),
        splits,
        suite,
        name=request.model.stem,
        providers=Providers(catalogue("attacks", manager), catalogue("threats", manager)),
        command=("art-spiking", *sys.argv[1:]),
    )
    return run_cases(setting, cases, request.out)


def run_cases(setting: Setting, cases: list[Case], out: Path | None) -> list[Record]:
    """Runs the cases that `out` does not hold yet, and returns the records of all, in order.

    Raises:
        InvalidInput: `out` holds a record of something else.
        CannotWrite: `out` cannot be written; records already there are kept.
        click.exceptions.Exit: interrupted, with the program's exit code for that; what is kept was told.
    """
    from art_spiking.cli.output import brief
    from art_spiking.evaluate import evaluate_case
    from art_spiking.records import write_record

    finished = {} if out is None else finished_records(setting, cases, out)
    records: list[Record] = []
    with _progress(len(cases), len(finished)) as advance, _told_when_interrupted(records, out):
        for case in cases:
            record = finished.get(case.name)
            if record is None:
                record = evaluate_case(setting, case)
                if out is not None:
                    write_record(record, out / f"{case.name}.json")
                advance(brief(record))
            records.append(record)
    return records


def finished_records(setting: Setting, cases: list[Case], out: Path) -> dict[str, Record]:
    """The records of status "ok" that `out` holds of these cases, by name.

    A file in a record's place that is none is renamed, so that the case runs again; stderr says so.

    Raises:
        InvalidInput: a record there belongs to another model, suite or data.
        CannotWrite: what is no record cannot be renamed.
    """
    from art_spiking.records import cell_key, read_record

    finished = {}
    for case in cases:
        path = out / f"{case.name}.json"
        if not path.exists():
            continue
        try:
            record = read_record(path)
        except InvalidInput as error:
            aside = set_aside(path)
            click.echo(f"warning: {error}; it is now {aside.name}, and the case runs again", err=True)
            continue
        if record.key() != cell_key(setting.model, setting.suite, case, (setting.craft, setting.test)):
            raise InvalidInput(
                f"the folder {out} holds the record of another model, suite or data",
                found=f"{path.name}: {record.model.name}, {record.suite.name} {record.suite.version}, "
                f"{record.test.samples} samples of {record.test.name}",
                remedy="name another folder with --out, or remove that file",
            )
        if record.status == "ok":
            finished[case.name] = record
    return finished


def load_network(request: Request) -> tuple[SpikingNetwork, int | None]:
    """The model, and the number of time steps it was trained with if its files say so.

    Raises:
        InvalidInput: there is no such file, it is no model, it leaves its semantics open, or semantics were
            given for a folder.
        InvalidModel: it cannot be read, or holds what is not supported.
    """
    from art_spiking.network import SpikingNetwork
    from art_spiking.nir_graphs import read_nir
    from art_spiking.time_steps import check_step, stated_step

    path = request.model
    if not path.exists():
        raise InvalidInput(
            "no such model",
            asked=path,
            accepted="a .nir file, or a folder with graph.json and weights.safetensors",
        )
    if path.is_dir():
        from art_spiking.model_files import read_model

        if request.semantics is not None:
            raise InvalidInput(
                "a model folder states its own semantics",
                asked=f"--semantics {request.semantics}",
                remedy="leave --semantics out, or evaluate the .nir file",
            )
        stored = read_model(path)
        if request.dt_us not in (None, stored.dt_us):
            raise InvalidInput(
                "a model folder states its own time step",
                asked=f"--dt-us {request.dt_us}",
                found=f"dt_us = {stored.dt_us:g}",
                remedy="leave --dt-us out",
            )
        if request.steps not in (None, stored.steps):
            raise InvalidInput(
                "a model folder states its own number of steps",
                asked=f"--steps {request.steps}",
                found=f"steps = {stored.steps}",
                remedy="leave --steps out",
            )
        return stored.network(), stored.steps
    check_text(request.semantics)
    graph = read_nir(path)
    semantics, layers = stated_semantics(graph, request.semantics, path)
    dt_us = _stated(graph, "dt_us", request.dt_us)
    check_step(graph, dt_us, stated_us=stated_step(graph))
    network = SpikingNetwork.from_graph(graph, semantics=semantics, layer_semantics=layers, dt_us=dt_us)
    return network, _stated(graph, "steps", request.steps)


def _stated(graph: GraphSpec, key: str, asked: int | None) -> int | None:
    """What was asked on the command line, or else what the file's metadata states."""
    value = graph.metadata.get(key) if asked is None else asked
    if value is None:
        return None
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if whole and int(value) >= 1:
        return int(value)
    raise InvalidModel(
        "the file's metadata cannot be used",
        found=f"{key} = {value!r}",
        accepted="a whole number of 1 or more",
        remedy=f"give --{key.replace('_', '-')}",
    )


def load_split(
    request: Request,
    split: str,
    most: int | None,
    *,
    network: SpikingNetwork,
    steps: int | None,
    datasets: Catalogue,
) -> EventData:
    """A split of the data that was asked for, binned as the network takes it; at most `most` samples."""
    from art_spiking.datasets import load_data

    limits = [limit for limit in (most, request.limit) if limit is not None]
    return load_data(
        request.data,
        split,
        steps=request.steps or steps,
        dt_us=request.dt_us if network.dt_us is None else round(network.dt_us),
        binary=request.binary,
        data_dir=request.data_dir,
        limit=min(limits, default=None),
        datasets=datasets,
    )


def classifier(network: SpikingNetwork, data: EventData, readout: str) -> SpikingClassifier:
    """The network as an ART classifier of samples like these.

    Raises:
        InvalidInput: the network does not take such samples.
    """
    from art_spiking.estimators import SpikingClassifier

    return SpikingClassifier(network, input_shape=tuple(data.grid.shape), readout=readout)


def check_writable(out: Path) -> None:
    """Fails before the work, not after it.

    Raises:
        InvalidInput: the folder cannot be made, or nothing can be written there.
    """
    import tempfile

    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise InvalidInput(
            "records cannot be kept in that folder",
            asked=f"--out {out}",
            found=error.strerror or error,
            remedy="name a folder that can be written",
        ) from error


@contextmanager
def _told_when_interrupted(records: list[Record], out: Path | None) -> Iterator[None]:
    """Says on ctrl-C what is kept, once, and ends the program with the exit code for that."""
    from art_spiking.cli import INTERRUPTED

    try:
        yield
    except KeyboardInterrupt as error:
        kept = "nothing is kept; give --out to keep finished cases"
        if out is not None:
            kept = f"{len(records)} finished cases are kept in {out}; the same command goes on from there"
        click.echo(f"\ninterrupted; {kept}", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from error


@contextmanager
def _progress(total: int, done: int) -> Iterator[Any]:
    """A bar on a terminal; else a line per finished case. Both estimate the time left, on stderr."""
    if done:
        click.echo(f"resuming: {done} of {total} cases are done", err=True)
    if not sys.stderr.isatty():
        yield _line_printer(total, done)
        return
    from tqdm import tqdm

    with tqdm(total=total, initial=done, unit="case", file=sys.stderr, dynamic_ncols=True) as bar:

        def advance(text: str) -> None:
            bar.set_postfix_str(text, refresh=False)
            bar.update()

        yield advance


def _line_printer(total: int, done: int) -> Callable[[str], None]:
    """Prints a line per finished case, with the time that the others take if they take as long."""
    start, finished = time.monotonic(), 0

    def advance(text: str) -> None:
        nonlocal finished
        finished += 1
        left = total - done - finished
        rest = (time.monotonic() - start) / finished * left
        estimate = f", about {_duration(rest)} left" if left else ""
        click.echo(f"{text} ({done + finished} of {total}{estimate})", err=True)

    return advance


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
