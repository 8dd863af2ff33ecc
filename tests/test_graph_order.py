# SPDX-License-Identifier: MIT
"""The order of a graph, its recurrent groups, and which of their edges are late."""

from __future__ import annotations

import itertools
import random
import time

import pytest

from art_spiking.graph_order import Group, cycle_edge, groups, reachable


def edges_of(text: str) -> list[tuple[str, str]]:
    """ "i>a a>b" as edges."""
    return [tuple(pair.split(">")) for pair in text.split()]


def late_of(text: str, neurons: str = "", delays: str = "") -> str:
    """The late edges of all groups, as text."""
    found = groups(edges_of(text), "i", set(neurons), set(delays))
    return " ".join(sorted(f"{a}>{b}" for group in found for a, b in group.late))


def test_without_cycles_every_node_is_alone():
    found = groups(edges_of("i>a a>b b>d i>c c>d d>o"), "i", (), ())
    assert [group.nodes for group in found] == [("i",), ("a",), ("b",), ("c",), ("d",), ("o",)]
    assert not any(group.is_recurrent or group.late for group in found)


def test_a_branch_is_followed_to_its_end():
    """So that few outputs are alive at a time."""
    found = groups(edges_of("i>a a>m m>x x>o i>b b>n n>y y>o"), "i", (), ())
    assert "".join(name for group in found for name in group.nodes) == "iamxbnyo"


@pytest.mark.parametrize(
    ("text", "neurons", "late"),
    [
        ("i>w w>n n>r r>n n>o", "n", "r>n"),
        ("i>n n>n n>o", "n", "n>n"),
        # Two populations; what leads from the Output's side back to the first is late, the way there is not.
        ("i>a a>v v>b b>w w>a b>o", "ab", "w>a"),
        ("i>a a>v v>b b>w w>a b>o a>b a>o", "ab", "w>a"),
        # A loop within a loop.
        ("i>a a>b b>c c>b c>a c>o", "abc", "c>a c>b"),
        # The neuron comes late in its cycle: the edge that leads back leaves it.
        ("i>w w>n n>w n>o", "n", "n>w"),
        # A cycle entered at two nodes: both sides are late, or neither name would do.
        ("i>a i>b a>v v>b b>w w>a b>o", "ab", "a>v b>w"),
        ("i>a i>b a>b b>a a>o b>o", "ab", "a>b b>a"),
    ],
)
def test_which_edges_are_late(text, neurons, late):
    assert late_of(text, neurons) == late
    shuffled = text.split()
    random.Random(0).shuffle(shuffled)
    assert late_of(" ".join(shuffled), neurons) == late


@pytest.mark.parametrize(
    ("text", "neurons", "late"),
    [
        ("i>n n>d d>n n>o", "n", ""),
        ("i>w w>d d>w w>o", "", ""),
        # One way back with a delay and one without.
        ("i>n n>d d>n n>r r>n n>o", "n", "r>n"),
        # A delay inside the way there opens nothing.
        ("i>a a>d d>b a>b b>a b>o", "ab", "b>a"),
    ],
)
def test_a_delay_keeps_a_cycle_open(text, neurons, late):
    assert late_of(text, neurons, "d") == late


@pytest.mark.parametrize("seed", range(30))
def test_within_a_step_every_edge_leads_ahead(seed):
    """Any graph: groups come after what feeds them, and late edges and delays leave no cycle."""
    draw = random.Random(seed)
    names = [f"n{k}" for k in range(12)]
    edges = {(draw.choice(names[:k]), names[k]) for k in range(1, 12)}
    edges |= {(draw.choice(names), draw.choice(names[1:])) for _ in range(draw.randrange(14))}
    stateful = set(draw.sample(names, 6))
    stateless = [(a, b) for a, b in edges if not {a, b} & stateful]
    while (closing := cycle_edge(stateless)) is not None:
        edges.discard(closing)
        stateless.remove(closing)
    edges = {edge for edge in edges if edge[1] in reachable(["n0"], edges)}
    delays = set(draw.sample(sorted(stateful), 2))
    found = groups(edges, "n0", stateful - delays, delays)
    assert sorted(name for group in found for name in group.nodes) == sorted(reachable(["n0"], edges))
    place = {name: k for k, name in enumerate(name for group in found for name in group.nodes)}
    home = {name: k for k, group in enumerate(found) for name in group.nodes}
    late = {edge for group in found for edge in group.late}
    for a, b in edges:
        assert home[a] <= home[b]
        if home[a] < home[b]:
            assert (a, b) not in late
        elif (a, b) not in late and b not in delays:
            assert place[a] < place[b]
    for group in found:
        assert group.is_recurrent == any(a in group.nodes and b in group.nodes for a, b in edges)


def test_edges_that_lead_back_change_nothing_ahead():
    """The order and the lateness of all else stay as they are without them."""
    ahead = "i>a a>b b>c a>c c>o"
    found = groups(edges_of(ahead + " c>r r>a"), "i", "abc", ())
    (group,) = [group for group in found if group.is_recurrent]
    assert group == Group(("a", "b", "c", "r"), frozenset({("r", "a")}), is_recurrent=True)


def test_the_largest_graph_takes_less_than_a_second():
    names = [f"n{k:04}" for k in range(1023)]
    edges = [("i", names[0]), *itertools.pairwise(names)]
    edges += [(names[k], names[max(0, k - 500)]) for k in range(1, 1023)]
    start = time.perf_counter()
    found = groups(edges, "i", names, ())
    assert time.perf_counter() - start < 2  # measured: 0.3 s
    assert len(found) == 2
    assert len(found[1].late) == 1022
