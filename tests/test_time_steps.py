# SPDX-License-Identifier: MIT
"""Steps of another length than a model was made for: told with numbers where they make another network."""

import warnings

import nir
import numpy as np
import pytest
import torch
from graph_samples import chained, conv_graph, ones

from art_spiking.errors import DifferentTimeStep
from art_spiking.graphs import GraphSpec, NodeSpec
from art_spiking.network import SpikingNetwork
from art_spiking.nir_graphs import graph_from_nir
from art_spiking.time_steps import check_step, retimed, stated_step, suggested_step

DT = 1e-4


def stack(*nodes: NodeSpec, **metadata) -> GraphSpec:
    ends = NodeSpec("Input", {"shape": (2,)}), NodeSpec("Output", {"shape": (2,)})
    named = {f"n{k}": node for k, node in enumerate((ends[0], *nodes, ends[1]))}
    return GraphSpec(named, chained(list(named)), metadata)


def lif(tau: float, r: float) -> NodeSpec:
    arrays = {"tau": ones(2, scale=tau), "r": ones(2, scale=r), "v_leak": ones(2, scale=0.0)}
    return NodeSpec("LIF", {}, arrays | {"v_threshold": ones(2)})


def fire(r: float = 1.0) -> NodeSpec:
    return NodeSpec("IF", {}, {"r": ones(2, scale=r), "v_threshold": ones(2)})


def as_snntorch_writes(beta: float, alpha: float | None = None) -> NodeSpec:
    """The arithmetic of snntorch 1.0.0's exporter, for Leaky or Synaptic."""
    tau = DT / (1 - beta)
    if alpha is None:
        return lif(tau, tau / DT)
    tau_syn = DT / (1 - alpha)
    fields = {"tau_syn": tau_syn, "tau_mem": tau, "r": tau / DT, "w_in": tau_syn / DT, "v_threshold": 1.0}
    return NodeSpec("CubaLIF", {}, {k: ones(2, scale=v) for k, v in (fields | {"v_leak": 0.0}).items()})


def test_the_numbers_are_told():
    graph = stack(lif(0.02, 1.0), fire(), lif(0.005, 2.0), dt_us=1000)
    with pytest.warns(DifferentTimeStep) as caught:
        check_step(graph, 2000, stated_us=1000)
    said = str(caught[0].message)
    assert "the model states steps of 1000 µs; at 2000 µs it is a different network" in said
    assert "'n1' (LIF) tau/dt 20 becomes 10, 'n3' (LIF) tau/dt 5 becomes 2.5" in said
    assert "n2" not in said
    assert "bin the data at 1000 µs" in said


def test_a_range_of_time_constants_and_a_synapse():
    node = as_snntorch_writes(0.9, 0.5)
    arrays = dict(node.arrays) | {"tau_mem": np.array([1e-3, 2e-3])}
    with pytest.warns(DifferentTimeStep, match=r"tau_syn/dt 2 becomes 1, 'n1' \(CubaLIF\) tau_mem/dt 10..20"):
        check_step(stack(NodeSpec("CubaLIF", {}, arrays)), 200, stated_us=100)


@pytest.mark.parametrize(
    ("graph", "used", "stated"),
    [
        (stack(lif(0.02, 1.0)), 1000.0, 1000),  # the same step
        (stack(lif(0.02, 1.0)), 1000.0004, 1000),  # but for its digits
        (stack(fire(), fire()), 10_000, 1000),  # no time constants
        (stack(lif(0.02, 1.0)), None, 1000),  # not run at all
        (stack(lif(0.02, 1.0)), 10_000, None),  # nothing states or suggests a step
        (stack(as_snntorch_writes(0.9)), 110, None),  # a suggestion is no statement
    ],
)
def test_nothing_to_say(graph, used, stated):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_step(graph, used, stated_us=stated)


def test_many_layers_are_counted():
    with pytest.warns(DifferentTimeStep, match=r"'n5' \(LIF\) tau/dt 20 becomes 10, and 3 more; bin"):
        check_step(stack(*[lif(0.02, 1.0)] * 8), 2000, stated_us=1000)


@pytest.mark.parametrize(
    ("nodes", "suggested"),
    [
        ([as_snntorch_writes(0.9), fire(), as_snntorch_writes(0.8)], 100),
        ([as_snntorch_writes(0.9, 0.7)], 100),
        ([lif(0.02, 1.0)], None),  # a gain of one over the whole time constant, as Norse has it
        ([as_snntorch_writes(0.9), lif(0.02, 4.0)], None),  # they do not agree
        ([fire()], None),
    ],
)
def test_the_step_that_gains_suggest(nodes, suggested):
    found = suggested_step(stack(*nodes))
    assert found == (None if suggested is None else pytest.approx(suggested, rel=1e-5))


def test_an_export_at_the_width_of_the_bins_is_another_network():
    graph = stack(as_snntorch_writes(0.99))
    with pytest.warns(DifferentTimeStep, match=r"write for steps of 100 µs; at 1000 µs.*100 becomes 10;"):
        check_step(graph, 1000, stated_us=stated_step(graph))


def test_written_anew_it_is_the_same_network_at_the_width_of_the_bins():
    graph = stack(as_snntorch_writes(0.9, 0.5), fire(1 / DT), as_snntorch_writes(0.75), dt_us=100)
    anew = retimed(graph, 100, 10_000)
    assert stated_step(anew) is None
    assert suggested_step(anew) == pytest.approx(10_000, rel=1e-5)
    assert anew.nodes["n2"].arrays["r"].tolist() == [1, 1]
    x = (torch.rand(3, 20, 2, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    plain = stack(as_snntorch_writes(0.9, 0.5), fire(), as_snntorch_writes(0.75))
    ours, theirs = (
        SpikingNetwork.from_graph(one, semantics="snntorch", dt_us=dt_us)(x)
        for one, dt_us in ((anew, 10_000), (plain, 100))
    )
    assert torch.equal(ours, theirs)
    assert float(ours.sum()) > 0
    assert retimed(stack(fire()), 100, 1000) == stack(fire())  # its r is a gain per step already


def test_delays_stay_as_many_steps_long():
    graph = stack(NodeSpec("Delay", {}, {"delay": ones(1, scale=3 * DT)}))
    network = SpikingNetwork.from_graph(retimed(graph, 100, 2000), dt_us=2000)
    assert network(torch.ones(1, 5, 2))[0, :, 0].tolist() == [0, 0, 0, 1, 1]


def test_a_file_that_is_read_at_another_step_says_so():
    node = nir.LIF(np.ones(2) * 0.02, np.ones(2), np.zeros(2), np.ones(2))
    graph = nir.NIRGraph.from_list(node)
    graph.metadata = {"dt_us": 1000, "semantics": "norse"}
    with pytest.warns(DifferentTimeStep, match="tau/dt 20 becomes 5"):
        assert SpikingNetwork.from_nir(graph, dt_us=4000).dt_us == 4000
    assert stated_step(graph_from_nir(graph)) == 1000
    assert stated_step(conv_graph()) is None


def test_a_gain_per_second_is_told():
    """SpikingJelly writes r = 1 / dt at integrate-and-fire neurons; no length of a step matters here."""
    for used in (None, 100, 10_000):
        with pytest.warns(DifferentTimeStep, match=r"'n1' \(IF\) multiplies its input by r = 10000 in every"):
            check_step(stack(fire(1 / DT), fire(1 / DT)), used, stated_us=used)
    with pytest.warns(DifferentTimeStep, match=r"pack --written-dt-us 100` write the model anew"):
        check_step(stack(fire(1 / DT)), None, stated_us=None)
