# SPDX-License-Identifier: MIT
"""Where a patch lies in each sample and at each step: reading and replacing the pixels under it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Windows:
    """A window of one size for each sample and step; what lies beyond the sensor is neither read nor written.

    Attributes:
        rows: int64 (N, T, h): the sensor's row of each row of the window.
        columns: int64 (N, T, w).
    """

    rows: Tensor
    columns: Tensor

    @classmethod
    def at(cls, places: Tensor, size: tuple[int, int], path: Tensor) -> Windows:
        """Windows of `size` (h, w) at `places` int64 (N, 2), moved along `path` int64 (T, 2)."""
        corner = places[:, None, :] + path[None].to(places.device)
        height, width = (torch.arange(length, device=places.device) for length in size)
        return cls(corner[..., :1] + height, corner[..., 1:] + width)

    def put(self, x: Tensor, events: Tensor) -> Tensor:
        """Returns `x` (N, T, C, H, W), events (N, T, C, h, w) replacing the pixels under the windows."""
        margin = self._margin(x)
        framed = torch.nn.functional.pad(x, (margin, margin, margin, margin)) if margin else x.clone()
        sample, step, row, column = self._index(x, margin)
        framed[sample, step, :, row, column] = events.permute(0, 1, 3, 4, 2)
        height, width = x.shape[3:]
        return framed[..., margin : margin + height, margin : margin + width]

    def take(self, x: Tensor) -> Tensor:
        """Returns what lies under the windows, (N, T, C, h, w), 0 beyond the sensor."""
        margin = self._margin(x)
        framed = torch.nn.functional.pad(x, (margin, margin, margin, margin)) if margin else x
        sample, step, row, column = self._index(x, margin)
        return framed[sample, step, :, row, column].permute(0, 1, 4, 2, 3)

    def _margin(self, x: Tensor) -> int:
        """Pixels by which a window reaches beyond the sensor."""
        over = [
            max(-int(part.min()), int(part.max()) - length + 1)
            for part, length in ((self.rows, x.shape[3]), (self.columns, x.shape[4]))
        ]
        return max(0, *over)

    def _index(self, x: Tensor, margin: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        sample = torch.arange(x.shape[0], device=x.device)[:, None, None, None]
        step = torch.arange(x.shape[1], device=x.device)[None, :, None, None]
        row, column = (part.to(x.device) + margin for part in (self.rows, self.columns))
        return sample, step, row[:, :, :, None], column[:, :, None, :]


def at_rest(steps: int) -> Tensor:
    """The path (T, 2) of a window that does not move."""
    return torch.zeros((steps, 2), dtype=torch.int64)


def turned(events: Tensor, turns: Tensor | None, samples: int) -> Tensor:
    """Returns (N, T, C, h, w): events (T, C, h, w) turned in time for each sample."""
    if turns is None:
        return events.expand(samples, *events.shape)
    return torch.stack([events.roll(turn, 0) for turn in turns.tolist()])
