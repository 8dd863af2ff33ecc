# SPDX-License-Identifier: MIT
"""ObjectRegion: what an object before the sensor can do: add events where it is, and where it moves to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from art_spiking.errors import InvalidInput
from art_spiking.threats.base import Broken, Counts, Edits
from art_spiking.threats.checking import check_positive, check_whole
from art_spiking.threats.rules import PatchRegion

Steps = npt.NDArray[np.int64]


@dataclass(frozen=True, repr=False)
class ObjectRegion(PatchRegion):
    """Events are added inside one square window that moves at a given velocity and may flicker.

    An object, unlike a screen that covers the scene, deletes nothing. In the middle of the recording, at step
    floor(T / 2), the whole window lies on the sensor, at a place that the attacker chooses; k steps later it
    lies round(k * dt_us * velocity / 1e6) pixels further (halves rounded up), and what leaves the sensor is
    not seen. An object that flickers brightens at the times phase * dt_us + k * P and darkens half a period
    later, with P = 1e6 / flicker_hz µs: it adds ON events in steps that hold a brightening alone, OFF events
    in those that hold a darkening. The phase is a whole step, chosen for each sample: nobody synchronises an
    object with a recording. Join it with `PixelRate` for a ceiling on each pixel's events: `a & b`.

    Attributes:
        area: the window's share of the sensor in (0, 1], as in `PatchRegion`.
        max_count: the most events that a cell may hold after an insertion.
        insert: True; an object adds.
        delete: False; it takes nothing away.
        velocity: pixels per second, down and right; (0, 0) for an object at rest.
        flicker_hz: brightenings per second; None for an object that need not flicker.
        dt_us: width of a step in µs; needed by an object that moves or flickers.

    Raises:
        InvalidInput: a deleting object, a velocity that is not finite, or another value that does not fit.
    """

    delete: bool = False
    velocity: tuple[float, float] = (0.0, 0.0)
    flicker_hz: float | None = None
    dt_us: int | None = None

    kind: ClassVar[str] = "object-region"

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        if self.delete or not self.insert:
            raise InvalidInput(
                "an object adds events and takes none away",
                asked=f"insert={self.insert}, delete={self.delete}",
                accepted="insert=True, delete=False",
                remedy="use PatchRegion for a screen that covers what is behind it",
            )
        object.__setattr__(self, "velocity", _checked_velocity(self.velocity))
        if self.flicker_hz is not None:
            object.__setattr__(self, "flicker_hz", check_positive("flicker_hz", self.flicker_hz))
        if self.dt_us is not None:
            object.__setattr__(self, "dt_us", check_whole("dt_us", self.dt_us))
        elif self.flicker_hz is not None or any(self.velocity):
            raise InvalidInput(
                "an object that moves or flickers needs the width of a step",
                asked=repr(self),
                remedy="pass dt_us as well, the µs of one step",
            )

    def to_dict(self) -> dict[str, Any]:
        """See `ThreatModel.to_dict`; the velocity as a list, as TOML and JSON hold it."""
        return super().to_dict() | {"velocity": list(self.velocity)}

    def path(self, steps: int) -> Steps:
        """Pixels (T, 2), down and right, that the window lies from its place at step floor(T / 2)."""
        seconds = (np.arange(steps) - steps // 2) * (self.dt_us or 0) / 1e6
        # Rounded to a millionth first, so that .5 pixels are not missed by a rounding error.
        pixels = np.round(seconds[:, None] * np.asarray(self.velocity), 6)
        whole: Steps = np.floor(pixels + 0.5).astype(np.int64)
        return whole

    def phases(self, steps: int) -> int:
        """Whole steps at which the flicker may start, below its period; 1 where nothing flickers.

        Raises:
            InvalidInput: a period of more than twice the recording.
        """
        if self.flicker_hz is None:
            return 1
        period = 1e6 / self.flicker_hz / (self.dt_us or 1)
        if period > 2 * steps:
            raise InvalidInput(
                "the object flickers too slowly for this recording",
                asked=f"flicker_hz={self.flicker_hz:g}",
                found=f"{steps} steps of {self.dt_us} µs",
                accepted=f"{0.5e6 / steps / (self.dt_us or 1):g} Hz or more",
            )
        return int(np.ceil(period - 1e-9))

    def edges(self, steps: int, phase: int) -> npt.NDArray[np.bool_]:
        """Which polarities (T, 2), OFF and ON, a flickering object emits at each step."""
        if self.flicker_hz is None:
            return np.ones((steps, 2), np.bool_)
        half = 0.5e6 / self.flicker_hz / (self.dt_us or 1)
        found = np.zeros((steps, 2), np.bool_)
        first = -int(np.ceil(phase / half))
        for k in range(first, int(np.ceil(steps / half)) + 1):
            step = int(np.floor(phase + k * half + 1e-9))
            if 0 <= step < steps:
                found[step, 1 - k % 2] = True
        return found

    def cell_limits(self, clean: Tensor) -> tuple[Tensor, Tensor]:
        """Room up to `max_count` where the object can come; nothing to delete."""
        added, _ = super().cell_limits(clean)
        height, width = clean.shape[3:]
        self.side(height, width)
        self.phases(clean.shape[1])
        rows, columns = self._seen_from(clean.shape[1], clean.device)
        row, column = (torch.arange(size, device=clean.device) for size in (height, width))
        row, column = row - rows[:, None], column - columns[:, None]
        reached = ((row >= 0) & (row < height))[:, :, None] & ((column >= 0) & (column < width))[:, None]
        return added * reached[None, :, None], torch.zeros_like(clean)

    def restrict(self, edits: Edits) -> Edits:
        """Keeps the edits at the place and phase where they are strongest in sum; the first of equals."""
        steps, channels, height, width = edits.units.shape[1:]
        wanted = (edits.strength * (edits.units > 0)).double()
        best, kept = None, torch.zeros_like(edits.units)
        for phase in range(self.phases(steps)):
            emits = self.emitted(steps, channels, phase, edits.units.device)
            total, inside = self._best_window((wanted * emits).sum(2), self.side(height, width))
            mask = inside[:, :, None] * emits
            better = torch.ones_like(total, dtype=torch.bool) if best is None else total > best
            kept[better] = (edits.units * mask)[better]
            best = total if best is None else torch.maximum(best, total)
        return edits.with_units(kept.clamp(min=0))

    def broken(self, after: Counts, before: Counts) -> Iterator[Broken]:
        """Moves every added event back along the path, and measures the box around all of them."""
        steps, _, height, width = before.shape
        change = after - before
        step, channel, row, column = np.nonzero(change > 0)
        path, side = self.path(steps), self.side(height, width)
        for name, size, place in (
            ("rows", height, row - path[step, 0]),
            ("columns", width, column - path[step, 1]),
        ):
            if not place.size:
                continue
            extent = int(place.max() - place.min()) + 1
            if extent > side:
                text = f"along the object's path, insertions span {extent} {name}; the window has {side}"
                yield "region", side, extent, text
            elif place.min() < 0 or place.max() >= size:
                text = f"half way, the object would have to reach beyond the sensor's {size} {name}"
                yield "region", size, int(max(place.max(), size - 1 - place.min())) + 1, text
        removed = int((change < 0).sum())
        if removed:
            yield "delete", 0, removed, f"{removed} cells lost events; an object takes none away"
        over = (change > 0) & (after > self.max_count)
        if over.any():
            most = int(after[over].max())
            text = f"an insertion left {most} events in a cell; at most {self.max_count} may be there"
            yield "max_count", self.max_count, most, text
        missed = min(self._off_edge(before.shape, step, channel))
        if missed:
            text = f"{missed} insertions are not at an edge of a flicker of {self.flicker_hz:g} Hz"
            yield "flicker", 0, missed, text

    def _off_edge(self, shape: tuple[int, ...], step: Steps, channel: Steps) -> Iterator[int]:
        """How many events (step, channel) are not at an edge, for each phase."""
        for phase in range(self.phases(shape[0])):
            edges = self.edges(shape[0], phase)
            both = np.stack([edges[:, 0] | edges[:, 1]] * shape[1], 1)
            yield int((~(edges if shape[1] == 2 else both)[step, channel]).sum())

    def _seen_from(self, steps: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """The path's rows and columns, (T,) each."""
        rows, columns = torch.from_numpy(self.path(steps)).to(device).unbind(1)
        return rows, columns

    def emitted(self, steps: int, channels: int, phase: int, device: torch.device) -> Tensor:
        """The edges as bool (T, C, 1, 1); data of one channel shows both polarities in it."""
        edges = torch.from_numpy(self.edges(steps, phase)).to(device)
        of_channel = edges if channels == 2 else edges.any(1, keepdim=True).expand(-1, channels)
        return of_channel[:, :, None, None]

    def _best_window(self, weight: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """The greatest sum over any window (N,), and the window that holds it (N, T, H, W)."""
        height, width = weight.shape[2:]
        rows, columns = self._seen_from(weight.shape[1], weight.device)
        reach = int(max(rows.abs().max(), columns.abs().max()))
        aligned = torch.nn.functional.pad(weight, (reach, reach, reach, reach))
        still = torch.stack(
            [
                aligned[:, t, reach + down : reach + down + height, reach + right : reach + right + width]
                for t, (down, right) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True))
            ],
            1,
        ).sum(1)
        total = torch.nn.functional.pad(still.cumsum(1).cumsum(2), (1, 0, 1, 0))
        sums = (
            total[:, side:, side:]
            - total[:, :-side, side:]
            - total[:, side:, :-side]
            + total[:, :-side, :-side]
        )
        most, best = sums.flatten(1).max(1)
        top, left = best // sums.shape[2], best % sums.shape[2]
        row = torch.arange(height, device=weight.device) - rows[:, None]
        column = torch.arange(width, device=weight.device) - columns[:, None]
        tall = (row >= top[:, None, None]) & (row < top[:, None, None] + side)
        wide = (column >= left[:, None, None]) & (column < left[:, None, None] + side)
        return most, tall[:, :, :, None] & wide[:, :, None, :]


def _checked_velocity(velocity: object) -> tuple[float, float]:
    """The velocity as two finite floats."""
    pair = tuple(velocity) if isinstance(velocity, tuple | list) else ()
    numbers = [float(v) for v in pair if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(pair) != 2 or len(numbers) != 2 or not np.isfinite(numbers).all():
        raise InvalidInput(
            "velocity does not fit", asked=repr(velocity), accepted="(down, right) in pixels per second"
        )
    return numbers[0], numbers[1]
