# SPDX-License-Identifier: MIT
"""Models whose last layer is read by its potential and never resets: a leaky integrator."""

import pytest
import snntorch as snn
import torch
from framework_samples import CLASSES, SHAPE, Looping, events, lively, sequential
from torch import nn

from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.frameworks import FrameworkNetwork, NotCompiled, compile_network
from art_spiking.network import SpikingNetwork

PROBE = events(8)


def model(last=snn.Leaky, *arguments, reset="none", **options):
    """Layers that reset by subtraction, and a last one that need not fire."""
    net = sequential()
    options = {"beta": 0.85, "init_hidden": True, "output": True, **options}
    net[5] = last(*arguments, reset_mechanism=reset, **options)
    return net


class Potentials(Looping):
    """Returns the potentials alone."""

    def __init__(self):
        super().__init__()
        own = self.lif1.spike_grad
        self.lif2 = snn.Leaky(beta=0.8, reset_mechanism="none", threshold=100.0, spike_grad=own)

    def forward(self, x):
        return super().forward(x)[1]


def alone():
    return lively(nn.Sequential(nn.Flatten(), nn.Linear(128, 3), model()[5]))


CASES = {
    "Leaky": (lambda: model(), None, "LI"),
    "Leaky that never fires": (lambda: model(threshold=1e6), None, "LI"),
    "Synaptic": (lambda: model(snn.Synaptic, 0.7), None, "CubaLI"),
    "Lapicque": (lambda: model(snn.Lapicque), None, "LI"),
    "potentials alone": (Potentials, "TN", "LI"),
    "the only neurons": (alone, None, "LI"),
}


@pytest.mark.parametrize("name", CASES)
def test_potentials_and_gradients_are_snntorchs(name):
    make, layout, node = CASES[name]
    net, x, y = make(), events(6, seed=3), torch.arange(6) % CLASSES
    network = compile_network(net, probe=PROBE, layout=layout, output="membrane")
    assert isinstance(network, SpikingNetwork)
    assert network.to_graph().nodes[network.node_names[-1]].type == node
    wrapped = FrameworkNetwork(net, layout=layout)
    read = wrapped if isinstance(net, Potentials) else wrapped.membrane
    leaf = x.clone().requires_grad_(True)
    own = read(leaf)
    assert torch.allclose(network(x), own, rtol=1e-5, atol=1e-5 * float(own.detach().abs().max()))
    loss = nn.functional.cross_entropy(own.amax(dim=1), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, leaf)
    clf = SpikingClassifier(network, input_shape=SHAPE).with_readout("membrane-max")
    found, logits = clf.input_gradient(x, y)
    assert torch.allclose(logits, own.amax(dim=1), rtol=1e-5, atol=1e-5)
    assert float((found - gradient).norm() / gradient.norm()) < 1e-5


def test_hidden_layers_fire_as_before():
    net = model()
    network = compile_network(net, probe=PROBE, output="membrane")
    theirs = FrameworkNetwork(net).activity(PROBE)["1"]
    assert torch.equal(network.activity(PROBE)["1"], theirs)
    assert bool(theirs.any())


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: model(reset="subtract"), "layer '5' resets, so that its potential is not"),
        (lambda: model(snn.RLeaky, all_to_all=False), "layer '5' is given its own spikes"),
        (lambda: model(output=False), "what the model returns differs by .* without spikes"),
        (lambda: nn.Sequential(*model(output=False), nn.Linear(3, 3)), "last layer, '6', holds no neurons"),
        (lambda: sequential(gain=0.0, reset_mechanism="none"), "stays silent"),
    ],
)
def test_what_is_no_integrator_runs_stepwise_and_is_named(make, reason):
    with pytest.warns(NotCompiled, match=reason):
        network = compile_network(make().eval(), probe=PROBE, output="membrane")
    assert isinstance(network, FrameworkNetwork)


def test_a_model_that_returns_potentials_is_told_of_the_choice():
    # Its spikes are those of neurons that never reset, beside others that do.
    assert list(compile_network(model(), probe=PROBE).layer_semantics) == ["5"]

    class Uniform(Looping):
        def forward(self, x):
            return super().forward(x)[1]

    with pytest.warns(NotCompiled, match=r"not the spikes of its last layer.*say output='membrane'"):
        compile_network(Uniform(), probe=PROBE, layout="TN")


def test_an_output_that_does_not_exist():
    with pytest.raises(InvalidInput, match=r"no such output; asked: 'mem'.*spikes, membrane"):
        compile_network(model(), probe=PROBE, output="mem")
