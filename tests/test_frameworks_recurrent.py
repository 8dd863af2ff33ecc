# SPDX-License-Identifier: MIT
"""snnTorch's RLeaky and RSynaptic as layers with a feedback, spike by spike against its own loop."""

import numpy as np
import pytest
import snntorch as snn
import torch
from framework_samples import CLASSES, SHAPE, dense, events, lively, stepped
from torch import nn

from art_spiking.estimators import SpikingClassifier
from art_spiking.frameworks import FrameworkNetwork, NotCompiled, compile_network
from art_spiking.network import SpikingNetwork
from art_spiking.surrogates import Atan

VECTORS = (12, 6)


def convolved(kind, *arguments, **options):
    """A recurrent convolution, and a factor V for each of the last neurons."""
    options = {"beta": 0.9, "init_hidden": True, **options}
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        kind(*arguments, conv2d_channels=4, kernel_size=3, **options),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, CLASSES),
        kind(*arguments, all_to_all=False, V=torch.tensor([-0.7, 0.4, 1.2]), output=True, **options),
    )
    return lively(model)


def one_to_one(kind, *arguments, **options):
    return dense(kind, *arguments, all_to_all=False, V=-0.8, **options)


def connected(kind, *arguments, **options):
    model = dense(kind, *arguments, linear_features=8, **options)
    with torch.no_grad():
        # Before the first step there is no spike, and yet the bias arrives.
        model[1].recurrent.bias.copy_(torch.linspace(-0.3, 0.6, 8))
    return model


COMPILED = {
    "RLeaky": (lambda: connected(snn.RLeaky), VECTORS),
    "RLeaky, learnt": (lambda: connected(snn.RLeaky, learn_beta=True, threshold=1.3), VECTORS),
    "RLeaky, V": (lambda: one_to_one(snn.RLeaky), VECTORS),
    "RLeaky, convolution": (lambda: convolved(snn.RLeaky), SHAPE),
    "RSynaptic": (lambda: connected(snn.RSynaptic, 0.7), VECTORS),
    "RSynaptic, V": (lambda: one_to_one(snn.RSynaptic, 0.7), VECTORS),
    "RSynaptic, convolution": (lambda: convolved(snn.RSynaptic, 0.7), SHAPE),
    "RSynaptic to zero": (lambda: convolved(snn.RSynaptic, 0.7, reset_mechanism="zero"), SHAPE),
    "RLeaky without reset": (lambda: convolved(snn.RLeaky, reset_mechanism="none"), SHAPE),
    "RLeaky to zero at once": (
        lambda: convolved(snn.RLeaky, reset_mechanism="zero", reset_delay=False),
        SHAPE,
    ),
}


@pytest.mark.parametrize("name", COMPILED)
def test_spikes_are_equal_bit_by_bit_and_gradients_to_1e_5(name):
    make, shape = COMPILED[name]
    model, x = make(), events(6, seed=3, shape=shape)
    network = compile_network(model, probe=events(8, shape=shape))
    assert isinstance(network, SpikingNetwork)
    y = torch.arange(6) % CLASSES
    leaf = x.clone().requires_grad_(True)
    own = stepped(model, leaf)
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(own.sum(dim=1), y, reduction="sum"), leaf)
    found, _ = SpikingClassifier(network, input_shape=shape).input_gradient(x, y)
    assert torch.equal(network(x), own)
    assert float((found - gradient).norm() / gradient.norm()) < 1e-5
    through = Atan(alpha=3.0, through_reset=True)
    fused = SpikingClassifier(network, input_shape=shape)
    wrapped = SpikingClassifier.wrap(model, input_shape=shape)
    ours, theirs = (clf.with_surrogate(through).input_gradient(x, y)[0] for clf in (fused, wrapped))
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-5


def test_the_feedback_is_a_node_and_its_weights_are_taken_over():
    model, probe = connected(snn.RLeaky), events(8, shape=VECTORS)
    network = compile_network(model, probe=probe)
    graph = network.to_graph()
    assert {("1", "1-feedback"), ("1-feedback", "1")} <= set(graph.edges)
    assert np.array_equal(graph.nodes["1-feedback"].arrays["weight"], model[1].recurrent.weight.detach())
    assert list(network.activity(probe)) == ["1", "3"]
    with torch.no_grad():
        model[1].recurrent.weight.neg_()
    assert not torch.equal(network(probe), stepped(model, probe))


def test_it_comes_back_from_nir_with_the_same_spikes(tmp_path):
    probe = events(8, shape=VECTORS)
    network = compile_network(connected(snn.RSynaptic, 0.7), probe=probe)
    network.to_nir(tmp_path / "recurrent.nir")
    assert torch.equal(SpikingNetwork.from_nir(tmp_path / "recurrent.nir")(probe), network(probe))


@pytest.mark.parametrize(
    ("make", "shape", "reason"),
    [
        (
            lambda: convolved(snn.RLeaky, reset_mechanism="zero"),
            SHAPE,
            "layer '1' is RLeaky with reset to zero, which also loses the input of the step after",
        ),
        (lambda: connected(snn.RLeaky, state_quant=torch.floor), VECTORS, "layer '1' quantises its state"),
    ],
)
def test_what_no_network_computes_runs_stepwise_and_is_named(make, shape, reason):
    probe = events(5, shape=shape)
    with pytest.warns(NotCompiled, match=reason):
        network = compile_network(make(), probe=probe)
    assert isinstance(network, FrameworkNetwork)
    assert torch.equal(network(probe), stepped(make(), probe))


class HeldStates(nn.Module):
    """The caller carries the states of one RSynaptic layer."""

    def __init__(self, **options):
        super().__init__()
        self.fc = nn.Linear(6, 8)
        self.cell = snn.RSynaptic(0.7, 0.9, linear_features=8, **options)
        lively(self)

    def forward(self, x, *state):
        state = state or [torch.zeros(len(x), 8)] * 3
        spikes, synapse, potential = self.cell(self.fc(x), *state)
        return spikes, spikes, synapse, potential


def test_states_that_the_caller_carries():
    model, probe = HeldStates(), events(8, shape=VECTORS)
    network = compile_network(model, probe=probe, layout="step-state")
    assert isinstance(network, SpikingNetwork)
    state, outputs = (), []
    for frame in probe.unbind(1):
        spikes, *state = model(frame, *state)
        outputs.append(spikes)
    assert torch.equal(network(probe), torch.stack(outputs, 1))


def test_an_immediate_reset_that_snntorch_leaves_out():
    with pytest.warns(NotCompiled, match="RSynaptic with reset_delay=False, which snnTorch does not carry"):
        compile_network(HeldStates(reset_delay=False), probe=events(8, shape=VECTORS), layout="step-state")
