# SPDX-License-Identifier: MIT
"""Small graphs whose layers, connections and spikes can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from graph_samples import chained, ones, values

from art_spiking.events import Grid
from art_spiking.graphs import GraphSpec, NodeSpec
from art_spiking.node_types import output_shape

SAME_PADDING = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
GRID = Grid(steps=4, dt_us=1000, height=3, width=3)


def conv(weight: np.ndarray, bias: float = 0.0, **options) -> NodeSpec:
    attributes = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | options
    return NodeSpec(
        f"Conv{weight.ndim - 2}d", attributes, {"weight": weight, "bias": ones(len(weight), scale=bias)}
    )


def pool(kind: str = "SumPool2d", size: int = 2, stride: int = 2, padding: int = 0) -> NodeSpec:
    return NodeSpec(kind, {"kernel_size": size, "stride": stride, "padding": padding})


def fire() -> NodeSpec:
    return NodeSpec("IF", {}, {"r": ones(1), "v_threshold": ones(1)})


def linear(*shape: int) -> NodeSpec:
    return NodeSpec("Linear", {}, {"weight": values(*shape)})


def chain(shape: tuple[int, ...], out: tuple[int, ...], **nodes: NodeSpec) -> GraphSpec:
    every = {"in": NodeSpec("Input", {"shape": shape}), **nodes, "out": NodeSpec("Output", {"shape": out})}
    return GraphSpec(every, chained(list(every)))


FLAT = NodeSpec("Flatten", {"start_dim": 0, "end_dim": -1})


def constant(classes: int = 3, fires: int = 2) -> GraphSpec:
    """Every neuron of the convolution fires at every step, whatever comes in, and one of the classes."""
    bias = np.zeros(classes, np.float32)
    bias[fires] = 1.0
    full = NodeSpec("Affine", {}, {"weight": ones(classes, 18, scale=0.0), "bias": bias})
    weight = ones(2, 2, 3, 3, scale=0.0)
    return chain(
        (2, 3, 3), (classes,), conv=conv(weight, 1.0, padding=1), a=fire(), flat=FLAT, full=full, b=fire()
    )


def recurrent() -> GraphSpec:
    nodes = {
        "in": NodeSpec("Input", {"shape": (3,)}),
        "enter": linear(4, 3),
        "hidden": fire(),
        "back": linear(4, 4),
        "leave": linear(2, 4),
        "last": fire(),
        "out": NodeSpec("Output", {"shape": (2,)}),
    }
    edges = (
        *chained(["in", "enter", "hidden", "leave", "last", "out"]),
        ("hidden", "back"),
        ("back", "hidden"),
    )
    return GraphSpec(nodes, edges)


def stack(shape: tuple[int, ...], *nodes: NodeSpec) -> GraphSpec:
    """The nodes in a chain, named n0, n1, ..."""
    out = shape
    for node in nodes:
        found = output_shape(node.type, node.attributes, node.arrays, out)
        assert isinstance(found, tuple), found
        out = found
    return chain(shape, out, **{f"n{k}": node for k, node in enumerate(nodes)})


def meeting(**branches: NodeSpec) -> GraphSpec:
    nodes = {"in": NodeSpec("Input", {"shape": (1, 9, 9)}), **branches, "sum": fire()}
    nodes["out"] = NodeSpec("Output", {"shape": (1, 9, 9)})
    edges = [("in", name) for name in branches] + [(name, "sum") for name in branches] + [("sum", "out")]
    return GraphSpec(nodes, tuple(edges))


def events(samples: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """In each sample one event at a corner and one in the middle, and labels 2, 0, 2, 0, ..."""
    x = np.zeros((samples, *GRID.shape), np.float32)
    x[:, 0, 0, 0, 0] = x[:, 3, 1, 1, 1] = 1.0
    return x, np.array([2, 0] * samples, np.int64)[:samples]
