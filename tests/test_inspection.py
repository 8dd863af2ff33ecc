# SPDX-License-Identifier: MIT
"""What a model is made of, counted by hand, and what it does with data."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from graph_samples import around, conv_graph, ones
from inspection_samples import (
    constant,
    events,
    fire,
    linear,
    recurrent,
    stack,
)

from art_spiking.errors import InvalidInput
from art_spiking.graphs import GraphSpec, NodeSpec
from art_spiking.inspection import Candidate, Range, measure, outcome, report, sample_counts, try_semantics
from art_spiking.network import SpikingNetwork
from art_spiking.semantics import PRESETS


def by_name(graph: GraphSpec, **options):
    return {layer.name: layer for layer in report(graph, **options).layers}


def test_layers_counted_by_hand():
    found = report(conv_graph())
    layers = {layer.name: layer for layer in found.layers}
    assert list(layers) == ["conv", "fire", "pool", "flat", "full", "last"]
    assert [layers[k].parameters for k in layers] == [4 * 2 * 9 + 4, 0, 0, 0, 3 * 16 + 3, 0]
    assert [layers[k].multiply_adds for k in layers] == [4 * 4 * 4 * 2 * 9, 0, 0, 0, 3 * 16, 0]
    assert [layers[k].output_shape for k in layers] == [(4, 4, 4), (4, 4, 4), (4, 2, 2), (16,), (3,), (3,)]
    assert [layers[k].receptive_field for k in layers] == [(3, 3), (3, 3), (5, 5), (5, 5), "all", "all"]
    assert layers["last"].times_us == {"tau": Range(20_000.0, 20_000.0)}
    assert layers["fire"].times_us == {}
    assert (layers["conv"].threshold, layers["fire"].threshold) == (None, Range(1.0, 1.0))
    assert layers["pool"].inputs == ("fire",)
    assert (found.parameters, found.multiply_adds, found.is_chain) == (127, 1200, True)
    assert (found.input_name, found.input_shape, found.output_shape) == ("input", (2, 8, 8), (3,))


@pytest.mark.parametrize(("preset", "decay"), [("nir", 0.95), ("sinabs", math.exp(-0.05))])
def test_the_decay_is_that_of_the_semantics(preset, decay):
    layers = by_name(conv_graph(), semantics=PRESETS[preset], dt_us=1000)
    assert layers["last"].decay.low == layers["last"].decay.high == pytest.approx(decay, rel=1e-6)
    assert layers["fire"].decay is None
    assert by_name(conv_graph(), dt_us=1000)["last"].decay is None


def test_parameters_that_differ_over_a_layer_are_a_range():
    arrays = {"tau": np.array([0.01, 0.02], np.float32), "r": ones(1), "v_leak": ones(1, scale=0.0)}
    node = NodeSpec("LIF", {}, arrays | {"v_threshold": np.array([1.0, 3.0])})
    layer = by_name(around(node, (2,), (2,)))["x"]
    assert (layer.times_us["tau"], layer.threshold) == (Range(10_000.0, 20_000.0), Range(1.0, 3.0))


def test_delays_and_synapses_have_their_times():
    delay = NodeSpec("Delay", {}, {"delay": ones(1, scale=0.003)})
    assert by_name(around(delay, (2,), (2,)))["x"].times_us == {"delay": Range(3000.0, 3000.0)}
    names = ("r", "v_leak", "w_in", "tau_syn", "tau_mem")
    synapse = NodeSpec("CubaLI", {}, {k: ones(1, scale=0.005 if k == "tau_syn" else 0.01) for k in names})
    times = by_name(around(synapse, (2,), (2,)))["x"].times_us
    assert times == {"tau_syn": Range(5000.0, 5000.0), "tau_mem": Range(10_000.0, 10_000.0)}


def test_a_recurrent_graph_tells_what_feeds_what():
    found = report(recurrent())
    layers = {layer.name: layer for layer in found.layers}
    assert not found.is_chain
    assert layers["hidden"].inputs == ("back", "enter")
    assert layers["hidden"].late_inputs == ("back",)
    assert layers["leave"].late_inputs == ()
    assert found.multiply_adds == 12 + 16 + 8


def test_activity_counted_by_hand():
    x, y = events()
    seen = []
    network = SpikingNetwork.from_graph(constant(), semantics="spikingjelly")
    found = measure(network, x, y, advance=seen.append)
    # 18 neurons and one class fire at each of 4 steps; a corner has 4 places of the kernel, the middle 9.
    assert found.spikes == {"in": 2.0, "a": 72.0, "b": 4.0}
    assert found.operations == {"conv": (4 + 9) * 2.0, "full": 72 * 3.0}
    assert (found.outcome.accuracy.count, found.outcome.accuracy.total) == (1, 2)
    assert found.outcome.output_spikes == 4.0
    assert sum(seen) == 2
    assert outcome(network, x, y) == found.outcome


def test_each_sample_is_counted_by_hand():
    x, _ = events()
    found = sample_counts(SpikingNetwork.from_graph(constant(), semantics="spikingjelly"), torch.tensor(x))
    assert found.spikes.tolist() == [76, 76]
    assert found.operations.tolist() == [(4 + 9) * 2 + 72 * 3] * 2
    x[1] = 0
    alone = sample_counts(SpikingNetwork.from_graph(constant(), semantics="spikingjelly"), torch.tensor(x))
    assert alone.operations.tolist() == [26 + 216, 216]


@pytest.mark.parametrize(
    "graph", [conv_graph, recurrent, lambda: stack((3,), linear(4, 3), linear(2, 4), fire())]
)
def test_samples_add_up_to_what_is_measured(graph, monkeypatch):
    network = SpikingNetwork.from_graph(graph(), semantics="snntorch", dt_us=1000)
    x = (np.random.default_rng(3).random((5, 6, *network.input_shape)) < 0.4).astype(np.float32)
    whole, each = measure(network, x, np.zeros(5, np.int64)), sample_counts(network, torch.tensor(x))
    fires = [name for name in whole.spikes if name != network.to_graph().order()[0]]
    assert each.spikes.mean() == pytest.approx(sum(whole.spikes[name] for name in fires))
    assert each.operations.mean() == pytest.approx(sum(whole.operations.values()))
    monkeypatch.setattr("art_spiking.inspection._FRAMES_AT_ONCE", 12)
    parts = sample_counts(network, torch.tensor(x))
    assert (parts.spikes.tolist(), parts.operations.tolist()) == (
        each.spikes.tolist(),
        each.operations.tolist(),
    )


def test_activity_does_not_depend_on_the_batches(monkeypatch):
    x, y = events(5)
    network = SpikingNetwork.from_graph(constant(), semantics="spikingjelly")
    whole = measure(network, x, y)
    monkeypatch.setattr("art_spiking.inspection._FRAMES_AT_ONCE", 8)
    seen = []
    assert measure(network, x, y, advance=seen.append) == whole
    assert seen == [2, 2, 1]


def test_dense_values_cost_every_multiply_add_at_every_step():
    graph = stack((3,), linear(4, 3), linear(2, 4), fire())
    x = np.zeros((2, 5, 3), np.float32)
    x[0, 0, 1] = 2.0
    found = measure(SpikingNetwork.from_graph(graph), x, np.array([0, 1]))
    assert found.operations == {"n0": 4 * 2.0 / 2, "n1": 5 * 8.0}


def test_recurrent_operations_are_spikes_times_connections():
    x = np.random.default_rng(0).random((3, 6, 3)).round().astype(np.float32)
    network = SpikingNetwork.from_graph(recurrent())
    with torch.no_grad():
        spikes = float(network.activity(torch.tensor(x))["hidden"].sum()) / 3
    found = measure(network, x, np.array([0, 1, 0]))
    assert spikes > 0
    assert found.spikes["hidden"] == pytest.approx(spikes)
    assert found.operations["back"] == pytest.approx(4 * spikes)
    assert found.operations["leave"] == pytest.approx(2 * spikes)


def test_the_output_may_be_potentials():
    leaky = NodeSpec("I", {}, {"r": ones(1)})
    weight = NodeSpec("Linear", {}, {"weight": np.eye(2, dtype=np.float32)})
    x = np.zeros((2, 3, 2), np.float32)
    x[0, 1, 0] = x[1, 2, 1] = 1.0
    found = outcome(SpikingNetwork.from_graph(stack((2,), weight, leaky)), x, np.array([0, 1]))
    assert (found.accuracy.count, found.output_spikes) == (2, None)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.zeros((0, 4, 2, 3, 3)), []),
        (np.zeros((1, 4, 2, 3, 4)), [0]),
        (np.zeros((2, 4, 2, 3, 3)), [0]),
        (np.zeros((1, 4, 2, 3, 3)), [3]),
    ],
)
def test_samples_that_do_not_fit(x, y):
    with pytest.raises(InvalidInput, match="network"):
        measure(SpikingNetwork.from_graph(constant()), x.astype(np.float32), np.array(y, np.int64))


def test_a_semantics_that_cannot_be_run_says_why():
    x = np.zeros((1, 2, 2, 8, 8), np.float32)
    y = np.array([0])
    good = try_semantics(conv_graph(), Candidate("sinabs", PRESETS["sinabs"]), x, y, dt_us=30_000)
    bad = try_semantics(conv_graph(), Candidate("nir", PRESETS["nir"]), x, y, dt_us=30_000)
    assert (good.problem, good.outcome.accuracy.total) == (None, 1)
    assert bad.outcome is None
    assert "a step is longer than a time constant" in bad.problem
