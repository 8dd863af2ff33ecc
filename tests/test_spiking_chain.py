# SPDX-License-Identifier: MIT
"""Blocks that are run as one operation: the spikes and gradients of one after the other."""

import dataclasses
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_samples import SEMANTICS, SURROGATE
from torch import Tensor

from art_spiking import spiking_blocks
from art_spiking.building import AvgPool, Conv, Dense, Flat, LayerPlan, Neurons, SumPool
from art_spiking.kernels import spiking_chain
from art_spiking.network import SpikingNetwork
from art_spiking.semantics import NeuronSemantics

PLAIN = NeuronSemantics(reset="subtract", v_min=-1.0, fires="ge")
NEURONS = {
    "IF": Neurons("IF"),
    "LIF": Neurons("LIF", tau_us=4000, r=6.0),
    "CubaLIF": Neurons("CubaLIF", tau_us=4000, tau_syn_us=3000, r=6.0),
}


def plan_of(
    neurons: Neurons = NEURONS["IF"], pooling: type[SumPool] | type[AvgPool] = SumPool
) -> list[LayerPlan]:
    """Three blocks: planar frames of two channels, then 16 channels; 16 outputs, then 6; two poolings."""
    return [
        Conv(16, 5, stride=2, padding=1, gain=3.0),
        neurons,
        Conv(16, 3, padding=1, gain=3.0),
        neurons,
        pooling(2),
        Conv(6, 3, padding=1, gain=3.0),
        neurons,
        pooling(2),
        Flat(),
        Dense(5, gain=3.0),
        Neurons("IF"),
    ]


def network_of(plan: Sequence[LayerPlan], semantics: NeuronSemantics = PLAIN) -> SpikingNetwork:
    made = SpikingNetwork.sequential(
        (2, 33, 33), plan, semantics=semantics, dt_us=1000, generator=torch.Generator().manual_seed(0)
    )
    return made.requires_grad_(False)


def some_input(samples: int = 5, steps: int = 6) -> Tensor:
    return (torch.rand(samples, steps, 2, 33, 33, generator=torch.Generator().manual_seed(1)) < 0.08).float()


@pytest.fixture
def chained(monkeypatch) -> list[int]:
    """How many blocks each chain that was run had; four threads, whatever the machine has."""
    seen: list[int] = []
    run = spiking_blocks.spiking_chain

    def noted(x, links):
        seen.append(len(links))
        return run(x, links)

    monkeypatch.setattr(spiking_blocks, "spiking_chain", noted)
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    yield seen
    torch.set_num_threads(threads)


def gradient(network: SpikingNetwork, x: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.clone().requires_grad_()
    output = network(leaf)
    weights = torch.rand(output.shape, generator=torch.Generator().manual_seed(2), dtype=output.dtype)
    return output.detach(), torch.autograd.grad((output * weights).sum(), leaf)[0]


def one_by_one(network: SpikingNetwork, x: Tensor) -> tuple[Tensor, Tensor]:
    """The same without chains."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spiking_blocks, "links_of", lambda *_: [])
        return gradient(network, x)


def compare(network: SpikingNetwork, x: Tensor) -> None:
    (found, ours), (expected, theirs) = gradient(network, x), one_by_one(network, x)
    assert torch.equal(found, expected)
    bound = 1e-10 if x.dtype == torch.float64 else 1e-5
    assert torch.allclose(ours, theirs, rtol=0, atol=bound * float(theirs.abs().max()))


def test_three_blocks_are_one_operation(chained):
    network, x = network_of(plan_of()), some_input()
    compare(network, x)
    assert chained == [3]
    output, by_x = gradient(network, x)
    assert 0 < output.mean() < 1
    assert by_x.abs().sum() > 0


@settings(max_examples=25, deadline=None)
@given(semantics=SEMANTICS, surrogate=SURROGATE, neurons=st.sampled_from(sorted(NEURONS)))
def test_any_neurons(semantics, surrogate, neurons):
    network = network_of(plan_of(NEURONS[neurons]), semantics).with_surrogate(surrogate).double()
    compare(network, some_input(4, 5).double())


def test_means_of_four_are_exact(chained):
    network = network_of(plan_of(pooling=AvgPool)).double()
    compare(network, some_input().double())
    assert chained == [3]
    expected, theirs = gradient(network, some_input().double())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spiking_blocks, "_SPARSE", -1.0)
        found, ours = gradient(network, some_input().double())
    assert torch.equal(found, expected)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-10 * float(theirs.abs().max()))


@pytest.mark.parametrize("keep", [-1, 1e9], ids=["kept", "formed again"])
@pytest.mark.parametrize("steps", [1, 7])
def test_currents_that_are_kept_or_not(chained, monkeypatch, keep, steps):
    monkeypatch.setattr(spiking_chain, "_DEAR", keep)
    compare(network_of(plan_of()).double(), some_input(4, steps).double())
    assert chained == [3]


def test_nothing_but_the_input_and_dear_currents_is_kept(chained):
    x = some_input().requires_grad_()
    network = network_of(plan_of())
    output = network(x)
    node, kept = output.grad_fn, []
    while node is not None:
        kept += [tensor for tensor in getattr(node, "saved_tensors", ()) if tensor is not None]
        node = next((after for after, _ in node.next_functions if after is not None), None)
    (first,) = [tensor for tensor in kept if tensor.shape == x.shape]
    assert first is x or torch.equal(first, x)
    hidden = 5 * 6 * 16 * 16 * 16
    assert all(tensor.numel() < hidden for tensor in kept if tensor is not first)


def test_frames_whose_channels_come_last(chained):
    plan: list[LayerPlan] = [Conv(16, 3, padding=1, gain=3.0), Neurons("IF"), *plan_of()[2:]]
    network = SpikingNetwork.sequential(
        (16, 16, 16), plan, semantics=PLAIN, dt_us=1000, generator=torch.Generator().manual_seed(0)
    ).requires_grad_(False)
    drawn = torch.rand(4, 5, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    x = (drawn < 0.05).float().permute(0, 1, 4, 2, 3)
    compare(network, x)
    assert chained == [3]


def test_few_samples_and_trained_weights_run_block_by_block(chained):
    network = network_of(plan_of())
    network(some_input(1))
    assert chained == []
    network.requires_grad_(True)
    network(some_input())
    assert chained == []
    with torch.no_grad():
        network(some_input())
    assert chained == [3]


def test_what_is_watched_or_asked_for_ends_a_chain(chained):
    network, x = network_of(plan_of()), some_input()
    expected = network(x)
    chained.clear()
    handle = network.layers[5].register_forward_hook(lambda *_: None)
    assert torch.equal(network(x), expected)
    handle.remove()
    assert chained == [2]
    activity = network.activity(x)
    assert chained == [2]
    assert activity["3"].shape == (5, 6, 16, 16, 16)


def test_windows_without_spikes_that_have_no_gradient_run_block_by_block(chained):
    semantics = dataclasses.replace(PLAIN, pool_gradient="lp")
    compare(network_of(plan_of(), semantics).double(), some_input().double())
    assert chained == []


def test_a_sample_does_not_depend_on_its_batch(chained):
    network, x = network_of(plan_of()), some_input(7)
    assert torch.equal(network(x)[2:6], network(x[2:6]))
    assert torch.equal(gradient(network, x)[1][2:6], gradient(network, x)[1][2:6])
    assert set(chained) == {3}
