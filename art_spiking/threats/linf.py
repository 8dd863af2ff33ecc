# SPDX-License-Identifier: MIT
"""Linf: the bounded real-valued change of static inputs; no event sensor emits it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from art_spiking.errors import InvalidInput
from art_spiking.threats.base import Array, ThreatModel, Violation, as_array, check_same_shape
from art_spiking.threats.checking import check_positive


@dataclass(frozen=True, repr=False)
class Linf(ThreatModel):
    """Every entry changes by at most eps and stays between low and high.

    For images before an encoder, and to compare with work that reports it; on event data its results are not
    sensor-valid. Its cost counts the change in sum, rounded up. All bounds are taken in the clean batch's
    dtype.

    Attributes:
        eps: the largest change of an entry.
        low: the least value of an entry.
        high: the largest value of an entry.
    """

    eps: float
    low: float = 0.0
    high: float = 1.0

    kind: ClassVar[str] = "linf"

    def __post_init__(self) -> None:
        """Checks the fields."""
        object.__setattr__(self, "eps", check_positive("eps", self.eps))
        for name in ("low", "high"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if not (np.isfinite([self.low, self.high]).all() and self.low < self.high):
            raise InvalidInput(
                "the range of values does not fit",
                asked=f"low={self.low:g}, high={self.high:g}",
                accepted="finite numbers, low below high",
            )

    @torch.no_grad()
    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Clamps every entry; NaN becomes the clean value.

        Args:
            x_adv: (N, ...), any real numbers.
            x: the clean batch, of the same shape.

        Raises:
            InvalidInput: the shapes differ, or the clean batch leaves the range.
        """
        check_same_shape(x_adv, x)
        if x.numel():
            self._check_clean(float(x.min()), float(x.max()))
        wanted = torch.where(x_adv.isnan(), x, x_adv.to(x.dtype))
        return torch.minimum(torch.maximum(wanted, x - self.eps), x + self.eps).clamp(self.low, self.high)

    def violations(self, x_adv: Tensor | Array, x: Tensor | Array) -> list[Violation]:
        """Finds entries that are not finite, out of range, or changed by more than eps."""
        after, before = as_array(x_adv), as_array(x)
        if after.shape != before.shape:
            text = f"the batch has shape {after.shape}; the clean one has {before.shape}"
            return [Violation(-1, "shape", float(before.ndim), float(after.ndim), text)]
        if before.size:
            self._check_clean(float(before.min()), float(before.max()))
        result = []
        eps, low, high = (before.dtype.type(bound) for bound in (self.eps, self.low, self.high))
        for sample, (new, old) in enumerate(zip(after, before, strict=True)):
            if not np.isfinite(new).all():
                number = int((~np.isfinite(new)).sum())
                text = f"sample {sample}: {number} entries are NaN or infinite"
                result.append(Violation(sample, "finite", 0.0, float(number), text))
                continue
            change = float(np.abs(new.astype(np.float64) - old).max(initial=0))
            if ((new > old + eps) | (new < old - eps)).any():
                text = f"sample {sample}: an entry changed by {change:.9g}; at most {self.eps:g} is allowed"
                result.append(Violation(sample, "eps", self.eps, change, text))
            for rule, limit, found, wrong in (
                ("low", self.low, float(new.min(initial=high)), (new < low).any()),
                ("high", self.high, float(new.max(initial=low)), (new > high).any()),
            ):
                if wrong:
                    text = f"sample {sample}: an entry is {found:.9g}, outside {self.low:g} to {self.high:g}"
                    result.append(Violation(sample, rule, limit, found, text))
        return result

    def _check_clean(self, least: float, most: float) -> None:
        if not (self.low <= least and most <= self.high):
            raise InvalidInput(
                "the clean batch leaves the range of values that Linf allows",
                found=f"{least:g} to {most:g}",
                accepted=f"{self.low:g} to {self.high:g}",
                remedy="set low and high to the input's own range",
            )
