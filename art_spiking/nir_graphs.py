# SPDX-License-Identifier: MIT
"""NIR files and NIR graphs to and from `GraphSpec`; a file may come from a stranger.

NIR: Pedersen et al., "Neuromorphic intermediate representation: a unified instruction set for interoperable
brain-inspired computing", Nature Communications 15, 2024. Field names and defaults are those of nir 1.0.8;
files of earlier versions, without `v_reset`, read as that version reads them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from art_spiking.errors import InvalidModel
from art_spiking.graphs import Edge, GraphSpec, ModelProblem, ModelProblems, NodeSpec
from art_spiking.hdf5_files import ReadLimits, read_hdf5
from art_spiking.node_types import NODE_TYPES

if TYPE_CHECKING:
    import nir

__all__ = ["ReadLimits", "graph_from_nir", "graph_to_nir", "read_nir"]

_NOT_FIELDS = ("type", "metadata")


def read_nir(path: str | os.PathLike[str], *, limits: ReadLimits | None = None) -> GraphSpec:
    """The graph in a `.nir` file, read without the nir package and without trusting the file.

    Graphs inside the graph are unfolded, their nodes named "outer.inner". Text and numbers in the graph's
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
    order = graph.chain()
    nodes: dict[str, Any] = {}
    for index, name in enumerate(order):
        shape = np.array(shapes[name])
        incoming = shapes[order[max(index - 1, 0)]]
        node = nodes[name] = _nir_node(graph.nodes[name], shapes[name], incoming)
        # nir infers these itself, but wrongly for kernels that are not square.
        node.input_type = {"input": np.array(incoming)}
        node.output_type = {"output": shape}
    # A copy of the metadata, because nir keeps and may change what it is given.
    return nir.NIRGraph(nodes, list(graph.edges), metadata=dict(graph.metadata), type_check=False)


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
        fields[key] = np.array(array if weighted else np.broadcast_to(array, shape))
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
    try:
        return GraphSpec(nodes, edges, _metadata(tree.get("metadata")))
    except ModelProblems as error:
        raise ModelProblems(replace(problem, file=file) for problem in error.problems) from None


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
    flat: dict[str, Mapping[str, Any]] = {}
    for name, fields in nodes.items():
        if _text(fields.get("type")) != "NIRGraph":
            flat[str(name)] = fields
            continue
        inner, inner_edges = _unfolded(fields, file)
        ends = {k: [n for n, f in inner.items() if _text(f.get("type")) == k] for k in ("Input", "Output")}
        first, last = (ends[k][0] if len(ends[k]) == 1 else None for k in ("Input", "Output"))
        if first is None or last is None or (first, last) in inner_edges:
            found = f"{len(ends['Input'])} Inputs, {len(ends['Output'])} Outputs"
            expected = "a graph with nodes between one Input and one Output"
            raise ModelProblems([ModelProblem(file, f"node {name!r:.80}", expected, found)])
        edges = _spliced(edges, str(name), list(inner_edges), first, last)
        named = {f"{name}.{n}": f for n, f in inner.items() if n not in (first, last)}
        taken = sorted(named.keys() & {*flat, *nodes})
        if taken:
            expected = "a name that no unfolded node has"
            raise ModelProblems([ModelProblem(file, f"node {taken[0]!r:.80}", expected, "the name twice")])
        flat.update(named)
    return flat, tuple(edges)


def _spliced(edges: list[Edge], name: str, inner: list[Edge], first: str, last: str) -> list[Edge]:
    """Edges with those to and from the graph `name` led on to what its Input and Output stand for."""
    within = [(f"{name}.{a}", f"{name}.{b}") for a, b in inner if a != first and b != last]
    entering = [(a, f"{name}.{b}") for a, outer in edges if outer == name for i, b in inner if i == first]
    leaving = [(f"{name}.{a}", b) for outer, b in edges if outer == name for a, o in inner if o == last]
    return [pair for pair in edges if name not in pair] + within + entering + leaving


def _edges(value: Any) -> list[Edge] | None:
    """Edges as pairs of text, or None where they are something else."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    pairs = [tuple(_text(end) for end in pair) for pair in value if isinstance(pair, list | tuple)]
    good = [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]
    return good if len(good) == len(value) else None
