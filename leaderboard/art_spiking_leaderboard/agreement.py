# SPDX-License-Identifier: MIT
"""Whether a manifest agrees with what is installed and with the model's own files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from art_spiking.errors import ArtSpikingError
from art_spiking.estimators import READOUTS
from art_spiking.graphs import ModelProblem
from art_spiking.model_files import GRAPH_FILE, ModelReport
from art_spiking.neurons import PRESETS, NeuronSemantics
from art_spiking.registry import Catalogue
from art_spiking_leaderboard.manifest import MANIFEST, Stated, shown


def unknown_names(stated: Stated, datasets: Catalogue, defences: Catalogue) -> Iterator[ModelProblem]:
    """Names in a manifest that nobody registered, and parameters that a defence does not take."""
    readout, data = stated.get("readout"), stated.get("data", "name")
    if readout is not None and readout not in READOUTS and stated.get("division") != "code":
        yield _problem("readout", f"one of {', '.join(READOUTS)}", readout)
    if data is not None and data not in datasets:
        yield _problem("data.name", f"one of {', '.join(sorted(datasets))}", data)
    for index in range(stated.count("defences")):
        yield from _defence_problems(stated, index, defences)


def disagreements(stated: Stated, model: ModelReport) -> Iterator[ModelProblem]:
    """What a manifest says otherwise than the model's files, as far as both can be read."""
    shape = None if None in (model.steps, model.input_shape) else (model.steps, *(model.input_shape or ()))
    told: dict[tuple[str, ...], Any] = {
        ("data", "dt_us"): model.dt_us,
        ("data", "steps"): model.steps,
        ("input_shape",): shape,
        ("nb_classes",): model.output_shape,
    }
    for path, expected in told.items():
        found = stated.get(*path)
        same = (found,) if path == ("nb_classes",) else tuple(found) if isinstance(found, list) else found
        if found is not None and expected is not None and same != expected:
            yield _problem(".".join(path), f"{expected}, as {GRAPH_FILE} says", found)
    semantics = stated.get("semantics")
    if semantics is not None:
        yield from _semantics_problems("semantics", semantics, model.semantics)
    if not stated.is_wrong("layer_semantics") and stated.get("division") != "code":
        yield from _layer_problems(stated.get("layer_semantics") or {}, model)


def _defence_problems(stated: Stated, index: int, defences: Catalogue) -> Iterator[ModelProblem]:
    key = f"defences[{index}]"
    name = stated.get("defences", index, "name")
    if name is None:
        return
    if name not in defences:
        yield _problem(f"{key}.name", f"one of {', '.join(sorted(defences))}", name)
        return
    defence = stated.get("defences", index)  # None when a parameter is wrong in itself
    if defence is not None:
        try:
            defences[name].load()(**defence.get("parameters", {}))
        except (ArtSpikingError, TypeError, ValueError) as error:
            yield _problem(f"{key}.parameters", f"parameters that {name} takes", str(error))
    width, dt_us = stated.get("defences", index, "parameters", "dt_us"), stated.get("data", "dt_us")
    if width is not None and dt_us is not None and width != dt_us:
        yield _problem(f"{key}.parameters.dt_us", f"{dt_us}, as data.dt_us says", width)


def _layer_problems(stated: Mapping[str, Any], model: ModelReport) -> Iterator[ModelProblem]:
    if any(problem.key.startswith("layer_semantics") for problem in model.problems):
        return
    for name in sorted(stated.keys() | model.layer_semantics.keys()):
        key = f"layer_semantics.{shown(name)}"
        if name not in stated:
            yield _problem(key, f"that layer's semantics, as {GRAPH_FILE} says", None)
        elif name not in model.layer_semantics:
            yield _problem(key, f"no such key, for {GRAPH_FILE} has none", stated[name])
        else:
            yield from _semantics_problems(key, stated[name], model.layer_semantics[name])


def _semantics_problems(
    key: str, stated: str | dict[str, Any], model: NeuronSemantics | None
) -> Iterator[ModelProblem]:
    if isinstance(stated, str):
        if stated not in PRESETS:
            yield _problem(key, f"one of {', '.join(PRESETS)}, or a table", stated)
            return
        stated = PRESETS[stated].to_dict()
    if model is None:
        return
    for name, value in model.to_dict().items():
        # TOML has no null: a field that is None is left out.
        if stated.get(name) != value:
            expected = f"{value!r}, as {GRAPH_FILE} says" if value is not None else "no such key"
            yield _problem(f"{key}.{name}", expected, stated.get(name))
    for name in stated.keys() - model.to_dict().keys():
        yield _problem(f"{key}.{shown(name)}", "no such key", stated[name])


def _problem(key: str, expected: str, found: object) -> ModelProblem:
    return ModelProblem(MANIFEST, key, expected, shown(found))
