# SPDX-License-Identifier: MIT
"""The manifest of a submission, `submission.toml`: strict, and every problem is reported at once."""

from __future__ import annotations

import hashlib
import math
import re
import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_after_validator_function

from art_spiking.graphs import ModelProblem

MANIFEST = "submission.toml"
MANIFEST_BYTES = 64 * 1024  # tomllib recurses: a larger file could exhaust the stack before it is refused
SCHEMA_VERSION = 1
MODEL_FILES = ("graph.json", "weights.safetensors")
CODE_FILE = "model.py"
IN_CODE = "in-code"
"""What a submission of code states as its readout: its module returns logits."""
_MAX_DOTS = 256  # in a line
SHOWN = 100  # characters of a stranger's value that a problem repeats


def shown(value: object) -> str:
    """A value as a problem repeats it: its repr, one line, printable, not longer than `SHOWN`."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # thousands of keys within each other, or of digits
        text = f"a value of type {type(value).__name__}, too deep or too long to repeat"
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def _one_line(text: str) -> str:
    if any(unicodedata.category(character).startswith("C") for character in text):
        raise ValueError("one line of text without control or direction-changing characters")
    return text


def _lines(text: str) -> str:
    for line in text.split("\n"):
        _one_line(line)
    return text


@dataclass(frozen=True)
class _Regex:
    """A text that a pattern matches whole; says in words what was expected, and the pattern in the schema."""

    pattern: str
    meaning: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$"}

    def _check(self, text: str) -> str:
        if re.fullmatch(self.pattern, text) is None:
            raise ValueError(self.meaning)
        return text


Name = Annotated[
    str,
    Field(max_length=64),
    _Regex(r"[a-z0-9]+(-[a-z0-9]+)*", "lower-case words of a-z and 0-9 joined by single hyphens"),
]
Line = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_one_line)]
Text = Annotated[str, Field(min_length=1, max_length=4000), AfterValidator(_lines)]
Licence = Annotated[
    str,
    Field(max_length=100),
    _Regex(r"[A-Za-z0-9][A-Za-z0-9.+() -]*", "an SPDX licence expression, such as MIT or CC-BY-4.0"),
]
Link = Annotated[str, Field(max_length=300), _Regex(r"(https://[!#-;=?-~]+)?", 'an https:// link, or ""')]
Sha256 = Annotated[str, _Regex(r"[0-9a-f]{64}", "64 lower-case hexadecimal digits")]
Positive = Annotated[int, Field(ge=1, le=1_000_000)]


def _scalar(value: object) -> object:
    finite = not isinstance(value, float) or math.isfinite(value)
    if isinstance(value, bool | int | float | str) and finite and len(str(value)) <= 200:
        return value
    raise ValueError("one true or false, finite number or short text")


def _semantics(value: object) -> object:
    if isinstance(value, str) and 0 < len(value) <= 64:
        return value
    if isinstance(value, dict) and len(value) <= 20:
        return {key: _scalar(entry) for key, entry in value.items()}
    raise ValueError("the name of a preset, or a table of NeuronSemantics' fields")


# Plain validators: with a union, pydantic would report one problem for each member that did not fit.
_SCALAR = {"type": ["boolean", "integer", "number", "string"]}
Scalar = Annotated[bool | int | float | str, PlainValidator(_scalar), WithJsonSchema(_SCALAR)]
Semantics = Annotated[
    str | dict[str, bool | int | float | str],
    PlainValidator(_semantics),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1, "maxLength": 64},
                {"type": "object", "maxProperties": 20, "additionalProperties": _SCALAR},
            ]
        }
    ),
]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


def _described(text: str, **rules: Any) -> Any:
    """A required field with the words that the schema and a fresh manifest explain it by."""
    return Field(description=text, **rules)


class Data(_Strict):
    """The data the model was trained for, and the grid its events are binned on."""

    name: Name = _described("the data set: one that `art-spiking list datasets` names")
    dt_us: Positive = _described("width of a time step in microseconds")
    steps: int = _described("time steps of a recording", ge=1, le=10_000)
    binary: bool = _described("true if an entry is 0 or 1, false if it counts events")


class Defence(_Strict):
    """A preprocessing defence that is part of the submitted model, by its registered name."""

    name: Name = _described("one that `art-spiking list defences` names")
    parameters: dict[str, Scalar] = Field(
        default_factory=dict, max_length=20, description="its parameters; dt_us is the data's"
    )


class Training(_Strict):
    """How the model was trained, in words; and the accuracy its authors measured."""

    description: Text = _described("how it was trained, in a few sentences: data, loss, defences")
    claimed_clean_accuracy: float = _described(
        "accuracy on the whole test split; one that is not found again keeps the model from a rank",
        ge=0.0,
        le=1.0,
    )


class FileEntry(_Strict):
    """Size and hash of one file of the submission."""

    sha256: Sha256 = _described("SHA-256 of the file")
    size: int = _described("its bytes", ge=1)


class Files(_Strict):
    """The files that hold the model: graph and weights, or code and perhaps weights."""

    graph: FileEntry | None = Field(default=None, description="graph.json, in the data division")
    weights: FileEntry | None = Field(default=None, description="weights.safetensors")
    code: FileEntry | None = Field(default=None, description="model.py, in the code division")

    @classmethod
    def of(cls, folder: Path) -> Files:
        """Those of the data division in a folder, as they are now."""
        entries = []
        for name in MODEL_FILES:
            content = (folder / name).read_bytes()
            entries.append(FileEntry(sha256=hashlib.sha256(content).hexdigest(), size=len(content)))
        return cls(graph=entries[0], weights=entries[1])

    def entries(self) -> dict[str, FileEntry]:
        """File name -> declared size and hash."""
        declared = zip((*MODEL_FILES, CODE_FILE), (self.graph, self.weights, self.code), strict=True)
        return {name: entry for name, entry in declared if entry is not None}


class Manifest(_Strict):
    """Everything about a submission that is not a weight.

    `input_shape` is (steps, channels, height, width). `semantics` is the name of a preset or a table with
    every field of NeuronSemantics; it must be the one that graph.json states, and so must those of single
    layers. A submission of code states none, and "in-code" as its readout.
    """

    # Not Literal[1]: that lets true pass.
    schema_version: int = _described("of this file's form", ge=SCHEMA_VERSION, le=SCHEMA_VERSION)
    name: Name = _described("the name of the folder")
    title: Line = _described("what the page shows")
    authors: tuple[Line, ...] = _described("their names", strict=False, min_length=1, max_length=50)
    licence: Licence = _described("of the model: an SPDX expression, such as CC-BY-4.0 or MIT")
    paper: Link = Field(default="", description='an https:// link, or ""')
    framework: Line = _described("what it was trained with, and its version: snnTorch 1.0.0")
    input_shape: tuple[Positive, ...] = _described(
        "time steps and the shape of one: [steps, polarities, rows, columns]",
        strict=False,
        min_length=2,
        max_length=4,
    )
    nb_classes: int = _described("how many classes it tells apart", ge=2, le=100_000)
    division: Annotated[str, _Regex("data|code", "data or code")] = Field(
        default="data", description="data: a graph and weights; code: model.py, which runs in a sandbox"
    )
    readout: Name = _described("what turns spikes into logits: spike-count, membrane-mean or membrane-max")
    semantics: Semantics = Field(
        default="", description="what the neurons do in discrete time; it is in graph.json too"
    )
    layer_semantics: dict[Line, Semantics] = Field(
        default_factory=dict,
        max_length=1000,
        description="that of single layers which differ, by node name; it is in graph.json too",
    )
    data: Data
    defences: tuple[Defence, ...] = Field(
        default=(),
        strict=False,
        max_length=8,
        description="filters that belong to the model: it is attacked and scored behind them",
    )
    training: Training
    files: Files


def manifest_schema() -> dict[str, Any]:
    """The JSON Schema of a manifest, for editors; `check` finds more than it can say."""
    schema = Manifest.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


@dataclass(frozen=True)
class Stated:
    """What a manifest says where it is right in itself, so that one wrong key hides nothing else."""

    table: Mapping[str, Any] = field(default_factory=dict)
    wrong: tuple[tuple[int | str, ...], ...] = ()

    def get(self, *path: int | str) -> Any:
        """The value at a path of keys and indices; None when it is absent, or anything in it is wrong."""
        if self.is_wrong(*path):
            return None
        value: Any = self.table
        for part in path:
            inside = isinstance(part, str) and isinstance(value, Mapping) and part in value
            if not inside and not (isinstance(part, int) and isinstance(value, list) and part < len(value)):
                return None
            value = value[part]
        return value

    def is_wrong(self, *path: int | str) -> bool:
        """Whether the value at a path, or anything in it, is wrong in itself."""
        return any(place[: len(path)] == path[: len(place)] for place in self.wrong)

    def count(self, key: str) -> int:
        """How many entries a list at the top has, wrong ones included; 0 when it is no list."""
        value = self.table.get(key)
        return len(value) if isinstance(value, list) and (key,) not in self.wrong else 0


@dataclass(frozen=True)
class ParsedManifest:
    """A manifest that was read; `problems` is empty exactly when `manifest` is there."""

    problems: tuple[ModelProblem, ...] = ()
    manifest: Manifest | None = None
    stated: Stated = field(default_factory=Stated)


def read_toml(content: bytes) -> dict[str, Any]:
    """A stranger's TOML, of which tomllib takes time that grows with the square of a key's dotted parts.

    Raises:
        ValueError, RecursionError: it is not TOML, not UTF-8, or too deep.
    """
    text = content.decode("utf-8")
    if any(line.count(".") > _MAX_DOTS for line in text.split("\n")):
        raise ValueError(f"a line with more than {_MAX_DOTS} dots")
    return tomllib.loads(text)


def parse_manifest(content: bytes) -> ParsedManifest:
    """Reads a manifest, whatever the bytes are."""

    def refused(expected: str, found: str) -> ParsedManifest:
        return ParsedManifest((ModelProblem(MANIFEST, "", expected, found),))

    if len(content) > MANIFEST_BYTES:
        return refused(f"at most {MANIFEST_BYTES} bytes", f"{len(content)} bytes")
    try:
        table = read_toml(content)
    except UnicodeDecodeError as error:
        return refused("UTF-8 text", f"an invalid byte at offset {error.start}")
    except tomllib.TOMLDecodeError as error:
        return refused("valid TOML", str(error))
    except RecursionError:
        return refused("valid TOML", "brackets nested too deeply")
    except ValueError as error:  # tomllib lets int() refuse a number of thousands of digits
        return refused("valid TOML", shown(str(error)))
    manifest, details = None, []
    try:
        manifest = Manifest.model_validate(table)
    except ValidationError as error:
        details = error.errors(include_url=False)
    stated = Stated(table, tuple(detail["loc"] for detail in details))
    problems = (*map(problem_of, details), *_contradictions(stated))
    return ParsedManifest(problems, None if problems else manifest, stated)


def _contradictions(stated: Stated) -> list[ModelProblem]:
    found = _division_problems(stated)
    first, steps = stated.get("input_shape", 0), stated.get("data", "steps")
    if first is not None and steps is not None and first != steps:
        expected = f"{steps}, as data.steps says (input_shape starts with the number of steps)"
        found.append(ModelProblem(MANIFEST, "input_shape[0]", expected, str(first)))
    return found


def _division_problems(stated: Stated) -> list[ModelProblem]:
    """What one of the two divisions needs and is not there, and what belongs to the other."""
    if ("division",) in stated.wrong:
        return []
    is_code = stated.table.get("division", "data") == "code"
    files = stated.table.get("files", {})
    there = {f"files.{key}": key in files for key in Files.model_fields if isinstance(files, Mapping)}
    there |= {key: key in stated.table for key in ("semantics", "layer_semantics")}
    wanted = {"files.code"} if is_code else {"files.graph", "files.weights", "semantics"}
    others = {"files.graph", "semantics", "layer_semantics"} if is_code else {"files.code"}
    division = "code" if is_code else "data"
    found = [
        ModelProblem(MANIFEST, key, "this key", "nothing")
        for key in sorted(wanted)
        if there.get(key) is False
    ]
    found += [
        ModelProblem(MANIFEST, key, f"no such key in the {division} division", "one")
        for key in sorted(others)
        if there.get(key)
    ]
    readout = stated.get("readout")
    if is_code and readout is not None and readout != IN_CODE:
        found.append(
            ModelProblem(MANIFEST, "readout", f"'{IN_CODE}', for code returns logits", shown(readout))
        )
    return found


def problem_of(detail: Mapping[str, Any], file: str = MANIFEST) -> ModelProblem:
    """What pydantic found, as a problem of a file."""
    key = ""
    for part in detail["loc"]:
        if isinstance(part, int):
            key += f"[{part}]"
        else:
            key += f".{part}" if key else str(part)
    kind, found = detail["type"], shown(detail["input"])
    if kind == "missing":
        return ModelProblem(file, key, "this key", "nothing")
    if kind == "extra_forbidden":
        return ModelProblem(file, key, "no such key (a misspelt name?)", found)
    expected = str(detail["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
    return ModelProblem(file, key, expected, found)
