# SPDX-License-Identifier: MIT
"""Gradient paths and surrogate derivatives of the spike, as frozen and picklable specifications."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

from torch import Tensor

from art_spiking.errors import InvalidInput, UnknownName
from art_spiking.semantics import PoolGradient


@dataclass(frozen=True)
class GradientPath(ABC):
    """How the gradient goes back through the neurons of a network: a specification, frozen and picklable.

    It belongs to whoever takes the gradient (an attack, a training loop), not to the model: exchanging it
    never changes a spike. A `Surrogate` is back-propagation through time; `gradient_paths` has the others.
    """

    name: ClassVar[str]
    """What the path is called in records and in `gradient_paths.path_from_dict`."""
    kernel_code: ClassVar[int | None] = None
    """Which formula of the fused kernels this is; None if they do not have it."""

    @property
    def pool_gradient(self) -> PoolGradient | None:
        """The backward pass of sum pooling, see `NeuronSemantics`; None leaves the model's own."""
        return None

    def for_layer(self, place: int) -> GradientPath:
        """The path of one layer of neurons, the first of the computation having place 0."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """The specification as plain data, which `gradient_paths.path_from_dict` reads."""
        values = {item.name: _plain(getattr(self, item.name)) for item in dataclasses.fields(self)}
        return {"name": self.name, **values}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.to_dict() if isinstance(value, GradientPath) else value


@dataclass(frozen=True)
class Surrogate(GradientPath):
    """The derivative that stands in for that of the spike in the backward pass.

    A spike is a step of the potential v at the threshold, so its true derivative is zero almost everywhere.
    A surrogate h replaces it: d spike / d v = h(v - threshold).

    A subclass of your own needs `name` and `derivative`; it then runs on the reference kernel.

    Attributes:
        through_reset: Whether the gradient also flows through the reset that a spike causes. Most frameworks
            cut it there, as the default does.
    """

    through_reset: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        """Checks that every number is finite and above zero."""
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if item.name == "through_reset":
                if not isinstance(value, bool):
                    raise InvalidInput(
                        "through_reset does not fit", found=repr(value), accepted="True or False"
                    )
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise InvalidInput(
                    f"the {item.name} of surrogate '{self.name}' does not fit",
                    found=repr(value),
                    accepted="a finite number above 0",
                )

    @abstractmethod
    def derivative(self, u: Tensor) -> Tensor:
        """h(u), elementwise, for u = potential - threshold of any shape."""

    @property
    def kernel_constants(self) -> tuple[float, float]:
        """The two numbers that the fused kernels compute h from; see `kernels.fused`."""
        return 1.0, 1.0


@dataclass(frozen=True)
class Atan(Surrogate):
    """h(u) = (alpha / 2) / (1 + (pi / 2 * alpha * u)^2), the derivative of a scaled arc tangent.

    snnTorch's and SpikingJelly's `atan`, alpha 2 being their default (Fang et al., ICCV 2021).
    """

    alpha: float = 2.0
    name: ClassVar[str] = "atan"
    kernel_code: ClassVar[int | None] = 0

    def derivative(self, u: Tensor) -> Tensor:
        """See the class."""
        return (self.alpha / 2) / (1 + (math.pi / 2 * self.alpha * u) ** 2)

    @property
    def kernel_constants(self) -> tuple[float, float]:
        """Height and slope."""
        return self.alpha / 2, math.pi / 2 * self.alpha


@dataclass(frozen=True)
class FastSigmoid(Surrogate):
    """h(u) = 1 / (1 + slope * |u|)^2 (Zenke and Ganguli, Neural Computation 2018); slope as snnTorch's."""

    slope: float = 25.0
    name: ClassVar[str] = "fast-sigmoid"
    kernel_code: ClassVar[int | None] = 1

    def derivative(self, u: Tensor) -> Tensor:
        """See the class."""
        return 1 / (1 + self.slope * u.abs()) ** 2

    @property
    def kernel_constants(self) -> tuple[float, float]:
        """Height and slope."""
        return 1.0, self.slope


@dataclass(frozen=True)
class Triangle(Surrogate):
    """h(u) = max(0, 1 - |u| / width) / width, of area 1 (Esser et al., PNAS 2016, where width is 1).

    snnTorch's function of that name is a constant of either sign, not this one.
    """

    width: float = 1.0
    name: ClassVar[str] = "triangle"
    kernel_code: ClassVar[int | None] = 2

    def derivative(self, u: Tensor) -> Tensor:
        """See the class."""
        return (1 - u.abs() / self.width).clamp(min=0) / self.width

    @property
    def kernel_constants(self) -> tuple[float, float]:
        """Height and slope."""
        return 1 / self.width, 1 / self.width


@dataclass(frozen=True)
class Rectangle(Surrogate):
    """h(u) = 1 / width where |u| < width / 2, else 0 (h1 of Wu et al., Frontiers in Neuroscience 2018)."""

    width: float = 1.0
    name: ClassVar[str] = "rectangle"
    kernel_code: ClassVar[int | None] = 3

    def derivative(self, u: Tensor) -> Tensor:
        """See the class."""
        return (u.abs() < self.width / 2).to(u.dtype) / self.width

    @property
    def kernel_constants(self) -> tuple[float, float]:
        """Height and half width."""
        return 1 / self.width, self.width / 2


@dataclass(frozen=True)
class StraightThrough(Surrogate):
    """h(u) = 1 everywhere (Bengio et al., 2013): a spike passes the gradient as if it were the potential."""

    name: ClassVar[str] = "straight-through"
    kernel_code: ClassVar[int | None] = 4

    def derivative(self, u: Tensor) -> Tensor:
        """See the class."""
        return u.new_ones(()).expand_as(u)


@dataclass(frozen=True)
class Gaussian(Surrogate):
    """h(u) = exp(-u^2 / (2 sigma^2)) / (sigma sqrt(2 pi)), a normal density (Yin et al., 2021)."""

    sigma: float = 0.5
    name: ClassVar[str] = "gaussian"
    kernel_code: ClassVar[int | None] = 5

    def derivative(self, u: Tensor) -> Tensor:
        """See the class."""
        height, rate = self.kernel_constants
        return height * (-rate * u * u).exp()

    @property
    def kernel_constants(self) -> tuple[float, float]:
        """Height and rate of decay."""
        return 1 / (self.sigma * math.sqrt(2 * math.pi)), 1 / (2 * self.sigma**2)


@dataclass(frozen=True)
class Sigmoid(Surrogate):
    """h(u) = slope s (1 - s) with s = 1 / (1 + exp(-slope u)), the derivative of the logistic function s.

    SpikingJelly's default, with its slope 4, and snnTorch's `sigmoid`, whose slope is 25. It is evaluated as
    slope e / (1 + e)^2 with e = exp(-slope |u|), the same number, of which no part overflows.
    """

    slope: float = 4.0
    name: ClassVar[str] = "sigmoid"
    kernel_code: ClassVar[int | None] = 6

    def derivative(self, u: Tensor) -> Tensor:
        """See the class."""
        e = (-self.slope * u.abs()).exp()
        return self.slope * e / (1 + e) ** 2

    @property
    def kernel_constants(self) -> tuple[float, float]:
        """Four times the height, and slope."""
        return self.slope, self.slope


SURROGATES: Mapping[str, type[Surrogate]] = MappingProxyType(
    {kind.name: kind for kind in (Atan, FastSigmoid, Triangle, Rectangle, StraightThrough, Gaussian, Sigmoid)}
)
"""The surrogates that `surrogate_from_dict` knows, by name."""


def surrogate_from_dict(data: Mapping[str, Any]) -> Surrogate:
    """The surrogate that `Surrogate.to_dict` wrote.

    Raises:
        UnknownName: `name` is none of `SURROGATES`.
        InvalidInput: A field that the surrogate does not have, or a value that does not fit.
    """
    fields = dict(data)
    name = fields.pop("name", None)
    kind = SURROGATES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise UnknownName("no such surrogate", asked=repr(name), accepted=", ".join(SURROGATES))
    known = [item.name for item in dataclasses.fields(kind)]
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise InvalidInput(
            f"surrogate '{name}' has no such field", found=", ".join(unknown), accepted=", ".join(known)
        )
    return kind(**fields)
