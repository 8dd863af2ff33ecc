# SPDX-License-Identifier: MIT
"""Does what fools one model fool another? The attacked samples of each model, scored by all the others."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from art_spiking.errors import ArtSpikingError, InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.evaluate.settings import predict
from art_spiking.files import write_atomically
from art_spiking.metrics import worst_case
from art_spiking.records import Count, Digest, Record
from art_spiking.suites import digest_of
from art_spiking.untrusted_files import open_regular, parse_json
from art_spiking_leaderboard.cells import Cell
from art_spiking_leaderboard.kept_events import kept_events
from art_spiking_leaderboard.packed_events import Spikes

VERSION = 1
_MOST_BYTES = 1 << 27

Counts = Annotated[tuple[Count, ...], Field(strict=False)]


class _Frozen(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Scored(_Frozen):
    """A model as it was when it was scored, and how many samples it gets right without an attack."""

    name: str
    digest: Digest
    clean: Count


class Source(_Frozen):
    """What the samples that were made for one model do to all.

    `events` is the SHA-256 of the samples' file, by case. `right` counts the samples that each model (in the
    order of `Transfer.models`) gets right, by case; `worst` those that it gets right without an attack and in
    every case.
    """

    name: str
    events: dict[str, str]
    right: dict[str, Counts]
    worst: Counts


class LeftOut(_Frozen):
    """A model that is not there, or is not attacked from, and why."""

    name: str
    why: str


class Transfer(_Frozen):
    """A matrix: models that samples were made for, against models that they were shown to."""

    transfer_version: Annotated[int, Field(ge=VERSION, le=VERSION)] = VERSION
    suite: str
    suite_digest: Digest
    data: str
    test: Digest
    samples: Annotated[int, Field(ge=1)]
    models: Annotated[tuple[Scored, ...], Field(strict=False)]
    sources: Annotated[tuple[Source, ...], Field(strict=False)]
    left_out: Annotated[tuple[LeftOut, ...], Field(strict=False)] = ()
    packages: dict[str, str] = Field(default_factory=dict)
    commit: str | None = None
    finished: str = ""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        names = [model.name for model in self.models]
        for source in self.sources:
            columns = (source.worst, *source.right.values())
            if source.name not in names or source.right.keys() != source.events.keys():
                raise ValueError(f"{source.name} is no model of these, or its cases differ")
            if any(len(column) != len(names) or max(column) > self.samples for column in columns):
                raise ValueError(f"{source.name}: one count for each model, of at most {self.samples}")
        return self

    def only(self, digests: Mapping[str, str]) -> Transfer:
        """The part of it that is about models as they are now, by name and digest."""
        kept = [k for k, model in enumerate(self.models) if digests.get(model.name) == model.digest]
        names = {self.models[k].name for k in kept}

        def part(column: Sequence[int]) -> tuple[int, ...]:
            return tuple(column[k] for k in kept)

        sources = [
            source.model_copy(
                update={
                    "right": {case: part(column) for case, column in source.right.items()},
                    "worst": part(source.worst),
                }
            )
            for source in self.sources
            if source.name in names
        ]
        gone = [
            LeftOut(name=model.name, why="it was changed since, or is not ranked any more")
            for model in self.models
            if model.name not in names
        ]
        return self.model_copy(
            update={
                "models": tuple(self.models[k] for k in kept),
                "sources": tuple(sources),
                "left_out": (*self.left_out, *gone),
            }
        )


@dataclass(frozen=True)
class Contestant:
    """A ranked model of the data division.

    Attributes:
        name: its name.
        digest: of the model.
        place: the folder of its cells of the suite.
        cells: one per case of the suite, by its name.
        build: makes the classifier.
    """

    name: str
    digest: str
    place: Path
    cells: Mapping[str, Cell]
    build: Callable[[], SpikingClassifier]

    @property
    def record(self) -> Record:
        """Any of its records: they share data, labels and clean predictions."""
        return next(iter(self.cells.values())).record


def same_samples(contestants: Sequence[Contestant]) -> tuple[list[Contestant], list[LeftOut]]:
    """Those that were scored on the samples that most were scored on, binned alike; and the others."""
    digests = Counter(each.record.test.digest for each in contestants)
    usual = digests.most_common(1)[0][0] if digests else ""
    chosen = [each for each in contestants if each.record.test.digest == usual]
    others = [
        LeftOut(name=each.name, why=f"it takes other samples: {_grid(each.record)}")
        for each in contestants
        if each.record.test.digest != usual
    ]
    return chosen, others


def score_transfer(
    contestants: Sequence[Contestant],
    *,
    warn: Callable[[str], object],
    starting: Callable[[str], object] = lambda name: None,
) -> tuple[list[Source], list[LeftOut]]:
    """Scores the attacked samples that were kept of each model on all models.

    A model whose samples were not kept, were changed, or do not give the model itself the predictions of its
    record is attacked, and not attacked from.

    Args:
        contestants: models of the same test samples.
        warn: told of files that cannot be used.
        starting: told of each model before its samples are scored.
    """
    estimators = [each.build() for each in contestants]
    sources, left_out = [], []
    for place, source in enumerate(contestants):
        starting(source.name)
        found = _source(source, place, contestants, estimators)
        if isinstance(found, Source):
            sources.append(found)
        else:
            warn(f"{source.name} is attacked, and not attacked from: {found}")
            left_out.append(LeftOut(name=source.name, why=f"attacked only: {found}"))
    return sources, left_out


def write_transfer(transfer: Transfer, records: Path) -> Path:
    """Writes the matrix of a suite and data set, with its hash, into the folder of records.

    Raises:
        CannotWrite: full disk, or no permission.
    """
    values = transfer.model_dump(mode="json")
    path = records / transfer_file(transfer.suite, transfer.data)
    content = {"sha256": digest_of(values), "transfer": values}
    write_atomically(path, (json.dumps(content, allow_nan=False) + "\n").encode())
    return path


def read_transfer(records: Path, suite: str, data: str) -> Transfer | None:
    """The matrix of a suite and data set; None if there is none.

    Raises:
        InvalidInput: the file was changed, or is no matrix.
    """
    path = records / transfer_file(suite, data)
    if not path.exists() and not path.is_symlink():
        return None
    try:
        with open_regular(path, _MOST_BYTES, follow_links=False) as file:
            content = parse_json(file.read(_MOST_BYTES + 1))
        if digest_of(content["transfer"]) != content["sha256"]:
            raise ValueError("its content does not have the hash it states")
        found = Transfer.model_validate(content["transfer"])
        if (found.suite, found.data) != (suite, data):
            raise ValueError(f"it is about {found.suite} on {found.data}")
    except (ArtSpikingError, ValidationError, ValueError, OSError, KeyError, TypeError) as error:
        raise InvalidInput(f"{path} is no transfer matrix", found=f"{error!s:.300}") from error
    return found


def transfer_file(suite: str, data: str) -> str:
    """Its name in the folder of records, where folders are models'."""
    return f"transfer.{suite}.{data}.json"


def _source(
    source: Contestant,
    place: int,
    contestants: Sequence[Contestant],
    estimators: Sequence[SpikingClassifier],
) -> Source | str:
    """What its samples do to all models; or why they cannot be used."""
    events: dict[str, str] = {}
    predicted: dict[str, list[tuple[int, ...]]] = {}
    for case, cell in source.cells.items():
        try:
            kept = _kept(source, cell)
        except InvalidInput as error:
            return str(error)
        if kept is None:
            return f"the attacked samples of {case} were not kept; `run --keep-events` keeps them"
        x_adv, events[case] = kept
        own = _classes(estimators[place], source, x_adv)
        if own != cell.record.adversarial:
            return f"the samples kept of {case} do not give its own record's predictions"
        predicted[case] = [
            own if k == place else _classes(estimator, contestants[k], x_adv)
            for k, estimator in enumerate(estimators)
        ]
    labels = np.asarray(source.record.labels)
    worst = [
        int(worst_case(labels, victim.record.clean, [classes[k] for classes in predicted.values()]).sum())
        for k, victim in enumerate(contestants)
    ]
    right = {
        case: tuple(int((np.asarray(classes) == labels).sum()) for classes in found)
        for case, found in predicted.items()
    }
    return Source(name=source.name, events=events, right=right, worst=tuple(worst))


def _kept(source: Contestant, cell: Cell) -> tuple[Spikes, str] | None:
    grid = cell.record.test.grid
    sides = tuple(int(str(grid[axis])) for axis in ("steps", "polarities", "height", "width"))
    shape = (cell.record.test.samples, *sides)
    return kept_events(source.place, cell.identity.key, shape, binary=bool(grid["binary"]))


def _classes(estimator: SpikingClassifier, model: Contestant, x: Spikes) -> tuple[int, ...]:
    return tuple(int(label) for label in predict(estimator, x, draws=model.record.draws))


def _grid(record: Record) -> str:
    grid = record.test.grid
    return f"{grid.get('steps')} steps of {grid.get('dt_us')} µs, {grid.get('height')} x {grid.get('width')}"
