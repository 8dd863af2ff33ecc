# SPDX-License-Identifier: MIT
"""How a perturbation lies in each sample: turned in time, moved over the sensor, put at a place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from art_spiking.errors import InvalidInput


@dataclass(frozen=True, eq=False)
class Movements:
    """A turn in time and a translation for each sample.

    A turn loses nothing: what leaves at one end of the time axis enters at the other. A translation loses
    what leaves the sensor.

    Attributes:
        turns: int64 (N,), steps; None for none.
        translations: int64 (N, 2), rows down and columns right, in pixels; None for none.
    """

    turns: Tensor | None = None
    translations: Tensor | None = None

    @classmethod
    def drawn(
        cls, samples: int, generator: torch.Generator, *, max_shift: int = 0, max_translation: int = 0
    ) -> Movements:
        """Draws movements of at most so many steps and, along either axis, pixels; all alike."""
        turns = draw_shifts(samples, max_shift, generator)
        if max_translation == 0:
            return cls(turns)
        span = (-max_translation, max_translation + 1)
        return cls(turns, torch.randint(*span, (samples, 2), generator=generator))

    @property
    def none(self) -> bool:
        """Whether nothing moves at all."""
        return self.turns is None and self.translations is None

    def of(self, mask: Tensor) -> Tensor:
        """Returns (N, *mask.shape): `mask` (..., T, C, H, W), or (2, T, F), moved for each sample."""
        return torch.stack([_moved(mask, turn, by) for turn, by in self._each()])

    def back(self, batch: Tensor) -> Tensor:
        """Returns the batch (N, ..., T, C, H, W) with each sample moved back: the adjoint of `of`."""
        pairs = zip(batch, self._each(), strict=True)
        return torch.stack([_moved(one, -turn, (-by[0], -by[1])) for one, (turn, by) in pairs])

    def _each(self) -> list[tuple[int, tuple[int, int]]]:
        count = next(len(values) for values in (self.turns, self.translations) if values is not None)
        turns = [0] * count if self.turns is None else self.turns.tolist()
        pairs = [[0, 0]] * count if self.translations is None else self.translations.tolist()
        return [(turn, (row, column)) for turn, (row, column) in zip(turns, pairs, strict=True)]


def _moved(mask: Tensor, turn: int, by: tuple[int, int]) -> Tensor:
    turned = mask.roll(turn, -4 if mask.ndim > 3 else -2) if turn else mask
    return translated(turned, *by) if by != (0, 0) else turned


def translated(mask: Tensor, down: int, right: int) -> Tensor:
    """Returns `mask` (..., H, W) moved down and right, empty where nothing came from."""
    height, width = mask.shape[-2:]
    result = torch.zeros_like(mask)
    if abs(down) < height and abs(right) < width:
        rows, columns = _overlap(down, height), _overlap(right, width)
        result[..., rows[1], columns[1]] = mask[..., rows[0], columns[0]]
    return result


def _overlap(by: int, length: int) -> tuple[slice, slice]:
    """From where, and to where, what stays on an axis goes."""
    return slice(max(0, -by), min(length, length - by)), slice(max(0, by), min(length, length + by))


def draw_shifts(samples: int, max_shift: int, generator: torch.Generator) -> Tensor | None:
    """Returns int64 (N,) from -max_shift to max_shift, all alike; None where there is nothing to draw."""
    if max_shift == 0:
        return None
    return torch.randint(-max_shift, max_shift + 1, (samples,), generator=generator)


def draw_locations(
    samples: int,
    sensor: tuple[int, ...],
    size: tuple[int, ...],
    generator: torch.Generator,
    *,
    fixed: tuple[int, int] | None = None,
) -> Tensor:
    """Returns int64 (N, 2), the top and left of a patch of `size` on a `sensor`, both (height, width)."""
    if fixed is not None:
        return torch.tensor(fixed).expand(samples, 2)
    room = torch.tensor([whole - part + 1 for whole, part in zip(sensor, size, strict=True)])
    # In float64 a draw below 1 times the room never rounds up to the room itself.
    return (torch.rand((samples, 2), generator=generator, dtype=torch.float64) * room).long()


def check_translation(max_translation: int, shape: tuple[int, ...]) -> None:
    """Raises InvalidInput where masks of `shape` (T, C, H, W) cannot be moved by so many pixels."""
    if max_translation and len(shape) != 4:
        raise InvalidInput(
            "a translation needs rows and columns", found=f"shape {shape}", accepted="(T, C, H, W)"
        )
    if max_translation and max_translation >= min(shape[2:]):
        raise InvalidInput(
            "a translation would leave nothing on the sensor",
            asked=f"max_translation={max_translation}",
            found=f"a sensor of {shape[2]} x {shape[3]} pixels",
        )
