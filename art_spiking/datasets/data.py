# SPDX-License-Identifier: MIT
"""EventData: labelled spike tensors with the grid they were binned on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from art_spiking.errors import InvalidInput
from art_spiking.events import Grid, validate_spike_tensor


@dataclass(frozen=True, eq=False)
class EventData:
    """Labelled spike tensors of one split.

    Attributes:
        x: float32 (N, T, C, H, W), of the grid's shape.
        y: int64 (N,) labels from 0 to classes - 1.
        grid: the cells that the events were counted in.
        name: of the data set.
        split: "train" or "test".
        classes: how many labels there are.
        late: float64 (N,), the share of each recording's events that came after the grid's end and were
            counted into its last step; zeros unless given.

    Raises:
        InvalidInput: spike tensors that do not fit the grid, or labels or shares that do not fit the samples.
    """

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]
    grid: Grid
    name: str
    split: str
    classes: int = 10
    late: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        """Checks the arrays."""
        object.__setattr__(
            self, "x", validate_spike_tensor(self.x, shape=self.grid.shape, binary=self.grid.binary)
        )
        object.__setattr__(self, "y", _checked_labels(self.y, len(self.x), self.classes))
        late = np.asarray(self.late, dtype=np.float64)
        late = late if late.size else np.zeros(len(self.x))
        if late.shape != (len(self.x),) or not ((late >= 0) & (late <= 1)).all():
            raise InvalidInput(
                "the shares of late events do not fit the samples",
                found=f"{late.dtype} {late.shape}",
                accepted=f"0 to 1, ({len(self.x)},)",
            )
        object.__setattr__(self, "late", late)

    def __len__(self) -> int:
        return len(self.y)

    def digest(self) -> str:
        """The SHA-256 of what the samples are: counts, labels and grid; not of the name."""
        state = hashlib.sha256(f"{self.grid} {self.x.shape}".encode())
        for sample in self.x:
            state.update(np.ascontiguousarray(sample, dtype="<f4").tobytes())
        state.update(self.y.astype("<i8").tobytes())
        return f"sha256:{state.hexdigest()}"

    def subset(self, chosen: int | Sequence[int] | npt.NDArray[np.int64]) -> EventData:
        """The first n samples, or those at the given indices.

        Raises:
            InvalidInput: more samples than there are, an index out of range, or none at all.
        """
        if isinstance(chosen, int | np.integer):
            if not 1 <= chosen <= len(self):
                raise InvalidInput(
                    "a subset of this size is not there",
                    asked=int(chosen),
                    accepted=f"1 to {len(self)} samples",
                )
            index = np.arange(chosen)
        else:
            index = np.asarray(chosen)
            if index.ndim != 1 or index.dtype.kind not in "iu" or not len(index):
                raise InvalidInput("a subset is a number or a list of indices", asked=repr(chosen))
            if index.min() < 0 or index.max() >= len(self):
                raise InvalidInput(
                    "an index lies outside the data",
                    asked=f"{index.min()} to {index.max()}",
                    accepted=f"0 to {len(self) - 1}",
                )
        return replace(self, x=self.x[index], y=self.y[index], late=self.late[index])


def _checked_labels(y: npt.NDArray[np.int64], samples: int, classes: int) -> npt.NDArray[np.int64]:
    labels = np.asarray(y)
    if labels.shape != (samples,) or labels.dtype.kind not in "iu":
        raise InvalidInput(
            "labels do not fit the samples",
            found=f"{labels.dtype} {labels.shape}",
            accepted=f"whole numbers ({samples},)",
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise InvalidInput(
            f"the label of sample {wrong[0]} is out of range",
            found=labels[wrong[0]],
            accepted=f"0 to {classes - 1}",
        )
    return labels.astype(np.int64)
