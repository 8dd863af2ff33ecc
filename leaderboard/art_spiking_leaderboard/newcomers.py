# SPDX-License-Identifier: MIT
"""`leaderboard new`: a submission's folder from a model, filled in as far as the model and the data tell."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from pydantic import TypeAdapter, ValidationError

from art_spiking.datasets import load_data
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.files import write_atomically
from art_spiking.model_files import StoredModel, read_model, write_model
from art_spiking.network import SpikingNetwork
from art_spiking.neurons import PRESETS, NeuronSemantics
from art_spiking.packing import stored_from_nir
from art_spiking_leaderboard.check import Names, check_submission
from art_spiking_leaderboard.manifest import MANIFEST, SCHEMA_VERSION, Files, Name
from art_spiking_leaderboard.manifest_text import fresh_manifest_text


@dataclass(frozen=True)
class NewOptions:
    """The options of `leaderboard new`."""

    name: str
    model: Path
    into: Path
    asked: Mapping[str, str | int | None]
    readout: str = "spike-count"
    data: str | None = None
    binary: bool = True
    data_dir: Path | None = None


def new_submission(options: NewOptions, names: Names | None = None) -> int:
    """Makes the folder, or nothing; prints what is left to be filled in.

    Raises:
        InvalidInput: the folder is there already, or something asked for does not fit the model.
        InvalidModel: the model cannot be read.
        UnknownName: no such data set, readout or semantics.
    """
    names = Names.installed() if names is None else names
    try:
        TypeAdapter(Name).validate_python(options.name)
    except ValidationError as error:
        accepted = "lower-case words of a-z and 0-9 joined by single hyphens, at most 64 characters"
        raise InvalidInput(
            "that cannot be a submission's name", asked=repr(options.name), accepted=accepted
        ) from error
    folder = options.into / options.name
    if folder.exists():
        raise InvalidInput(
            "there is a submission of that name", asked=folder, remedy="choose another name, or remove it"
        )
    stored = _stored(options)
    network = stored.network()
    clean = _clean_accuracy(stored, network, options, names)
    try:
        write_model(stored, folder)
        known = _known(stored, network, options, clean)
        text = fresh_manifest_text(known | {"files": Files.of(folder).model_dump(exclude_none=True)})
        write_atomically(folder / MANIFEST, text.encode())
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    click.echo(f"Wrote {folder}")
    problems = check_submission(folder, names).problems
    if problems:
        click.echo(f"Left for you in {folder / MANIFEST}, where every key is explained:")
        for problem in problems:
            click.echo(f"  {problem.key or problem}")
    click.echo(f"Then: art-spiking leaderboard check {folder}")
    return 0


def _stored(options: NewOptions) -> StoredModel:
    if options.model.is_dir():
        given = [key for key, value in options.asked.items() if value is not None]
        if given:
            raise InvalidInput(
                "a packed model states these itself",
                asked=", ".join(f"--{key.replace('_', '-')}" for key in given),
                remedy="leave them out, or give the .nir file",
            )
        return read_model(options.model)
    return stored_from_nir(options.model, options.asked)


def _clean_accuracy(
    stored: StoredModel, network: SpikingNetwork, options: NewOptions, names: Names
) -> float | None:
    """On the whole test split, as `check` expects the claim; None without a data set."""
    if options.data is None:
        return None
    classifier = SpikingClassifier(
        network,
        input_shape=(stored.steps, *network.input_shape),
        nb_classes=network.output_shape[0],
        readout=options.readout,
    )
    test = load_data(
        options.data,
        "test",
        steps=stored.steps,
        dt_us=int(stored.dt_us),
        binary=options.binary,
        data_dir=options.data_dir,
        datasets=names.datasets,
    )
    return float((classifier.predict(test.x).argmax(1) == test.y).mean())


def _known(
    stored: StoredModel, network: SpikingNetwork, options: NewOptions, clean: float | None
) -> dict[str, Any]:
    data: dict[str, Any] = {"dt_us": int(stored.dt_us), "steps": stored.steps, "binary": options.binary}
    layers = {name: _stated(semantics) for name, semantics in stored.layer_semantics.items()}
    return {
        "schema_version": SCHEMA_VERSION,
        "name": options.name,
        "title": options.name.replace("-", " ").capitalize(),
        "paper": "",
        "input_shape": (stored.steps, *network.input_shape),
        "nb_classes": network.output_shape[0],
        "readout": options.readout,
        "semantics": _stated(stored.semantics),
        **({"layer_semantics": layers} if layers else {}),
        "data": data if options.data is None else {"name": options.data, **data},
        "training": {} if clean is None else {"claimed_clean_accuracy": round(clean, 4)},
    }


def _stated(semantics: NeuronSemantics) -> str | dict[str, Any]:
    """The preset's name, or every field that is set."""
    fields = semantics.to_dict()
    for name, preset in PRESETS.items():
        if preset.to_dict() == fields:
            return name
    return {key: value for key, value in fields.items() if value is not None}
