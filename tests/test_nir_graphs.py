# SPDX-License-Identifier: MIT
"""NIR files and graphs: equal to what the nir package reads, refused where they cannot be run."""

from __future__ import annotations

import random
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
import torch
from graph_samples import around, conv_graph, ones, values

from art_spiking.errors import InvalidModel
from art_spiking.graphs import GraphSpec, ModelProblems, NodeSpec
from art_spiking.network import SpikingNetwork
from art_spiking.nir_graphs import ReadLimits, graph_from_nir, graph_to_nir, read_nir, write_nir

COMMUNITY = ("cnn_sinabs", "lif_norse", "lif_rockpool")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.nir"


@pytest.fixture
def written(path: Path) -> Path:
    """A good file, for tests to spoil."""
    nir.write(path, graph_to_nir(conv_graph()))
    return path


def spoil(path: Path, key: str, value: object) -> None:
    """Replaces a dataset of the file, or removes it where the value is None."""
    with h5py.File(path, "a") as file:
        if key in file:
            del file[key]
        if value is not None:
            file[key] = value


def problems_of(path: Path) -> str:
    with pytest.raises(ModelProblems) as caught:
        read_nir(path)
    assert all(problem.file == path.name for problem in caught.value.problems)
    return str(caught.value)


@pytest.mark.data
@pytest.mark.parametrize("name", COMMUNITY)
def test_community_files_equal_what_nir_reads(shared_data, name):
    path = shared_data / "nir" / f"{name}.nir"
    graph = read_nir(path)
    theirs = nir.read(path, type_check=False)
    assert graph == graph_from_nir(theirs)
    assert set(graph.edges) == {tuple(edge) for edge in theirs.edges}
    assert set(graph.nodes) == set(theirs.nodes)
    for key, node in theirs.nodes.items():
        assert graph.nodes[key].type == type(node).__name__
        for field, array in graph.nodes[key].arrays.items():
            expected = getattr(node, field)
            assert array.dtype == expected.dtype
            assert np.array_equal(array, expected)
        for field, value in graph.nodes[key].attributes.items():
            if field not in ("shape", "input_type"):
                assert np.array_equal(value, getattr(node, field))


@pytest.mark.data
def test_the_community_network_in_full(shared_data):
    graph = read_nir(shared_data / "nir" / "cnn_sinabs.nir")
    types = [graph.nodes[name].type for name in graph.order()]
    features = "Conv2d IF Conv2d IF SumPool2d Conv2d IF SumPool2d"
    assert " ".join(types) == f"Input {features} Flatten Affine IF Affine IF Output"
    assert graph.shapes()["7"] == (8, 4, 4)
    assert sum(n.arrays["weight"].size for n in graph.nodes.values() if "weight" in n.arrays) == 39_584
    assert (graph.nodes["1"].arrays["v_reset"] == 0).all()


@pytest.mark.data
@pytest.mark.parametrize("name", COMMUNITY)
def test_community_files_survive_the_round_trip(shared_data, path, name):
    graph = read_nir(shared_data / "nir" / f"{name}.nir")
    nir.write(path, graph_to_nir(graph))
    again = read_nir(path)
    assert graph_from_nir(nir.read(path)) == again  # with nir's own check of types
    for key in graph.order()[:-1]:  # rockpool's Output declares axes of one
        assert again.nodes[key].arrays.keys() == graph.nodes[key].arrays.keys()
        for field, array in graph.nodes[key].arrays.items():
            assert array.tobytes() == again.nodes[key].arrays[field].tobytes()
    assert again.shapes() == graph.shapes()


def one_node_graphs() -> dict[str, GraphSpec]:
    neuron = {"r": ones(3), "v_leak": values(3)}
    fires = {"v_threshold": ones(3, scale=2), "v_reset": values(3)}
    wide, line = (
        {"weight": values(4, 2, 3, 5), "bias": values(4)},
        {"stride": 2, "padding": 1, "dilation": 1, "groups": 1},
    )
    return {
        "conv1d": around(
            NodeSpec("Conv1d", line, {"weight": values(4, 2, 3), "bias": values(4)}), (2, 9), (4, 5)
        ),
        "same": around(
            NodeSpec("Conv2d", line | {"stride": 1, "padding": "same"}, wide),
            (2, 9, 7),
            (4, 9, 7),
        ),
        "grouped": around(
            NodeSpec(
                "Conv2d", line | {"groups": 2, "stride": (1, 2)}, {**wide, "weight": values(4, 1, 3, 2)}
            ),
            (2, 8, 8),
            (4, 8, 5),
        ),
        "linear": around(NodeSpec("Linear", {}, {"weight": values(4, 3).astype("f8")}), (3,), (4,)),
        "matrices": around(
            NodeSpec("Affine", {}, {"weight": values(2, 4, 3), "bias": values(2, 4)}), (2, 3), (2, 4)
        ),
        "scale": around(NodeSpec("Scale", {}, {"scale": values(2, 3)}), (2, 3), (2, 3)),
        "average": around(
            NodeSpec("AvgPool2d", {"kernel_size": (3, 2), "stride": 2, "padding": (1, 0)}),
            (2, 9, 8),
            (2, 5, 4),
        ),
        "flatten": around(NodeSpec("Flatten", {"start_dim": 1, "end_dim": 2}), (2, 3, 4), (2, 12)),
        "lif": around(NodeSpec("LIF", {}, {"tau": ones(3, scale=0.01), **neuron, **fires}), (3,), (3,)),
        "cubalif": around(
            NodeSpec(
                "CubaLIF",
                {},
                {**dict.fromkeys(("tau_syn", "tau_mem", "w_in"), ones(3, scale=2)), **neuron, **fires},
            ),
            (3,),
            (3,),
        ),
        "li": around(NodeSpec("LI", {}, {"tau": ones(3), **neuron}), (3,), (3,)),
        "i": around(NodeSpec("I", {}, {"r": values(3)}), (3,), (3,)),
        "cubali": around(
            NodeSpec(
                "CubaLI", {}, {**dict.fromkeys(("tau_syn", "tau_mem", "w_in"), ones(3, scale=2)), **neuron}
            ),
            (3,),
            (3,),
        ),
        "delay": around(NodeSpec("Delay", {}, {"delay": np.abs(values(2, 3))}), (2, 3), (2, 3)),
        "branched": GraphSpec(
            {
                "in": NodeSpec("Input", {"shape": (3,)}),
                "a": NodeSpec("Linear", {}, {"weight": values(2, 3)}),
                "b": NodeSpec("Linear", {}, {"weight": values(2, 3, seed=1)}),
                "rec": NodeSpec("Linear", {}, {"weight": values(2, 2)}),
                "if": NodeSpec("IF", {}, {"r": ones(2), "v_threshold": ones(2)}),
                "out": NodeSpec("Output", {"shape": (2,)}),
            },
            (("in", "a"), ("in", "b"), ("a", "if"), ("b", "if"), ("if", "rec"), ("rec", "if"), ("if", "out")),
        ),
        "threshold": around(NodeSpec("Threshold", {}, {"threshold": values(3)}), (3,), (3,)),
        "chain": conv_graph(),
    }


@pytest.mark.parametrize("name", list(one_node_graphs()))
def test_every_type_survives_the_round_trip(path, name):
    graph = one_node_graphs()[name]
    assert_same(graph_from_nir(graph_to_nir(graph)), graph)
    nir.write(path, graph_to_nir(graph))
    assert_same(read_nir(path), graph)
    assert_same(graph_from_nir(nir.read(path, type_check=False)), graph)


@pytest.mark.parametrize("name", list(one_node_graphs()))
def test_what_nir_cannot_read_back_is_refused(path, name):
    graph = one_node_graphs()[name]
    if name != "grouped":
        write_nir(graph, path)
        assert_same(graph_from_nir(nir.read(path)), graph)
        return
    with pytest.raises(
        InvalidModel, match=r"cannot read this graph back; found.*without groups.*check=False"
    ):
        write_nir(graph, path)
    assert not path.exists()
    write_nir(graph, path, check=False)
    assert_same(read_nir(path), graph)


def test_a_second_round_trip_changes_nothing(path):
    for graph in one_node_graphs().values():
        write_nir(graph, path, check=False)
        first = read_nir(path)
        write_nir(first, path, check=False)
        assert read_nir(path).digest() == first.digest()


def assert_same(found: GraphSpec, expected: GraphSpec) -> None:
    """Equal, but for the shapes that a graph of the nir package states at every node."""
    assert found.edges == expected.edges
    assert found.shapes() == expected.shapes()
    for name, node in expected.nodes.items():
        assert found.nodes[name].attributes.items() >= node.attributes.items()
        assert found.nodes[name].arrays.keys() == node.arrays.keys()
        for key, array in node.arrays.items():
            assert found.nodes[name].arrays[key].dtype == array.dtype
            assert found.nodes[name].arrays[key].tobytes() == array.tobytes()


def test_a_single_value_is_written_out_for_nir():
    single = {"r": np.float32(1), "v_threshold": ones(1, 1, 1)}
    graph = graph_to_nir(around(NodeSpec("IF", {}, single), (2, 3), (2, 3)))
    assert graph.nodes["x"].r.shape == graph.nodes["x"].v_reset.shape == (2, 3)


def test_metadata_keeps_text_and_numbers(path):
    graph = conv_graph()
    stated = {"semantics": "sinabs", "dt_us": 10_000, "rate": 0.5}
    graph = GraphSpec(graph.nodes, graph.edges, stated)
    nir.write(path, graph_to_nir(graph))
    spoil(path, "node/metadata/array", np.arange(3))
    spoil(path, "node/nodes/conv/metadata/note", "ignored")
    found = read_nir(path)
    assert found.metadata == stated
    assert type(found.metadata["dt_us"]) is int
    assert graph_to_nir(found).metadata == stated
    assert found.digest() == GraphSpec(found.nodes, found.edges).digest()


def test_old_files_without_reset_read_as_zero(written):
    spoil(written, "node/nodes/fire/v_reset", None)
    assert (read_nir(written).nodes["fire"].arrays["v_reset"] == 0).all()


def test_types_as_fixed_length_bytes(written):
    spoil(written, "node/nodes/fire/type", np.bytes_("IF"))
    spoil(written, "node/edges", np.array([[s.encode() for s in e] for e in conv_graph().edges]))
    assert read_nir(written).order() == conv_graph().order()


def test_integer_weights_become_float32(written):
    spoil(written, "node/nodes/full/weight", np.arange(48, dtype=np.int8).reshape(3, 16))
    weight = read_nir(written).nodes["full"].arrays["weight"]
    assert weight.dtype == np.float32
    assert weight.ravel().tolist() == list(range(48))


def inner_graph() -> nir.NIRGraph:
    inner = {
        "input": nir.Input(np.array([16])),
        "full": nir.Affine(values(3, 16), values(3)),
        "last": nir.IF(ones(3), ones(3)),
        "output": nir.Output(np.array([3])),
    }
    return nir.NIRGraph(inner, [("input", "full"), ("full", "last"), ("last", "output")], type_check=False)


def nested(inner: nir.NIRGraph) -> nir.NIRGraph:
    outer = {
        "input": nir.Input(np.array([16])),
        "a": inner,
        "scale": nir.Scale(ones(3)),
        "output": nir.Output(np.array([3])),
    }
    return nir.NIRGraph(outer, [("input", "a"), ("a", "scale"), ("scale", "output")], type_check=False)


def test_a_graph_in_a_graph_is_unfolded(path):
    nir.write(path, nested(inner_graph()))
    graph = read_nir(path)
    assert graph.order() == ("input", "a.full", "a.last", "scale", "output")
    assert graph == graph_from_nir(nested(inner_graph()))


def test_graphs_three_deep_and_one_after_the_other(path):
    middle = {
        "input": nir.Input(np.array([16])),
        "x": inner_graph(),
        "y": nir.NIRGraph(
            {"in": nir.Input(np.array([3])), "s": nir.Scale(ones(3)), "out": nir.Output(np.array([3]))},
            [("in", "s"), ("s", "out")],
            type_check=False,
        ),
        "output": nir.Output(np.array([3])),
    }
    edges = [("input", "x"), ("x", "y"), ("y", "output")]
    nir.write(path, nested(nir.NIRGraph(middle, edges, type_check=False)))
    assert read_nir(path).order() == ("input", "a.x.full", "a.x.last", "a.y.s", "scale", "output")


def test_a_graph_in_a_graph_that_is_not_simple(path):
    inner = inner_graph()
    inner.nodes["more"] = nir.Input(np.array([16]))
    nir.write(path, nested(inner))
    assert (
        "node 'a': expected a graph of one Input and one Output, since NIR's edges do not say"
        in problems_of(path)
    )


def test_a_way_straight_through_a_graph_in_a_graph(path):
    """It changes nothing, and is kept apart from what the graph does beside it."""
    ends = {"in": nir.Input(np.array([16])), "out": nir.Output(np.array([16]))}
    beside = ends | {"half": nir.Scale(ones(16, scale=0.5))}
    outer = {
        "input": nir.Input(np.array([16])),
        "a": nir.NIRGraph(ends, [("in", "out")], type_check=False),
        "b": nir.NIRGraph(beside, [("in", "out"), ("in", "half"), ("half", "out")], type_check=False),
        "output": nir.Output(np.array([16])),
    }
    edges = [("input", "a"), ("a", "b"), ("b", "output"), ("input", "output"), ("a", "output")]
    nir.write(path, nir.NIRGraph(outer, edges, type_check=False))
    graph = read_nir(path)
    assert graph.order() == ("input", "a.in", "b.in", "b.half", "output")
    assert graph.nodes["a.in"] == NodeSpec("Flatten", {"start_dim": 0, "end_dim": 0})
    x = torch.ones(1, 2, 16)
    assert torch.equal(SpikingNetwork.from_nir(path)(x), 3.5 * x)


def test_a_graph_in_a_graph_may_lead_to_itself(path):
    """What is in it is recurrent then, from each of its exits to each of its entrances."""
    inner = {
        "in": nir.Input(np.array([3])),
        "x": nir.IF(ones(3), ones(3)),
        "y": nir.IF(ones(3), ones(3)),
        "out": nir.Output(np.array([3])),
    }
    ways = [("in", "x"), ("in", "y"), ("x", "out"), ("y", "out")]
    outer = {
        "i": nir.Input(np.array([3])),
        "g": nir.NIRGraph(inner, ways, type_check=False),
        "o": nir.Output(np.array([3])),
    }
    nir.write(path, nir.NIRGraph(outer, [("i", "g"), ("g", "g"), ("g", "o")], type_check=False))
    loops = {(f"g.{a}", f"g.{b}") for a in "xy" for b in "xy"}
    assert set(read_nir(path).edges) == loops | {("i", "g.x"), ("i", "g.y"), ("g.x", "o"), ("g.y", "o")}


def test_a_small_file_cannot_make_a_large_graph(path):
    """Every node of one inner graph to every node of the next would be 100 * 100 edges."""
    neurons = {f"n{k}": nir.Threshold(ones(1)) for k in range(100)}
    ends = {"in": nir.Input(np.array([1])), "out": nir.Output(np.array([1]))}
    ways = [(a, b) for name in neurons for a, b in (("in", name), (name, "out"))]
    outer = {
        "i": nir.Input(np.array([1])),
        "a": nir.NIRGraph(ends | neurons, ways, type_check=False),
        "b": nir.NIRGraph(ends | neurons, ways, type_check=False),
        "o": nir.Output(np.array([1])),
    }
    nir.write(path, nir.NIRGraph(outer, [("i", "a"), ("a", "b"), ("b", "o")], type_check=False))
    assert problems_of(path).endswith("edges: expected at most 2048, found 10100")


def test_an_edge_into_the_input_of_a_graph_in_a_graph_is_named(path):
    inner = inner_graph()
    inner.edges.append(("last", "input"))
    nir.write(path, nested(inner))
    assert "edge 'a.last' -> 'a.input': expected edges between nodes of the graph" in problems_of(path)


def test_a_graph_in_a_graph_that_takes_a_name(path):
    graph = nested(inner_graph())
    graph.nodes["a.full"] = nir.Scale(ones(3))
    nir.write(path, graph)
    assert "node 'a.full': expected a name that no unfolded node has" in problems_of(path)


def test_an_input_may_declare_a_batch_of_one(path):
    """As nirtorch's tracer writes it; but one channel, or a single feature, is no batch."""
    inner = inner_graph()
    inner.nodes["input"] = nir.Input(np.array([1, 16]))
    nir.write(path, inner)
    assert read_nir(path).shapes()["input"] == (16,)
    inner.nodes["input"] = nir.Input(np.array([2, 16]))
    with pytest.raises(ModelProblems, match=r"expected input \(16,\), found \(2, 16\)"):
        graph_from_nir(inner)
    kept = {
        "in": nir.Input(np.array([1, 3])),
        "s": nir.Scale(ones(1, 3)),
        "out": nir.Output(np.array([1, 3])),
    }
    graph = graph_from_nir(nir.NIRGraph(kept, [("in", "s"), ("s", "out")], type_check=False))
    assert graph.shapes()["in"] == (1, 3)


def test_a_cycle_without_a_state_is_refused_by_name(path):
    graph = graph_to_nir(conv_graph())
    graph.nodes["back"] = nir.Linear(values(16, 3))
    graph.edges += [("full", "back"), ("back", "full")]
    nir.write(path, graph)
    assert "model.nir: edge 'back' -> 'full': expected a neuron with a state" in problems_of(path)


def bad_graph(kind: str) -> nir.NIRGraph:
    """A graph of the nir package with one thing wrong."""
    neuron = nir.IF(ones(3), ones(3))
    nodes = {
        "input": nir.Input(np.array([3])),
        "a": neuron,
        "b": nir.Linear(values(4, 3)),
        "c": nir.Linear(values(3, 4)),
        "output": nir.Output(np.array([3])),
    }
    edges = [("input", "a"), ("a", "b"), ("b", "c"), ("c", "output")]
    if kind == "cycle without state":
        edges.append(("c", "b"))
    if kind == "cycle through a Threshold":
        nodes["t"] = nir.Threshold(ones(3))
        edges += [("c", "t"), ("t", "b")]
    if kind == "cycle through a delay of zero":
        nodes["d"] = nir.Delay(np.array([0.0, 1.0, 1.0]))
        edges += [("c", "d"), ("d", "b")]
    if kind == "dangling edge":
        edges.append(("c", "nowhere"))
    if kind == "edge twice":
        edges.append(("a", "b"))
    if kind == "shape of the Output":
        edges.append(("b", "output"))
    if kind == "recurrent edge of another shape":
        edges.append(("b", "a"))
    if kind == "two Outputs":
        nodes["second"] = nir.Output(np.array([4]))
        edges.append(("b", "second"))
    if kind == "two Inputs":
        nodes["second"] = nir.Input(np.array([3]))
        edges.append(("second", "a"))
    if kind == "island":
        nodes |= {"x": neuron, "y": neuron}
        edges += [("x", "y"), ("y", "x")]
    if kind == "no way out":
        nodes |= {"x": neuron, "y": neuron}
        edges += [("a", "x"), ("x", "y"), ("y", "x")]
    if kind == "negative delay":
        nodes["a"] = nir.Delay(np.array([1e-3, -1e-3, 0.0]))
    return nir.NIRGraph(nodes, edges, type_check=False)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("cycle without state", "edge 'c' -> 'b': expected a neuron with a state, or a delay above zero"),
        (
            "cycle through a Threshold",
            "edge 't' -> 'b': expected a neuron with a state, or a delay above zero",
        ),
        (
            "cycle through a delay of zero",
            "edge 'd' -> 'b': expected a neuron with a state, or a delay above",
        ),
        (
            "dangling edge",
            "edge 'c' -> 'nowhere': expected edges between nodes of the graph, found no node 'no",
        ),
        ("edge twice", "edge 'a' -> 'b': expected each edge once, found 2 times"),
        ("shape of the Output", "edge 'b' -> 'output' (Output.shape): expected (4,), found (3,)"),
        (
            "recurrent edge of another shape",
            "edge 'b' -> 'a': expected (3,), to be added to what edge 'input' -> 'a' brings, found (4,)",
        ),
        ("two Outputs", "exactly one Output, since one output is scored, found 'output', 'second'"),
        ("two Inputs", "exactly one Input, since a recording is one tensor, found 'input', 'second'"),
        ("island", "node 'x': expected a way from the Input, found none"),
        ("no way out", "node 'x': expected a way to the Output, found none"),
        ("negative delay", "node 'a' (Delay) delay: expected values from 0, found -0.001"),
    ],
)
def test_a_bad_graph_is_answered_with_its_place(path, kind, said):
    nir.write(path, bad_graph(kind))
    text = problems_of(path)
    assert text.startswith("model.nir: ")
    assert said in text
    with pytest.raises(ModelProblems):
        graph_from_nir(bad_graph(kind))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (
            "node/nodes/full/type",
            "RNN",
            "node 'full' (RNN) type: expected one of Input, Output, Conv1d",
        ),
        ("node/nodes/full/type", "__class__", "expected one of"),
        ("node/nodes/full/type", 3, "expected one of"),
        ("node/nodes/full/type", None, "expected one of"),
        ("node/nodes/full/weight", None, "node 'full' (Affine) weight: expected an array"),
        ("node/nodes/full/weight", "text", "node 'full' (Affine) weight: expected an array"),
        ("node/nodes/full/weight", values(3, 16) * np.nan, "expected finite values, found 48 that are NaN"),
        ("node/nodes/full/weight", values(3, 15), "expected input (15,), found (16,)"),
        ("node/nodes/full/extra", values(3), "extra: expected Affine to have weight, bias only"),
        ("node/nodes/conv/stride", 1.5, "stride: expected two integers >= 1, found 1.5"),
        ("node/nodes/conv/stride", np.array([2, 2, 2]), "stride: expected two integers"),
        ("node/nodes/conv/padding", "reflect", "padding: expected two integers >= 0, 'same' or 'valid'"),
        ("node/nodes/conv/groups", np.uint64(1 << 63), "groups: expected an integer >= 1"),
        ("node/nodes/flat/input_type", np.array([4, 2, 3]), "edge 'pool' -> 'flat' (Flatten.input_type)"),
        ("node/nodes/input/shape", np.array([2, -8, 8]), "shape: expected 1 to 6 integers >= 1"),
        ("node/nodes/lone/type", "Scale", "node 'lone'"),
        ("node/edges", None, "expected nodes, each a group of fields, and edges"),
        ("node/edges", "conv", "expected nodes, each a group of fields, and edges"),
        ("node/edges", ["a", "b"], "expected nodes, each a group of fields, and edges"),
        ("node/edges", [("a", "b", "c")], "expected nodes, each a group of fields, and edges"),
        ("node/edges", np.zeros((0, 2)), "expected an edge leaving it, found none"),
        ("node/nodes", None, "expected nodes, each a group of fields, and edges"),
        ("node/nodes/loose", 3, "expected nodes, each a group of fields, and edges"),
    ],
)
def test_what_is_wrong_is_said(written, key, value, said):
    spoil(written, key, value)
    assert said in problems_of(written)


def test_all_problems_of_a_file_come_at_once(written):
    spoil(written, "node/nodes/full/type", "RNN")
    spoil(written, "node/nodes/fire/v_threshold", None)
    with pytest.raises(ModelProblems) as caught:
        read_nir(written)
    assert {p.key.split("'")[1] for p in caught.value.problems} == {"full", "fire"}


@pytest.mark.parametrize(
    ("key", "value"), [("node", None), ("node/type", None), ("node/type", "Affine"), ("node", 3)]
)
def test_no_graph(written, key, value):
    spoil(written, key, value)
    with pytest.raises(InvalidModel, match="holds no NIR graph"):
        read_nir(written)


def test_limits_are_the_callers(written):
    with pytest.raises(InvalidModel, match=r"model.nir is refused; found: \d+ bytes; accepted: .* 100 bytes"):
        read_nir(written, limits=ReadLimits(file_bytes=100))


def test_flipped_bytes_give_a_graph_or_invalid_model(written):
    whole, outcomes = written.read_bytes(), [0, 0]
    for seed in range(250):
        draw = random.Random(seed)
        raw = bytearray(whole)
        for _ in range(draw.choice((1, 4, 32))):
            raw[draw.randrange(len(raw))] = draw.choice((0, 255, draw.randrange(256)))
        written.write_bytes(raw)
        try:
            assert read_nir(written).digest()
            outcomes[0] += 1
        except InvalidModel as error:
            assert str(error).isprintable()
            outcomes[1] += 1
    assert min(outcomes) > 30
