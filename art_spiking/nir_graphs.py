# SPDX-License-Identifier: MIT
"""NIR files and NIR graphs to and from `GraphSpec`; a file may come from a stranger.

NIR: Pedersen et al., "Neuromorphic intermediate representation: a unified instruction set for interoperable
brain-inspired computing", Nature Communications 15, 2024. Field names and defaults are those of nir 1.0.8;
files of earlier versions, without `v_reset`, read as that version reads them.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from art_spiking.errors import InvalidModel
from art_spiking.files import write_atomically
from art_spiking.graph_checks import MAX_EDGES, MAX_NODES, graph_problems
from art_spiking.graphs import Edge, GraphSpec, ModelProblem, ModelProblems, NodeSpec
from art_spiking.hdf5_files import ReadLimits, read_hdf5
from art_spiking.node_types import NODE_TYPES

if TYPE_CHECKING:
    import nir

__all__ = ["ReadLimits", "graph_from_nir", "graph_to_nir", "read_nir", "write_nir"]

_NOT_FIELDS = ("type", "metadata")


def read_nir(path: str | os.PathLike[str], *, limits: ReadLimits | None = None) -> GraphSpec:
    """The graph in a `.nir` file, read without the nir package and without trusting the file.

    A graph has one Input and one Output, and so has every graph inside it: a recording is one tensor, one
    output is scored, and NIR's edges name nodes, not ports (nir 1.0.8 refuses several too). What enters or
    leaves such a graph several times over is added up.

    Graphs inside the graph are unfolded, their nodes named "outer.inner", without their Inputs and Outputs;
    an Input that leads to its Output stays as a Flatten of one axis, which changes nothing. An Input may
    declare a batch of one, as files of Norse do, and is read without. Text and numbers in the graph's
    metadata are kept; other metadata is left out.

    Args:
        path: The file.
        limits: What to refuse; by default more than 256 MiB.

    Raises:
        InvalidModel: The file is not safe to read, or damaged (`art_spiking.hdf5_files.read_hdf5`).
        ModelProblems: The graph is not one that can be run; every problem is listed.
    """
    name = Path(path).name
    tree = read_hdf5(path, limits=limits).get("node")
    if not isinstance(tree, dict) or tree.get("type") != "NIRGraph":
        found = sorted(tree)[:10] if isinstance(tree, dict) else "no group of that name"
        raise InvalidModel(f"{name} holds no NIR graph", found=found, accepted="/node of type NIRGraph")
    return _graph(tree, name)


def graph_from_nir(graph: nir.NIRGraph) -> GraphSpec:
    """The graph that an object of the nir package holds.

    Raises:
        ModelProblems: The graph is not one that can be run; every problem is listed.
    """
    return _graph(graph.to_dict(), "graph")


def graph_to_nir(graph: GraphSpec) -> nir.NIRGraph:
    """The same graph as an object of the nir package, with shapes filled in at every node.

    A parameter that is a single value for its layer is written out, since nir wants equal shapes; an Output's
    declared shape becomes the true one.
    """
    import nir

    shapes = graph.shapes()
    source = {b: a for a, b in graph.edges}
    nodes: dict[str, Any] = {}
    for name in graph.order():
        incoming = shapes[source.get(name, name)]
        node = nodes[name] = _nir_node(graph.nodes[name], shapes[name], incoming)
        # nir infers these itself, but wrongly for kernels that are not square.
        node.input_type = {"input": np.array(incoming)}
        node.output_type = {"output": np.array(shapes[name])}
    # A copy of the metadata, because nir keeps and may change what it is given.
    return nir.NIRGraph(nodes, list(graph.edges), metadata=dict(graph.metadata), type_check=False)


def write_nir(graph: GraphSpec, path: str | os.PathLike[str], *, check: bool = True) -> None:
    """Writes a graph to a `.nir` file through the nir package; see `graph_to_nir` for what it fills in.

    Args:
        graph: What to write.
        path: The file, which is replaced if it is there.
        check: Whether to refuse a graph that the nir package cannot read back, as most frameworks would.

    Raises:
        InvalidModel: nir cannot read it back.
        CannotWrite: A full disk, or no permission.
    """
    import nir

    stream = io.BytesIO()
    nir.write(stream, graph_to_nir(graph))
    if check:
        try:
            nir.read(stream)
        except Exception as error:
            raise InvalidModel(
                f"nir {nir.version} cannot read this graph back",
                found=str(error),
                accepted="convolutions with square kernels and without groups",
                remedy="write it with check=False for readers that do not check types as nir does",
            ) from error
    write_atomically(path, stream.getvalue())


def _nir_node(node: NodeSpec, shape: tuple[int, ...], incoming: tuple[int, ...]) -> Any:
    import nir

    if node.type == "Input":
        return nir.Input(np.array(shape))
    if node.type == "Output":
        return nir.Output(np.array(shape))
    fields: dict[str, Any] = {}
    for key, value in node.attributes.items():
        fields[key] = np.array(value) if isinstance(value, tuple) else value
    weighted = "weight" in node.arrays
    for key, array in node.arrays.items():
        alone = array.size == 1 and not weighted
        fields[key] = np.full(shape, array.item(), array.dtype) if alone else np.array(array)
    if node.type == "Flatten":
        fields["input_type"] = {"input": np.array(incoming)}
    if node.type == "Conv1d":
        fields["input_shape"] = incoming[1]
    if node.type == "Conv2d":
        fields["input_shape"] = np.array(incoming[1:])
    return getattr(nir, node.type)(**fields)


def _graph(tree: Mapping[str, Any], file: str) -> GraphSpec:
    trees, edges = _unfolded(tree, file)
    nodes = {name: _node(fields) for name, fields in trees.items()}
    nodes = _without_batch(nodes, edges)
    try:
        return GraphSpec(nodes, edges, _metadata(tree.get("metadata")))
    except ModelProblems as error:
        raise ModelProblems(replace(problem, file=file) for problem in error.problems) from None


def _without_batch(nodes: dict[str, NodeSpec], edges: tuple[Edge, ...]) -> dict[str, NodeSpec]:
    """The nodes with an Input that declares no batch of one, where only then all shapes fit.

    nirtorch's tracer writes the shape of the sample that it traced with, its batch axis included.
    """
    for name, node in nodes.items():
        shape = node.attributes.get("shape")
        if node.type == "Input" and isinstance(shape, tuple) and len(shape) > 1 and shape[0] == 1:
            other = nodes | {name: NodeSpec("Input", {"shape": shape[1:]})}
            if graph_problems(nodes, edges) and not graph_problems(other, edges):
                return other
    return nodes


def _node(fields: Mapping[str, Any]) -> NodeSpec:
    """A node from its fields; those of a name that the type does not know go along, to be reported."""
    type_name = _text(fields.get("type"))
    kind = NODE_TYPES.get(type_name)
    attributes: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    for key, value in fields.items():
        if key in _NOT_FIELDS or value is None:
            continue
        if kind is not None and key in kind.arrays and not isinstance(value, str | bytes | Mapping):
            arrays[key] = value
        else:
            attributes[key] = value
    return NodeSpec(type_name, attributes, arrays)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _metadata(value: Any) -> dict[str, str | int | float]:
    out: dict[str, str | int | float] = {}
    for key, item in value.items() if isinstance(value, Mapping) else ():
        plain = item.item() if isinstance(item, np.ndarray | np.generic) and np.size(item) == 1 else item
        if isinstance(plain, str | int | float):
            out[str(key)] = plain
    return out


def _unfolded(tree: Mapping[str, Any], file: str) -> tuple[dict[str, Mapping[str, Any]], tuple[Edge, ...]]:
    """The nodes and edges of a graph, those of the graphs inside it among them as "outer.inner"."""
    nodes, edges = tree.get("nodes"), _edges(tree.get("edges"))
    if (
        not isinstance(nodes, Mapping)
        or edges is None
        or not all(isinstance(n, Mapping) for n in nodes.values())
    ):
        found = ", ".join(map(str, tree))[:200]
        expected = "nodes, each a group of fields, and edges, each a pair of names"
        raise ModelProblems([ModelProblem(file, "node", expected, found)])
    _check_counts(len(nodes), len(edges), file)
    flat: dict[str, Mapping[str, Any]] = {}
    for name, fields in nodes.items():
        if _text(fields.get("type")) != "NIRGraph":
            flat[str(name)] = fields
            continue
        inner, inner_edges = _unfolded(fields, file)
        ends = {k: [n for n, f in inner.items() if _text(f.get("type")) == k] for k in ("Input", "Output")}
        first, last = (ends[k][0] if len(ends[k]) == 1 else None for k in ("Input", "Output"))
        if first is None or last is None:
            found = f"{len(ends['Input'])} Inputs, {len(ends['Output'])} Outputs"
            expected = "a graph of one Input and one Output, since NIR's edges do not say which they mean"
            raise ModelProblems([ModelProblem(file, f"node {name!r:.80}", expected, found)])
        edges = _spliced(edges, str(name), list(inner_edges), (first, last), file)
        del inner[last]
        if inner_edges.count((first, last)):
            inner[first] = {"type": "Flatten", "start_dim": 0, "end_dim": 0}
        else:
            del inner[first]
        named = {f"{name}.{n}": f for n, f in inner.items()}
        taken = sorted(named.keys() & {*flat, *nodes})
        if taken:
            expected = "a name that no unfolded node has"
            raise ModelProblems([ModelProblem(file, f"node {taken[0]!r:.80}", expected, "the name twice")])
        flat.update(named)
    return flat, tuple(edges)


def _check_counts(nodes: int, edges: int, file: str) -> None:
    """Stops before a small file makes a large graph."""
    for what, count, most in (("nodes", nodes, MAX_NODES), ("edges", edges, MAX_EDGES)):
        if count > most:
            raise ModelProblems([ModelProblem(file, what, f"at most {most}", str(count))])


def _spliced(edges: list[Edge], name: str, inner: list[Edge], ends: Edge, file: str) -> list[Edge]:
    """Edges with those to and from the graph `name` led on to what its Input and Output stand for.

    Args:
        edges: Of the outer graph.
        name: Of the inner graph.
        inner: Its edges.
        ends: Its Input, which is kept under its name if it leads to the Output, and its Output.
        file: The file that a problem names.
    """
    first, last = ends
    through = ends in inner
    entrances = [first] if through else [b for a, b in inner if a == first]
    exits = [a for a, b in inner if b == last]
    within = [(f"{name}.{a}", f"{name}.{b}") for a, b in inner if b != last and (through or a != first)]
    into, out_of = (sum(pair[side] == name for pair in edges) for side in (1, 0))
    _check_counts(0, into * len(entrances) + out_of * len(exits), file)
    # One side after the other, for edges from the graph to itself.
    entered = [(a, f"{name}.{e}") for a, b in edges if b == name for e in entrances]
    entered += [(a, b) for a, b in edges if b != name]
    left = [(f"{name}.{e}", b) for a, b in entered if a == name for e in exits]
    return [(a, b) for a, b in entered if a != name] + left + within


def _edges(value: Any) -> list[Edge] | None:
    """Edges as pairs of text, or None where they are something else."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    pairs = [tuple(_text(end) for end in pair) for pair in value if isinstance(pair, list | tuple)]
    good = [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]
    return good if len(good) == len(value) else None
