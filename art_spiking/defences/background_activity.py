# SPDX-License-Identifier: MIT
"""The background-activity filter: an event without a recent neighbour is taken for sensor noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from art.preprocessing.preprocessing import PreprocessorPyTorch

from art_spiking.errors import InvalidInput

_PARAMETERS = {
    "window_us": ("µs", "give how long an event supports its neighbours; below dt_us, the same step only"),
    "dt_us": ("µs", "give the width of the data's time step"),
    "support": ("events", "give how many events must have come before"),
}
"""Of each parameter, its unit and what to give."""


class BackgroundActivityFilter(PreprocessorPyTorch):
    """Removes events that fewer than `support` events of the eight neighbouring pixels came before.

    An event in step t is kept if the eight pixels around its own held at least `support` events of either
    polarity in the steps t - w to t, with w = floor(window_us / dt_us). The order of events within a step
    is not known, so those of the same step count as earlier. No event lies before the first step: the first
    window is filtered as any other. Counts above one count that often; soft values, as gradient attacks
    make them, count by their sum, with half an event as tolerance.

    Forward is the input times an exact 0/1 mask; backward is the identity (straight-through), so that an
    attack also sees the events that are filtered now, and no gradient is masked.

    Source: T. Delbruck, Frame-free dynamic digital vision, 2008: an event supports its eight neighbours for a
    given time. There per event and timestamp; here on a grid, and `support` may ask for more than one.

    Shapes: (N, T, C, H, W) in and out.
    """

    params = ["window_us", "dt_us", "support"]  # noqa: RUF012 (ART's list)

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
        super().__init__(device_type="cpu", is_fitted=True, apply_fit=apply_fit, apply_predict=apply_predict)
        self.window_us = window_us
        self.dt_us = dt_us
        self.support = support
        self._check_params()

    @property
    def window_steps(self) -> int:
        """Earlier steps that count beside the event's own: floor(window_us / dt_us)."""
        return self.window_us // self.dt_us

    def _check_params(self) -> None:
        for name in self.params:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                unit, meaning = _PARAMETERS[name]
                raise InvalidInput(
                    f"the background-activity filter's {name} does not fit",
                    asked=f"{name}={value!r}",
                    accepted=f"a whole number of {unit}, 1 or more",
                    remedy=meaning,
                )

    def set_params(self, **kwargs: Any) -> None:
        """ART's; where a value does not fit, the filter stays as it was.

        Raises:
            InvalidInput: a window, step or support below one.
        """
        before = {name: getattr(self, name) for name in self.params}
        try:
            super().set_params(**kwargs)
        except InvalidInput:
            for name, value in before.items():
                setattr(self, name, value)
            raise

    def forward(self, x: torch.Tensor, y: Any = None) -> tuple[torch.Tensor, Any]:
        """Returns the filtered `x` (N, T, C, H, W) and `y` as it came.

        Raises:
            InvalidInput: `x` has another rank: without pixels there are no neighbours.
        """
        if x.ndim != 5:
            raise InvalidInput(
                "the background-activity filter needs pixels",
                found=tuple(x.shape),
                accepted="(N, T, C, H, W)",
            )
        filtered: torch.Tensor = _StraightThroughMask.apply(x, self.mask(x))  # type: ignore[no-untyped-call]
        return filtered, y

    def mask(self, x: torch.Tensor) -> torch.Tensor:
        """Returns which cells are kept, (N, T, 1, H, W) bool, for both polarities alike."""
        with torch.no_grad():
            events = x.detach().clamp_min(0).sum(dim=2)
            supporting = _window_sum(_neighbour_sum(events), self.window_steps)
            return (supporting > self.support - 0.5).unsqueeze(2)

    def __repr__(self) -> str:
        return (
            f"BackgroundActivityFilter(window_us={self.window_us}, dt_us={self.dt_us}, "
            f"support={self.support}, apply_fit={self.apply_fit}, apply_predict={self.apply_predict})"
        )


class _StraightThroughMask(torch.autograd.Function):
    """Multiplies by a mask forward; passes the gradient unchanged backward."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return x * mask

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient, None


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
