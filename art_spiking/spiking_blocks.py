# SPDX-License-Identifier: MIT
"""Convolution, neurons and sum pooling that are run as one operation where their input is sparse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from art_spiking.graphs import GraphSpec
from art_spiking.kernels.frames import can_pool
from art_spiking.kernels.spiking_conv import spiking_conv2d
from art_spiking.layers import NEURON_TYPES, Convolution, Layer, NeuronLayer, Pooling
from art_spiking.surrogates import Surrogate

# Share of non-zeros up to which a convolution follows events; oneDNN's takes as long at about a half
# (measured with 16 channels in and out).
_SPARSE = 0.3
_FRAMES_LOOKED_AT = 64
# Multiply-adds by events for one neuron and step from which their sum is kept, not formed anew.
_DEAR = 4


@dataclass(frozen=True)
class Block:
    """Names of nodes of which each is read by the next alone.

    Attributes:
        convolution: A Conv2d.
        neurons: What it feeds.
        pooling: A SumPool2d that is fed by them, or None.
    """

    convolution: str
    neurons: str
    pooling: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes, first to last."""
        return tuple(name for name in (self.convolution, self.neurons, self.pooling) if name)

    @property
    def end(self) -> str:
        """The node whose output leaves the block."""
        return self.names[-1]


def blocks_of(graph: GraphSpec) -> dict[str, Block]:
    """The blocks of a graph by the name of the convolution, recurrent groups left out."""
    alone = {group.nodes[0] for group in graph.groups() if not group.is_recurrent}
    readers = Counter(a for a, _ in graph.edges)
    sources = Counter(b for _, b in graph.edges)
    after = {a: b for a, b in graph.edges if readers[a] == 1 and sources[b] == 1 and {a, b} <= alone}
    found = {}
    for name, node in graph.nodes.items():
        neurons = after.get(name)
        if node.type != "Conv2d" or neurons is None or graph.nodes[neurons].type not in NEURON_TYPES:
            continue
        pooling = after.get(neurons)
        if pooling is not None and graph.nodes[pooling].type != "SumPool2d":
            pooling = None
        found[name] = Block(name, neurons, pooling)
    return found


def fitting(block: Block, layers: Mapping[str, nn.Module], x: Tensor) -> Block | None:
    """The block, or the part of it, that one operation can run on x (N, T, C, H, W); None if it cannot.

    A layer with hooks is called by itself. So is the convolution if its input is dense.
    """
    convolution, neurons = layers[block.convolution], layers[block.neurons]
    if not isinstance(convolution, Convolution) or not isinstance(neurons, NeuronLayer):
        return None
    surrogate, c = neurons.surrogate, neurons.coefficients
    if (
        x.device.type != "cpu"
        or x.dtype not in (torch.float32, torch.float64)
        or not (convolution.weight.dtype == convolution.bias.dtype == c.decay.dtype == x.dtype)
        or not isinstance(surrogate, Surrogate)
        or surrogate.kernel_code is None
        or neurons.backend == "reference"
        or c.grid is not None
        or not c.fires
        or not convolution.is_plain
        or _is_watched(convolution)
        or _is_watched(neurons)
    ):
        return None
    options = convolution.options
    shape = (
        convolution.weight.shape[0],
        *(
            (side + 2 * p - k) // s + 1
            for side, p, k, s in zip(
                x.shape[3:], options["padding"], convolution.weight.shape[2:], options["stride"], strict=True
            )
        ),
    )
    if x.numel() == 0 or min(shape) < 1 or _density(x) > _SPARSE:
        return None
    if any(value.numel() != 1 and tuple(value.shape) != shape for value in c.tensors().values()):
        return None
    pooling = layers[block.pooling] if block.pooling else None
    if isinstance(pooling, Pooling) and not _is_watched(pooling):
        window: tuple[Any, ...] = tuple(
            pooling.spec.attributes[k] for k in ("kernel_size", "stride", "padding")
        )
        if can_pool(torch.Size((1, *shape)), *window):
            return block
    return Block(block.convolution, block.neurons)


def run_block(block: Block, layers: Mapping[str, nn.Module], x: Tensor) -> Tensor:
    """Output (N, T, *G) of a block that `fitting` returned, for its input (N, T, C, H, W)."""
    convolution, neurons = layers[block.convolution], layers[block.neurons]
    pooling = layers[block.pooling] if block.pooling else None
    if (
        not isinstance(convolution, Convolution)
        or not isinstance(neurons, NeuronLayer)
        or not isinstance(neurons.surrogate, Surrogate)
    ):
        raise TypeError(f"{block} holds other layers")
    pool, silent = (1, 1), False
    if isinstance(pooling, Pooling):
        pool, silent = pooling.spec.attributes["kernel_size"], pooling.pool_gradient == "lp"  # type: ignore[assignment]
    options = convolution.options
    return spiking_conv2d(
        x,
        (convolution.weight, convolution.bias, options["stride"], options["padding"]),
        neurons.coefficients,
        neurons.semantics,
        neurons.surrogate,
        pool=pool,
        silent=silent,
        keep=_density(x) * convolution.weight[0].numel() > _DEAR,
    )


def _is_watched(layer: Layer) -> bool:
    return bool(
        layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks
    )


def _density(x: Tensor) -> float:
    """Share of non-zeros, by a sample of the frames."""
    frames = x.detach().flatten(0, 1)
    some = frames[:: -(-len(frames) // _FRAMES_LOOKED_AT)]
    return int(torch.count_nonzero(some)) / some.numel()
