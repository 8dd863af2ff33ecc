# SPDX-License-Identifier: MIT
"""Claims: a stronger attack's events lower a model's number, once the host has checked and scored them.

A claim is a folder with `claim.toml`, what is claimed by whom, and `events.safetensors`, the attacked
samples. Nothing in it is run. What is kept of an accepted claim, in `<records>/<model>/<suite>/claims/`, is
the host's own score and the events, by their hash.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from art_spiking.checks import adversarial_flags
from art_spiking.errors import InvalidInput
from art_spiking.evaluate import Setting, build_threat
from art_spiking.files import write_atomically
from art_spiking.graphs import ModelProblem, ModelProblems
from art_spiking.records import Record
from art_spiking.untrusted_files import open_regular
from art_spiking_leaderboard.manifest import Line, Link, Name, Text, problem_of, read_toml
from art_spiking_leaderboard.packed_events import MOST_BYTES, Spikes, are_whole, pack_events, unpack_events

CLAIM, EVENTS = "claim.toml", "events.safetensors"
FOLDER = "claims"
_CLAIM_BYTES = 64 * 1024
VERSION = 1


class ClaimForm(BaseModel):
    """What `claim.toml` says."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    schema_version: Annotated[int, Field(ge=VERSION, le=VERSION)]
    model: Name
    suite: Name
    case: Name
    authors: Annotated[tuple[Line, ...], Field(strict=False, min_length=1, max_length=50)]
    description: Text
    paper: Link = ""
    samples: Annotated[
        tuple[Annotated[int, Field(ge=0, lt=1 << 31)], ...],
        Field(strict=False, min_length=1, max_length=100_000),
    ]


@dataclass(frozen=True)
class Claim:
    """An accepted claim, as it is kept.

    Attributes:
        form: what was claimed.
        result: the key of the cell's result that it lowers: model, suite, case and data.
        events: SHA-256 of the events' file.
        predicted: the class of each claimed sample, as the host scored it.
        date: when it was accepted (UTC, ISO 8601).
    """

    form: ClaimForm
    result: str
    events: str
    predicted: tuple[int, ...]
    date: str

    def lowered(self, record: Record) -> tuple[int, ...]:
        """The predictions of a record's case with the claimed samples' in their places."""
        found = list(record.adversarial)
        for place, class_ in zip(self.form.samples, self.predicted, strict=True):
            found[place] = class_
        return tuple(found)

    def to_json(self) -> str:
        """What the file holds."""
        values = {
            "claim_version": VERSION,
            "form": self.form.model_dump(mode="json"),
            "result": self.result,
            "events": self.events,
            "predicted": self.predicted,
            "date": self.date,
        }
        return json.dumps(values, indent=1, sort_keys=True) + "\n"


def write_claim(folder: Path, form: ClaimForm, x_adv: Spikes) -> None:
    """Writes the two files of a claim.

    Args:
        folder: made where it is missing.
        form: what is claimed; its `samples` are the places in the test split, in the order of `x_adv`.
        x_adv: attacked samples (n, T, C, H, W): zeros and ones, or counts up to 255.

    Raises:
        InvalidInput: other numbers, or another number of samples.
        CannotWrite: full disk, or no permission.
    """
    x_adv = np.asarray(x_adv)
    if len(x_adv) != len(form.samples) or not are_whole(x_adv):
        raise InvalidInput(
            "that cannot be claimed",
            found=f"{len(x_adv)} samples, entries from {x_adv.min(initial=0)} to {x_adv.max(initial=0)}",
            accepted=f"{len(form.samples)} samples of whole numbers from 0 to 255",
        )
    lines = [f"{key} = {json.dumps(value)}" for key, value in form.model_dump(mode="json").items()]
    write_atomically(folder / EVENTS, pack_events(x_adv.astype(np.uint8)))
    write_atomically(folder / CLAIM, ("\n".join(lines) + "\n").encode())


def read_form(folder: Path) -> ClaimForm:
    """What a folder claims; every problem is told at once.

    Raises:
        ModelProblems: it is no claim.
    """
    try:
        with open_regular(folder / CLAIM, _CLAIM_BYTES, follow_links=False) as file:
            table = read_toml(file.read(_CLAIM_BYTES + 1))
        return ClaimForm.model_validate(table)
    except ValidationError as error:
        problems = [problem_of(detail, CLAIM) for detail in error.errors(include_url=False)]
    except (ValueError, RecursionError, OSError) as error:
        problems = [ModelProblem(CLAIM, "", "a file of TOML", f"{error!s:.200}")]
    raise ModelProblems(problems, remedy="`write_claim` in art_spiking_leaderboard.claims makes one")


def score(raw: bytes, form: ClaimForm, setting: Setting, record: Record) -> Claim:
    """Checks the events of a claim and scores them in the deployed readout.

    Args:
        raw: the events' file.
        form: what is claimed.
        setting: the model, prepared for the suite.
        record: what the suite's own attack came to in that case.

    Raises:
        ModelProblems: the files are not what they must be.
        InvalidInput: the events break the threat model, or fool the model nowhere anew.
    """
    data = setting.splits.test
    beyond = [place for place in form.samples if place >= len(data.y)]
    if beyond or len(set(form.samples)) < len(form.samples):
        accepted = f"each once, from 0 to {len(data.y) - 1}"
        raise InvalidInput("the claimed samples do not fit", found=beyond or "one twice", accepted=accepted)
    rows = list(form.samples)
    x_adv = unpack_events(raw, (len(rows), *data.x.shape[1:]), binary=data.grid.binary, file=EVENTS)
    threat = build_threat(record.case.threat, setting.providers.threats, dt_us=data.grid.dt_us)
    broken = adversarial_flags(x_adv, data.x[rows], threat, binary=data.grid.binary)
    if broken:
        raise InvalidInput(
            "the claimed events are not what the case's threat model allows",
            found="; ".join(flag.text for flag in broken),
            accepted=repr(threat),
        )
    predicted = tuple(int(k) for k in setting.estimator.predict(x_adv).argmax(1))
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    claim = Claim(form, record.key(), hashlib.sha256(raw).hexdigest(), predicted, date)
    before, after = record.adversarial, claim.lowered(record)
    gained = sum(b == y != a for y, b, a in zip(record.labels, before, after, strict=True))
    if not gained:
        wrong = sum(a != y for y, a in zip(data.y[rows], predicted, strict=True))
        raise InvalidInput(
            "the claim lowers nothing: no claimed sample is fooled that the case's own attack left right",
            found=f"{wrong} of {len(rows)} fooled",
        )
    return claim


def keep(claim: Claim, raw: bytes, records: Path) -> Path:
    """Puts an accepted claim and its events beside the cells that it lowers.

    Raises:
        CannotWrite: full disk, or no permission.
    """
    place = records / claim.form.model / claim.form.suite / FOLDER
    write_atomically(place / f"{claim.events}.safetensors", raw)
    path = place / f"{claim.events}.json"
    write_atomically(path, claim.to_json().encode())
    return path


def kept(records: Path, model: str, suite: str) -> Iterator[Claim | str]:
    """The accepted claims of a model and suite; one that was changed or cannot be read comes as a text."""
    for path in sorted((records / model / suite / FOLDER).glob("*.json")):
        try:
            with open_regular(path, 1 << 24, follow_links=False) as file:
                values = json.loads(file.read())
            claim = Claim(
                ClaimForm.model_validate(values["form"]),
                str(values["result"]),
                str(values["events"]),
                tuple(map(int, values["predicted"])),
                str(values["date"]),
            )
            if path.stem != claim.events or len(claim.predicted) != len(claim.form.samples):
                raise ValueError("parts that do not belong together")
            if (
                hashlib.sha256(read_events(path.parent, path.with_suffix(".safetensors").name)).hexdigest()
                != path.stem
            ):
                raise ValueError("its events were changed")
        except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
            yield f"{path} is no claim that was accepted: {error!s:.200}"
        else:
            yield claim


def read_events(folder: Path, name: str = EVENTS) -> bytes:
    """The events' file of a folder, whatever it holds.

    Raises:
        ModelProblems: there is none that can be read.
    """
    try:
        with open_regular(folder / name, MOST_BYTES, follow_links=False) as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ModelProblems([ModelProblem(name, "", "the attacked samples", str(error.strerror))]) from error
