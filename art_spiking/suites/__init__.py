# SPDX-License-Identifier: MIT
"""Suites: published, frozen lists of cases, written in TOML."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import math
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
)

from art_spiking.errors import InvalidInput, PluginError
from art_spiking.registry import Catalogue, catalogue, unknown_name

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""Names become file names and parts of addresses: lower-case letters, digits, dots and hyphens."""

# tomllib recurses per bracket; nothing that people write by hand comes near this.
_MOST_BYTES = 64 * 1024


_LATER: dict[str, Any] = {"trust": False, "minutes": None}
"""Fields of a case that came after the first suites were frozen, and what they are unless stated."""


class Control(BaseModel):
    """The random attack that stands beside a case, under the same threat model and seed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    attack: Name
    parameters: dict[str, JsonValue] = Field(default_factory=dict)


class Case(BaseModel):
    """An attack, a threat model and a seed.

    `threat` names its `kind`, as registered, beside that kind's own parameters. `parameters` are the attack's
    hyper-parameters; what is left out takes the attack's default. With a `target`, the attack is targeted: it
    wins where samples of the other classes are taken for that class. `trust` asks for the battery of
    `art_spiking.trust` after the attack. `minutes` is the most time for both, for an attack that keeps to it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Name
    attack: Name
    threat: dict[str, JsonValue]
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    target: Annotated[int, Field(ge=0)] | None = None
    control: Control | None = None
    trust: bool = False
    minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what came later and is not used: the digests of older suites and cells stay theirs."""
        form: dict[str, Any] = handler(self)
        return {name: value for name, value in form.items() if value is not _LATER.get(name, ...)}

    @field_validator("parameters")
    @classmethod
    def _host_sets(cls, parameters: dict[str, JsonValue]) -> dict[str, JsonValue]:
        # An attack that was told one target and scored by another is a known way to a wrong number.
        for name, instead in (("targeted", "target"), ("seed", "seed")):
            if name in parameters:
                raise ValueError(f"'{name}' is not a parameter here; write {instead} = <number> in the case")
        return parameters

    @field_validator("threat")
    @classmethod
    def _has_kind(cls, threat: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if not isinstance(threat.get("kind"), str):
            raise ValueError("a threat needs its kind, as in { kind = 'event-edits', max_edits = 50 }")
        return threat


class Suite(BaseModel):
    """A list of cases and the numbers of samples they are fitted and scored on.

    `craft` and `test` are the most samples taken from each split; None takes all. `shard` is how many test
    samples are attacked by themselves, so that a case can be spread over many workers; None attacks all
    together. What an attack draws, and with it a result, depends on who is attacked together: so this is the
    suite's to say, and not a choice of whoever runs it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Name
    version: Annotated[int, Field(ge=1)]
    summary: str = ""
    craft: Annotated[int, Field(ge=1)] | None = None
    test: Annotated[int, Field(ge=1)] | None = None
    shard: Annotated[int, Field(ge=1)] | None = None
    cases: tuple[Case, ...]

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `shard` where it is not used: the digests of older suites stay theirs."""
        form: dict[str, Any] = handler(self)
        return {name: value for name, value in form.items() if (name, value) != ("shard", None)}

    @field_validator("cases")
    @classmethod
    def _names_differ(cls, cases: tuple[Case, ...]) -> tuple[Case, ...]:
        if not cases:
            raise ValueError("a suite needs at least one case")
        names = [case.name for case in cases]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two cases are named {', '.join(twice)}")
        return cases

    def case(self, name: str) -> Case:
        """The case of that name.

        Raises:
            UnknownName: the suite has none; near names are suggested.
        """
        for case in self.cases:
            if case.name == name:
                return case
        raise unknown_name(f"case of suite {self.name}", name, [case.name for case in self.cases])

    def digest(self) -> str:
        """SHA-256 of all that decides a result: everything but the summary."""
        return digest_of(self.model_dump(mode="json", exclude={"summary"}))


def load_suite(source: str | Path, suites: Catalogue | None = None) -> Suite:
    """A suite by its registered name, or from a TOML file.

    Args:
        source: a name, or the path of a file that ends in .toml.
        suites: where to look the name up; by default every installed plugin.

    Raises:
        InvalidInput: the file cannot be read or is not a suite; all problems are listed.
        UnknownName: nobody registered the name.
    """
    if isinstance(source, Path) or str(source).endswith(".toml"):
        return read_suite(Path(source))
    entry = (catalogue("suites") if suites is None else suites)[source]
    if isinstance(entry.target, str) and entry.target.endswith(".toml"):
        package, _, file = entry.target.partition(":")
        try:
            content = importlib.resources.files(package).joinpath(file).read_bytes()
        except (ImportError, OSError) as error:
            raise PluginError(
                f"cannot read suite '{source}' of {entry.provider}", found=str(error)
            ) from error
        suite = parse_suite(content, f"suite '{source}' of {entry.provider}")
    else:
        found = entry.load()
        suite = found() if callable(found) else found
    if not isinstance(suite, Suite) or suite.name != source:
        raise PluginError(
            f"suite '{source}' of {entry.provider} is not what it says",
            found=suite.name if isinstance(suite, Suite) else type(suite).__name__,
            accepted=f"a Suite named '{source}'",
        )
    return suite


def read_suite(path: Path) -> Suite:
    """A suite from a TOML file.

    Raises:
        InvalidInput: the file cannot be read or is not a suite; all problems are listed.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InvalidInput(f"cannot read the suite {path}", found=error.strerror or error) from error
    return parse_suite(content, f"the suite {path}")


def parse_suite(content: bytes, what: str) -> Suite:
    """A suite from the bytes of a TOML file; `what` names it in errors.

    Raises:
        InvalidInput: not TOML, too long, or not a suite; all problems are listed.
    """
    if len(content) > _MOST_BYTES:
        raise InvalidInput(f"{what} is too long", accepted=f"at most {_MOST_BYTES} bytes")
    try:
        given = tomllib.loads(content.decode())
        strange = "; ".join(_not_json(given))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"{what} is not TOML", found=error) from error
    if strange:
        raise InvalidInput(
            f"{what} holds a value that is no text, number, list or table",
            found=strange,
            accepted="text, finite numbers, true, false, lists and tables",
        )
    try:
        return Suite.model_validate_json(json.dumps(given, allow_nan=False))
    except ValidationError as error:
        raise InvalidInput(f"{what} is not valid", found=problems_of(error)) from error


def _not_json(value: Any, place: str = "") -> Iterator[str]:
    """Where TOML's dates and its nan and inf are: they have no place in a suite."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _not_json(item, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _not_json(item, f"{place}.{index}")
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{place} = {value}"
    elif not isinstance(value, str | int | float):
        yield f"{place} = {value} (a {type(value).__name__})"


def problems_of(error: ValidationError) -> str:
    """Every problem that pydantic found, each with its place, in one line."""
    lines = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        place = ".".join(str(part) for part in problem["loc"]) or "as a whole"
        lines.append(f"{place}: {problem['msg'].removeprefix('Value error, ')}")
    return "; ".join(lines)


def digest_of(content: Any) -> str:
    """SHA-256 of a value's canonical JSON, as "sha256:...".

    Raises:
        ValueError: the value holds NaN or infinity.
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
