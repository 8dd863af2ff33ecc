# SPDX-License-Identifier: MIT
"""Graphs: their one form, their digest, and every problem found at once."""

from __future__ import annotations

import copy
import hashlib
import pickle
import struct

import numpy as np
import pytest
import torch
from graph_samples import around, chained, conv_graph, conv_nodes, ones, values

from art_spiking.errors import InvalidModel
from art_spiking.graph_checks import MAX_NODES, MAX_TEXT
from art_spiking.graphs import GraphSpec, ModelProblem, ModelProblems, NodeSpec, graph_problems
from art_spiking.node_types import MAX_ELEMENTS, NODE_TYPES, element_count


def problems_of(nodes, edges) -> list[str]:
    with pytest.raises(ModelProblems) as caught:
        GraphSpec(nodes, edges)
    assert len(caught.value.problems) >= 1
    return [str(problem) for problem in caught.value.problems]


def broken(**changes: NodeSpec) -> list[str]:
    nodes = conv_nodes()
    return problems_of(nodes | changes, chained(list(nodes)))


def test_order_and_shapes():
    graph = conv_graph()
    assert graph.order() == ("input", "conv", "fire", "pool", "flat", "full", "last", "output")
    assert graph.shapes() == {
        "input": (2, 8, 8), "conv": (4, 4, 4), "fire": (4, 4, 4), "pool": (4, 2, 2),
        "flat": (16,), "full": (3,), "last": (3,), "output": (3,),
    }  # fmt: skip


def test_digest_does_not_depend_on_order():
    graph = conv_graph()
    nodes = dict(reversed(list(graph.nodes.items())))
    other = GraphSpec(nodes, tuple(reversed(graph.edges)), {"note": "not part of it"})
    assert other.digest() == graph.digest()
    assert other == graph
    assert hash(other) == hash(graph)


@pytest.mark.parametrize("what", ["weight", "dtype", "attribute", "name"])
def test_digest_depends_on_everything_else(what):
    graph = conv_graph()
    nodes = dict(graph.nodes)
    full = nodes["full"]
    weight = np.array(full.arrays["weight"])
    if what == "weight":
        weight[2, 5] = np.nextafter(weight[2, 5], np.float32(np.inf))
        nodes["full"] = NodeSpec("Affine", {}, {"weight": weight, "bias": full.arrays["bias"]})
    elif what == "dtype":
        arrays = {"weight": weight.astype(np.float64), "bias": full.arrays["bias"]}
        nodes["full"] = NodeSpec("Affine", {}, arrays)
    elif what == "attribute":
        nodes["flat"] = NodeSpec("Flatten", {"start_dim": 0, "end_dim": 2})
    else:
        nodes["flatten"] = nodes.pop("flat")
    order = [{"flat": "flatten"}.get(n, n) if what == "name" else n for n in graph.order()]
    other = GraphSpec(nodes, chained(order))
    assert other.digest() != graph.digest()
    assert other != graph


def test_digest_is_this_one_on_every_machine():
    graph = around(NodeSpec("Scale", {}, {"scale": np.array([1.0, 2.0], ">f4")}), (2,), (2,))
    header = (
        '{"edges":[["in","x"],["x","out"]],"nodes":{"in":{"arrays":{},"attributes":{"shape":[2]},"type":"Input"},'
        '"out":{"arrays":{},"attributes":{"shape":[2]},"type":"Output"},"x":{"arrays":{"scale":'
        '{"dtype":"float32","shape":[2]}},"attributes":{},"type":"Scale"}}}'
    )
    expected = hashlib.sha256(header.encode() + struct.pack("<2f", 1.0, 2.0)).hexdigest()
    assert graph.digest() == f"sha256:{expected}"


def test_survives_pickle_and_deepcopy():
    graph = conv_graph()
    for other in (pickle.loads(pickle.dumps(graph)), copy.deepcopy(graph)):
        assert other == graph
        assert other.digest() == graph.digest()


def test_arrays_are_read_only_copies():
    weight = values(3, 16)
    node = NodeSpec("Linear", {}, {"weight": weight})
    weight[:] = 7
    assert not (node.arrays["weight"] == 7).any()
    with pytest.raises(ValueError, match="read-only"):
        node.arrays["weight"][0] = 1
    assert torch.tensor(node.arrays["weight"]).shape == (3, 16)


def test_one_form_of_attributes_and_defaults():
    padding = np.array([1, 1])
    node = NodeSpec(
        "Conv2d", {"stride": np.int64(2), "padding": padding, "dilation": [1, 1], "groups": np.array(1)}
    )
    assert node.attributes == {"stride": (2, 2), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    assert type(node.attributes["stride"][0]) is int
    line = NodeSpec("Conv1d", {"stride": np.array([2]), "padding": b"same", "input_shape": None})
    assert line.attributes == {"stride": 2, "padding": "same"}
    fire = NodeSpec("CubaLIF", {}, {"v_threshold": np.full((2,), 3, np.int32)})
    assert fire.arrays["v_threshold"].dtype == np.float32
    assert (fire.arrays["v_reset"] == 0).all()
    assert (fire.arrays["w_in"] == 1).all()


_POOL = {"kernel_size": 2, "stride": 2, "padding": 0}


@pytest.mark.parametrize(
    ("name", "node", "said"),
    [
        ("full", NodeSpec("RNN"), "node 'full' (RNN) type: expected one of Input, Output, Conv1d"),
        ("full", NodeSpec("Linear", {}, {}), "weight: expected an array, which Linear needs, found nothing"),
        (
            "full",
            NodeSpec("Linear", {}, {"weight": values(3, 17)}),
            "edge 'flat' -> 'full' (Linear.weight): expected input (17,), found (16,)",
        ),
        (
            "full",
            NodeSpec("Linear", {}, {"weight": values(48)}),
            "(Linear.weight): expected 2 to 6 axes, found shape (48,)",
        ),
        ("full", NodeSpec("Linear", {}, {"weight": values(3, 16, 1)}), "expected input (3, 1), found (16,)"),
        (
            "full",
            NodeSpec("Linear", {}, {"weight": values(3, 16) * np.nan}),
            "expected finite values, found 48",
        ),
        (
            "full",
            NodeSpec("Linear", {}, {"weight": values(3, 16) * np.inf}),
            "expected finite values, found 48",
        ),
        ("full", NodeSpec("Linear", {}, {"weight": values(0, 16)}), "expected at least one value"),
        ("full", NodeSpec("Linear", {}, {"weight": values(3, 16).astype(np.float16)}), "found float16"),
        ("full", NodeSpec("Linear", {}, {"weight": np.array([["a"]])}), "expected float32 or float64"),
        (
            "full",
            NodeSpec("Linear", {}, {"weight": values(3, 16), "w_rec": values(3, 3)}),
            "to have weight only",
        ),
        (
            "full",
            NodeSpec("Affine", {}, {"weight": values(3, 16), "bias": values(4)}),
            "(Affine.bias): expected (3,)",
        ),
        (
            "last",
            NodeSpec("IF", {}, {"r": ones(3), "v_threshold": ones(3, scale=0)}),
            "values above 0, found 0",
        ),
        (
            "last",
            NodeSpec("IF", {}, {"r": ones(2), "v_threshold": ones(3)}),
            "(IF.r): expected (3,) or a single",
        ),
        (
            "last",
            NodeSpec("LI", {}, {"tau": ones(3, scale=-1), "r": ones(3), "v_leak": ones(3)}),
            "tau: expected val",
        ),
        ("pool", NodeSpec("SumPool2d", _POOL | {"stride": 0}), "stride: expected two integers"),
        ("pool", NodeSpec("SumPool2d", _POOL | {"padding": 2}), "at most half of kernel_size"),
        ("pool", NodeSpec("SumPool2d", _POOL | {"kernel_size": 9}), "a window of at most"),
        ("pool", NodeSpec("SumPool2d", {"kernel_size": 2, "stride": 2}), "padding: expected two integers"),
        ("pool", NodeSpec("SumPool2d", _POOL | {"kernel_size": True}), "kernel_size: expected"),
        ("pool", NodeSpec("SumPool2d", _POOL | {"ceil": 1}), "another name"),
        ("flat", NodeSpec("Flatten", {"start_dim": 1, "end_dim": 0}), "axes within (4, 2, 2)"),
        (
            "flat",
            NodeSpec("Flatten", {"start_dim": 0, "end_dim": -1, "input_type": (4, 2, 3)}),
            "(Flatten.input_type)",
        ),
        ("input", NodeSpec("Input", {"shape": ()}), "shape: expected 1 to 6 integers"),
        (
            "input",
            NodeSpec("Input", {"shape": (2, 9, 8)}),
            "(Conv2d.input_shape): expected (9, 8), found (8, 8)",
        ),
        (
            "input",
            NodeSpec("Input", {"shape": (3, 8, 8)}),
            "edge 'input' -> 'conv' (Conv2d.weight): expected input (2, H, W), found (3, 8, 8)",
        ),
        (
            "output",
            NodeSpec("Output", {"shape": (4,)}),
            "edge 'last' -> 'output' (Output.shape): expected (3,)",
        ),
    ],
)
def test_a_node_that_does_not_fit_is_named(name, node, said):
    found = broken(**{name: node})
    assert any(said in text for text in found), found


def test_all_problems_come_at_once():
    said = broken(full=NodeSpec("RNN"), last=NodeSpec("IF", {}, {"r": ones(3)}), pool=NodeSpec("SumPool2d"))
    assert len([text for text in said if "'full'" in text]) == 1
    assert (
        len([text for text in said if "'last'" in text]) == 2
    )  # v_threshold, and v_reset that derives from it
    assert len([text for text in said if "'pool'" in text]) == 3


def test_a_cycle_through_a_neuron_is_a_recurrent_group():
    nodes = conv_nodes() | {"back": NodeSpec("Linear", {}, {"weight": values(3, 3)})}
    edges = (*chained(list(conv_nodes())), ("last", "back"), ("back", "last"))
    graph = GraphSpec(nodes, edges)
    assert graph.order() == ("input", "conv", "fire", "pool", "flat", "full", "last", "back", "output")
    assert [group.nodes for group in graph.groups() if group.is_recurrent] == [("last", "back")]
    assert graph.shapes()["back"] == (3,)


@pytest.mark.parametrize("delay", [0.0, None])
def test_a_cycle_without_a_state_is_named(delay):
    loop = NodeSpec("Linear", {}, {"weight": values(3, 3)})
    if delay is not None:
        loop = NodeSpec("Delay", {}, {"delay": np.array([delay, 1.0, 1.0])})
    nodes = conv_nodes() | {
        "back": loop,
        "step": NodeSpec("Threshold", {}, {"threshold": ones(3)}),
    }
    edges = (*chained(list(conv_nodes())), ("full", "step"), ("step", "back"), ("back", "full"))
    (said,) = problems_of(nodes | {"full": NodeSpec("Scale", {}, {"scale": ones(1)})}, edges)
    assert said == (
        "graph: edge 'back' -> 'full': expected a neuron with a state, or a delay above zero, in every "
        "cycle, found an edge that closes a cycle without"
    )


def test_a_loop_at_one_node():
    nodes = conv_nodes()
    graph = GraphSpec(nodes, (*chained(list(nodes)), ("fire", "fire")))
    assert [group.nodes for group in graph.groups() if group.is_recurrent] == [("fire",)]
    said = problems_of(nodes, (*chained(list(nodes)), ("pool", "pool")))
    assert any("edge 'pool' -> 'pool': expected a neuron with a state" in text for text in said)


def test_a_cycle_that_nothing_enters_is_found():
    neuron = NodeSpec("IF", {}, {"r": ones(3), "v_threshold": ones(3)})
    nodes = conv_nodes() | {"a": neuron, "b": neuron}
    edges = (*chained(list(conv_nodes())), ("a", "b"), ("b", "a"))
    said = problems_of(nodes, edges)
    assert "graph: node 'a': expected a way from the Input, found none" in said
    assert "graph: node 'b': expected a way to the Output, found none" in said
    assert problems_of(nodes, (*edges, ("last", "a"))) == [
        f"graph: node '{name}': expected a way to the Output, found none" for name in "ab"
    ]


def test_a_field_that_is_wrong_is_said_before_cycles():
    nodes = conv_nodes() | {"last": NodeSpec("Delay", {}, {"delay": np.array(["x"])})}
    (said,) = problems_of(nodes, (*chained(list(nodes)), ("last", "full")))
    assert "node 'last' (Delay) delay: expected float32 or float64" in said


def branched(shape: tuple[int, ...] = (3,), out: tuple[int, ...] = (3,)) -> tuple[dict, list]:
    """Two ways from the Input, of different lengths, that meet in one node."""
    nodes = {
        "in": NodeSpec("Input", {"shape": shape}),
        "a": NodeSpec("Scale", {}, {"scale": ones(1)}),
        "b": NodeSpec("Scale", {}, {"scale": ones(1)}),
        "short": NodeSpec("Linear", {}, {"weight": values(*out, *shape)}),
        "sum": NodeSpec("Scale", {}, {"scale": ones(1)}),
        "out": NodeSpec("Output", {"shape": shape}),
    }
    return nodes, [("in", "a"), ("a", "b"), ("b", "sum"), ("in", "short"), ("short", "sum"), ("sum", "out")]


def test_branches_and_sums():
    nodes, edges = branched()
    graph = GraphSpec(nodes, tuple(edges))
    assert graph.order() == ("in", "a", "b", "short", "sum", "out")
    assert not any(group.is_recurrent for group in graph.groups())
    assert GraphSpec(nodes, tuple(reversed(edges))).order() == graph.order()


def test_what_is_added_up_has_one_shape():
    nodes, edges = branched(out=(4,))
    assert problems_of(nodes, edges) == [
        "graph: edge 'b' -> 'sum': expected (4,), to be added to what edge 'short' -> 'sum' brings, "
        "found (3,)"
    ]


@pytest.mark.parametrize(
    ("edges", "said"),
    [
        ((("fire", "full"),), "edge 'fire' -> 'full' (Affine.weight): expected input (16,), found (4, 4, 4)"),
        ((("input", "fire"),), "edge 'input' -> 'fire' (IF.r): expected (2, 8, 8) or a single value"),
        ((("full", "output"), ("flat", "output")), "edge 'flat' -> 'output' (Output.shape): expected (16,)"),
        ((("conv", "nowhere"),), "edge 'conv' -> 'nowhere': expected edges between nodes of the graph"),
        ((("conv", "fire"),), "edge 'conv' -> 'fire': expected each edge once, found 2 times"),
        ((("conv", "input"),), "node 'input': expected no edge entering it, found 1"),
        ((("output", "last"),), "node 'output': expected no edge leaving it, found 1"),
    ],
)
def test_an_edge_too_many(edges, said):
    nodes = conv_nodes()
    assert any(said in text for text in problems_of(nodes, (*chained(list(nodes)), *edges)))


def test_a_missing_edge_and_a_lone_node():
    nodes = conv_nodes()
    edges = [edge for edge in chained(list(nodes)) if edge != ("pool", "flat")]
    said = problems_of(nodes, edges)
    assert "graph: node 'pool': expected an edge leaving it, found none" in said
    assert "graph: node 'flat': expected an edge entering it, found none" in said
    lone = nodes | {"lone": NodeSpec("Scale", {}, {"scale": ones(3)})}
    assert any("node 'lone'" in text for text in problems_of(lone, chained(list(nodes))))


@pytest.mark.parametrize("kind", ["Input", "Output"])
def test_one_input_and_one_output(kind):
    name = kind.lower()
    nodes = conv_nodes()
    order = [n for n in nodes if n != name]
    without = {n: nodes[n] for n in order}
    assert any(f"exactly one {kind}, found none" in text for text in problems_of(without, chained(order)))
    twice = nodes | {"more": nodes[name]}
    assert any(
        f"exactly one {kind}, since " in t and t.endswith(f"found '{name}', 'more'")
        for t in problems_of(twice, chained(list(nodes)))
    )


@pytest.mark.parametrize("name", ["", "a/b", "a\nb", "x" * 201, "\u202eevil"])
def test_odd_names_are_refused_and_safe_to_print(name):
    nodes = conv_nodes()
    nodes[name] = nodes.pop("flat")
    order = ["input", "conv", "fire", "pool", name, "full", "last", "output"]
    said = problems_of(nodes, chained(order))
    assert any("printable characters" in text for text in said)
    assert all(text.isprintable() for text in said)


def test_too_many_nodes_and_edges():
    nodes = {f"n{i}": NodeSpec("Scale", {}, {"scale": ones(1)}) for i in range(MAX_NODES + 1)}
    said = problems_of(nodes, ())
    assert said == [f"graph: nodes: expected at most {MAX_NODES}, found {MAX_NODES + 1}"]
    assert any("edges: expected at most" in text for text in problems_of(conv_nodes(), (("a", "b"),) * 3000))


def test_a_long_cycle_needs_no_recursion():
    names = [f"n{i}" for i in range(MAX_NODES)]
    nodes = {name: NodeSpec("Scale", {}, {"scale": ones(1)}) for name in names}
    nodes[names[0]], nodes[names[-1]] = (NodeSpec(kind, {"shape": (1,)}) for kind in ("Input", "Output"))
    (said,) = problems_of(nodes, (*chained(names), (names[-2], names[1])))
    assert "edge 'n1022' -> 'n1': expected a neuron with a state" in said
    nodes["n500"] = NodeSpec("IF", {}, {"r": ones(1), "v_threshold": ones(1)})
    graph = GraphSpec(nodes, (*chained(names), (names[-2], names[1])))
    assert graph.order() == tuple(names)


def test_what_a_layer_may_put_out_is_limited():
    huge = (1 << 13, 1 << 13)
    assert element_count(huge) > MAX_ELEMENTS
    with pytest.raises(ModelProblems, match="at most 16777216 values a time step"):
        around(NodeSpec("Scale", {}, {"scale": ones(1)}), huge, huge)
    wide = {"in": NodeSpec("Input", {"shape": (MAX_ELEMENTS,)})}
    wide |= {f"n{i}": NodeSpec("Scale", {}, {"scale": ones(1)}) for i in range(3)}
    wide |= {"out": NodeSpec("Output", {"shape": (MAX_ELEMENTS,)})}
    assert problems_of(wide, chained(list(wide)))[0].startswith("graph: node 'out': expected at most")
    padded = {"stride": 1, "padding": 1 << 30, "dilation": 1, "groups": 1}
    node = NodeSpec("Conv2d", padded, {"weight": ones(1, 1, 1, 1), "bias": ones(1)})
    with pytest.raises(ModelProblems, match="values a time step"):
        around(node, (1, 4, 4), (1, 4, 4))


@pytest.mark.parametrize(
    ("attributes", "weight", "shape"),
    [
        ({"stride": (2, 1), "padding": (0, 2), "dilation": (1, 2), "groups": 1}, (4, 2, 3, 5), (2, 9, 11)),
        ({"stride": 1, "padding": "same", "dilation": 2, "groups": 1}, (4, 2, 3, 5), (2, 9, 11)),
        ({"stride": 3, "padding": "valid", "dilation": 1, "groups": 2}, (4, 1, 2, 3), (2, 9, 11)),
        ({"stride": 2, "padding": 1, "dilation": 2, "groups": 1}, (4, 2, 3), (2, 11)),
        ({"stride": 1, "padding": "same", "dilation": 1, "groups": 2}, (4, 1, 3), (2, 11)),
    ],
)
def test_convolution_shapes_are_those_of_torch(attributes, weight, shape):
    node = NodeSpec(f"Conv{len(weight) - 2}d", attributes, {"weight": ones(*weight), "bias": ones(weight[0])})
    run = torch.nn.functional.conv2d if len(weight) == 4 else torch.nn.functional.conv1d
    expected = tuple(run(torch.zeros(1, *shape), torch.ones(weight), **attributes).shape[1:])
    assert around(node, shape, expected).shapes()["x"] == expected


def test_same_padding_needs_stride_one_and_groups_divide():
    base = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    arrays = {"weight": ones(4, 2, 3, 3), "bias": ones(4)}
    with pytest.raises(ModelProblems, match="'same' needs stride 1"):
        around(NodeSpec("Conv2d", base | {"padding": "same", "stride": 2}, arrays), (2, 8, 8), (4, 8, 8))
    with pytest.raises(ModelProblems, match="a divisor of the 4 output channels, found 3"):
        around(NodeSpec("Conv2d", base | {"groups": 3}, arrays), (6, 8, 8), (4, 6, 6))
    with pytest.raises(ModelProblems, match=r"expected input \(2, H, W\), found \(8,\)"):
        around(NodeSpec("Conv2d", base, arrays), (8,), (4, 6, 6))


@pytest.mark.parametrize(
    ("first", "last", "out"), [(0, -1, (24,)), (1, -1, (2, 12)), (0, 1, (6, 4)), (-1, 2, (2, 3, 4))]
)
def test_flatten_shapes_are_those_of_torch(first, last, out):
    node = NodeSpec("Flatten", {"start_dim": first, "end_dim": last})
    assert torch.zeros(2, 3, 4).flatten(first, last).shape == out
    assert around(node, (2, 3, 4), out).shapes()["x"] == out


def test_pooling_shapes_are_those_of_torch():
    node = NodeSpec("AvgPool2d", {"kernel_size": (3, 2), "stride": (2, 3), "padding": (1, 0)})
    expected = tuple(
        torch.nn.functional.avg_pool2d(torch.zeros(1, 2, 9, 11), (3, 2), (2, 3), (1, 0)).shape[1:]
    )
    assert around(node, (2, 9, 11), expected).shapes()["x"] == expected


def test_a_single_value_serves_a_whole_layer_and_output_may_keep_axes_of_one():
    graph = around(NodeSpec("Threshold", {}, {"threshold": np.float32(0.5)}), (2, 3, 4), (1, 1, 2, 3, 4))
    assert graph.shapes()["out"] == (2, 3, 4)


def test_every_type_says_what_it_needs():
    for name, kind in NODE_TYPES.items():
        wanted = {*kind.arrays, *kind.attributes} - {*kind.optional}
        said = [p.key for p in graph_problems({"x": NodeSpec(name)}, ())]
        assert {key.split()[-1] for key in said if key.startswith("node 'x' (")} == wanted


def test_problems_can_be_read_by_programs_and_pickled():
    with pytest.raises(InvalidModel) as caught:
        conv_graph(full=NodeSpec("RNN"), last=NodeSpec("GRU"))
    error = pickle.loads(pickle.dumps(caught.value))
    assert [type(p) for p in error.problems] == [ModelProblem, ModelProblem]
    assert error.problems == caught.value.problems
    assert str(error) == str(caught.value)
    assert error.problems[0].file == "graph"


def test_a_problem_is_one_short_line():
    problem = ModelProblem("f", "k\n\x1b[31m", "e" * 1000, "found")
    assert str(problem).isprintable()
    assert len(problem.expected) == MAX_TEXT
    assert "\x1b" not in problem.key
    assert str(ModelProblem("f", "", "this", "that")) == "f: expected this, found that"


def test_many_problems_make_a_short_message():
    error = ModelProblems([ModelProblem("f", str(i), "a", "b") for i in range(12)])
    assert "and 2 more" in str(error)
    assert len(error.problems) == 12
