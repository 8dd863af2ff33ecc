# SPDX-License-Identifier: MIT
"""The mask filter: a pixel that is too busy is taken for a defect, and silenced."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from art_spiking.defences.base import EventFilter


class MaskFilter(EventFilter):
    """Silences every pixel that holds more than `max_events` events over the whole recording.

    Both polarities and all steps count together; a pixel of exactly `max_events` keeps all of its events, one
    of more loses all. Soft values, as gradient attacks make them, count by their sum, with half an event as
    tolerance.

    Forward is the input times an exact 0/1 mask. Backward is the derivative of a smooth twin that keeps the
    share 1/2 - atan((count - max_events - 1/2) / w) / pi of a pixel, w = max(1/2, max_events / 16): an event
    is worth less where its pixel is silenced, and one more may cost all of its pixel. So an attacker can stay
    below the limit, silence the pixels that speak against it, and bring silenced ones back; no gradient is
    ever exactly 0.

    Source: the mask filter of Marchisio et al., DVS-Attacks (arXiv 2107.00415) and R-SNN (2109.00533), by its
    description; thresholds there are 25 to 200 events on DVS128 Gesture, 5 to 55 on N-MNIST. They filter
    without any gradient.

    Shapes: (N, T, C, H, W) in and out.
    """

    params = ["max_events"]  # noqa: RUF012 (ART's list)
    title: ClassVar[str] = "mask filter"
    units: ClassVar[dict[str, tuple[str, str]]] = {
        "max_events": ("events", "give the most events that a pixel of a recording may hold")
    }

    def __init__(self, max_events: int, *, apply_fit: bool = True, apply_predict: bool = True) -> None:
        """Builds the filter.

        Args:
            max_events: the most events of a pixel, over both polarities and the whole recording, that leave
                it trusted.
            apply_fit: whether training data is filtered.
            apply_predict: whether the data of predictions and gradients is filtered.

        Raises:
            InvalidInput: a limit below one.
        """
        super().__init__(apply_fit=apply_fit, apply_predict=apply_predict)
        self.max_events = max_events
        self._check_params()

    def filtered(self, x: Tensor) -> Tensor:
        """See `EventFilter.filtered`."""
        return _Silence.apply(x, self.max_events)  # type: ignore[no-untyped-call,no-any-return]


class _Silence(torch.autograd.Function):
    """Drops the events of pixels over the limit; backward as the class above says."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, max_events: int) -> Tensor:
        count = x.clamp_min(0).sum((1, 2), keepdim=True)
        ctx.save_for_backward(x, count)
        ctx.max_events = max_events
        return x * (count < max_events + 0.5)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, count = ctx.saved_tensors
        width = max(0.5, ctx.max_events / 16)
        over = (count - ctx.max_events - 0.5) / width
        share = 0.5 - over.atan() / math.pi
        slope = 1 / (math.pi * width * (1 + over**2))
        lost = (gradient * x).sum((1, 2), keepdim=True)
        return gradient * share - slope * lost, None
