# SPDX-License-Identifier: MIT
"""By which connections events reach a layer: the fan-out that synaptic operations are counted with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from art_spiking.graphs import GraphSpec, NodeSpec
from art_spiking.layers import FRAME_LAYERS, FrameLayer, Pooling
from art_spiking.node_types import Shape

Connections = Mapping[str, npt.NDArray[np.float64]]
"""By layer that events come from: how many connections an event of each cell leaves by, (*shape)."""

FIRING = ("IF", "LIF", "CubaLIF", "Threshold")
"""The types whose output is spikes."""
WEIGHTED = ("Conv1d", "Conv2d", "Affine", "Linear", "Scale")
"""The types whose weights act on what comes in."""
_PASSING = ("SumPool2d", "AvgPool2d", "Flatten", "Scale", "Delay")


def connections(graph: GraphSpec) -> dict[str, Connections | None]:
    """The connections from where events come from to every layer with weights.

    An event of a source (the Input, or a layer that fires) costs a layer one synaptic operation for each
    connection that it takes there: spikes times fan-out, as Rueckauer et al. count ("Conversion of
    continuous-valued deep networks to efficient event-driven networks for image classification", 2017). Other
    than there, the fan-out is that of each cell: the layer is run backwards with ones for weights, so that an
    event at the border of a convolution takes fewer connections than one in the middle.

    Connections of weight zero count. Pooling (the mean as the sum), Flatten, Scale and Delay pass an event
    on, and copy it only where windows overlap. An event counts whether or not a delay, or an edge that leads
    back, lets it arrive before the recording ends.

    Returns:
        By layer with weights, the connections from every source. None for a layer that something else feeds
        as well: potentials, another layer with weights, or a circle without neurons. There, something comes
        in at every cell and step, and the operations are the layer's dense multiply-adds.
    """
    shapes = graph.shapes()
    inputs: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for a, b in graph.edges:
        inputs[b].append(a)
    return {
        name: _from_sources(graph, name, inputs, shapes)
        for name in graph.order()
        if graph.nodes[name].type in WEIGHTED
    }


def inputs_of(graph: GraphSpec, name: str) -> tuple[str, ...]:
    """The nodes that feed a node, sorted."""
    return tuple(a for a, b in graph.edges if b == name)


def _from_sources(
    graph: GraphSpec, name: str, inputs: Mapping[str, Sequence[str]], shapes: Mapping[str, Shape]
) -> Connections | None:
    """Follows the connections that enter a layer back to where events come from."""
    feeders: dict[str, Sequence[str]] = {}
    waiting = [name]
    while waiting:
        here = waiting.pop()
        kind = graph.nodes[here].type
        if here in feeders or kind == "Input" or kind in FIRING:
            continue
        if here != name and kind not in _PASSING:
            return None
        feeders[here] = inputs[here]
        waiting += feeders[here]
    try:
        order = tuple(TopologicalSorter(feeders).static_order())
    except CycleError:
        return None
    taken = {here: np.zeros(shapes[here]) for here in order}
    taken[name] += 1.0
    for here in reversed(order):
        for before in feeders.get(here, ()):
            taken[before] += _backwards(graph.nodes[here], taken[here], shapes[before])
    return {here: taken[here] for here in order if here not in feeders}


def _backwards(node: NodeSpec, taken: npt.NDArray[np.float64], shape: Shape) -> npt.NDArray[np.float64]:
    """How many connections an event of each cell before a node takes, (*shape), if `taken` behind it."""
    if node.type in ("Delay", "Scale", "Flatten"):
        return taken.reshape(shape)
    x = torch.zeros((1, *shape), dtype=torch.float64, requires_grad=True)
    behind = _with_ones(node).double()(x)
    (before,) = torch.autograd.grad(behind, x, torch.as_tensor(taken)[None])
    return cast("npt.NDArray[np.float64]", before[0].numpy())


def _with_ones(node: NodeSpec) -> FrameLayer:
    """The layer with the node's connections, each of weight one."""
    if node.type in ("SumPool2d", "AvgPool2d"):
        return Pooling(NodeSpec("SumPool2d", node.attributes), "average")
    arrays = {key: np.ones_like(array) for key, array in node.arrays.items()}  # a bias has no gradient
    return FRAME_LAYERS[node.type](NodeSpec(node.type, node.attributes, arrays))
