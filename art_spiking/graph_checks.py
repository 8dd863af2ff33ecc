# SPDX-License-Identifier: MIT
"""Whether nodes and edges make a graph that can be run: every problem at once, each with its place."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from art_spiking.errors import InvalidModel
from art_spiking.graph_order import Edge, cycle_edge, reachable
from art_spiking.node_types import (
    MAX_ELEMENTS,
    Array,
    Mismatch,
    Shape,
    element_count,
    field_mismatches,
    has_state,
    output_shape,
)

MAX_NODES = 1024
"""The most nodes a graph may have."""
MAX_EDGES = 2 * MAX_NODES
"""The most edges a graph may have."""
MAX_NAME = 200
"""The most characters a node's name may have."""
MAX_TEXT = 300
"""The most characters of a part of a problem."""
MAX_GRAPH_ELEMENTS = 4 * MAX_ELEMENTS
"""The most values all nodes together may put out in one time step."""


@dataclass(frozen=True)
class ModelProblem:
    """One thing that is wrong with a model: where, what was expected and what was found."""

    file: str
    key: str
    expected: str
    found: str

    def __post_init__(self) -> None:
        """Makes every part one line that is safe to print: names in a stranger's file may hold anything."""
        for name in ("file", "key", "expected", "found"):
            text = "".join(c if c.isprintable() else "?" for c in str(getattr(self, name)))
            object.__setattr__(self, name, text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 3]}...")

    def __str__(self) -> str:
        """The problem in one line."""
        where = f"{self.file}: {self.key}" if self.key else self.file
        return f"{where}: expected {self.expected}, found {self.found}"


class ModelProblems(InvalidModel):
    """A model with one or more problems; `problems` lists every one."""

    problems: tuple[ModelProblem, ...]

    def __init__(self, problems: Iterable[ModelProblem], *, remedy: str | None = None) -> None:
        """Joins the problems into one message, in which the first ten are spelt out."""
        every = tuple(problems)
        text = "; ".join(str(problem) for problem in every[:10])
        more = f"; and {len(every) - 10} more" if len(every) > 10 else ""
        super().__init__(text + more, remedy=remedy)
        self.problems = every


class Node(Protocol):
    """What the checks look at in a node."""

    @property
    def type(self) -> str:
        """The node's type, NIR's name for it."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Integers, shapes and words."""

    @property
    def arrays(self) -> Mapping[str, Array]:
        """Weights and neuron parameters."""


def graph_problems(
    nodes: Mapping[str, Node], edges: Sequence[Edge], *, file: str = "graph"
) -> list[ModelProblem]:
    """Everything that keeps nodes and edges from being a graph that can be run.

    Shapes are looked at once all else is right: they mean nothing along edges that are wrong.

    Args:
        nodes: Node by name.
        edges: (from, to) pairs of names.
        file: The file that the problems name.
    """
    wrong = _too_many(nodes, edges) or _node_mismatches(nodes) + _edge_mismatches(nodes, edges)
    wrong = wrong or _way_mismatches(nodes, edges)
    if not wrong:
        _, wrong = shapes_along(nodes, edges)
    return [ModelProblem(file, m.key, m.expected, m.found) for m in wrong]


def shapes_along(nodes: Mapping[str, Node], edges: Sequence[Edge]) -> tuple[dict[str, Shape], list[Mismatch]]:
    """The shape each node puts out, from the Input on, and what does not fit; stops at the first misfit."""
    following: dict[str, list[str]] = {}
    for a, b in sorted(edges):
        following.setdefault(a, []).append(b)
    start = next(name for name, node in nodes.items() if node.type == "Input")
    shapes: dict[str, Shape] = {start: nodes[start].attributes["shape"]}
    first_edge: dict[str, Edge] = {}
    total = 0
    waiting = deque([start])
    while waiting:
        name = waiting.popleft()
        total += element_count(shapes[name])
        if element_count(shapes[name]) > MAX_ELEMENTS or total > MAX_GRAPH_ELEMENTS:
            expected = f"at most {MAX_ELEMENTS} values a time step, {MAX_GRAPH_ELEMENTS} with all before it"
            found = f"shape {shapes[name]}, {total} with all before it"
            return shapes, [Mismatch(f"node {name!r}", expected, found)]
        for after in following.get(name, ()):
            edge, node = (name, after), nodes[after]
            other = first_edge.setdefault(after, edge)
            if shapes[other[0]] != shapes[name]:
                expected = f"{shapes[other[0]]}, to be added to what {_named(other)} brings"
                return shapes, [Mismatch(_named(edge), expected, str(shapes[name]))]
            if after in shapes:
                continue
            result = output_shape(node.type, node.attributes, node.arrays, shapes[name])
            if isinstance(result, Mismatch):
                place = f"{_named(edge)} ({node.type}.{result.key})"
                return shapes, [Mismatch(place, result.expected, result.found)]
            shapes[after] = result
            waiting.append(after)
    return shapes, []


def _too_many(nodes: Mapping[str, Node], edges: Sequence[Edge]) -> list[Mismatch]:
    counts = (("nodes", len(nodes), MAX_NODES), ("edges", len(edges), MAX_EDGES))
    return [Mismatch(what, f"at most {most}", str(count)) for what, count, most in counts if count > most]


def _node_mismatches(nodes: Mapping[str, Node]) -> list[Mismatch]:
    out = []
    for name, node in nodes.items():
        if (
            not isinstance(name, str)
            or not 0 < len(name) <= MAX_NAME
            or not name.isprintable()
            or "/" in name
        ):
            expected = f"a name of 1 to {MAX_NAME} printable characters without '/'"
            out.append(Mismatch("nodes", expected, f"{name!r:.80}"))
            continue
        for wrong in field_mismatches(node.type, node.attributes, node.arrays):
            out.append(
                Mismatch(f"node {name!r} ({node.type!s:.40}) {wrong.key}", wrong.expected, wrong.found)
            )
    for kind, why in (("Input", "a recording is one tensor"), ("Output", "one output is scored")):
        names = [name for name, node in nodes.items() if node.type == kind]
        if len(names) != 1:
            expected = f"exactly one {kind}, since {why}" if names else f"exactly one {kind}"
            out.append(Mismatch("nodes", expected, ", ".join(map(repr, names))[:200] or "none"))
    return out


def _edge_mismatches(nodes: Mapping[str, Node], edges: Sequence[Edge]) -> list[Mismatch]:
    out = []
    for pair, count in Counter(edges).items():
        if count > 1:
            out.append(Mismatch(_named(pair), "each edge once", f"{count} times"))
        for end in pair:
            if end not in nodes:
                out.append(Mismatch(_named(pair), "edges between nodes of the graph", f"no node {end!r:.80}"))
    for side, words, end in ((0, "leaving", "Output"), (1, "entering", "Input")):
        counts = Counter(pair[side] for pair in edges if pair[0] in nodes and pair[1] in nodes)
        for name, node in nodes.items():
            if (node.type == end) == (counts[name] > 0):
                expected = f"{'no' if node.type == end else 'an'} edge {words} it"
                out.append(Mismatch(f"node {name!r:.80}", expected, f"{counts[name] or 'none'}"))
    return out


def _way_mismatches(nodes: Mapping[str, Node], edges: Sequence[Edge]) -> list[Mismatch]:
    """What is wrong with the ways that good edges between good nodes make."""
    out = []
    idle = [pair for pair in edges if not any(has_state(nodes[k].type, nodes[k].arrays) for k in pair)]
    closing = cycle_edge(idle)
    if closing is not None:
        expected = "a neuron with a state, or a delay above zero, in every cycle"
        out.append(Mismatch(_named(closing), expected, "an edge that closes a cycle without"))
    back = [(b, a) for a, b in edges]
    for kind, pairs, words in (("Input", edges, "from"), ("Output", back, "to")):
        ends = [name for name, node in nodes.items() if node.type == kind]
        for name in sorted(set(nodes) - reachable(ends, pairs)):
            out.append(Mismatch(f"node {name!r:.80}", f"a way {words} the {kind}", "none"))
    return out


def _named(pair: Edge) -> str:
    return f"edge {pair[0]!r:.80} -> {pair[1]!r:.80}"
