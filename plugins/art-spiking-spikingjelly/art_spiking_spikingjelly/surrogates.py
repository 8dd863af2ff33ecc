# SPDX-License-Identifier: MIT
"""SpikingJelly's surrogates as specifications of art-spiking."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from art_spiking.surrogates import Atan, FastSigmoid, Gaussian, Rectangle, Sigmoid, Surrogate, Triangle


def _soft_sign(alpha: float, **kind: bool) -> Surrogate | None:
    """Alpha / 2 / (1 + alpha |u|)^2, whose height is 1 for SpikingJelly's default alpha alone."""
    return FastSigmoid(slope=alpha, **kind) if alpha == 2 else None


def _super_spike(alpha: float, **kind: bool) -> Surrogate | None:
    """Alpha / (1 + |u|)^2, whose height is 1 for SpikingJelly's default alpha alone."""
    return FastSigmoid(slope=1.0, **kind) if alpha == 1 else None


_OWN: dict[str, Callable[..., Surrogate | None]] = {
    "Sigmoid": lambda alpha, **kind: Sigmoid(slope=alpha, **kind),
    "ATan": lambda alpha, **kind: Atan(alpha=alpha, **kind),
    "PiecewiseQuadratic": lambda alpha, **kind: Triangle(width=1 / alpha, **kind),
    "Rect": lambda alpha, **kind: Rectangle(width=1 / alpha, **kind),
    "Erf": lambda alpha, **kind: Gaussian(sigma=1 / (alpha * math.sqrt(2)), **kind),
    "SoftSign": _soft_sign,
    "SuperSpike": _super_spike,
}


def told_surrogate(function: Any, *, through_reset: bool) -> Surrogate | None:
    """The specification of a SpikingJelly surrogate, or None for one that has none here."""
    from spikingjelly.activation_based import surrogate

    make = _OWN.get(type(function).__name__)
    if make is None or type(function).__module__ != surrogate.__name__ or not function.spiking:
        return None
    return make(float(function.alpha), through_reset=through_reset)
