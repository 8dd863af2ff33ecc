# SPDX-License-Identifier: MIT
"""`art-spiking inspect`: what a model is made of, and what it does with data under which semantics."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from art_spiking.cli.stated import check_text
from art_spiking.errors import InvalidInput, InvalidModel

if TYPE_CHECKING:
    from art_spiking.cli.inspection_output import Inspection
    from art_spiking.datasets import EventData
    from art_spiking.graphs import GraphSpec
    from art_spiking.inspection import Trial
    from art_spiking.registry import Catalogue
    from art_spiking.semantics import NeuronSemantics

_ALL = "all"


@dataclass(frozen=True)
class Request:
    """What was asked on the command line."""

    model: Path
    data: str | None
    data_dir: Path | None
    limit: int | None
    dt_us: int | None
    steps: int | None
    semantics: str | None
    binary: bool
    as_json: bool


@dataclass(frozen=True)
class Source:
    """A model's graph, and what its files or the command line state about it; None is not stated."""

    graph: GraphSpec
    semantics: NeuronSemantics | None
    dt_us: int | float | None
    steps: int | None
    layer_semantics: Mapping[str, NeuronSemantics] = field(default_factory=dict)


@click.command("inspect", short_help="Show a model's layers, and what they do with data.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--data",
    metavar="NAME",
    help="Run the model on the test samples of this data set; see `art-spiking list datasets`.",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where its recordings are.")
@click.option("--limit", type=click.IntRange(min=1), help="Use at most this many samples.")
@click.option("--dt-us", type=click.IntRange(min=1), help="Width of a time step in µs, as trained.")
@click.option("--steps", type=click.IntRange(min=1), help="Number of time steps, as trained.")
@click.option(
    "--semantics",
    metavar="TEXT",
    help="The dynamics that a .nir file leaves open: a preset (nir, sinabs, snntorch, norse, spikingjelly, "
    "slayer), key=value pairs that differ from it, or both: sinabs,spikes=one. A layer that differs comes "
    "after a semicolon: 'snntorch;out:reset=none'. With --data, `all` tries every preset.",
)
@click.option("--binary/--counts", default=True, help="Frames of 0 and 1 (the default), or event counts.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the tables.")
def inspect_command(**options: Any) -> None:
    """Show the layers of MODEL, and with --data what they do.

    MODEL is a .nir file, or a folder with graph.json and weights.safetensors.

    Per layer: output shape, parameters, time constants, threshold, receptive field, multiply-adds per step.
    With --data also its mean spikes and synaptic operations per sample, and the model's accuracy. With
    --semantics all, instead, accuracy and output spikes under each preset beside each other: the one that
    gives what was measured where the model was trained is its own.

    Example: art-spiking inspect cnn.nir --data nmnist --data-dir nmnist --limit 100 --semantics all

    The tables go to stdout, progress to stderr.
    """
    from art_spiking.cli.inspection_output import summary, tables

    request = Request(**options)
    found = _inspect(request)
    if request.as_json:
        click.echo(json.dumps(summary(found), allow_nan=False))
    else:
        click.echo(tables(found, width=min(100, max(80, shutil.get_terminal_size().columns))))


def _inspect(request: Request) -> Inspection:
    from art_spiking.cli.inspection_output import Inspection, described
    from art_spiking.inspection import report
    from art_spiking.registry import catalogue

    _check_usage(request)
    datasets = catalogue("datasets")
    if request.data is not None:
        datasets[request.data]  # raises for an unknown name before anything is read
    source = load_source(request)
    if request.data is not None:
        _check_stated(request, source)
    found = Inspection(
        name=request.model.name or str(request.model),
        digest=source.graph.digest(),
        semantics=source.semantics,
        dt_us=source.dt_us,
        steps=source.steps,
        asked=tuple(key for key in ("semantics", "dt_us", "steps") if getattr(request, key) is not None),
        graph=report(
            source.graph,
            semantics=source.semantics,
            layer_semantics=source.layer_semantics,
            dt_us=source.dt_us,
        ),
        layer_semantics=source.layer_semantics,
    )
    if request.data is None:
        return found
    data, trials = _tried(request, source, datasets)
    return replace(found, data=described(data), trials=tuple(trials))


def load_source(request: Request) -> Source:
    """The model, with what was asked in the place of what a .nir file states.

    Raises:
        InvalidInput: there is no such file, or a folder states another dt_us or number of steps.
        InvalidModel: it cannot be read, or holds what is not supported.
        UnknownName: there are no such semantics.
    """
    from art_spiking.nir_graphs import read_nir
    from art_spiking.semantics_text import parse_model_semantics
    from art_spiking.time_steps import check_step, stated_step

    path = request.model
    if not path.exists():
        raise InvalidInput(
            "no such model",
            asked=path,
            accepted="a .nir file, or a folder with graph.json and weights.safetensors",
        )
    asked = None if request.semantics in (None, _ALL) else parse_model_semantics(str(request.semantics))
    if path.is_dir():
        from art_spiking.model_files import read_model

        stored = read_model(path)
        for key, value in (("dt_us", stored.dt_us), ("steps", stored.steps)):
            given = getattr(request, key)
            if given not in (None, value):
                option = f"--{key.replace('_', '-')}"
                raise InvalidInput(
                    f"a model folder states its own {key}",
                    asked=f"{option} {given}",
                    found=f"{key} = {value:g}",
                    remedy=f"leave {option} out",
                )
        semantics, layers = asked or (stored.semantics, stored.layer_semantics)
        return Source(stored.graph, semantics, stored.dt_us, stored.steps, layers)
    graph = read_nir(path)
    stated = graph.metadata.get("semantics")
    if asked is None and stated is not None:
        asked = parse_model_semantics(str(stated))
    dt_us = _stated(graph, "dt_us", request.dt_us)
    check_step(graph, dt_us, stated_us=stated_step(graph))
    steps = _stated(graph, "steps", request.steps)
    whole, layers = asked or (None, {})
    return Source(graph, whole, dt_us, None if steps is None else int(steps), layers)


def _stated(graph: GraphSpec, key: str, asked: int | None) -> float | None:
    """What was asked on the command line, or else what the file's metadata states."""
    value = graph.metadata.get(key) if asked is None else asked
    if value is None or (isinstance(value, int | float) and 1 <= value < 1e9 and value == int(value)):
        return value
    raise InvalidModel(
        "the file's metadata cannot be used",
        found=f"{key} = {value!r}",
        accepted="a whole number of 1 or more",
        remedy=f"give --{key.replace('_', '-')}",
    )


def _check_usage(request: Request) -> None:
    """Fails where an option says nothing without another."""
    check_text(request.semantics)
    if request.data is not None:
        return
    given = {"--data-dir": request.data_dir, "--limit": request.limit, "--steps": request.steps}
    idle = [name for name, value in given.items() if value is not None]
    idle += ["--semantics all"] if request.semantics == _ALL else []
    if idle:
        raise InvalidInput(
            f"{', '.join(idle)} needs data to run the model on",
            remedy="give --data NAME; `art-spiking list datasets` shows what there is",
        )


def _check_stated(request: Request, source: Source) -> None:
    """Fails where running the model would mean to guess what it is."""
    from art_spiking.semantics import PRESETS

    if source.semantics is None and request.semantics != _ALL:
        raise InvalidInput(
            f"{request.model.name} does not state its semantics, without which it is not one model",
            accepted=f"--semantics with {', '.join(PRESETS)} or key=value pairs",
            remedy="--semantics all shows what it does under each",
        )
    timed = sorted(
        name
        for name, node in source.graph.nodes.items()
        if any(key.startswith(("tau", "delay")) for key in node.arrays)
    )
    if source.dt_us is None and timed:
        raise InvalidInput(
            f"{request.model.name} does not state dt_us, which neurons with a time constant and delays need",
            found=f"{timed[0]} ({source.graph.nodes[timed[0]].type})",
            remedy="give --dt-us with the width of a time step in µs, as trained",
        )


def _tried(request: Request, source: Source, datasets: Catalogue) -> tuple[EventData, list[Trial]]:
    """The data, and what the model does with it under the semantics, or under each."""
    from art_spiking.cli.inspection_output import AS_STATED
    from art_spiking.datasets import load_data
    from art_spiking.inspection import Candidate, Trial, measure, try_semantics
    from art_spiking.network import SpikingNetwork
    from art_spiking.semantics import PRESETS

    data = load_data(
        str(request.data),
        "test",
        steps=source.steps,
        dt_us=None if source.dt_us is None else round(source.dt_us),
        binary=request.binary,
        data_dir=request.data_dir,
        limit=request.limit,
        datasets=datasets,
    )

    stated = None
    if source.semantics is not None:
        stated = Candidate(AS_STATED, source.semantics, source.layer_semantics)
    if request.semantics != _ALL and stated is not None:
        network = SpikingNetwork.from_graph(
            source.graph,
            semantics=stated.semantics,
            layer_semantics=stated.layer_semantics,
            dt_us=source.dt_us,
        )
        with _progress(len(data)) as advance:
            activity = measure(network, data.x, data.y, advance=advance)
        return data, [Trial(stated, activity.outcome, activity=activity)]
    candidates = [Candidate(name, semantics) for name, semantics in PRESETS.items()]
    if stated is not None and (stated.layer_semantics or stated.semantics not in PRESETS.values()):
        candidates.insert(0, stated)
    with _progress(len(data) * len(candidates)) as advance:
        trials = [
            try_semantics(source.graph, one, data.x, data.y, dt_us=source.dt_us, advance=advance)
            for one in candidates
        ]
    return data, trials


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], object]]:
    """A bar on a terminal; else a line every few seconds. Both on stderr."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(total=total, unit=" samples", file=sys.stderr, dynamic_ncols=True) as bar:
            yield bar.update
        return
    done, last = 0, time.monotonic()

    def advance(number: int) -> None:
        nonlocal done, last
        done += number
        if done >= total or time.monotonic() - last > 5:
            last = time.monotonic()
            click.echo(f"{done} of {total} samples done", err=True)

    yield advance
