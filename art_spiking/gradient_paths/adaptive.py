# SPDX-License-Identifier: MIT
"""Surrogates whose width follows the potentials of the sample: PDSG and ASSG."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from art_spiking.errors import InvalidInput
from art_spiking.gradient_paths.base import SILENT, LayerPath, check_number
from art_spiking.gradient_paths.known import Run, gradient
from art_spiking.kernels import Backend, scan
from art_spiking.neurons import Coefficients, NeuronSemantics, distance


@dataclass(frozen=True)
class AdaptiveSurrogate(LayerPath):
    """Back-propagation through time with a derivative that is worked out from a layer's own potentials.

    What it is worked out from belongs to one sample alone, so a sample's gradient does not depend on the
    batch. A subclass of your own needs `name` and `derivatives`.

    Attributes:
        through_reset: As in `Surrogate`.
    """

    through_reset: bool = dataclasses.field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        """Checks the flag."""
        if not isinstance(self.through_reset, bool):
            raise InvalidInput(
                "through_reset does not fit", found=repr(self.through_reset), accepted="True or False"
            )

    @abstractmethod
    def derivatives(self, u: Tensor, away: Tensor, threshold: Tensor) -> Tensor:
        """The derivative of the spikes by the potentials, of a whole layer.

        Args:
            u: Potentials before the reset, (N, T, *F).
            away: How far each lies above its nearest threshold, see `neurons.distance`, (N, T, *F).
            threshold: (*F) or one element.

        Returns:
            (N, T, *F), of which each sample depends on its own potentials alone.
        """

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
        spikes, potential = _Adaptive.apply(  # type: ignore[no-untyped-call]
            current, self, c, semantics, backend
        )
        return spikes, potential if membrane else None


class _Adaptive(torch.autograd.Function):
    """Spikes and potentials of a layer, with a backward pass that works out the derivatives first."""

    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        path: AdaptiveSurrogate,
        c: Coefficients,
        semantics: NeuronSemantics,
        backend: Backend,
    ) -> tuple[Tensor, Tensor | None]:
        spikes, potential = scan(current, c, semantics, SILENT, membrane=True, backend=backend)
        ctx.save_for_backward(current, spikes, potential)
        ctx.path, ctx.c, ctx.semantics = path, c, semantics
        ctx.set_materialize_grads(False)
        return spikes, potential

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None, None, None]:
        current, spikes, u = ctx.saved_tensors
        by_spikes, by_u = gradients
        if by_spikes is None and by_u is None:
            return None, None, None, None, None
        c = ctx.c
        semantics = dataclasses.replace(ctx.semantics, spikes="one") if c.stateless else ctx.semantics
        h = ctx.path.derivatives(u, distance(u, c.threshold, semantics), c.threshold)
        run = Run(current, spikes, u, c, ctx.semantics)
        result = gradient(run, h, by_spikes, by_u, through_reset=ctx.path.through_reset)
        return result, None, None, None, None


@dataclass(frozen=True)
class PotentialWidth(AdaptiveSurrogate):
    """PDSG: a normal density as wide as the potentials are spread (Lun et al., CVPR 2025, arXiv 2503.03272).

    d spike / d u is the density, at u, of mean threshold + sigma / 2 and deviation sigma, where sigma is the
    standard deviation of the potentials of a channel over the steps up to now and all positions. Published
    over the batch too, so that a sample's gradient depends on the others; here over one sample. A layer
    without positions is one channel: one neuron of one sample has no deviation at the first step. Where a
    neuron fires several times a step, the density stands at the nearest multiple of the threshold.

    Attributes:
        least: The smallest sigma, in thresholds; a silent channel has none.
    """

    least: float = 0.01
    name: ClassVar[str] = "pdsg"

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_number(self, "least", least=1e-6)

    def derivatives(self, u: Tensor, away: Tensor, threshold: Tensor) -> Tensor:
        """See the class."""
        sigma = torch.maximum(spread(u), self.least * threshold.abs())
        z = (away / sigma).sub_(0.5)
        return z.square_().mul_(-0.5).exp_().div_(sigma * math.sqrt(2 * math.pi))


def spread(u: Tensor) -> Tensor:
    """Standard deviation over the steps up to now and all positions of a channel, (N, T, C, 1, ..., 1).

    Args:
        u: (N, T, C, *positions), or (N, T, F), which counts as one channel: then (N, T, 1).
    """
    inner = tuple(range(3, u.dim())) if u.dim() > 3 else (2,)
    variance, mean = torch.var_mean(u, inner, correction=0, keepdim=True)
    variance, mean = variance.double(), mean.double()
    steps = torch.arange(1, u.shape[1] + 1, device=u.device).view(-1, *[1] * (u.dim() - 2))
    so_far = mean.cumsum(1) / steps
    square = (variance + mean.square()).cumsum(1) / steps
    return (square - so_far.square()).clamp(min=0).sqrt().to(u.dtype)


@dataclass(frozen=True)
class AdaptiveSharpness(AdaptiveSurrogate):
    """ASSG: an arc tangent as sharp as the potentials are near (Wang et al., CVPR 2026, arXiv 2512.22522).

    d spike / d u is that of `Atan` with alpha = 2 tan(pi area / 2) / (pi (M + spread D + 1e-4)): of the
    density, the share `area` lies within M + spread D of the threshold. M is a running mean over the steps of
    |u - threshold|, D one of its distance from M, each neuron of each sample for itself; they begin with the
    first step, M at its value and D at 0. The paper lets the shape follow the input during the attack; here a
    network keeps nothing between calls, and both run over the steps of the recording.

    Attributes:
        area: Share of the density within the range.
        spread: How many mean distances the range is wider than M.
        keep: Share of M and D that a step keeps.
    """

    area: float = 0.8
    spread: float = 1.5
    keep: float = 0.9
    name: ClassVar[str] = "assg"

    def __post_init__(self) -> None:
        """Checks the fields."""
        super().__post_init__()
        check_number(self, "area", least=0.01, most=0.99)
        check_number(self, "spread")
        check_number(self, "keep", most=0.9999)

    def derivatives(self, u: Tensor, away: Tensor, threshold: Tensor) -> Tensor:
        """See the class."""
        size = away.abs()
        reach = torch.empty_like(size)
        near, apart = size[:, :1].squeeze(1), 0 * size[:, :1].squeeze(1)
        for t, value in enumerate(size.unbind(1)):
            near = torch.lerp(value, near, self.keep)
            apart = torch.lerp((value - near).abs_(), apart, self.keep)
            reach[:, t] = near + self.spread * apart
        # With tan = tan(pi area / 2), alpha is 2 tan / (pi reach), and pi / 2 alpha d is tan d / reach.
        tangent = math.tan(math.pi * self.area / 2)
        reach += 1e-4
        ratio = (size * tangent).div_(reach).square_().add_(1)
        return ratio.mul_(reach).reciprocal_().mul_(tangent / math.pi)
