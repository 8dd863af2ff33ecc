# SPDX-License-Identifier: MIT
"""The background-activity filter: an event without a recent neighbour is taken for sensor noise."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch

from art_spiking.defences.base import EventFilter


class BackgroundActivityFilter(EventFilter):
    """Removes events that fewer than `support` events of the eight neighbouring pixels came before.

    An event in step t is kept if the eight pixels around its own held at least `support` events of either
    polarity in the steps t - w to t, with w = floor(window_us / dt_us). The order of events within a step
    is not known, so those of the same step count as earlier. No event lies before the first step: the first
    window is filtered as any other. Counts above one count that often; soft values, as gradient attacks
    make them, count by their sum, with half an event as tolerance.

    Forward is the input times an exact 0/1 mask. Backward is the derivative of a smooth twin that keeps the
    share 1/2 + atan((supporting - support + 1/2) / w) / pi of an event, w = max(1/2, support / 4): an event
    without neighbours is worth less, and one that brings others through is worth what they are. No gradient
    is ever exactly 0, so that an attack also sees the events that are filtered now.

    Source: T. Delbruck, Frame-free dynamic digital vision, 2008: an event supports its eight neighbours for a
    given time. There per event and timestamp; here on a grid, and `support` may ask for more than one.

    Shapes: (N, T, C, H, W) in and out.
    """

    params = ["window_us", "dt_us", "support"]  # noqa: RUF012 (ART's list)
    title: ClassVar[str] = "background-activity filter"
    units: ClassVar[dict[str, tuple[str, str]]] = {
        "window_us": (
            "µs",
            "give how long an event supports its neighbours; below dt_us, the same step only",
        ),
        "dt_us": ("µs", "give the width of the data's time step"),
        "support": ("events", "give how many events must have come before"),
    }

    def __init__(
        self,
        window_us: int,
        dt_us: int,
        *,
        support: int = 1,
        apply_fit: bool = True,
        apply_predict: bool = True,
    ) -> None:
        """Builds the filter.

        Args:
            window_us: how long an event supports its neighbours, in µs; below `dt_us` the same step only.
            dt_us: width of a time step in µs.
            support: events that must have come before, at least 1.
            apply_fit: whether training data is filtered.
            apply_predict: whether the data of predictions and gradients is filtered.

        Raises:
            InvalidInput: a window, step or support below one.
        """
        super().__init__(apply_fit=apply_fit, apply_predict=apply_predict)
        self.window_us = window_us
        self.dt_us = dt_us
        self.support = support
        self._check_params()

    @property
    def window_steps(self) -> int:
        """Earlier steps that count beside the event's own: floor(window_us / dt_us)."""
        return self.window_us // self.dt_us

    def filtered(self, x: torch.Tensor) -> torch.Tensor:
        """See `EventFilter.filtered`."""
        return _Supported.apply(x, self.window_steps, self.support)  # type: ignore[no-untyped-call,no-any-return]


class _Supported(torch.autograd.Function):
    """Drops the events without support; backward as the class above says."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, window: int, support: int) -> torch.Tensor:
        supporting = _window_sum(_neighbour_sum(x.clamp_min(0).sum(dim=2)), window)
        ctx.save_for_backward(x, supporting)
        ctx.window, ctx.support = window, support
        return x * (supporting > support - 0.5).unsqueeze(2)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        x, supporting = ctx.saved_tensors
        width = max(0.5, ctx.support / 4)
        over = (supporting - ctx.support + 0.5) / width
        share = 0.5 + over.atan() / math.pi
        slope = 1 / (math.pi * width * (1 + over**2))
        # What each event's neighbours are worth in this step and the window after it.
        saved = _neighbour_sum(slope * (gradient * x).sum(dim=2))
        saved = _window_sum(saved.flip(1), ctx.window).flip(1)
        return gradient * share.unsqueeze(2) + saved.unsqueeze(2), None, None


def _neighbour_sum(events: torch.Tensor) -> torch.Tensor:
    """Sum over the eight pixels around each, (N, T, H, W): rows, then columns, less the pixel itself."""
    rows = events.clone()
    rows[..., 1:, :] += events[..., :-1, :]
    rows[..., :-1, :] += events[..., 1:, :]
    box = rows.clone()
    box[..., 1:] += rows[..., :-1]
    box[..., :-1] += rows[..., 1:]
    return box.sub_(events)


def _window_sum(values: torch.Tensor, window: int) -> torch.Tensor:
    """Sum of each step and the `window` before it, (N, T, ...)."""
    if window == 0:
        return values
    total = values.cumsum(dim=1)
    summed = total.clone()
    summed[:, window + 1 :] -= total[:, : -(window + 1)]
    return summed
