# SPDX-License-Identifier: MIT
"""Running a graph: sums, branches, what is kept and for how long, and which neurons are the last."""

from __future__ import annotations

import random
import weakref

import numpy as np
import pytest
import torch
from graph_samples import chained, ones, values
from torch.nn import functional

from art_spiking.errors import InvalidModel
from art_spiking.graphs import GraphSpec, NodeSpec, graph_problems
from art_spiking.layers import DelayLayer, NeuronLayer
from art_spiking.network import SpikingNetwork
from art_spiking.neurons import PRESETS, State, step
from art_spiking.node_types import NODE_TYPES, has_state, holds_back
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


def test_what_is_read_within_a_group_alone_goes_with_it():
    nodes = {
        "in": NodeSpec("Input", {"shape": (3,)}),
        "a": NEURON,
        "b": NEURON,
        "full": NodeSpec("Linear", {}, {"weight": values(3, 3)}),
        "out": NodeSpec("Output", {"shape": (3,)}),
    }
    edges = (("in", "a"), ("a", "b"), ("b", "a"), ("a", "full"), ("full", "out"))
    network = SpikingNetwork.from_graph(GraphSpec(nodes, edges))
    layers = dict(zip(network.node_names, network.layers, strict=True))
    kept: dict[str, weakref.ref] = {}
    with torch.no_grad():
        for name, output, _ in walk(Schedule.of(network.to_graph()), layers, spikes(2, 4, 3)):
            kept[name] = weakref.ref(output.untyped_storage())
            del output
            if name == "full":
                assert {"a", "b"} <= kept.keys()
                assert kept["b"]() is None


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


TYPES = (
    "Linear",
    "Affine",
    "Scale",
    "Threshold",
    "IF",
    "LIF",
    "CubaLIF",
    "LI",
    "CubaLI",
    "I",
    "Delay",
    "Zero",
)


def random_node(kind: str, draw: random.Random) -> NodeSpec:
    """A node for three values, with parameters of the layer's shape or a single one."""
    rng = np.random.default_rng(draw.randrange(1 << 30))

    def between(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, draw.choice((1, 3)))

    if kind in ("Delay", "Zero"):
        steps = rng.integers(1 if kind == "Delay" else 0, 4, draw.choice((1, 3)))
        return NodeSpec("Delay", {}, {"delay": steps * 1e-3})
    if kind in ("Linear", "Affine"):
        arrays = {"weight": rng.normal(size=(3, 3)), "bias": rng.normal(size=3)}
        return NodeSpec(kind, {}, arrays if kind == "Affine" else {"weight": arrays["weight"]})
    fields = {
        "scale": between(-1, 1), "threshold": between(-0.2, 1), "r": between(0.5, 2),
        "v_leak": between(-0.1, 0.1),
        "tau": between(2e-3, 8e-3), "tau_mem": between(2e-3, 8e-3), "tau_syn": between(2e-3, 8e-3),
        "v_threshold": between(0.3, 1), "v_reset": between(-0.2, 0.2), "w_in": between(0.5, 2),
    }  # fmt: skip
    return NodeSpec(kind, {}, {name: fields[name] for name in NODE_TYPES[kind].arrays})


def random_graph(seed: int) -> GraphSpec:
    """Up to ten nodes of any type, with branches, sums and cycles, each cycle through a state."""
    draw = random.Random(seed)
    names = [f"n{k}" for k in range(draw.randrange(2, 11))]
    nodes = {name: random_node(draw.choice(TYPES), draw) for name in names}
    ends = {"i": NodeSpec("Input", {"shape": (3,)}), "o": NodeSpec("Output", {"shape": (3,)})}
    edges = {("i", names[0]), (names[-1], "o")}
    for k in range(1, len(names)):
        edges.add((draw.choice(["i", *names[:k]]), names[k]))
        edges.add((names[k - 1], draw.choice([*names[k:], "o"])))
    for _ in range(draw.randrange(6)):
        edge = (draw.choice(names), draw.choice(names))
        if not any(p.key.startswith("edge") for p in graph_problems(nodes | ends, (*edges, edge))):
            edges.add(edge)
    return GraphSpec(nodes | ends, tuple(edges))


def stepped(network: SpikingNetwork, x: torch.Tensor) -> torch.Tensor:
    """The whole graph one time step after the other, as its groups say, with no layer ahead of another."""
    graph = network.to_graph()
    layers = dict(zip(network.node_names, network.layers, strict=True))
    late = {edge for group in graph.groups() for edge in group.late}
    silent = torch.zeros_like(x[:, 0])
    states: dict = {}
    history: dict[str, list] = {name: [] for name in graph.nodes}
    taken: dict[str, list] = {name: [] for name in graph.nodes}

    def rest(name: str) -> torch.Tensor:
        """What a node puts out where all neurons and delays around it are silent."""
        node = graph.nodes[name]
        if has_state(node.type, node.arrays):
            return silent
        total = sum(rest(a) for a, b in graph.edges if b == name)
        if node.type == "Threshold":
            return layers[name](total.unsqueeze(1))[0][:, 0]
        return (
            torch.where(layers[name].steps == 0, total, silent)
            if node.type == "Delay"
            else layers[name](total)
        )

    def entering(name: str, t: int) -> torch.Tensor:
        parts = []
        for a, b in graph.edges:
            if b == name:
                known = (history[a][t - 1] if t else rest(a)) if (a, b) in late else history[a][t]
                parts.append(known)
        return sum(parts)

    for t, frame in enumerate(x.unbind(1)):
        history["i"].append(frame)
        held_back = [name for name, node in graph.nodes.items() if holds_back(node.type, node.arrays)]
        for name in (*held_back, *graph.order()[1:]):
            if name in held_back and len(history[name]) > t:
                continue
            layer = layers.get(name)
            if name not in held_back:
                taken[name].append(entering(name, t))
            if isinstance(layer, DelayLayer):
                out = silent.clone()
                for k in range(3):
                    length = int(layer.steps.expand(3)[k])
                    if length <= t:
                        out = torch.where(torch.arange(3) == k, taken[name][t - length], out)
            elif isinstance(layer, NeuronLayer):
                c, now = layer.coefficients, taken[name][t]
                state = states.get(name) or State.start(now, c)
                fired, potential, states[name] = step(now, state, c, layer.semantics, layer.surrogate)
                out = fired if layer.fires else potential
            else:
                out = taken[name][t] if layer is None else layer(taken[name][t])
            history[name].append(out)
        for name in held_back:
            taken[name].append(entering(name, t))
    return torch.stack(history["o"], 1)


@pytest.mark.parametrize("seed", range(150))
def test_any_graph_equals_itself_one_step_after_the_other(seed):
    # Random parameters have no fixed point, and its delays of spikes are nodes that the graph does not hold.
    real = [semantics for semantics in PRESETS.values() if semantics.scale is None]
    semantics = real[seed % len(real)]
    network = SpikingNetwork.from_graph(random_graph(seed), semantics=semantics, dt_us=1000).double()
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(2, 9, 3, generator=generator).double().requires_grad_()
    same = x.detach().clone().requires_grad_()
    found, expected = network(x), stepped(network, same)
    scale = max(1.0, float(expected.detach().abs().max()))
    assert torch.allclose(found, expected, rtol=0, atol=1e-9 * scale)
    if not expected.requires_grad:
        assert not found.requires_grad
        return
    direction = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    ours, wanted = (
        torch.autograd.grad((out * direction).sum(), by)[0] for out, by in ((found, x), (expected, same))
    )
    assert torch.allclose(ours, wanted, rtol=1e-7, atol=1e-7 * max(1.0, float(wanted.abs().max())))


def test_the_random_graphs_hold_everything():
    """So that the test above is about all of it."""
    graphs = [random_graph(seed) for seed in range(150)]
    assert {node.type for graph in graphs for node in graph.nodes.values()} >= set(TYPES) - {"Zero"}
    groups = [group for graph in graphs for group in graph.groups()]
    assert sum(group.is_recurrent for group in groups) > 30
    assert any(group.is_recurrent and not group.late for group in groups)
    assert any(len(group.late) > 1 for group in groups)
    assert any(len({a for a, b in graph.edges if b == "o"}) > 1 for graph in graphs)
