# SPDX-License-Identifier: MIT
"""Blocks of layers that are run as one: which they are, when they may be, and that no spike depends on it."""

import dataclasses
from pathlib import Path

import pytest
import torch

from art_spiking import spiking_blocks
from art_spiking.building import Conv, Dense, Flat, Neurons, SumPool
from art_spiking.network import SpikingNetwork
from art_spiking.semantics import PRESETS, NeuronSemantics
from art_spiking.spiking_blocks import Block, blocks_of

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SEMANTICS = NeuronSemantics(reset="subtract", v_min=-1.0, fires="ge")
PLAN = [
    Conv(16, 3, stride=2, padding=1, gain=3.0),
    Neurons("IF"),
    SumPool(2),
    Conv(3, 2, gain=3.0),
    Neurons("LIF", tau_us=4000, r=6.0),
    Flat(),
    Dense(5, gain=3.0),
    Neurons("IF"),
]


@pytest.fixture
def network() -> SpikingNetwork:
    made = SpikingNetwork.sequential(
        (2, 8, 8), PLAN, semantics=SEMANTICS, dt_us=1000, generator=torch.Generator().manual_seed(0)
    )
    return made.requires_grad_(False)


@pytest.fixture
def x() -> torch.Tensor:
    return (torch.rand(3, 12, 2, 8, 8, generator=torch.Generator().manual_seed(1)) < 0.06).float()


@pytest.fixture
def ran(monkeypatch) -> list[Block]:
    """The blocks that were run as one."""
    blocks: list[Block] = []
    find = spiking_blocks.fitting

    def noted(block, *arguments):
        found = find(block, *arguments)
        if found is not None:
            blocks.append(found)
        return found

    monkeypatch.setattr("art_spiking.running.fitting", noted)
    return blocks


def test_a_block_is_what_is_read_by_the_next_alone(network):
    assert blocks_of(network.to_graph()) == {"0": Block("0", "1", "2", "3"), "3": Block("3", "4")}


def test_a_network_runs_them(network, x, ran):
    network(x)
    assert ran == [Block("0", "1", "2", "3"), Block("3", "4")]


def test_activity_sees_the_neurons_themselves(network, x, ran):
    activity = network.activity(x)
    assert ran == [Block("0", "1"), Block("3", "4")]
    assert activity["1"].shape == (3, 12, 16, 4, 4)
    assert torch.equal(activity["7"], network(x))


def test_the_membrane_of_a_block_is_that_of_its_layers(x, ran):
    plan = [Conv(5, 3, gain=3.0), Neurons("IF")]
    network = SpikingNetwork.sequential(
        (2, 8, 8), plan, semantics=SEMANTICS, generator=torch.Generator().manual_seed(0)
    )
    potential = network.membrane(x)
    assert ran == []
    assert torch.equal((potential >= 1).float(), network(x))
    assert ran == [Block("0", "1")]


@pytest.mark.parametrize("pool_gradient", ["average", "lp"])
def test_no_spike_and_no_gradient_depends_on_it(network, x, ran, monkeypatch, pool_gradient):
    network = network.with_semantics(dataclasses.replace(SEMANTICS, pool_gradient=pool_gradient)).double()
    results = []
    for share in (1.0, -1.0):
        monkeypatch.setattr(spiking_blocks, "_SPARSE", share)
        leaf = x.double().requires_grad_()
        output = network(leaf)
        results.append((output, torch.autograd.grad(output.sum(), leaf)[0]))
    assert len(ran) == 2
    (found, ours), (expected, gradient) = results
    assert 0 < expected.mean() < 1
    assert torch.equal(found, expected)
    assert torch.allclose(ours, gradient, rtol=0, atol=1e-10 * float(gradient.abs().max()))


def test_weights_are_trained_as_before(network, x, monkeypatch):
    network.requires_grad_(True).double()
    gradients = []
    for share in (1.0, -1.0):
        monkeypatch.setattr(spiking_blocks, "_SPARSE", share)
        gradients.append(torch.autograd.grad(network(x).sum(), list(network.parameters())))
    for a, b in zip(*gradients, strict=True):
        assert b.abs().sum() > 0
        assert torch.allclose(a, b, rtol=0, atol=1e-10 * float(b.abs().max()))


def test_dense_input_is_left_to_the_dense_convolution(network, x, ran):
    network(torch.rand_like(x))
    assert Block("0", "1", "2", "3") not in ran


def test_a_layer_that_is_watched_is_called(network, x, ran):
    seen = []
    handles = [
        network.layers[place].register_forward_hook(lambda *_, place=place: seen.append(place))
        for place in (2, 3)
    ]
    output = network(x)
    assert seen == [2, 3]
    assert ran == [Block("0", "1")]
    for handle in handles:
        handle.remove()
    assert torch.equal(network(x), output)
    assert seen == [2, 3]


def test_the_reference_backend_is_left_alone(network, x, ran):
    network.layers[1].backend = "reference"
    network(x)
    assert ran == [Block("3", "4")]


@pytest.mark.data
@pytest.mark.skipif(not (SHARED / "nmnist-1100").is_dir(), reason="no recordings in ../shared/data")
@pytest.mark.parametrize("semantics", ["snntorch", "sinabs", "norse"])
def test_all_spikes_of_real_recordings_are_the_same(monkeypatch, semantics):
    """Bit by bit in all layers of the community network, in float32."""
    from art_spiking.datasets import load_data

    network = SpikingNetwork.from_nir(SHARED / "nir" / "cnn_sinabs.nir", semantics=PRESETS[semantics])
    data = load_data("nmnist", "test", steps=31, dt_us=10_000, data_dir=SHARED / "nmnist-1100", limit=20)
    activities = []
    for share in (1.0, -1.0):
        monkeypatch.setattr(spiking_blocks, "_SPARSE", share)
        with torch.no_grad():
            activities.append(network.activity(torch.from_numpy(data.x)))
    for name, spikes in activities[1].items():
        assert spikes.sum() > 0
        assert int((activities[0][name] != spikes).sum()) == 0, name
