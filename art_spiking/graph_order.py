# SPDX-License-Identifier: MIT
"""The order in which a graph is computed: which nodes are stepped together, and which edges lead back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

Edge = tuple[str, str]


@dataclass(frozen=True)
class Group:
    """Nodes that are computed together over all time steps: one alone, or those of a recurrent group.

    Attributes:
        nodes: Names, in the order of the computation within a time step.
        late: Edges within that bring what their source put out one step before.
        is_recurrent: Whether there is a cycle among the nodes.
    """

    nodes: tuple[str, ...]
    late: frozenset[Edge] = frozenset()
    is_recurrent: bool = False


def groups(
    edges: Iterable[Edge], start: str, neurons: Collection[str], delays: Collection[str]
) -> tuple[Group, ...]:
    """The groups of a graph, each after all that feed it; the order does not depend on that of the edges.

    NIR's graphs are of continuous time, where a cycle through a state needs no delay; step by step, one of
    its edges must wait. Which edges are late, and by one step each:

    1. None into a delay of at least one step: it keeps a cycle open by itself.
    2. An edge that leads back: its target lies on every path from the start to its source. All that is left
       is then computed as it would be without the edges that lead back.
    3. Where a cycle can be entered at several nodes, so that none of its edges leads back: those within it
       that leave a neuron, all of them, since the graph does not tell which came first.

    Args:
        edges: (from, to) pairs; every cycle holds a neuron or a delay, and all can be reached from the start.
        start: The node that all begins with.
        neurons: Nodes whose output comes from a state.
        delays: Nodes that put out nothing of what they take in during the same step.
    """
    ordered = sorted(set(edges))
    found = []
    for nodes in _in_order(_components([start], ordered), ordered):
        members = set(nodes)
        inside = [edge for edge in ordered if edge[0] in members and edge[1] in members]
        if not inside:
            found.append(Group(nodes))
            continue
        now = [edge for edge in inside if edge[1] not in delays]
        late = _leading_back(_cyclic(now), start, ordered)
        late |= {edge for edge in _cyclic([e for e in now if e not in late]) if edge[0] in neurons}
        now = [edge for edge in now if edge not in late]
        found.append(Group(tuple(_topological(nodes, now)), frozenset(late), is_recurrent=True))
    return tuple(found)


def reachable(starts: Iterable[str], edges: Iterable[Edge]) -> set[str]:
    """All nodes on a path from one of the starts, those included."""
    return _reached(starts, _following(edges), set())


def cycle_edge(edges: Sequence[Edge]) -> Edge | None:
    """An edge that closes a cycle, or None; a depth-first walk without recursion."""
    following = {name: list(names) for name, names in _following(edges).items()}
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


def _following(edges: Iterable[Edge]) -> dict[str, list[str]]:
    following: dict[str, list[str]] = {}
    for a, b in edges:
        following.setdefault(a, []).append(b)
    return following


def _reached(starts: Iterable[str], following: Mapping[str, Sequence[str]], barred: set[str]) -> set[str]:
    """All nodes on a path from one of the starts past none that are barred."""
    seen = barred.union(starts)
    waiting = list(seen - barred)
    while waiting:
        for name in following.get(waiting.pop(), ()):
            if name not in seen:
                seen.add(name)
                waiting.append(name)
    return seen - barred


def _leading_back(among: Sequence[Edge], start: str, edges: Sequence[Edge]) -> set[Edge]:
    """Those whose target lies on every path from the start to their source: it dominates it."""
    following = _following(edges)
    other_ways = {b: _reached([start], following, {b}) for b in {b for _, b in among}}
    return {(a, b) for a, b in among if a not in other_ways[b]}


def _cyclic(edges: Sequence[Edge]) -> list[Edge]:
    """The edges that are part of a cycle."""
    home = {
        name: k
        for k, nodes in enumerate(_components(dict.fromkeys(a for a, _ in edges), edges))
        for name in nodes
    }
    return [(a, b) for a, b in edges if home[a] == home[b]]


def _components(roots: Iterable[str], edges: Sequence[Edge]) -> list[tuple[str, ...]]:
    """Sets of nodes that reach each other, among those that the roots reach (Tarjan, 1972)."""
    following = _following(edges)
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    open_nodes: set[str] = set()
    found = []
    for root in roots:
        if root in number:
            continue
        path = [(root, iter(following.get(root, ())))]
        number[root] = low[root] = len(number)
        stack.append(root)
        open_nodes.add(root)
        while path:
            here, ahead = path[-1]
            after = next(ahead, None)
            if after is None:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[here])
                if low[here] == number[here]:
                    place = stack.index(here)
                    found.append(tuple(stack[place:]))
                    open_nodes.difference_update(stack[place:])
                    del stack[place:]
            elif after not in number:
                number[after] = low[after] = len(number)
                stack.append(after)
                open_nodes.add(after)
                path.append((after, iter(following.get(after, ()))))
            elif after in open_nodes:
                low[here] = min(low[here], number[after])
    return found


def _in_order(components: Sequence[tuple[str, ...]], edges: Sequence[Edge]) -> list[tuple[str, ...]]:
    """The components, each after all that lead to it."""
    by_name = {min(nodes): nodes for nodes in components}
    home = {name: key for key, nodes in by_name.items() for name in nodes}
    between = {(home[a], home[b]) for a, b in edges if home[a] != home[b]}
    return [by_name[name] for name in _topological(by_name, between)]


def _topological(names: Iterable[str], edges: Collection[Edge]) -> list[str]:
    """Names such that every edge leads ahead; a branch is followed to its end, to keep little alive."""
    following = _following(sorted(edges, reverse=True))
    missing = dict.fromkeys(names, 0)
    for _, b in edges:
        missing[b] += 1
    ready = sorted((name for name, count in missing.items() if count == 0), reverse=True)
    order = []
    while ready:
        name = ready.pop()
        order.append(name)
        for after in following.get(name, ()):
            missing[after] -= 1
            if missing[after] == 0:
                ready.append(after)
    return order
