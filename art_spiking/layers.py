# SPDX-License-Identifier: MIT
"""The layers of a spiking network: frame layers that know no time, neuron layers and delays that do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from art_spiking import neurons
from art_spiking.errors import InvalidInput
from art_spiking.gradient_paths import scan_by
from art_spiking.graphs import NodeSpec
from art_spiking.kernels import Backend
from art_spiking.kernels.delays import delay
from art_spiking.kernels.frames import can_pool, conv2d, sum_pool2d
from art_spiking.neurons import Coefficients, NeuronSemantics
from art_spiking.surrogates import GradientPath


class Layer(nn.Module, ABC):
    """One node of a graph as a module.

    Attributes:
        spec: The node that it was made from. Weights may have been trained since; see `node`.
    """

    def __init__(self, spec: NodeSpec) -> None:
        """Keeps the node; subclasses add what it holds as parameters or buffers."""
        super().__init__()
        self.spec = spec

    def node(self) -> NodeSpec:
        """The node with the weights as they are now; unchanged ones keep the precision they came in."""
        arrays = dict(self.spec.arrays)
        for name, parameter in self.named_parameters(recurse=False):
            value = parameter.detach().cpu().numpy()
            if not np.array_equal(value, arrays[name].astype(np.float32)):
                arrays[name] = value
        return NodeSpec(self.spec.type, self.spec.attributes, arrays)

    def _own_weights(self) -> None:
        for name, array in self.spec.arrays.items():
            self.register_parameter(name, nn.Parameter(torch.tensor(array, dtype=torch.float32)))


class FrameLayer(Layer):
    """A layer that treats every time step alike: (M, *F) to (M, *G), M being any number of frames."""

    @abstractmethod
    def forward(self, frames: Tensor) -> Tensor:
        """The layer's output for frames (M, *F)."""


class Convolution(FrameLayer):
    """NIR's Conv1d and Conv2d: correlation with `weight` plus `bias`."""

    weight: Tensor
    bias: Tensor

    def __init__(self, spec: NodeSpec) -> None:
        """Owns weight and bias."""
        super().__init__(spec)
        self._own_weights()
        names = ("stride", "padding", "dilation", "groups")
        self.options: dict[str, Any] = {name: spec.attributes[name] for name in names}
        plain = self.options["groups"] == 1 and self.options["dilation"] == (1, 1)
        self.is_plain = spec.type == "Conv2d" and plain and isinstance(self.options["padding"], tuple)

    def forward(self, frames: Tensor) -> Tensor:
        """(M, C, L) or (M, C, H, W) to the same with other sizes."""
        if self.is_plain and frames.device.type == "cpu":
            stride, padding = self.options["stride"], self.options["padding"]
            return conv2d(frames, self.weight, self.bias, stride=stride, padding=padding)
        convolve = functional.conv1d if self.spec.type == "Conv1d" else functional.conv2d
        result: Tensor = convolve(frames, self.weight, self.bias, **self.options)
        return result


class Dense(FrameLayer):
    """NIR's Affine and Linear: `weight` x, plus `bias` if there is one, for each index of earlier axes."""

    weight: Tensor

    def __init__(self, spec: NodeSpec) -> None:
        """Owns weight and bias."""
        super().__init__(spec)
        self.has_bias = spec.type == "Affine"
        self._own_weights()

    def forward(self, frames: Tensor) -> Tensor:
        """(M, *B, I) to (M, *B, O)."""
        bias = self.get_parameter("bias") if self.has_bias else None
        if self.weight.dim() == 2:
            return functional.linear(frames, self.weight, bias)
        product = (self.weight @ frames.unsqueeze(-1)).squeeze(-1)
        return product if bias is None else product + bias


class Scale(FrameLayer):
    """NIR's Scale: elementwise product with `scale`."""

    scale: Tensor

    def __init__(self, spec: NodeSpec) -> None:
        """Owns scale."""
        super().__init__(spec)
        self._own_weights()

    def forward(self, frames: Tensor) -> Tensor:
        """(M, *F) to the same shape."""
        return frames * self.scale


class Pooling(FrameLayer):
    """NIR's SumPool2d and AvgPool2d; the padding counts as zeros.

    The sum's gradient is the true one, or, as `NeuronSemantics.pool_gradient` "lp" asks, that of
    torch.nn.LPPool2d(norm_type=1), by which frameworks import the node: zero for silent windows.
    """

    def __init__(self, spec: NodeSpec, pool_gradient: str) -> None:
        """Takes the kind of gradient beside the node."""
        super().__init__(spec)
        self.pool_gradient = pool_gradient

    def forward(self, frames: Tensor) -> Tensor:
        """(M, C, H, W) to (M, C, H', W')."""
        options: dict[str, Any] = dict(self.spec.attributes)
        kernel, stride, padding = options["kernel_size"], options["stride"], options["padding"]
        if self.spec.type == "AvgPool2d":
            return functional.avg_pool2d(frames, kernel, stride, padding)
        if can_pool(frames.shape, kernel, stride, padding):
            return sum_pool2d(frames, kernel, silent=self.pool_gradient == "lp")
        total = functional.avg_pool2d(frames, kernel, stride, padding, divisor_override=1)
        if self.pool_gradient == "lp":
            return torch.where(total == 0, torch.zeros_like(total), total)
        return total


class Flattening(FrameLayer):
    """NIR's Flatten; its dimensions count from the first after batch and time."""

    def forward(self, frames: Tensor) -> Tensor:
        """(M, *F) to (M, *G) with the dimensions merged."""
        first, last = (self.spec.attributes[name] for name in ("start_dim", "end_dim"))
        sides = frames.dim() - 1
        start, end = (int(d) % sides + 1 for d in (first, last))  # type: ignore[arg-type]
        return frames.flatten(start, end)


class NeuronLayer(Layer):
    """A layer of neurons of one of `NEURON_TYPES`, run over all time steps by one scan.

    Its parameters are buffers: they are part of the model, and nothing here trains them.
    """

    def __init__(
        self, spec: NodeSpec, semantics: NeuronSemantics, surrogate: GradientPath, dt_us: float | None
    ) -> None:
        """Works out the coefficients under the semantics, and rounds them to float32."""
        super().__init__(spec)
        self.semantics = semantics
        self.surrogate = surrogate
        self.backend: Backend = "auto"
        kind = getattr(neurons, spec.type)
        arrays = {name: torch.tensor(array) for name, array in spec.arrays.items()}
        c = neurons.coefficients(kind(**arrays), semantics, dt_us).map(lambda t: _single(t).float())
        self._names = tuple(c.tensors())
        self.stateless, self.fires, self.grid = c.stateless, c.fires, c.grid
        for name, value in c.tensors().items():
            self.register_buffer(name, value, persistent=False)

    @property
    def coefficients(self) -> Coefficients:
        """The coefficients, in the module's own type and on its device."""
        tensors = {name: getattr(self, name) for name in self._names}
        return Coefficients(**tensors, stateless=self.stateless, fires=self.fires, grid=self.grid)

    def forward(self, current: Tensor, *, membrane: bool = False) -> tuple[Tensor, Tensor | None]:
        """Output (N, T, *F) for input (N, T, *F), and the potentials if asked; see `kernels.scan`."""
        return scan_by(
            self.surrogate,
            current,
            self.coefficients,
            self.semantics,
            membrane=membrane,
            backend=self.backend,
        )


class DelayLayer(Layer):
    """NIR's Delay: y(t) = x(t - delay), silent before.

    Attributes:
        steps: The delays in time steps, int64, of the layer's shape or of one element.
    """

    steps: Tensor

    def __init__(self, spec: NodeSpec, dt_us: float | None) -> None:
        """Turns seconds into whole steps.

        Raises:
            InvalidInput: dt_us is missing or not above 0, or a delay is not a whole number of steps.
        """
        super().__init__(spec)
        if dt_us is None or not 0 < dt_us < float("inf"):
            raise InvalidInput(
                "a delay needs the length of a step",
                asked=f"dt_us={dt_us}",
                accepted="µs, above 0",
                remedy="pass dt_us, as in dt_us=1000 for frames of 1 ms",
            )
        exact = torch.tensor(spec.arrays["delay"], dtype=torch.float64) * (1e6 / dt_us)
        whole = exact.round()
        # Seconds in float32 are off by up to their rounding; a delay above zero takes a step at least.
        wrong = ((exact - whole).abs() > 1e-3 + exact * 2.0**-22) | ((exact > 0) & (whole == 0))
        if bool(wrong.any()):
            raise InvalidInput(
                "a delay is not a whole number of steps",
                asked=f"dt_us={dt_us:g}",
                found=f"a delay of {float(exact[wrong].min()) * dt_us:g} µs",
                accepted="multiples of dt_us",
                remedy="bin at steps of which every delay is a multiple",
            )
        # No recording has as many steps as the limit.
        self.register_buffer("steps", _single(whole.clamp(max=2.0**40)).long(), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """(N, T, *F) to the same shape."""
        return delay(values, self.steps)


def _single(value: Tensor) -> Tensor:
    """One element in the place of many equal ones."""
    value = value.contiguous()
    first = value.reshape(-1)[:1]
    return first if bool((value == first).all()) else value


FRAME_LAYERS: Mapping[str, Callable[[NodeSpec], FrameLayer]] = MappingProxyType(
    {
        "Conv1d": Convolution,
        "Conv2d": Convolution,
        "Affine": Dense,
        "Linear": Dense,
        "Scale": Scale,
        "Flatten": Flattening,
    }
)
NEURON_TYPES = ("IF", "LIF", "CubaLIF", "LI", "CubaLI", "I", "Threshold")


def make_layer(
    spec: NodeSpec, semantics: NeuronSemantics, surrogate: GradientPath, dt_us: float | None
) -> FrameLayer | NeuronLayer | DelayLayer:
    """The layer of a node other than Input and Output."""
    if spec.type == "Delay":
        return DelayLayer(spec, dt_us)
    if spec.type in NEURON_TYPES:
        return NeuronLayer(spec, semantics, surrogate, dt_us)
    if spec.type in ("SumPool2d", "AvgPool2d"):
        return Pooling(spec, surrogate.pool_gradient or semantics.pool_gradient)
    return FRAME_LAYERS[spec.type](spec)
