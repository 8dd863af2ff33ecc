# SPDX-License-Identifier: MIT
"""Convolution, neurons and sum pooling that are run as one operation where their input is sparse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from art_spiking.graphs import GraphSpec
from art_spiking.kernels.frames import Windows, can_pool, out_sides
from art_spiking.kernels.spiking_chain import links_of, spiking_chain
from art_spiking.kernels.spiking_conv import Sizes, is_planar, plan_of, spiking_conv2d
from art_spiking.layers import NEURON_TYPES, Convolution, Layer, NeuronLayer, Pooling
from art_spiking.neurons import Coefficients, NeuronSemantics
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
        pooling: A SumPool2d or AvgPool2d that is fed by them, or None.
        next: The convolution of the block that alone reads this one, and nothing else, or None.
    """

    convolution: str
    neurons: str
    pooling: str | None = None
    next: str | None = None

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
        if pooling is not None and graph.nodes[pooling].type not in ("SumPool2d", "AvgPool2d"):
            pooling = None
        found[name] = Block(name, neurons, pooling, after.get(pooling or neurons))
    return {
        name: block if block.next in found else replace(block, next=None) for name, block in found.items()
    }


def fitting(block: Block, layers: Mapping[str, nn.Module], x: Tensor) -> Block | None:
    """The block, or the part of it, that one operation can run on x (N, T, C, H, W); None if it cannot.

    A layer with hooks is called by itself. So is the convolution if its input is dense.
    """
    found = suited(block, layers, x, x.shape)
    return found if found is not None and _density(x) <= _SPARSE else None


def suited(block: Block, layers: Mapping[str, nn.Module], like: Tensor, shape: torch.Size) -> Block | None:
    """`fitting` for any input of a shape, with the device and type of another tensor, however dense it is."""
    convolution, neurons = layers[block.convolution], layers[block.neurons]
    if not isinstance(convolution, Convolution) or not isinstance(neurons, NeuronLayer):
        return None
    surrogate, c = neurons.surrogate, neurons.coefficients
    if (
        like.device.type != "cpu"
        or like.dtype not in (torch.float32, torch.float64)
        or not (convolution.weight.dtype == convolution.bias.dtype == c.decay.dtype == like.dtype)
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
    features = (convolution.weight.shape[0], *_out_sides(convolution, shape))
    if shape.numel() == 0 or min(features) < 1:
        return None
    if any(value.numel() != 1 and tuple(value.shape) != features for value in c.tensors().values()):
        return None
    pooling = layers[block.pooling] if block.pooling else None
    if isinstance(pooling, Pooling) and not _is_watched(pooling):
        window: tuple[Any, ...] = tuple(
            pooling.spec.attributes[k] for k in ("kernel_size", "stride", "padding")
        )
        if can_pool(torch.Size((1, *features)), *window) and _parts(block, layers)[2].is_exact:
            return block
    return Block(block.convolution, block.neurons, next=None if block.pooling else block.next)


def run_block(block: Block, layers: Mapping[str, nn.Module], x: Tensor) -> Tensor:
    """Output (N, T, *G) of a block that `fitting` returned, for its input (N, T, C, H, W)."""
    convolution, neurons, pool = _parts(block, layers)
    options = convolution.options
    return spiking_conv2d(
        x,
        (convolution.weight, convolution.bias, options["stride"], options["padding"]),
        *_neurons(neurons),
        pool=pool,
        keep=_density(x) * convolution.weight[0].numel() > _DEAR,
    )


def run_chain(
    blocks: Sequence[Block], layers: Mapping[str, nn.Module], x: Tensor
) -> tuple[Tensor, int] | None:
    """Output of the first blocks that can be run as one, at least two, and how many; None if none can.

    Args:
        blocks: Each is the next of the one before; the first as `fitting` returned it, the rest as `suited`.
        layers: Layer by node name.
        x: Input (N, T, C, H, W).
    """
    plans, weights, shape, planar = [], [], x.shape, is_planar(x)
    for block in blocks:
        convolution, neurons, pool = _parts(block, layers)
        trains = convolution.weight.requires_grad or convolution.bias.requires_grad
        if pool.silent or (trains and torch.is_grad_enabled()):
            break
        options = convolution.options
        sizes = Sizes(options["stride"], options["padding"], pool)
        plans.append(plan_of(shape, planar, convolution.weight, convolution.bias, sizes, _neurons(neurons)))
        weights.append(convolution.weight)
        shape, planar = out_shape(block, layers, shape), False
    links = links_of(plans, weights, x.shape) if len(plans) > 1 else []
    return (spiking_chain(x, links), len(links)) if len(links) > 1 else None


def _parts(block: Block, layers: Mapping[str, nn.Module]) -> tuple[Convolution, NeuronLayer, Windows]:
    """The convolution, the neurons, and the windows over which their spikes are pooled."""
    convolution, neurons = layers[block.convolution], layers[block.neurons]
    pooling = layers[block.pooling] if block.pooling else None
    if not isinstance(convolution, Convolution) or not isinstance(neurons, NeuronLayer):
        raise TypeError(f"{block} holds other layers")
    if not isinstance(pooling, Pooling):
        return convolution, neurons, Windows()
    sides: Any = pooling.spec.attributes["kernel_size"]
    mean = pooling.spec.type == "AvgPool2d"
    return convolution, neurons, Windows(sides, not mean and pooling.pool_gradient == "lp", mean)


def _neurons(layer: NeuronLayer) -> tuple[Coefficients, NeuronSemantics, Surrogate]:
    if not isinstance(layer.surrogate, Surrogate):
        raise TypeError("a gradient path that is no surrogate has no compiled loop")
    return layer.coefficients, layer.semantics, layer.surrogate


def out_shape(block: Block, layers: Mapping[str, nn.Module], shape: torch.Size) -> torch.Size:
    """Shape of a block's output (N, T, O, H, W), by that of its input."""
    convolution, _, pool = _parts(block, layers)
    sides = (side // p for side, p in zip(_out_sides(convolution, shape), pool.sides, strict=True))
    return torch.Size((*shape[:2], len(convolution.weight), *sides))


def _out_sides(convolution: Convolution, shape: torch.Size) -> tuple[int, int]:
    options, (rows, columns) = convolution.options, convolution.weight.shape[2:]
    return out_sides((shape[3], shape[4]), (rows, columns), options["stride"], options["padding"])


def _is_watched(layer: Layer) -> bool:
    return bool(
        layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks
    )


def _density(x: Tensor) -> float:
    """Share of non-zeros, by a sample of the frames."""
    frames = x.detach().flatten(0, 1)
    some = frames[:: -(-len(frames) // _FRAMES_LOOKED_AT)]
    return int(torch.count_nonzero(some)) / some.numel()
