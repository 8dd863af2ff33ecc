# SPDX-License-Identifier: MIT
"""A model as two data files: graph.json, the graph and its semantics, and weights.safetensors, its arrays."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from art_spiking.errors import ArtSpikingError, CannotWrite, InvalidInput, InvalidModel, UnknownName
from art_spiking.files import write_atomically
from art_spiking.graph_checks import MAX_NODES
from art_spiking.graphs import GraphSpec, ModelProblem, ModelProblems, NodeSpec, graph_problems
from art_spiking.network import SpikingNetwork
from art_spiking.neurons import NeuronSemantics
from art_spiking.node_types import Array
from art_spiking.untrusted_files import open_regular, parse_json
from art_spiking.weight_files import Declared, read_arrays, write_arrays

GRAPH_FILE = "graph.json"
WEIGHTS_FILE = "weights.safetensors"
FORMAT = "art-spiking-model"
FORMAT_VERSION = 1
MAX_GRAPH_BYTES = 1 << 20
"""The most bytes of a graph.json."""
MAX_WEIGHT_BYTES = 1 << 28
"""The most bytes of a weights.safetensors."""
MAX_STEPS = 100_000
MAX_DT_US = 1e9
_SPARE_BYTES = 1 << 24  # what may be spent on arrays that a graph declares and no file holds


@dataclass(frozen=True)
class StoredModel:
    """All that the two files say.

    Attributes:
        graph: Nodes, edges and arrays.
        semantics: What the graph leaves open.
        dt_us: Length of a time step in µs.
        steps: Time steps of a recording, as the model was trained.
        layer_semantics: The same for single layers that differ from the rest, by node name.
    """

    graph: GraphSpec
    semantics: NeuronSemantics
    dt_us: float
    steps: int
    layer_semantics: Mapping[str, NeuronSemantics] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks the two numbers."""
        if not (isinstance(self.dt_us, int | float) and 0 < self.dt_us <= MAX_DT_US):
            raise InvalidInput(
                "a stored model states dt_us, the length of a step",
                found=self.dt_us,
                accepted=f"more than 0 and at most {MAX_DT_US:g} µs",
            )
        if not (isinstance(self.steps, int) and 1 <= self.steps <= MAX_STEPS):
            raise InvalidInput(
                "a stored model states its steps", found=self.steps, accepted=f"1 to {MAX_STEPS}"
            )

    def network(self) -> SpikingNetwork:
        """The network, ready to run.

        Raises:
            UnknownName: Semantics of a layer that is not there.
            InvalidInput: dt_us is too long for the semantics, or semantics of a layer that has none.
        """
        return SpikingNetwork.from_graph(
            self.graph, semantics=self.semantics, layer_semantics=self.layer_semantics, dt_us=self.dt_us
        )


@dataclass(frozen=True)
class ModelReport:
    """What was found in a folder's two files: the model or every problem, and what could be read anyway.

    Attributes:
        problems: Everything that keeps the files from being a model; empty exactly when `stored` is there.
        stored: The model.
        semantics, dt_us, steps: What graph.json states, or None where that part is wrong.
        layer_semantics: The same for single layers; empty where none is stated or that part is wrong.
        input_shape: Of one time step, without batch and time; None where the graph is wrong.
        output_shape: Likewise.
        hashes: Bytes and SHA-256 of each file that could be read, by its name.
    """

    problems: tuple[ModelProblem, ...] = ()
    stored: StoredModel | None = None
    semantics: NeuronSemantics | None = None
    dt_us: float | None = None
    steps: int | None = None
    input_shape: tuple[int, ...] | None = None
    output_shape: tuple[int, ...] | None = None
    layer_semantics: Mapping[str, NeuronSemantics] = field(default_factory=dict)
    hashes: Mapping[str, tuple[int, str]] = field(default_factory=dict)


def save_model(network: SpikingNetwork, folder: str | os.PathLike[str], *, steps: int) -> None:
    """Writes a network's two files; they are data only and hold its weights as they are now.

    Args:
        network: Any network; the surrogate is not stored, since it belongs to the attack.
        folder: Created where it is missing; the two files are replaced, others left alone.
        steps: Time steps of a recording, as the model was trained.

    Raises:
        InvalidInput: The network states no dt_us.
        CannotWrite: A full disk, or no permission.
    """
    if network.dt_us is None:
        raise InvalidInput(
            "a stored model states dt_us, the length of a step",
            found="a network made without it",
            remedy="give dt_us where the network is made",
        )
    stored = StoredModel(network.to_graph(), network.semantics, network.dt_us, steps, network.layer_semantics)
    write_model(stored, folder)


def load_model(folder: str | os.PathLike[str]) -> SpikingNetwork:
    """The network in a folder's two files, which may come from a stranger.

    Raises:
        ModelProblems: The files are not a model that can be run; `problems` lists every reason.
    """
    return read_model(folder).network()


def read_model(folder: str | os.PathLike[str]) -> StoredModel:
    """What a folder's two files say.

    Raises:
        ModelProblems: The files are not a model that can be run; `problems` lists every reason.
    """
    report = inspect_model(folder)
    if report.stored is None:
        raise ModelProblems(report.problems, remedy="`art-spiking pack` makes the files from a .nir file")
    return report.stored


def check_model(folder: str | os.PathLike[str]) -> list[ModelProblem]:
    """Every reason why a folder's two files are not a model that can be run; empty where they are one."""
    return list(inspect_model(folder).problems)


def inspect_model(folder: str | os.PathLike[str]) -> ModelReport:
    """Everything that can be found out about a folder's two files, whichever parts of them are wrong."""
    raw_graph, problems = _content(Path(folder) / GRAPH_FILE, MAX_GRAPH_BYTES)
    raw_weights, more = _content(Path(folder) / WEIGHTS_FILE, MAX_WEIGHT_BYTES)
    hashes = {
        name: (len(raw), hashlib.sha256(raw).hexdigest())
        for name, raw in ((GRAPH_FILE, raw_graph), (WEIGHTS_FILE, raw_weights))
        if raw is not None
    }
    report = ModelReport((*problems, *more), hashes=hashes)
    return report if raw_graph is None else _inspected(raw_graph, raw_weights, report)


def _inspected(raw_graph: bytes, raw_weights: bytes | None, read: ModelReport) -> ModelReport:
    """What two files say that were read; `read` says what kept one from being read."""
    problems = list(read.problems)
    try:
        table = parse_json(raw_graph)
    except ValueError as error:
        return replace(read, problems=(*problems, ModelProblem(GRAPH_FILE, "", "JSON", f"{error!s:.200}")))
    problems += _table_problems(table)
    header, parts = _part(_Header, table), _part(_Parts, table)
    semantics, more = _semantics(table)
    problems += more
    layers, more = _layer_semantics(table)
    problems += more
    if raw_weights is not None and header is not None:
        problems += _hash_problems(header, read.hashes[WEIGHTS_FILE][1])
    graph = None
    if parts is not None:
        graph, more = _graph(parts, raw_weights)
        problems += more
    report = ModelReport(
        hashes=read.hashes,
        semantics=semantics,
        dt_us=None if header is None else header.dt_us,
        steps=None if header is None else header.steps,
        layer_semantics=layers,
    )
    if graph is not None:
        shapes = graph.shapes()
        ends = {node.type: shapes[name] for name, node in graph.nodes.items()}
        report = replace(report, input_shape=ends["Input"], output_shape=ends["Output"])
    if problems or graph is None or header is None or semantics is None:
        return replace(report, problems=tuple(problems))
    stored = StoredModel(graph, semantics, header.dt_us, header.steps, layers)
    try:
        stored.network()
    except UnknownName as error:
        wrong = ModelProblem(GRAPH_FILE, "layer_semantics", str(error.accepted), str(error.asked))
        return replace(report, problems=(wrong,))
    except ArtSpikingError as error:
        expected, found = str(error.accepted or "a network that can be run"), str(error)
        return replace(report, problems=(ModelProblem(GRAPH_FILE, "dt_us", expected, found),))
    return replace(report, stored=stored)


def write_model(stored: StoredModel, folder: str | os.PathLike[str]) -> None:
    """Writes the two files, or neither; a folder that was there is left as it was when it fails.

    Raises:
        CannotWrite: A full disk, or no permission; its cause is the system's error.
    """
    arrays = {f"{n}.{k}": a for n, node in stored.graph.nodes.items() for k, a in node.arrays.items()}
    weights = write_arrays(arrays)
    layers = {name: semantics.to_dict() for name, semantics in stored.layer_semantics.items()}
    graph = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        **stored.graph.header(),
        "semantics": stored.semantics.to_dict(),
        **({"layer_semantics": layers} if layers else {}),
        "dt_us": stored.dt_us,
        "steps": stored.steps,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    text = json.dumps(graph, indent=1, sort_keys=True, allow_nan=False) + "\n"
    # The hash in graph.json, put in place last, tells a reader when only one of the two was replaced.
    _write_together(Path(folder), {WEIGHTS_FILE: weights, GRAPH_FILE: text.encode()})


def _write_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Writes all files beside their places before any is put in place: a full disk leaves nothing behind."""
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    place = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".model.") as beside:
            for name, content in contents.items():
                place = folder / name
                if place.exists() and not place.is_file():
                    raise FileExistsError(errno.EEXIST, "there is something else than a file")
                write_atomically(Path(beside) / name, content)
            for name in contents:
                place = folder / name
                (Path(beside) / name).replace(place)
    except OSError as error:
        cause = error.__cause__ if isinstance(error, CannotWrite) else error
        found = error.found if isinstance(error, CannotWrite) else error.strerror
        remedy = error.remedy if isinstance(error, CannotWrite) else "choose a place you may write to"
        raise CannotWrite(f"cannot write {place}", found=found, remedy=remedy) from cause
    finally:
        for folder_made in made:  # goes where it stayed empty
            with contextlib.suppress(OSError):
                folder_made.rmdir()


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class _ArrayEntry(_Strict):
    dtype: Literal["float32", "float64"]
    shape: Annotated[list[Annotated[int, Field(ge=1, lt=1 << 31)]], Field(max_length=8)]


class _NodeEntry(_Strict):
    type: str
    attributes: dict[str, int | str | list[int]]
    arrays: dict[str, _ArrayEntry]


class _Parts(_Strict):
    nodes: Annotated[dict[str, _NodeEntry], Field(max_length=MAX_NODES)]
    edges: Annotated[
        list[Annotated[list[str], Field(min_length=2, max_length=2)]], Field(max_length=2 * MAX_NODES)
    ]


class _Header(_Strict):
    dt_us: Annotated[int | float, Field(gt=0, le=MAX_DT_US)]
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)]
    weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _GraphFile(_Parts, _Header):
    format: Literal["art-spiking-model"]
    version: Literal[1]
    semantics: dict[str, Any]
    layer_semantics: Annotated[dict[str, dict[str, Any]], Field(max_length=MAX_NODES)] = {}


def _content(path: Path, max_bytes: int) -> tuple[bytes | None, list[ModelProblem]]:
    try:
        with open_regular(path, max_bytes, follow_links=False) as stream:
            return stream.read(max_bytes + 1), []
    except InvalidModel as error:
        expected = str(error.accepted or "a regular file")
        return None, [ModelProblem(path.name, "", expected, str(error.found))]


_Part = TypeVar("_Part", bound=_Strict)


def _table_problems(table: Any) -> list[ModelProblem]:
    try:
        _GraphFile.model_validate(table)
    except ValidationError as error:
        return [_problem(detail) for detail in error.errors(include_url=False)[:100]]
    return []


def _part(kind: type[_Part], table: Any) -> _Part | None:
    """The fields of one part, when they are right in themselves."""
    if not isinstance(table, dict):
        return None
    try:
        return kind.model_validate({key: table[key] for key in kind.model_fields if key in table})
    except ValidationError:
        return None


def _semantics(table: Any) -> tuple[NeuronSemantics | None, list[ModelProblem]]:
    stated = table.get("semantics") if isinstance(table, dict) else None
    if not isinstance(stated, dict):
        return None, []
    try:
        return NeuronSemantics.from_dict(stated), []
    except ArtSpikingError as error:
        return None, [ModelProblem(GRAPH_FILE, "semantics", str(error.accepted), str(error.found))]


def _layer_semantics(table: Any) -> tuple[dict[str, NeuronSemantics], list[ModelProblem]]:
    stated = table.get("layer_semantics") if isinstance(table, dict) else None
    found: dict[str, NeuronSemantics] = {}
    problems = []
    for name, own in stated.items() if isinstance(stated, dict) else ():
        semantics, wrong = _semantics({"semantics": own})
        problems += [replace(problem, key=f"layer_semantics.{name}") for problem in wrong]
        if semantics is not None:
            found[name] = semantics
    return found, problems


def _hash_problems(header: _Header, digest: str) -> list[ModelProblem]:
    if digest == header.weights_sha256:
        return []
    expected = f"{digest}, the hash of {WEIGHTS_FILE}"
    return [ModelProblem(GRAPH_FILE, "weights_sha256", expected, header.weights_sha256)]


def _graph(parts: _Parts, raw_weights: bytes | None) -> tuple[GraphSpec | None, list[ModelProblem]]:
    """The graph, or every problem of it and its arrays; ones stand for arrays that are wrong or not there."""
    declared = _declared(parts)
    arrays: dict[str, Array] = {}
    problems: list[ModelProblem] = []
    if raw_weights is not None:
        arrays, problems = read_arrays(raw_weights, declared, file=WEIGHTS_FILE)
    whole = raw_weights is not None and not problems
    if not whole:
        size = sum(math.prod(shape) * np.dtype(dtype).itemsize for dtype, shape in declared.values())
        if size > max(_SPARE_BYTES, len(raw_weights or b"")):
            return None, problems
        arrays = {key: np.ones(shape, dtype) for key, (dtype, shape) in declared.items()}
    nodes = {name: _node(name, node, arrays) for name, node in parts.nodes.items()}
    edges = tuple((a, b) for a, b in parts.edges)
    wrong = graph_problems(nodes, edges, file=GRAPH_FILE)
    return (None if wrong else GraphSpec(nodes, edges)), problems + wrong


def _problem(detail: Mapping[str, Any]) -> ModelProblem:
    key = ".".join(str(part) for part in detail["loc"])[:200]
    if detail["type"] == "missing":
        return ModelProblem(GRAPH_FILE, key, "this key", "nothing")
    if detail["type"] == "extra_forbidden":
        return ModelProblem(GRAPH_FILE, key, "no such key", f"{detail['input']!r:.80}")
    expected = str(detail["msg"]).removeprefix("Input should be ")
    return ModelProblem(GRAPH_FILE, key, expected, f"{detail['input']!r:.80}")


def _declared(entry: _Parts) -> Declared:
    return {
        f"{name}.{key}": (array.dtype, tuple(array.shape))
        for name, node in entry.nodes.items()
        for key, array in node.arrays.items()
    }


def _node(name: str, entry: _NodeEntry, arrays: Mapping[str, Array]) -> NodeSpec:
    attributes = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.attributes.items()}
    return NodeSpec(entry.type, attributes, {key: arrays[f"{name}.{key}"] for key in entry.arrays})
