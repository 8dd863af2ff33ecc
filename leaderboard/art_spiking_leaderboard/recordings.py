# SPDX-License-Identifier: MIT
"""One sample before and after an attack, as the events that were kept, added and removed; compact JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from art_spiking.errors import ArtSpikingError, InvalidInput
from art_spiking.files import write_atomically
from art_spiking.untrusted_files import open_regular, parse_json

SUFFIX = ".events.json"
VERSION = 1
MOST_BYTES = 32 * 1024 * 1024

_Count = Annotated[int, Field(ge=0)]
_Size = Annotated[int, Field(ge=1, le=100_000)]
_Events = Annotated[tuple[_Count, ...], Field(strict=False)]


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    recording_version: Annotated[int, Field(ge=VERSION, le=VERSION)]
    shape: Annotated[tuple[_Size, _Size, _Size, _Size], Field(strict=False)]
    dt_us: Annotated[int, Field(ge=1)]
    sample: _Count
    label: _Count
    clean_class: _Count
    adversarial_class: _Count
    kept: _Events
    added: _Events
    removed: _Events

    @model_validator(mode="after")
    def _on_the_grid(self) -> Self:
        cells = int(np.prod(self.shape, dtype=np.int64))
        beyond = [k for k in (*self.kept, *self.added, *self.removed) if k >= cells]
        if beyond:
            raise ValueError(f"cell {beyond[0]} lies outside the grid of {cells} cells")
        return self


@dataclass(frozen=True)
class Recording:
    """One sample, clean and attacked.

    Attributes:
        shape: (T, C, H, W) of its grid.
        dt_us: width of a step in µs.
        sample: its place in the test split.
        label: its class; `clean_class` and `adversarial_class` are what the model took it for.
        kept, added, removed: one number per event, its cell's place in the flattened grid; a cell that holds
            two events is named twice.
    """

    shape: tuple[int, int, int, int]
    dt_us: int
    sample: int
    label: int
    clean_class: int
    adversarial_class: int
    kept: tuple[int, ...]
    added: tuple[int, ...]
    removed: tuple[int, ...]

    def per_step(self) -> list[tuple[int, int, int]]:
        """Events kept, added and removed in each time step."""
        each = int(np.prod(self.shape[1:]))
        counts = [
            np.bincount(np.asarray(cells, dtype=np.int64) // each, minlength=self.shape[0])
            for cells in (self.kept, self.added, self.removed)
        ]
        return [(int(k), int(a), int(r)) for k, a, r in zip(*counts, strict=True)]


def recording_of(
    clean: npt.NDArray[np.float32],
    adversarial: npt.NDArray[np.float32],
    *,
    dt_us: int,
    sample: int,
    classes: Sequence[int],
) -> Recording:
    """What an attack kept, added and removed.

    Args:
        clean: (T, C, H, W) counts.
        adversarial: the same sample after the attack.
        dt_us: width of a step in µs.
        sample: its place in the test split.
        classes: its label, and what the model took it for before and after.
    """
    before, after = clean.ravel().astype(np.int64), adversarial.ravel().astype(np.int64)
    label, clean_class, adversarial_class = classes
    t, c, h, w = clean.shape
    return Recording(
        (t, c, h, w),
        dt_us,
        sample,
        label,
        clean_class,
        adversarial_class,
        kept=_cells(np.minimum(before, after)),
        added=_cells((after - before).clip(min=0)),
        removed=_cells((before - after).clip(min=0)),
    )


def write_recording(recording: Recording, path: Path) -> None:
    """Writes a recording whole or not at all.

    Raises:
        CannotWrite: full disk, or no permission.
    """
    values = {"recording_version": VERSION, **asdict(recording)}
    write_atomically(path, (json.dumps(values, separators=(",", ":")) + "\n").encode())


def read_recording(path: Path) -> Recording:
    """Reads what `write_recording` wrote, and believes nothing in it unseen.

    Raises:
        InvalidInput: the file cannot be read, is too long, or is no recording.
    """
    try:
        with open_regular(path, MOST_BYTES) as file:
            form = _Form.model_validate(parse_json(file.read(MOST_BYTES + 1)))
    except (ArtSpikingError, ValidationError, ValueError, OSError) as error:
        raise InvalidInput(f"{path} is no recording of an attack", found=f"{error!s:.300}") from error
    return Recording(**{key: value for key, value in form if key != "recording_version"})


def _cells(counts: npt.NDArray[np.int64]) -> tuple[int, ...]:
    places = np.flatnonzero(counts)
    return tuple(np.repeat(places, counts[places]).tolist())
