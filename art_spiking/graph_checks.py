# SPDX-License-Identifier: MIT
"""Whether nodes and edges make a graph that can be run: every problem at once, each with its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from art_spiking.errors import InvalidModel
from art_spiking.node_types import (
    MAX_ELEMENTS,
    Array,
    Mismatch,
    Shape,
    element_count,
    field_mismatches,
    output_shape,
)

MAX_NODES = 1024
"""The most nodes a graph may have."""
MAX_NAME = 200
"""The most characters a node's name may have."""
MAX_TEXT = 300
"""The most characters of a part of a problem."""
MAX_GRAPH_ELEMENTS = 4 * MAX_ELEMENTS
"""The most values all nodes together may put out in one time step."""

Edge = tuple[str, str]


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
    if not wrong:
        _, wrong = shapes_along(nodes, chain(nodes, edges))
    return [ModelProblem(file, m.key, m.expected, m.found) for m in wrong]


def chain(nodes: Mapping[str, Node], edges: Sequence[Edge]) -> tuple[str, ...]:
    """The names from the Input onwards, each followed by the target of its edge; edges hold no cycle."""
    following = dict(edges)
    name = next(key for key, node in nodes.items() if node.type == "Input")
    order = [name]
    while name in following:
        name = following[name]
        order.append(name)
    return tuple(order)


def shapes_along(nodes: Mapping[str, Node], order: Sequence[str]) -> tuple[dict[str, Shape], list[Mismatch]]:
    """The shape each node of a chain puts out, and what does not fit; stops at the first misfit."""
    shape: Shape = nodes[order[0]].attributes["shape"]
    shapes = {order[0]: shape}
    total = 0
    for index, name in enumerate(order):
        node = nodes[name]
        if index > 0:
            result = output_shape(node.type, node.attributes, node.arrays, shape)
            if isinstance(result, Mismatch):
                place = f"edge {order[index - 1]!r} -> {name!r} ({node.type}.{result.key})"
                return shapes, [Mismatch(place, result.expected, result.found)]
            shapes[name] = shape = result
        total += element_count(shape)
        if element_count(shape) > MAX_ELEMENTS or total > MAX_GRAPH_ELEMENTS:
            expected = f"at most {MAX_ELEMENTS} values a time step, {MAX_GRAPH_ELEMENTS} with all before it"
            return shapes, [
                Mismatch(f"node {name!r}", expected, f"shape {shape}, {total} with all before it")
            ]
    return shapes, []


def _too_many(nodes: Mapping[str, Node], edges: Sequence[Edge]) -> list[Mismatch]:
    counts = (("nodes", len(nodes), MAX_NODES), ("edges", len(edges), 2 * MAX_NODES))
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
    for kind in ("Input", "Output"):
        names = [name for name, node in nodes.items() if node.type == kind]
        if len(names) != 1:
            out.append(Mismatch("nodes", f"exactly one {kind}", ", ".join(map(repr, names))[:200] or "none"))
    return out


def _edge_mismatches(nodes: Mapping[str, Node], edges: Sequence[Edge]) -> list[Mismatch]:
    out = []
    for pair, count in Counter(edges).items():
        if count > 1:
            out.append(Mismatch(_named(pair), "each edge once", f"{count} times"))
        for end in pair:
            if end not in nodes:
                out.append(Mismatch(_named(pair), "edges between nodes of the graph", f"no node {end!r:.80}"))
    inside = [pair for pair in dict.fromkeys(edges) if pair[0] in nodes and pair[1] in nodes]
    closing = _cycle_edge(inside)
    if closing is not None:
        expected = "a feed-forward graph (recurrent connections are not supported yet)"
        out.append(Mismatch(_named(closing), expected, "an edge that closes a cycle"))
        inside.remove(closing)
    for side, words in ((0, "leaving"), (1, "entering")):
        counts = Counter(pair[side] for pair in inside)
        for name, node in nodes.items():
            ends = (side == 0 and node.type == "Output") or (side == 1 and node.type == "Input")
            want = 0 if ends else 1
            if counts[name] != want:
                expected = f"{want} edge {words} it (the nodes form one chain from Input to Output)"
                out.append(Mismatch(f"node {name!r:.80}", expected, f"{counts[name]} {words}"))
    return out


def _named(pair: Edge) -> str:
    return f"edge {pair[0]!r:.80} -> {pair[1]!r:.80}"


def _cycle_edge(edges: Sequence[Edge]) -> Edge | None:
    """An edge that closes a cycle, or None; a depth-first walk without recursion."""
    following: dict[str, list[str]] = {}
    for a, b in edges:
        following.setdefault(a, []).append(b)
    done: set[str] = set()
    # From nodes that nothing enters first, so that the edge named is the one that leads back.
    entered = {b for _, b in edges}
    for root in sorted(following, key=lambda name: (name in entered, name)):
        path: dict[str, list[str]] = {}
        if root not in done:
            path[root] = list(following[root])
        while path:
            here, waiting = next(reversed(path.items()))
            if not waiting:
                done.add(here)
                del path[here]
                continue
            ahead = waiting.pop()
            if ahead in path:
                return here, ahead
            if ahead not in done:
                path[ahead] = list(following.get(ahead, ()))
    return None
