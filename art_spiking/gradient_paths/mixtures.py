# SPDX-License-Identifier: MIT
"""Paths made of paths: mixtures, and another pooling gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, cast, get_args

import torch
from torch import Tensor

from art_spiking.errors import InvalidInput
from art_spiking.gradient_paths.base import LayerPath, borrowed, check_path, scan_by
from art_spiking.kernels import Backend
from art_spiking.neurons import Coefficients, NeuronSemantics
from art_spiking.semantics import PoolGradient
from art_spiking.surrogates import Atan, GradientPath, Triangle

Over = Literal["sum", "layers", "steps"]

_ATAN = Atan()
_MIXED = (Atan(1.0), Atan(3.0), Triangle(1.0))


@dataclass(frozen=True)
class Mixture(LayerPath):
    """Several paths in one gradient, as MDSE mixes surrogates (Xu et al., arXiv 2209.03358).

    | over | what a layer passes on |
    | --- | --- |
    | sum | the weighted sum of the gradients of all paths, in every layer |
    | layers | the gradient of one path: each layer of neurons takes the next one, in turn |
    | steps | the gradient by the spikes of step t through one path: each step takes the next one, in turn |

    MDSE learns the weights during the attack, and mixes models too; here they are fixed, and chosen, like any
    path, on the craft split.

    Attributes:
        paths: Two or more.
        weights: One for each path, of a sum; by default equal ones.
        over: What is mixed.
    """

    paths: tuple[GradientPath, ...] = _MIXED
    weights: tuple[float, ...] | None = None
    over: Over = "sum"
    name: ClassVar[str] = "mixture"

    def __post_init__(self) -> None:
        """Checks the fields; lists become tuples."""
        for field in ("paths", "weights"):
            if isinstance(getattr(self, field), list):
                object.__setattr__(self, field, tuple(getattr(self, field)))
        if not isinstance(self.paths, tuple) or len(self.paths) < 2:
            raise InvalidInput("a mixture needs paths", found=repr(self.paths), accepted="two or more paths")
        for path in self.paths:
            check_path(self, "paths", path)
        if self.over not in get_args(Over):
            raise InvalidInput("no such mixture", asked=repr(self.over), accepted=", ".join(get_args(Over)))
        self._check_weights()

    def _check_weights(self) -> None:
        weights = self.weights
        if weights is None:
            return
        if self.over != "sum":
            raise InvalidInput("weights belong to a sum", asked=f"over='{self.over}'", found=repr(weights))
        fits = isinstance(weights, tuple) and len(weights) == len(self.paths)
        numbers = fits and all(
            isinstance(w, int | float) and not isinstance(w, bool) and 0 <= w < float("inf") for w in weights
        )
        if not numbers or sum(weights) == 0:
            raise InvalidInput(
                "the weights of a mixture do not fit",
                found=repr(weights),
                accepted=f"{len(self.paths)} finite numbers of at least 0, not all 0",
            )

    @property
    def pool_gradient(self) -> PoolGradient | None:
        """That of the first path that asks for one: sum pooling has one gradient for all."""
        asked = (path.pool_gradient for path in self.paths)
        return next((gradient for gradient in asked if gradient is not None), None)

    def for_layer(self, place: int) -> GradientPath:
        """The next path in turn, or all of them resolved."""
        if self.over == "layers":
            return self.paths[place % len(self.paths)].for_layer(place)
        return Mixture(tuple(path.for_layer(place) for path in self.paths), self.weights, self.over)

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
        runs = [
            scan_by(path, current, c, semantics, membrane=membrane, backend=backend) for path in self.paths
        ]
        spikes = self._mixed([run[0] for run in runs], self._shares(current))
        if not membrane:
            return spikes, None
        # The potential of a step has no spike of its own to take turns for.
        equal = [1 / len(runs)] * len(runs) if self.over != "sum" else self._weights()
        return spikes, self._mixed([cast(Tensor, run[1]) for run in runs], equal)

    @staticmethod
    def _mixed(outputs: list[Tensor], shares: Sequence[float | Tensor]) -> Tensor:
        parts = [output * share for share, output in zip(shares, outputs, strict=True)]
        return borrowed(outputs[0], torch.stack(parts).sum(0))

    def _weights(self) -> list[float]:
        given = self.weights or (1.0,) * len(self.paths)
        return [weight / sum(given) for weight in given]

    def _shares(self, current: Tensor) -> Sequence[float | Tensor]:
        if self.over != "steps":
            return self._weights()
        turn = torch.arange(current.shape[1], device=current.device) % len(self.paths)
        shape = (-1, *[1] * (current.dim() - 2))
        return [(turn == k).to(current.dtype).view(shape) for k in range(len(self.paths))]


@dataclass(frozen=True)
class Pooled(GradientPath):
    """A path with another gradient of sum pooling than the model's own.

    "average" is the true gradient; "lp" is zero for silent windows, as frameworks that import the node as
    LPPool2d compute it. A model whose own is "lp" hides from an attack what events in silent windows do.
    """

    path: GradientPath = _ATAN
    pooling: PoolGradient = "average"
    name: ClassVar[str] = "pooled"

    def __post_init__(self) -> None:
        """Checks the fields."""
        check_path(self, "path", self.path)
        if self.pooling not in get_args(PoolGradient):
            raise InvalidInput(
                "no such pooling gradient",
                asked=repr(self.pooling),
                accepted=", ".join(get_args(PoolGradient)),
            )

    @property
    def pool_gradient(self) -> PoolGradient:
        """See the class."""
        return self.pooling

    def for_layer(self, place: int) -> GradientPath:
        """The path inside: neurons pool nothing."""
        return self.path.for_layer(place)
