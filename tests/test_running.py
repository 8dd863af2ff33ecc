# SPDX-License-Identifier: MIT
"""Running a graph: sums, branches, what is kept and for how long, and which neurons are the last."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch
from graph_samples import chained, ones, values
from torch.nn import functional

from art_spiking.errors import InvalidModel
from art_spiking.graphs import GraphSpec, NodeSpec
from art_spiking.network import SpikingNetwork
from art_spiking.running import Schedule, walk

NEURON = NodeSpec("IF", {}, {"r": ones(1), "v_threshold": ones(1)})
SAME = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1}


def spikes(*shape: int, seed: int = 0) -> torch.Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.4).float()


def conv(seed: int) -> NodeSpec:
    return NodeSpec(
        "Conv2d", SAME, {"weight": values(2, 2, 3, 3, seed=seed), "bias": values(2, seed=seed + 9)}
    )


def residual() -> SpikingNetwork:
    """Two residual blocks: the second adds three summands, and one output has three readers."""
    nodes = {
        "in": NodeSpec("Input", {"shape": (2, 6, 6)}),
        "one": conv(1),
        "fire": NEURON,
        "two": conv(2),
        "fire2": NEURON,
        "three": conv(3),
        "fire3": NEURON,
        "flat": NodeSpec("Flatten", {"start_dim": 0, "end_dim": -1}),
        "full": NodeSpec("Linear", {}, {"weight": values(4, 72, seed=4)}),
        "last": NEURON,
        "out": NodeSpec("Output", {"shape": (4,)}),
    }
    skips = (("in", "fire2"), ("fire", "fire3"), ("in", "fire3"))
    return SpikingNetwork.from_graph(
        GraphSpec(nodes, (*chained(list(nodes)), *skips)), semantics="spikingjelly"
    )


def by_hand(network: SpikingNetwork, x: torch.Tensor) -> torch.Tensor:
    layer = dict(zip(network.node_names, network.layers, strict=True))
    batch = x.shape[:2]

    def convolved(name: str, sequence: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(
            sequence.flatten(0, 1), layer[name].weight, layer[name].bias, padding=1
        ).unflatten(0, batch)

    fire = layer["fire"](convolved("one", x))[0]
    fire2 = layer["fire2"](x + convolved("two", fire))[0]
    fire3 = layer["fire3"](fire + x + convolved("three", fire2))[0]
    return layer["last"](fire3.flatten(2) @ layer["full"].weight.T)[0]


def test_skip_connections_and_sums():
    network = residual()
    x, same = (spikes(3, 7, 2, 6, 6).requires_grad_() for _ in range(2))
    found, expected = network(x), by_hand(network, same)
    assert 0 < expected.mean() < 1
    assert torch.equal(found, expected)
    parameters = list(network.parameters())
    ours = torch.autograd.grad(found.sum(), (x, *parameters))
    wanted = torch.autograd.grad(expected.sum(), (same, *parameters))
    for a, b in zip(ours, wanted, strict=True):
        assert b.abs().sum() > 0
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))


def test_views_and_identity_of_a_branched_network():
    network = residual()
    x = spikes(2, 5, 2, 6, 6)
    again = SpikingNetwork.from_graph(network.to_graph(), semantics="spikingjelly")
    assert again.digest() == network.digest()
    assert torch.equal(network.with_semantics("norse").with_semantics("spikingjelly")(x), network(x))
    assert list(network.activity(x)) == ["fire", "fire2", "fire3", "last"]


def test_outputs_go_when_their_last_reader_has_run():
    network = residual()
    schedule = Schedule.of(network.to_graph())
    layers = dict(zip(network.node_names, network.layers, strict=True))
    storages: dict[str, weakref.ref] = {}
    alive: dict[str, set[str]] = {}
    x = spikes(2, 5, 2, 6, 6)
    with torch.no_grad():
        for name, output, _ in walk(schedule, layers, x):
            alive[name] = {key for key, ref in storages.items() if ref() is not None}
            storages[name] = weakref.ref(output.untyped_storage())
            del output
    # When a node's output comes, only what is yet to be read is left: fire waits for fire3.
    assert {name: others for name, others in alive.items() if others} == {
        "two": {"fire"},
        "fire2": {"fire"},
        "three": {"fire"},
        "out": {"last"},  # the same tensor
    }


def test_the_input_may_lead_to_the_output_alone_or_beside():
    ends = {"in": NodeSpec("Input", {"shape": (3,)}), "out": NodeSpec("Output", {"shape": (3,)})}
    x = spikes(2, 4, 3)
    assert torch.equal(SpikingNetwork.from_graph(GraphSpec(ends, (("in", "out"),)))(x), x)
    nodes = ends | {"half": NodeSpec("Scale", {}, {"scale": ones(1, scale=0.5)})}
    graph = GraphSpec(nodes, (("in", "half"), ("half", "out"), ("in", "out")))
    assert torch.equal(SpikingNetwork.from_graph(graph)(x), 1.5 * x)


def two_heads(*edges: tuple[str, str]) -> SpikingNetwork:
    nodes = {
        "in": NodeSpec("Input", {"shape": (3,)}),
        "a": NEURON,
        "b": NodeSpec("LI", {}, {"tau": ones(1), "r": ones(1), "v_leak": ones(1)}),
        "c": NEURON,
        "x": NodeSpec("Scale", {}, {"scale": ones(1)}),
        "out": NodeSpec("Output", {"shape": (3,)}),
    }
    return SpikingNetwork.from_graph(GraphSpec(nodes, (("in", "a"), ("in", "b"), *edges)), dt_us=1000)


def test_the_last_neurons_are_those_that_all_ways_lead_through():
    one = two_heads(("a", "x"), ("b", "c"), ("x", "c"), ("c", "out"))
    x = spikes(2, 6, 3)
    assert torch.equal((one.membrane(x) > 1).float(), one(x))
    several = two_heads(("a", "x"), ("b", "x"), ("x", "out"), ("a", "c"), ("c", "out"))
    with pytest.raises(InvalidModel, match=r"that of one layer; found: a, b, c; accepted: .*spike-count"):
        several.membrane(x)


def test_a_delay_is_run_like_a_layer():
    delays = np.array([0.0, 1e-3, 2e-3], np.float32)
    nodes = {
        "in": NodeSpec("Input", {"shape": (3,)}),
        "d": NodeSpec("Delay", {}, {"delay": delays}),
        "out": NodeSpec("Output", {"shape": (3,)}),
    }
    network = SpikingNetwork.from_graph(GraphSpec(nodes, tuple(chained(list(nodes)))), dt_us=500)
    x = torch.arange(15.0).reshape(1, 5, 3)
    assert network(x).dtype == torch.float32
    assert network(x)[0].T.tolist() == [[0, 3, 6, 9, 12], [0, 0, 1, 4, 7], [0, 0, 0, 0, 2]]
    assert network.double()(x).dtype == torch.float32  # it holds no number of its own that could be double


@pytest.mark.parametrize("missing", [None, 0.0])
def test_a_delay_needs_the_step(missing):
    nodes = {
        "in": NodeSpec("Input", {"shape": (1,)}),
        "d": NodeSpec("Delay", {}, {"delay": ones(1)}),
        "out": NodeSpec("Output", {"shape": (1,)}),
    }
    graph = GraphSpec(nodes, tuple(chained(list(nodes))))
    with pytest.raises(ValueError, match=r"node 'd' \(Delay\): a delay needs the length of a step"):
        SpikingNetwork.from_graph(graph, dt_us=missing)
