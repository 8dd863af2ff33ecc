# SPDX-License-Identifier: MIT
"""Perturbations that know no sample: what a universal attack fits, applies to any batch, saves and loads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from art_spiking.attacks.universal.files import read_perturbation, write_perturbation
from art_spiking.attacks.universal.movements import Movements, check_translation, draw_locations, draw_shifts
from art_spiking.attacks.universal.windows import Windows, at_rest, turned
from art_spiking.errors import InvalidInput
from art_spiking.events import validate_spike_tensor
from art_spiking.threats import EventThreat, threat_from_dict

Values = npt.NDArray[np.float32]
_LEAST_PRIORITY = 0.01
_FARTHEST = 4096
"""Pixels that a path may lead away, so that a file cannot ask for any amount of memory."""

Batch = TypeVar("Batch", npt.NDArray[Any], Tensor)


@dataclass(frozen=True, eq=False, kw_only=True)
class Perturbation(ABC):
    """One change for all samples.

    Attributes:
        max_shift: most steps by which the perturbation is turned in time, drawn anew for each sample, either
            way and all alike; what leaves at one end enters at the other, so nothing of it is lost. A shift
            of half the steps or more is a loop that plays without any synchronisation. 0 for none.
        threat: rules that each sample must keep; `apply` drops the weakest edits that would break them. None
            where the perturbation alone guarantees them.
    """

    max_shift: int = 0
    threat: EventThreat | None = None

    kind: ClassVar[str]

    def _check(self) -> None:
        _check_most("max_shift", self.max_shift, "steps")

    @property
    @abstractmethod
    def values(self) -> Values:
        """What is shown of it, as ART's `noise`: float32."""

    @abstractmethod
    def request(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """The batch (N, T, C, H, W) that the perturbation makes of `x`, before the threat's rules.

        A change below 1 in size asks for a whole event of that priority, as `EventThreat.project` reads it.
        """

    def apply(self, x: Batch, *, seed: int = 0) -> Batch:
        """Perturbs a batch; the input is left as it is.

        Args:
            x: (N, T, C, H, W) counts, array or tensor.
            seed: decides shifts and locations that are random; the k-th sample of a batch always gets the
                same ones.

        Returns:
            The same kind of batch, float32 for arrays; exactly whole counts.

        Raises:
            InvalidInput: no spike tensor, or of a shape that the perturbation was not made for; or no seed.
        """
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**63:
            raise InvalidInput("seed does not fit", asked=repr(seed), accepted="a whole number of 0 or more")
        if isinstance(x, Tensor):
            return self._apply(_checked_counts(x.detach()), int(seed)).to(x.dtype)
        clean = torch.from_numpy(validate_spike_tensor(x, binary=False))
        return self._apply(clean, int(seed)).numpy()

    @torch.no_grad()
    def _apply(self, x: Tensor, seed: int) -> Tensor:
        self.check_fits(tuple(x.shape))
        wanted = self.request(x, torch.Generator().manual_seed(seed))
        if self.threat is not None:
            return self.threat.project(wanted, x)
        return x + (wanted - x).sign() * (wanted - x).abs().ceil()

    @abstractmethod
    def check_fits(self, shape: tuple[int, ...]) -> None:
        """Raises InvalidInput unless a batch of `shape` can take the perturbation."""

    @abstractmethod
    def contents(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Its arrays and its other fields, as `save` writes them."""

    @classmethod
    @abstractmethod
    def from_contents(cls, arrays: dict[str, npt.NDArray[Any]], fields: dict[str, Any]) -> Perturbation:
        """The inverse of `contents`."""

    def save(self, path: str | Path) -> None:
        """Writes the perturbation as an .npz of plain arrays and one JSON text.

        Raises:
            InvalidInput: the file cannot be written.
        """
        arrays, fields = self.contents()
        fields = {"max_shift": self.max_shift, "threat": self.threat and self.threat.to_dict()} | fields
        write_perturbation(Path(path), kind=self.kind, arrays=arrays, fields=fields)

    @staticmethod
    def load(path: str | Path) -> Perturbation:
        """Reads what `save` wrote; nothing in the file is ever executed.

        Raises:
            MissingData: there is no such file.
            InvalidInput: the file is not a perturbation, is damaged, or is of a newer version.
        """
        kind, arrays, fields = read_perturbation(Path(path))
        kinds: dict[str, type[Perturbation]] = {c.kind: c for c in (EditMask, Patch)}
        if kind not in kinds:
            raise InvalidInput(
                f"{path}: unknown kind of perturbation", found=repr(kind), accepted=", ".join(kinds)
            )
        try:
            threat = fields.pop("threat", None)
            rules = None if threat is None else threat_from_dict(threat)
            if rules is not None and not isinstance(rules, EventThreat):
                raise InvalidInput("a perturbation's threat is not one of events", found=repr(rules))
            return kinds[kind].from_contents(arrays, fields | {"threat": rules})
        except (KeyError, TypeError) as error:
            raise InvalidInput(f"{path}: a field is missing or does not fit", found=str(error)) from error


@dataclass(frozen=True, eq=False, kw_only=True)
class EditMask(Perturbation):
    """Cells in which events are inserted and deleted.

    An insertion adds one event where the cell holds fewer than `max_count`, and has no effect elsewhere; a
    deletion removes one event where there is any. Cost counts what changed. A cell in both masks is flipped.

    Attributes:
        insert: float32 (T, C, H, W) in [0, 1]: 0 for no insertion, else its priority, which decides what a
            threat drops first.
        delete: the same for deletions.
        max_count: the most events that a cell may hold after an insertion.
        max_translation: most pixels, along either axis, by which the mask is moved over the sensor, drawn
            anew for each sample, all alike; edits that leave the sensor are lost. 0 for none.
    """

    insert: Values
    delete: Values
    max_count: int = 1
    max_translation: int = 0

    kind: ClassVar[str] = "edit-mask"

    def __post_init__(self) -> None:
        """Checks the masks and makes them read-only."""
        self._check()
        if isinstance(self.max_count, bool) or not isinstance(self.max_count, int) or self.max_count < 1:
            raise InvalidInput("max_count does not fit", asked=repr(self.max_count), accepted="1 or more")
        for name in ("insert", "delete"):
            object.__setattr__(self, name, _checked_values(name, getattr(self, name), binary=False))
        if self.insert.shape != self.delete.shape:
            raise InvalidInput("both masks have one shape", found=f"{self.insert.shape}, {self.delete.shape}")
        _check_most("max_translation", self.max_translation, "pixels")
        check_translation(self.max_translation, self.insert.shape)

    @property
    def values(self) -> Values:
        """(T, C, H, W): 1 where events are inserted, -1 where deleted; a flipped cell shows its insertion."""
        return np.where(self.insert > 0, 1.0, -np.sign(self.delete)).astype(np.float32)

    @property
    def size(self) -> int:
        """Cells that are edited: the most edits of a binary sample."""
        return int(((self.insert > 0) | (self.delete > 0)).sum())

    def check_fits(self, shape: tuple[int, ...]) -> None:
        """See `Perturbation.check_fits`."""
        _check_batch(shape, self.insert.shape, "edit mask")

    def request(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """See `Perturbation.request`."""
        # One mask for all samples, or one for each.
        masks = torch.stack([torch.tensor(m, device=x.device) for m in (self.insert, self.delete)])
        moves = Movements.drawn(
            len(x), generator, max_shift=self.max_shift, max_translation=self.max_translation
        )
        insert, delete = masks if moves.none else moves.of(masks).unbind(1)
        return x + insert * (x < self.max_count) - delete * (x > 0)

    def contents(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """See `Perturbation.contents`."""
        fields = {"max_count": self.max_count, "max_translation": self.max_translation}
        return {"insert": self.insert, "delete": self.delete}, fields

    @classmethod
    def from_contents(cls, arrays: dict[str, npt.NDArray[Any]], fields: dict[str, Any]) -> EditMask:
        """See `Perturbation.from_contents`."""
        return cls(insert=arrays["insert"], delete=arrays["delete"], **fields)


@dataclass(frozen=True, eq=False, kw_only=True)
class Patch(Perturbation):
    """A rectangle of events that replaces the pixels it covers, as a screen held before the sensor would.

    Attributes:
        events: float32 (T, C, h, w) of 0 and 1: what the sensor sees there.
        location: (top, left) in pixels, or None for a place drawn anew for each sample, all alike. Of a patch
            that moves it is the place at step floor(T / 2).
        path: int64 (T, 2): pixels, down and right, that it lies from there at each step; what leaves the
            sensor is not seen. None for a patch at rest.
    """

    events: Values
    location: tuple[int, int] | None = None
    path: npt.NDArray[np.int64] | None = None

    kind: ClassVar[str] = "patch"

    def __post_init__(self) -> None:
        """Checks the events and makes them read-only."""
        self._check()
        object.__setattr__(self, "events", _checked_values("events", self.events, binary=True))
        if self.location is not None:
            object.__setattr__(self, "location", _checked_location(self.location))
        if self.path is not None:
            object.__setattr__(self, "path", _checked_path(self.path, len(self.events)))

    @property
    def values(self) -> Values:
        """The events, (T, C, h, w)."""
        return self.events

    def check_fits(self, shape: tuple[int, ...]) -> None:
        """See `Perturbation.check_fits`."""
        steps, channels, height, width = self.events.shape
        if len(shape) == 5 and shape[3] >= height and shape[4] >= width:
            _check_batch(shape, (steps, channels, *shape[3:]), "patch")
            top, left = self.location or (0, 0)
            if top + height <= shape[3] and left + width <= shape[4]:
                return
        raise InvalidInput(
            "the patch does not lie on the sensor",
            asked=f"{height} x {width} pixels at {self.location or 'a random place'}",
            found=f"a batch of shape {shape}",
        )

    def request(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """See `Perturbation.request`."""
        height, width = self.events.shape[2:]
        places = draw_locations(len(x), x.shape[3:], (height, width), generator, fixed=self.location)
        shifts = draw_shifts(len(x), self.max_shift, generator)
        path = at_rest(len(self.events)) if self.path is None else torch.tensor(self.path)
        events = turned(torch.tensor(self.events, device=x.device, dtype=x.dtype), shifts, len(x))
        return Windows.at(places, (height, width), path).put(x, events)

    def contents(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """See `Perturbation.contents`."""
        arrays: dict[str, npt.NDArray[Any]] = {"events": self.events}
        if self.path is not None:
            arrays["path"] = self.path
        return arrays, {"location": self.location and list(self.location)}

    @classmethod
    def from_contents(cls, arrays: dict[str, npt.NDArray[Any]], fields: dict[str, Any]) -> Patch:
        """See `Perturbation.from_contents`."""
        location = fields.pop("location")
        place = location and tuple(location)
        return cls(events=arrays["events"], location=place, path=arrays.get("path"), **fields)


def _check_most(name: str, value: object, unit: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidInput(f"{name} does not fit", asked=repr(value), accepted=f"0 or more whole {unit}")


def _check_batch(found: tuple[int, ...], expected: tuple[int, ...], what: str) -> None:
    if found[1:] != expected:
        raise InvalidInput(
            f"the {what} was made for another shape",
            found=found,
            accepted=f"(N, {', '.join(map(str, expected))})",
            remedy="bin the events on the grid that it was fitted on",
        )


def _checked_counts(x: Tensor) -> Tensor:
    """The tensor, checked where it lies: attacks apply what they fit in every epoch."""
    if x.dtype == torch.bool or x.is_complex():
        raise InvalidInput("the batch does not hold counts", found=x.dtype, accepted="float32 event counts")
    if x.ndim == 0 or x.numel() == 0 or not bool(((x >= 0) & (x == x.floor()) & x.isfinite()).all()):
        validate_spike_tensor(x, binary=False)  # its errors name the entry
    return x


def _checked_values(name: str, values: npt.ArrayLike, *, binary: bool) -> Values:
    array = np.array(values)
    if array.dtype.kind not in "biuf" or array.ndim not in ((4,) if binary else (2, 4)) or array.size == 0:
        raise InvalidInput(
            f"a perturbation's {name} has the wrong form",
            found=f"{array.dtype} {array.shape}",
            accepted="numbers (T, C, H, W)" + ("" if binary else " or (T, F)"),
        )
    # A priority must survive being added to a count in float32.
    fits = (array == 0) | ((array >= (1 if binary else _LEAST_PRIORITY)) & (array <= 1))
    if not fits.all():
        raise InvalidInput(
            f"a perturbation's {name} has values out of range",
            found=array[~fits].flat[0],
            accepted="0 or 1" if binary else f"0, or {_LEAST_PRIORITY} to 1",
        )
    array = array.astype(np.float32)
    array.flags.writeable = False
    return array


def _checked_location(location: tuple[int, int]) -> tuple[int, int]:
    if len(location) != 2 or not all(isinstance(v, int | np.integer) and v >= 0 for v in location):
        raise InvalidInput(
            "a patch's location does not fit", asked=location, accepted="(top, left) in pixels"
        )
    return int(location[0]), int(location[1])


def _checked_path(path: npt.ArrayLike, steps: int) -> npt.NDArray[np.int64]:
    array = np.array(path)
    if array.dtype.kind not in "iu" or array.shape != (steps, 2):
        raise InvalidInput(
            "a patch's path does not fit",
            found=f"{array.dtype} {array.shape}",
            accepted=f"whole pixels ({steps}, 2), down and right",
        )
    array = array.astype(np.int64)
    if np.abs(array).max() > _FARTHEST:
        raise InvalidInput("a patch's path leads too far", accepted=f"at most {_FARTHEST} pixels")
    array.flags.writeable = False
    return array
