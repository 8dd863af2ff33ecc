# SPDX-License-Identifier: MIT
"""Receptive fields: as far as a gradient reaches, over branches and circles too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from graph_samples import ones, values
from inspection_samples import (
    SAME_PADDING,
    conv,
    fire,
    linear,
    meeting,
    pool,
    stack,
)

from art_spiking.graphs import GraphSpec, NodeSpec
from art_spiking.inspection import report
from art_spiking.network import SpikingNetwork
from art_spiking.receptive_fields import receptive_fields


@pytest.mark.parametrize(
    "nodes",
    [
        [conv(ones(1, 1, 3, 3)), conv(ones(1, 1, 3, 5), stride=2), pool()],
        [conv(ones(2, 1, 3, 3), dilation=2), conv(ones(2, 1, 2, 4), groups=2), pool("AvgPool2d", 3, 1)],
        [conv(ones(1, 1, 4, 3), padding="same"), pool(), conv(ones(1, 1, 3, 3), padding=1, stride=3)],
        [conv(ones(1, 1, 3, 2), padding="valid"), pool(size=3, stride=2, padding=1), conv(ones(1, 1, 1, 2))],
    ],
)
@SAME_PADDING
def test_a_field_is_where_the_gradient_of_one_value_comes_from(nodes):
    graph = stack((1, 40, 40), *nodes)
    network = SpikingNetwork.from_graph(graph)
    x = torch.ones(1, 1, 1, 40, 40, requires_grad=True)
    y = network(x)
    y[0, 0, 0, y.shape[3] // 2, y.shape[4] // 2].backward()
    touched = np.argwhere(x.grad[0, 0, 0].numpy())
    assert receptive_fields(graph)[f"n{len(nodes) - 1}"] == tuple(np.ptp(touched, axis=0) + 1)


def test_fields_of_sequences_and_features():
    fields = receptive_fields(stack((2, 20), conv(values(3, 2, 5), stride=2), conv(values(1, 3, 3)), fire()))
    assert [fields[k] for k in ("in", "n0", "n1", "n2")] == [(1,), (5,), (9,), (9,)]
    fields = receptive_fields(stack((6,), fire(), linear(4, 6), fire()))
    assert [fields[k] for k in ("in", "n0", "n1", "n2")] == [None, None, "all", "all"]


def test_a_product_along_one_axis_of_an_image_has_no_field():
    assert receptive_fields(stack((1, 4, 5), linear(1, 4, 2, 5)))["n0"] is None


def test_where_branches_meet_the_field_spans_both():
    wide, high = conv(values(1, 1, 1, 5), padding=(0, 2)), conv(values(1, 1, 3, 1), padding=(1, 0))
    assert receptive_fields(meeting(wide=wide, high=high))["sum"] == (3, 5)
    around = {"same": conv(values(1, 1, 3, 3), padding="same"), "one": conv(values(1, 1, 3, 3), padding=1)}
    assert receptive_fields(meeting(**around))["sum"] == (3, 3)
    assert not report(meeting(wide=wide, high=high)).is_chain


@pytest.mark.parametrize(("size", "field"), [(1, (1, 1)), (3, "all")])
def test_a_recurrent_convolution_sees_all_in_the_end(size, field):
    graph = meeting(skip=fire())
    nodes = {**graph.nodes, "again": conv(values(1, 1, size, size), padding=size // 2)}
    looped = GraphSpec(nodes, (*graph.edges, ("sum", "again"), ("again", "sum")))
    assert receptive_fields(looped)["sum"] == field
    assert receptive_fields(looped)["out"] == field


def test_a_delay_in_a_circle_has_a_field():
    delay = NodeSpec("Delay", {}, {"delay": ones(1, scale=0.001)})
    graph = meeting(skip=fire())
    looped = GraphSpec({**graph.nodes, "wait": delay}, (*graph.edges, ("sum", "wait"), ("wait", "sum")))
    assert receptive_fields(looped)["wait"] == receptive_fields(looped)["sum"] == (1, 1)
