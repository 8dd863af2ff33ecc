# SPDX-License-Identifier: MIT
"""The command `art-spiking pack`: a .nir file becomes the two data files of a submission."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from art_spiking.errors import ArtSpikingError, CannotWrite, InvalidInput, InvalidModel, UnknownName

if TYPE_CHECKING:
    from art_spiking.model_files import StoredModel

_USAGE, _REFUSED, _INTERRUPTED = 2, 3, 75
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@click.command("pack", short_help="Turn a .nir file into the data files of a submission.")
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="MODEL.nir")
@click.option(
    "--out",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where graph.json and weights.safetensors go; created where missing.",
)
@click.option(
    "--semantics",
    metavar="TEXT",
    help="What the neurons do in discrete time, which the file leaves open: a preset (nir, sinabs, snntorch, "
    "norse, spikingjelly, slayer), key=value pairs that differ from it, or both: sinabs,spikes=one. A layer "
    "that differs comes after a semicolon: 'snntorch;out:reset=none'. Needed unless the file's metadata "
    "states it.",
)
@click.option(
    "--dt-us",
    type=click.IntRange(1, 1_000_000_000),
    metavar="US",
    help="Length of a time step in microseconds. Needed unless the metadata states it.",
)
@click.option(
    "--steps",
    type=click.IntRange(1, 100_000),
    metavar="N",
    help="Time steps of a recording, as trained. Needed unless the metadata states it.",
)
@click.option(
    "--written-dt-us",
    type=click.FloatRange(min=0, min_open=True),
    metavar="US",
    help="Length of a step by which the exporter wrote the time constants, where it is not --dt-us: 100 for "
    "snnTorch and SpikingJelly, 1 for Norse, unless they were asked for another. The time constants become "
    "as many steps of --dt-us.",
)
@click.option("--overwrite", is_flag=True, help="Replace the two files where they are there.")
@click.pass_context
def pack(
    context: click.Context,
    *,
    model: Path,
    folder: Path,
    semantics: str | None,
    dt_us: int | None,
    steps: int | None,
    written_dt_us: float | None,
    overwrite: bool,
) -> None:
    """Turn MODEL.nir into graph.json and weights.safetensors.

    The two files are data only: a leaderboard can read them without trusting their author. The .nir file is
    read with the same care: links, external storage and claims beyond the file's size are refused.

    A .nir file does not say what its neurons do in discrete time, so the semantics is stated here and becomes
    part of the model: the same file under another semantics is another model.

    Example: art-spiking pack cnn.nir --out cnn --semantics sinabs --dt-us 10000 --steps 31

    Exit codes: 0 written, 2 wrong usage or a place that cannot be written, 3 not a model that can be
    run, 75 no room on the disk. What fails leaves nothing behind.
    """
    from art_spiking.model_files import GRAPH_FILE, WEIGHTS_FILE, write_model

    files = [folder / GRAPH_FILE, folder / WEIGHTS_FILE]
    there = [path.name for path in files if path.exists()]
    if there and not overwrite:
        raise click.UsageError(
            f"{folder} already holds {' and '.join(there)}: choose another folder, or give --overwrite"
        )
    try:
        asked = {"semantics": semantics, "dt_us": dt_us, "steps": steps}
        stored = stored_from_nir(model, asked, written_us=written_dt_us)
        digest = stored.network().digest()
        write_model(stored, folder)
    except CannotWrite as error:
        click.echo(f"Error: {error}", err=True)
        full = isinstance(error.__cause__, OSError) and error.__cause__.errno in _NO_ROOM
        context.exit(_INTERRUPTED if full else _USAGE)
    except ArtSpikingError as error:
        click.echo(f"Error: {error}", err=True)
        context.exit(_REFUSED)
    for path in files:
        click.echo(f"Wrote {path} ({path.stat().st_size} bytes)")
    click.echo(_summary(stored))
    click.echo(f"  digest     {digest}")


def stored_from_nir(
    model: Path, asked: Mapping[str, str | int | None], *, written_us: float | None = None
) -> StoredModel:
    """The model in a .nir file with what was asked, or else with what the file's metadata states.

    Args:
        model: The file.
        asked: "semantics", "dt_us" and "steps", as the options of `pack`; None where nothing was asked.
        written_us: Length of a step by which the file's time constants were written, where it is not dt_us.

    Raises:
        click.UsageError: Something is neither asked nor stated, or the semantics cannot be read.
        InvalidModel: The file is no model that can be run.
    """
    from art_spiking.model_files import StoredModel
    from art_spiking.nir_graphs import read_nir
    from art_spiking.semantics_text import parse_model_semantics
    from art_spiking.time_steps import check_step, retimed, stated_step

    graph = read_nir(model)
    stated = {key: graph.metadata.get(key) if value is None else value for key, value in asked.items()}
    missing = [f"--{key.replace('_', '-')}" for key, value in stated.items() if value is None]
    if missing:
        raise click.UsageError(f"{model.name} states none in its metadata: give {', '.join(missing)}")
    try:
        semantics, layers = parse_model_semantics(str(stated["semantics"]))
    except (UnknownName, InvalidInput) as error:
        if asked["semantics"] is None:
            raise
        raise click.BadParameter(str(error), param_hint="--semantics") from error
    dt_us, steps = (_whole(model, key, stated[key]) for key in ("dt_us", "steps"))
    if written_us is None:
        check_step(graph, dt_us, stated_us=stated_step(graph))
    else:
        graph = retimed(graph, written_us, dt_us)
    return StoredModel(graph, semantics, dt_us, steps, layers)


def _whole(model: Path, key: str, value: object) -> int:
    """A number of the metadata, where 10000.0 is as good as 10000."""
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    raise InvalidModel(
        f"the metadata of {model.name} cannot be used",
        found=f"{key} = {value!r}",
        accepted="a whole number",
        remedy=f"give --{key.replace('_', '-')}",
    )


def _summary(stored: StoredModel) -> str:
    graph, shapes = stored.graph, stored.graph.shapes()
    order = graph.order()
    types = [graph.nodes[name].type for name in order]
    is_chain = set(graph.edges) == set(itertools.pairwise(order))
    weights = sum(
        array.size
        for node in graph.nodes.values()
        for key, array in node.arrays.items()
        if key in ("weight", "bias", "scale")
    )
    semantics = ", ".join(f"{key} {value}" for key, value in stored.semantics.to_dict().items())
    return "\n".join(
        (
            *([] if is_chain else [f"  edges      {', '.join(f'{a} > {b}' for a, b in graph.edges)}"]),
            f"  nodes      {(' - ' if is_chain else ', ').join(types)}",
            f"  input      {shapes[order[0]]} in each of {stored.steps} steps of {stored.dt_us} µs",
            f"  output     {shapes[order[-1]]}",
            f"  weights    {weights}",
            f"  semantics  {semantics}",
            *(f"  of {name}  {own.to_text()}" for name, own in stored.layer_semantics.items()),
        )
    )
