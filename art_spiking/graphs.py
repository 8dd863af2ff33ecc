# SPDX-License-Identifier: MIT
"""A spiking network as plain data: nodes, edges and arrays, checked, with a digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from art_spiking import graph_checks
from art_spiking.graph_checks import ModelProblem, ModelProblems, graph_problems
from art_spiking.graph_order import Edge, Group, groups
from art_spiking.node_types import NODE_TYPES, STATEFUL, Array, AttributeValue, Shape, holds_back

__all__ = ["Edge", "GraphSpec", "Group", "ModelProblem", "ModelProblems", "NodeSpec", "graph_problems"]


@dataclass(frozen=True, eq=False)
class NodeSpec:
    """One node of a graph, with NIR's names for type and fields.

    Numbers and sequences are brought to one form: attributes to int, str or tuples of int (both axes written
    out for 2-d nodes), arrays to read-only copies in float32 or float64. An absent `v_reset` becomes zeros
    and an absent `w_in` ones, as NIR says. Parameters of neurons, Scale and Threshold have the shape of the
    layer or are a single value.

    Attributes:
        type: One of `art_spiking.node_types.NODE_TYPES`.
        attributes: Integers, shapes and words, such as stride (2, 2).
        arrays: Weights and neuron parameters, without batch and time axes.
    """

    type: str
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Brings the fields to their one form; what has none is left for the graph to report by name."""
        kind = NODE_TYPES.get(self.type) if isinstance(self.type, str) else None
        kinds = kind.attributes if kind else {}
        attributes = {k: _plain(v, kinds.get(k, "")) for k, v in self.attributes.items() if v is not None}
        arrays = {k: _own(v) for k, v in self.arrays.items()}
        for name, (other, value) in (kind.defaults if kind else {}).items():
            if name not in arrays and other in arrays:
                arrays[name] = _own(np.full_like(arrays[other], value))
        object.__setattr__(self, "attributes", MappingProxyType(dict(sorted(attributes.items()))))
        object.__setattr__(self, "arrays", MappingProxyType(dict(sorted(arrays.items()))))

    def __eq__(self, other: object) -> bool:
        """Whether type, attributes and every bit of the arrays are the same."""
        return (
            isinstance(other, NodeSpec)
            and self.header() == other.header()
            and all(v.tobytes() == other.arrays[k].tobytes() for k, v in self.arrays.items())
        )

    def __hash__(self) -> int:
        """A hash of all but the arrays' values."""
        return hash(json.dumps(self.header()))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles by value: read-only mappings cannot be pickled themselves."""
        return NodeSpec, (self.type, dict(self.attributes), dict(self.arrays))

    def header(self) -> dict[str, Any]:
        """All but the arrays' values, ready for JSON: type, attributes, and dtype and shape of each array."""
        attributes = {k: list(v) if isinstance(v, tuple) else v for k, v in self.attributes.items()}
        arrays = {k: {"dtype": v.dtype.name, "shape": list(v.shape)} for k, v in self.arrays.items()}
        return {"type": self.type, "attributes": attributes, "arrays": arrays}


@dataclass(frozen=True)
class GraphSpec:
    """A graph of nodes from one Input to one Output, checked when it is made.

    A node that several edges enter takes their sum. A cycle is a recurrent group; see `groups`.

    Attributes:
        nodes: Node by name; their order does not matter.
        edges: (from, to) pairs of names.
        metadata: What a file says beside the graph, such as {"semantics": "sinabs"}; not part of the digest.

    Raises:
        ModelProblems: A node of an unknown type, a missing or odd field, values that are not finite, an edge
            that leads nowhere, a node on no way from Input to Output, a cycle without a state, all at once;
            or shapes that do not fit along an edge.
    """

    nodes: Mapping[str, NodeSpec]
    edges: tuple[Edge, ...]
    metadata: Mapping[str, str | int | float] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        """Checks the whole, then freezes the parts."""
        edges = tuple((a, b) for a, b in self.edges)
        problems = graph_problems(self.nodes, edges)
        if problems:
            raise ModelProblems(problems)
        object.__setattr__(self, "nodes", MappingProxyType(dict(sorted(self.nodes.items()))))
        object.__setattr__(self, "edges", tuple(sorted(edges)))
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))

    def __hash__(self) -> int:
        """A hash of all but the arrays' values."""
        return hash((tuple(self.nodes.items()), self.edges))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles by value: read-only mappings cannot be pickled themselves."""
        return GraphSpec, (dict(self.nodes), self.edges, dict(self.metadata))

    def header(self) -> dict[str, Any]:
        """All but the arrays' values, ready for JSON."""
        return {
            "nodes": {k: v.header() for k, v in self.nodes.items()},
            "edges": [list(e) for e in self.edges],
        }

    def digest(self) -> str:
        """The graph's identity, "sha256:...": canonical JSON of the header, then the arrays' bytes.

        It depends neither on the order of nodes and edges nor on the machine's byte order.
        """
        text = json.dumps(self.header(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        sha = hashlib.sha256(text.encode())
        for node in self.nodes.values():
            for array in node.arrays.values():
                sha.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        return f"sha256:{sha.hexdigest()}"

    def groups(self) -> tuple[Group, ...]:
        """The nodes in the order of the computation, those of a cycle together; see `graph_order.groups`."""
        start = next(name for name, node in self.nodes.items() if node.type == "Input")
        neurons = {name for name, node in self.nodes.items() if node.type in STATEFUL}
        delays = {name for name, node in self.nodes.items() if holds_back(node.type, node.arrays)}
        return groups(self.edges, start, neurons, delays)

    def order(self) -> tuple[str, ...]:
        """The names of all nodes in the order of the computation, from the Input to the Output."""
        return tuple(name for group in self.groups() for name in group.nodes)

    def shapes(self) -> Mapping[str, Shape]:
        """The shape of what every node puts out in one time step, without batch and time axes."""
        return MappingProxyType(graph_checks.shapes_along(self.nodes, self.edges)[0])


def _plain(value: Any, kind: str) -> AttributeValue:
    """An attribute as int, float, str or tuple of int, in the rank that its kind asks for."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, list | tuple):
        value = tuple(v.item() if isinstance(v, np.generic) else v for v in value)
    if kind in ("pair", "pair from 0", "padding pair") and isinstance(value, int):
        return value, value
    if kind in ("int", "count", "padding") and isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    if kind == "shape" and isinstance(value, int):
        return (value,)
    return value  # type: ignore[no-any-return]


def _own(value: Any) -> Array:
    """A read-only copy in row-major order; numbers in float32 or float64, other things as they are."""
    array = np.asarray(value)
    if array.dtype.kind in "iu":
        array = array.astype(np.float32)
    array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C", copy=True)
    array.setflags(write=False)
    return array
