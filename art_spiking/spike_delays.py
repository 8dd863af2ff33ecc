# SPDX-License-Identifier: MIT
"""Spikes that take a step to wherever they go, as Delay nodes put into a graph."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from art_spiking.graphs import GraphSpec, NodeSpec

FIRES = ("IF", "LIF", "CubaLIF", "Threshold")
"""The types of nodes whose output is spikes."""


def with_spike_delays(graph: GraphSpec, sources: Collection[str], step_us: float) -> GraphSpec:
    """The graph with a Delay of one step behind each of some nodes.

    A cycle through such a node needs no late edge any more: its spikes come back one step later through the
    delay, as through lava-dl's recurrent blocks.

    Args:
        graph: Any graph.
        sources: Names of nodes whose output comes a step later, to the Output too.
        step_us: Length of a step in µs.
    """
    if not sources:
        return graph
    nodes = dict(graph.nodes)
    behind: dict[str, str] = {}
    for name in sorted(sources):
        after = f"{name}.spikes"
        while after in nodes:
            after += "'"
        behind[name] = after
        nodes[after] = NodeSpec("Delay", {}, {"delay": np.array([step_us * 1e-6])})
    edges = [(behind.get(a, a), b) for a, b in graph.edges]
    return GraphSpec(nodes, (*edges, *behind.items()), graph.metadata)
