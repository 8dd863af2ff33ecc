# SPDX-License-Identifier: MIT
"""Records: the result of one case for one model, per sample, with all that explains it; versioned JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)

from art_spiking.errors import InvalidInput
from art_spiking.files import write_atomically
from art_spiking.suites import Case, digest_of, problems_of

SCHEMA_VERSION: Literal[1] = 1
_MOST_BYTES = 64 * 1024 * 1024

Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


def _finite(value: Any) -> Any:
    """Refuses NaN and infinity anywhere inside free-form values."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("NaN and infinity are refused")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _finite(item)
    return value


Free = Annotated[dict[str, JsonValue], BeforeValidator(_finite)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Flag(_Frozen):
    """A reason to doubt a number: a code for programs, a sentence for people, the value that raised it."""

    code: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    text: str
    value: Annotated[float, Field(allow_inf_nan=False)] | None = None


class ModelIdentity(_Frozen):
    """Which model was evaluated; the same file under another semantics or readout is another model."""

    name: str
    digest: Digest
    readout: str
    semantics: Free = Field(default_factory=dict)
    defences: tuple[str, ...] = ()


class DataIdentity(_Frozen):
    """Which samples an evaluation used: one split of a data set, on its grid."""

    name: str
    split: str
    digest: Digest
    samples: Annotated[int, Field(ge=1)]
    grid: Free


class SuiteIdentity(_Frozen):
    """Which suite a case belongs to."""

    name: str
    version: Annotated[int, Field(ge=1)]
    digest: Digest


class Costs(_Frozen):
    """What a perturbation changed, per sample, in events.

    `own` counts the events of the clean sample; `moved` the pairs of one removed and one added event that
    the threat model takes for one event at another time.
    """

    added: tuple[Count, ...] = ()
    removed: tuple[Count, ...] = ()
    moved: tuple[Count, ...] = ()
    own: tuple[Count, ...] = ()

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        lengths = {len(self.added), len(self.removed), len(self.moved), len(self.own)}
        if len(lengths) != 1:
            raise ValueError("added, removed, moved and own must have one entry per sample")
        return self


class Activity(_Frozen):
    """What a model's neurons did, per sample, behind its defences.

    `spikes` adds up the output of every layer that fires, over all time steps; `operations` the synaptic
    operations, see `connections`. The events of the input are no spikes here, but cost operations.
    """

    spikes: tuple[Count, ...]
    operations: tuple[Count, ...]

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if len(self.spikes) != len(self.operations):
            raise ValueError("spikes and operations must have one entry per sample")
        return self


class Footprint(_Frozen):
    """How large a model is: its weights, biases and scales, and the bytes that they take when it is run."""

    parameters: Count
    bytes: Count


class Failure(_Frozen):
    """The exception that ended a case, and where it was raised."""

    type: str
    message: str
    traceback: tuple[str, ...] = ()


class MemberResult(_Frozen):
    """What one attack of an ensemble did; see `attacks.MemberOutcome`."""

    name: str
    tried: Count
    fooled: Count
    alone: Count | None
    forwards: Count
    backwards: Count
    seconds: Amount


class Omission(_Frozen):
    """What was left out, why, and for which samples, by their place among the test samples.

    `timed` tells whether it was for want of time.
    """

    what: str
    why: str
    samples: tuple[Count, ...] = ()
    timed: bool = True


class EnsembleResult(_Frozen):
    """What the members of an ensemble did, in the order in which they ran, and what was left out."""

    version: Annotated[int, Field(ge=1)]
    members: tuple[MemberResult, ...]
    left_out: tuple[Omission, ...] = ()


class CheckResult(_Frozen):
    """What one check of the trust battery found; `code` is that of the flag it raises, if it does."""

    check: str
    text: str
    code: str | None
    value: Annotated[float, Field(allow_inf_nan=False)] | None
    samples: Count
    forwards: Count
    backwards: Count
    seconds: Amount


class TrustResult(_Frozen):
    """What the trust battery found, and what it left out for want of time, in words."""

    checks: tuple[CheckResult, ...]
    left_out: tuple[str, ...] = ()


class Provenance(_Frozen):
    """What a result was made with, so that it can be made again."""

    packages: dict[str, str]
    providers: dict[str, str]
    device: str
    threads: Annotated[int, Field(ge=1)]
    started: str
    commit: str | None = None
    command: tuple[str, ...] = ()


_CIRCUMSTANCES: dict[str, Any] = {
    "provenance": True,
    "wall_seconds": True,
    "ensemble": {"members": {"__all__": {"seconds"}}},
    "trust": {"checks": {"__all__": {"seconds"}}},
}


class Record(_Frozen):
    """One case for one model.

    `status` is "ok"; "error" when the case raised (`failure` says how); or "invalid" when the attack
    returned samples that break its threat model or are no spike tensors (`flags` say how). Only an "ok"
    record holds `adversarial` predictions. `labels`, `clean`, `adversarial` and `control` are classes, one
    per test sample. `forwards` and `backwards` count the samples that passed through the model, for each
    sample that the attack worked on: the craft samples when it fits one perturbation for all, else the test
    samples. `chosen` states what the attack chose on the craft split, such as the surrogate of a sweep.
    `draws` is how many forward passes decide a class by their majority: one, unless the model draws random
    numbers. `clean_activity` and `activity` are what the neurons did without and under the attack, and
    `footprint` is the model's size: None where nobody can count it (submitted code, modules of other
    frameworks), and in records from before it was counted. `ensemble` and `trust` are there where an ensemble
    attacked, and where the case asked for the battery.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    status: Literal["ok", "error", "invalid"]
    model: ModelIdentity
    suite: SuiteIdentity
    case: Case
    craft: DataIdentity
    test: DataIdentity
    labels: tuple[Count, ...]
    clean: tuple[Count, ...]
    adversarial: tuple[Count, ...] = ()
    control: tuple[Count, ...] = ()
    cost: Costs = Costs()
    control_cost: Costs = Costs()
    chosen: Free = Field(default_factory=dict)
    draws: Annotated[int, Field(ge=1)] = 1
    footprint: Footprint | None = None
    clean_activity: Activity | None = None
    activity: Activity | None = None
    ensemble: EnsembleResult | None = None
    trust: TrustResult | None = None
    flags: tuple[Flag, ...] = ()
    forwards: Amount = 0.0
    backwards: Amount = 0.0
    wall_seconds: Amount = 0.0
    failure: Failure | None = None
    provenance: Provenance

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        samples = self.test.samples
        if len(self.labels) != samples or len(self.clean) != samples:
            raise ValueError(f"labels and clean must have one entry for each of {samples} samples")
        wanted = samples if self.status == "ok" else 0
        if len(self.adversarial) != wanted:
            raise ValueError(f"a record of status {self.status} must have {wanted} adversarial predictions")
        if self.status == "ok" and len(self.cost.own) != samples:
            raise ValueError(f"the cost must have one entry for each of {samples} samples")
        if len(self.control) not in (0, samples) or len(self.control) != len(self.control_cost.own):
            raise ValueError(f"control and its cost must be absent or cover all {samples} samples")
        for counted in (self.clean_activity, self.activity):
            if counted is not None and len(counted.spikes) != samples:
                raise ValueError(f"an activity must have one entry for each of {samples} samples")
        if self.activity is not None and self.status != "ok":
            raise ValueError("activity under attack belongs to status 'ok', and to it alone")
        if (self.failure is not None) != (self.status == "error"):
            raise ValueError("a failure belongs to status 'error', and to it alone")
        if self.status == "invalid" and not self.flags:
            raise ValueError("an invalid record must say why in its flags")
        return self

    def key(self) -> str:
        """SHA-256 of what decides the result: model, suite, case and data; not when or where it ran."""
        return cell_key(self.model, self.suite, self.case, (self.craft, self.test))

    def result(self) -> dict[str, Any]:
        """What was found, as plain data; not when, where or how fast, which another run may do otherwise."""
        return self.model_dump(mode="json", exclude=_CIRCUMSTANCES)

    def to_json(self) -> str:
        """The record as JSON text, one line; NaN cannot occur."""
        return json.dumps(self.model_dump(mode="json"), allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Record:
        """A record from its JSON text.

        Raises:
            InvalidInput: not JSON, another schema version, or inconsistent; all problems are listed.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise InvalidInput("a record is not valid", found=problems_of(error)) from error


def cell_key(
    model: ModelIdentity, suite: SuiteIdentity, case: Case, data: tuple[DataIdentity, DataIdentity]
) -> str:
    """SHA-256 of what decides a result. Names that people give to models and files are left out."""
    return digest_of(
        {
            "schema_version": SCHEMA_VERSION,
            "model": model.model_dump(mode="json", exclude={"name"}),
            "suite": suite.digest,
            "case": case.model_dump(mode="json"),
            "data": [part.digest for part in data],
        }
    )


def write_record(record: Record, path: Path) -> None:
    """Writes a record whole or not at all.

    Raises:
        CannotWrite: full disk, or no permission; a file already there is kept.
    """
    write_atomically(path, f"{record.to_json()}\n".encode())


def read_record(path: Path) -> Record:
    """Reads a record.

    Raises:
        InvalidInput: the file cannot be read or is no record; the message names it.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InvalidInput(f"cannot read the record {path}", found=error.strerror or error) from error
    if len(content) > _MOST_BYTES:
        raise InvalidInput(f"the record {path} is too long", accepted=f"at most {_MOST_BYTES} bytes")
    try:
        return Record.from_json(content)
    except InvalidInput as error:
        raise InvalidInput(f"the record {path} is not valid", found=error.found) from error
