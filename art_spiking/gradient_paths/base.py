# SPDX-License-Identifier: MIT
"""What a gradient path other than a surrogate is to a layer of neurons, and the one place that chooses."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from art_spiking.errors import InvalidInput
from art_spiking.kernels import Backend, scan
from art_spiking.neurons import Coefficients, NeuronSemantics
from art_spiking.surrogates import Atan, GradientPath, Surrogate

SILENT = Atan()
"""Stands where a surrogate is asked for and has no effect."""


@dataclass(frozen=True)
class LayerPath(GradientPath):
    """A gradient path with a backward rule of its own for a layer of neurons.

    It sees all time steps of a layer at once, so it cannot serve neurons that feed back on themselves through
    other layers. A subclass of your own needs `name` and `scan`, and must return the numbers of
    `kernels.scan` unchanged.
    """

    @abstractmethod
    def scan(
        self,
        current: Tensor,
        c: Coefficients,
        semantics: NeuronSemantics,
        *,
        membrane: bool = False,
        backend: Backend = "auto",
    ) -> tuple[Tensor, Tensor | None]:
        """`kernels.scan` of neurons that fire, with this path's backward pass; arguments as there."""


def scan_by(
    path: GradientPath,
    current: Tensor,
    c: Coefficients,
    semantics: NeuronSemantics,
    *,
    membrane: bool = False,
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor | None]:
    """`kernels.scan` whose backward pass is that of any path.

    Neurons that never fire have a true derivative, which every path leaves them.

    Raises:
        InvalidInput: As `kernels.scan`, or the path is neither a Surrogate nor a LayerPath.
    """
    if isinstance(path, LayerPath):
        if c.fires and torch.is_grad_enabled() and current.requires_grad:
            return path.scan(current, c, semantics, membrane=membrane, backend=backend)
        return scan(current, c, semantics, SILENT, membrane=membrane, backend=backend)
    if not isinstance(path, Surrogate):
        raise InvalidInput(
            "a layer cannot be differentiated so", found=repr(path), accepted="a Surrogate or a LayerPath"
        )
    return scan(current, c, semantics, path, membrane=membrane, backend=backend)


class _Borrowed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, numbers: Tensor, lender: Tensor) -> Tensor:
        return numbers.view_as(numbers)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, gradients[0]


def borrowed(numbers: Tensor, lender: Tensor) -> Tensor:
    """`numbers` as they are, with the gradient of `lender`, a tensor of the same shape."""
    result: Tensor = _Borrowed.apply(numbers.detach(), lender)  # type: ignore[no-untyped-call]
    return result


def check_number(path: GradientPath, name: str, *, least: float = 0.0, most: float = math.inf) -> None:
    """Raises InvalidInput unless a field of a path is a finite number from `least` to `most`."""
    value = getattr(path, name)
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not least <= value <= most:
        accepted = f"a finite number of at least {least:g}" + (
            "" if most == math.inf else f", at most {most:g}"
        )
        raise InvalidInput(
            f"the {name} of gradient path '{path.name}' does not fit", found=repr(value), accepted=accepted
        )


def check_path(path: GradientPath, name: str, value: object) -> None:
    """Raises InvalidInput unless a field of a path holds a gradient path."""
    if not isinstance(value, GradientPath):
        raise InvalidInput(
            f"the {name} of gradient path '{path.name}' does not fit",
            found=repr(value),
            accepted="a gradient path or a surrogate",
        )
