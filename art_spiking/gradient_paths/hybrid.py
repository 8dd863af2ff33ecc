# SPDX-License-Identifier: MIT
"""HART: gradients half through time, half averaged over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from art_spiking.gradient_paths.base import LayerPath, check_number, check_path, scan_by
from art_spiking.kernels import Backend
from art_spiking.neurons import Coefficients, NeuronSemantics
from art_spiking.surrogates import GradientPath, Triangle

_TRIANGLE = Triangle(1.0)


@dataclass(frozen=True)
class Hart(LayerPath):
    """HART: each layer's gradient, mixed with its mean over the steps (Hao et al., ICLR 2024).

    With g[t] the gradient by the current of step t under another path, by default through time, the layer
    passes on (1 - share) g[t] + share * mean of g over the steps. Share 0.5 is HART, 1 the time-averaged
    gradient alone. The authors tune the width of their triangular surrogate (0.1 to 2.5) on the test set;
    here it is a field like any other, to be chosen on the craft split.
    """

    path: GradientPath = _TRIANGLE
    share: float = 0.5
    name: ClassVar[str] = "hart"

    def __post_init__(self) -> None:
        """Checks the fields."""
        check_path(self, "path", self.path)
        check_number(self, "share", most=1.0)

    @property
    def pool_gradient(self) -> Any:
        """That of the path inside."""
        return self.path.pool_gradient

    def for_layer(self, place: int) -> Hart:
        """With the path inside resolved."""
        return Hart(self.path.for_layer(place), self.share)

    def scan(
        self,
        current: Tensor,
        c: Coefficients,
        semantics: NeuronSemantics,
        *,
        membrane: bool = False,
        backend: Backend = "auto",
    ) -> tuple[Tensor, Tensor | None]:
        """See `LayerPath`."""
        averaged: Tensor = _Averaged.apply(current, self.share)  # type: ignore[no-untyped-call]
        return scan_by(self.path, averaged, c, semantics, membrane=membrane, backend=backend)


class _Averaged(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, share: float) -> Tensor:
        ctx.share = share
        return current.view_as(current)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        if gradient.shape[1] == 0:
            return gradient, None
        return torch.lerp(gradient, gradient.mean(1, keepdim=True), ctx.share), None
