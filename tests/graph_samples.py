# SPDX-License-Identifier: MIT
"""Small graphs that several test modules use."""

from __future__ import annotations

import itertools

import numpy as np

from art_spiking.graphs import GraphSpec, NodeSpec


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def ones(*shape: int, scale: float = 1.0) -> np.ndarray:
    return np.full(shape, scale, np.float32)


def conv_nodes() -> dict[str, NodeSpec]:
    """Input (2, 8, 8) - Conv2d - IF - SumPool2d - Flatten - Affine - LIF - Output (3,)."""
    lif = {"tau": ones(3, scale=0.02), "r": ones(3), "v_leak": ones(3, scale=0.0), "v_threshold": ones(3)}
    conv = {"stride": 2, "padding": 1, "dilation": 1, "groups": 1, "input_shape": (8, 8)}
    return {
        "input": NodeSpec("Input", {"shape": (2, 8, 8)}),
        "conv": NodeSpec("Conv2d", conv, {"weight": values(4, 2, 3, 3), "bias": values(4)}),
        "fire": NodeSpec("IF", {}, {"r": ones(4, 4, 4), "v_threshold": ones(4, 4, 4)}),
        "pool": NodeSpec("SumPool2d", {"kernel_size": 2, "stride": 2, "padding": 0}),
        "flat": NodeSpec("Flatten", {"start_dim": 0, "end_dim": -1}),
        "full": NodeSpec("Affine", {}, {"weight": values(3, 16), "bias": values(3)}),
        "last": NodeSpec("LIF", {}, lif),
        "output": NodeSpec("Output", {"shape": (3,)}),
    }


def chained(names: list[str]) -> tuple[tuple[str, str], ...]:
    return tuple(itertools.pairwise(names))


def conv_graph(**changes: NodeSpec) -> GraphSpec:
    nodes = conv_nodes()
    edges = chained(list(nodes))
    return GraphSpec(nodes | changes, edges)


def around(node: NodeSpec, shape: tuple[int, ...], out: tuple[int, ...]) -> GraphSpec:
    """A graph of one node between Input and Output."""
    nodes = {"in": NodeSpec("Input", {"shape": shape}), "x": node, "out": NodeSpec("Output", {"shape": out})}
    return GraphSpec(nodes, chained(["in", "x", "out"]))
