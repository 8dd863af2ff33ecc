# SPDX-License-Identifier: MIT
"""Connections: as many as values that a cell changes, and none from what is no event."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from graph_samples import chained, ones, values
from inspection_samples import (
    FLAT,
    SAME_PADDING,
    conv,
    fire,
    linear,
    pool,
    recurrent,
    stack,
)

from art_spiking.connections import connections
from art_spiking.graphs import GraphSpec, NodeSpec
from art_spiking.network import SpikingNetwork


@pytest.mark.parametrize(
    "node",
    [
        conv(values(4, 2, 3, 3), padding=1, stride=2),
        conv(values(4, 1, 2, 3), groups=2, dilation=2, padding=(1, 0)),
        conv(values(3, 2, 4, 2), padding="same"),
        linear(2, 6, 3, 5),
    ],
)
@SAME_PADDING
def test_the_connections_of_a_cell_are_the_values_that_it_changes(node):
    graph = stack((2, 6, 5), node)
    found = connections(graph)["n0"]["in"]
    network = SpikingNetwork.from_graph(graph)
    silent = network(torch.zeros(1, 1, 2, 6, 5))
    for cell in np.ndindex(2, 6, 5):
        x = torch.zeros(1, 1, 2, 6, 5)
        x[(0, 0, *cell)] = 1.0
        assert found[cell] == int((network(x) != silent).sum()), cell


def test_connections_at_a_border_counted_by_hand():
    found = connections(stack((1, 3, 3), conv(values(2, 1, 3, 3), padding=1)))["n0"]["in"]
    assert found.tolist() == [[[8.0, 12.0, 8.0], [12.0, 18.0, 12.0], [8.0, 12.0, 8.0]]]


def test_pooling_passes_events_on_and_copies_them_where_windows_overlap():
    def before(node: NodeSpec, cells: int) -> list[list[float]]:
        graph = stack((1, 3, 3), node, FLAT, linear(5, cells))
        return connections(graph)["n2"]["in"][0].tolist()

    assert before(pool("AvgPool2d", 3, 3), 1) == [[5.0] * 3] * 3
    assert before(pool("SumPool2d", 2, 1), 4) == [[5.0, 10.0, 5.0], [10.0, 20.0, 10.0], [5.0, 10.0, 5.0]]


def test_a_weight_of_zero_is_a_connection():
    node = NodeSpec("Linear", {}, {"weight": ones(4, 3, scale=0.0)})
    assert connections(stack((3,), node))["n0"]["in"].tolist() == [4.0] * 3


def test_scale_is_a_layer_and_passes_events_on():
    scale = NodeSpec("Scale", {}, {"scale": ones(3, scale=0.5)})
    found = connections(stack((3,), scale, linear(4, 3)))
    assert found["n0"]["in"].tolist() == [1.0] * 3
    assert found["n1"]["in"].tolist() == [4.0] * 3


def test_every_source_of_a_recurrent_layer_counts():
    found = connections(recurrent())
    assert found["enter"]["in"].tolist() == [4.0] * 3
    assert found["back"]["hidden"].tolist() == [4.0] * 4
    assert found["leave"]["hidden"].tolist() == [2.0] * 4


def test_what_is_no_event_has_no_connections():
    leaky = NodeSpec("LI", {}, {"tau": ones(1), "r": ones(1), "v_leak": ones(1)})
    found = connections(stack((3,), leaky, linear(4, 3), linear(2, 4)))
    assert found == {"n1": None, "n2": None}
    delay = NodeSpec("Delay", {}, {"delay": ones(1, scale=0.001)})
    nodes = {"in": NodeSpec("Input", {"shape": (3,)}), "wait": delay, "full": linear(2, 3), "last": fire()}
    edges = [*chained(["in", "wait", "full", "last", "out"]), ("wait", "again"), ("again", "wait")]
    nodes |= {"again": delay, "out": NodeSpec("Output", {"shape": (2,)})}
    assert connections(GraphSpec(nodes, tuple(edges))) == {"full": None}


def test_two_ways_to_a_layer_are_twice_the_connections():
    scale = NodeSpec("Scale", {}, {"scale": ones(3)})
    nodes = {"in": NodeSpec("Input", {"shape": (3,)}), "a": scale, "b": scale, "full": linear(4, 3)}
    nodes |= {"last": fire(), "out": NodeSpec("Output", {"shape": (4,)})}
    edges = (("in", "a"), ("in", "b"), ("a", "full"), ("b", "full"), ("full", "last"), ("last", "out"))
    assert connections(GraphSpec(nodes, edges))["full"]["in"].tolist() == [8.0] * 3
