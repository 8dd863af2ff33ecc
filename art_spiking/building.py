# SPDX-License-Identifier: MIT
"""Plans of layers, from which `SpikingNetwork.sequential` builds new networks to be trained."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import torch

from art_spiking.errors import InvalidInput
from art_spiking.graphs import GraphSpec, NodeSpec
from art_spiking.node_types import Array, AttributeValue, Shape, output_shape


class LayerPlan(Protocol):
    """Anything that can say which node it becomes on an input of a given shape."""

    def node(self, shape: Shape, generator: torch.Generator) -> NodeSpec:
        """The node for an input of `shape` in one step, weights drawn by `generator`."""


@dataclass(frozen=True)
class Conv:
    """A 2-d convolution with random weights and biases of zero.

    Attributes:
        channels: Output channels.
        kernel: Side of the window.
        stride: Step of the window.
        padding: Zeros on each side.
        gain: Weights have the standard deviation gain / sqrt(inputs of a neuron); sparse input wants more
            than 1.
    """

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    gain: float = 1.0

    def node(self, shape: Shape, generator: torch.Generator) -> NodeSpec:
        """See `LayerPlan`."""
        weight = _random((self.channels, shape[0], self.kernel, self.kernel), self.gain, generator)
        attributes: dict[str, AttributeValue] = {"stride": self.stride, "padding": self.padding}
        attributes |= {"dilation": 1, "groups": 1, "input_shape": shape[1:]}
        return NodeSpec("Conv2d", attributes, {"weight": weight, "bias": np.zeros(self.channels, np.float32)})


@dataclass(frozen=True)
class Dense:
    """A full connection with random weights and biases of zero.

    Attributes:
        units: Outputs.
        gain: Weights have the standard deviation gain / sqrt(inputs of a neuron).
    """

    units: int
    gain: float = 1.0

    def node(self, shape: Shape, generator: torch.Generator) -> NodeSpec:
        """See `LayerPlan`."""
        weight = _random((self.units, math.prod(shape)), self.gain, generator)
        return NodeSpec("Affine", {}, {"weight": weight, "bias": np.zeros(self.units, np.float32)})


@dataclass(frozen=True)
class SumPool:
    """Sums over windows, each starting where the last ended.

    Attributes:
        kernel: Side of the window.
    """

    kernel: int

    def node(self, shape: Shape, generator: torch.Generator) -> NodeSpec:
        """See `LayerPlan`."""
        return NodeSpec("SumPool2d", {"kernel_size": self.kernel, "stride": self.kernel, "padding": 0})


@dataclass(frozen=True)
class AvgPool:
    """Means over windows, each starting where the last ended.

    Attributes:
        kernel: Side of the window.
    """

    kernel: int

    def node(self, shape: Shape, generator: torch.Generator) -> NodeSpec:
        """See `LayerPlan`."""
        return NodeSpec("AvgPool2d", {"kernel_size": self.kernel, "stride": self.kernel, "padding": 0})


@dataclass(frozen=True)
class Flat:
    """All axes of a step merged into one."""

    def node(self, shape: Shape, generator: torch.Generator) -> NodeSpec:
        """See `LayerPlan`."""
        return NodeSpec("Flatten", {"start_dim": 0, "end_dim": len(shape) - 1, "input_type": shape})


@dataclass(frozen=True)
class Neurons:
    """A layer of equal neurons.

    Attributes:
        type: Which equation they follow; see `art_spiking.neurons`.
        v_threshold: Potential at which they fire.
        v_reset: Potential after a spike, where the semantics resets to a value.
        r: Gain of the input.
        v_leak: Potential at rest.
        tau_us: Time constant of the membrane in µs; all but IF and I need it.
        tau_syn_us: Time constant of the synapse in µs; CubaLIF and CubaLI need it.
    """

    type: Literal["IF", "LIF", "CubaLIF", "LI", "CubaLI", "I"] = "IF"
    v_threshold: float = field(default=1.0, kw_only=True)
    v_reset: float = field(default=0.0, kw_only=True)
    r: float = field(default=1.0, kw_only=True)
    v_leak: float = field(default=0.0, kw_only=True)
    tau_us: float | None = field(default=None, kw_only=True)
    tau_syn_us: float | None = field(default=None, kw_only=True)

    def node(self, shape: Shape, generator: torch.Generator) -> NodeSpec:
        """See `LayerPlan`."""
        values: dict[str, float | None] = {"r": self.r}
        has_synapse = self.type in ("CubaLIF", "CubaLI")
        if self.type in ("IF", "LIF", "CubaLIF"):
            values |= {"v_threshold": self.v_threshold, "v_reset": self.v_reset}
        if self.type not in ("IF", "I"):
            values |= {"tau_mem" if has_synapse else "tau": self.tau_us, "v_leak": self.v_leak}
        if has_synapse:
            values |= {"tau_syn": self.tau_syn_us, "w_in": 1.0}
        arrays: dict[str, Array] = {}
        for name, value in values.items():
            if value is None:
                raise InvalidInput(
                    f"{self.type} neurons need a time constant",
                    found=f"{name} is None",
                    accepted="µs, above 0",
                    remedy="pass tau_us, and tau_syn_us for neurons with a synapse",
                )
            arrays[name] = np.full(shape, value * 1e-6 if name.startswith("tau") else value, np.float32)
        return NodeSpec(self.type, {}, arrays)


def plan_graph(
    input_shape: tuple[int, ...], layers: Sequence[LayerPlan], generator: torch.Generator
) -> GraphSpec:
    """The graph of plans laid one on another; node names are their places, "0", "1", ...

    Args:
        input_shape: Shape of the input in one step.
        layers: First layer first.
        generator: Draws the weights.

    Raises:
        InvalidModel: Layers that do not fit on each other.
    """
    shape: Shape = tuple(input_shape)
    nodes = {"input": NodeSpec("Input", {"shape": shape})}
    for place, layer in enumerate(layers):
        node = layer.node(shape, generator)
        nodes[str(place)] = node
        after = output_shape(node.type, node.attributes, node.arrays, shape)
        # A misfit is kept in, for the graph to report with all others.
        shape = after if isinstance(after, tuple) else shape
    nodes["output"] = NodeSpec("Output", {"shape": shape})
    names = list(nodes)
    return GraphSpec(nodes, tuple(itertools.pairwise(names)))


def _random(shape: Shape, gain: float, generator: torch.Generator) -> Array:
    spread = gain * math.sqrt(3 / math.prod(shape[1:]))
    drawn: Array = ((2 * torch.rand(shape, generator=generator) - 1) * spread).numpy()
    return drawn
