# SPDX-License-Identifier: MIT
"""SpikingJelly as it is installed: the adapter's contract, and compiled networks against its own runs."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed: see the plugin's README.md")
pytest.importorskip("art_spiking_spikingjelly", reason="pip install -e plugins/art-spiking-spikingjelly")

from art.attacks.evasion import ProjectedGradientDescent
from art_spiking_spikingjelly.adapter import SpikingJellyAdapter
from spikingjelly.activation_based import functional, layer, neuron, surrogate

from art_spiking.attacks import EventGradientAttack
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.frameworks import FrameworkNetwork, NotCompiled, compile_network, framework_adapter
from art_spiking.network import SpikingNetwork
from art_spiking.registry import catalogue
from art_spiking.surrogates import Atan, FastSigmoid, Gaussian, Rectangle, Sigmoid, Triangle
from art_spiking.testing import check_estimator, check_framework, small_data
from art_spiking.threats import EventEdits

ADAPTER = SpikingJellyAdapter()
SHAPE = (5, 2, 8, 8)


def events(samples=4, *, seed=0):
    return (torch.rand(samples, *SHAPE, generator=torch.Generator().manual_seed(seed)) < 0.3).float()


PROBE = events(8)


def model(kind=neuron.LIFNode, step_mode="s", *, gain=8.0, **options):
    """Convolution, normalisation, pooling, a full connection and two layers of neurons, weights lively."""
    net = nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1, bias=False),
        layer.BatchNorm2d(4),
        kind(**options),
        layer.AvgPool2d(2),
        layer.Flatten(),
        layer.Dropout(0.5),
        layer.Linear(64, 3),
        kind(**options),
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() > 1:
                bound = gain / parameter[0].numel() ** 0.5
                parameter.uniform_(-bound, bound, generator=generator).add_(0.02)
        net[1].running_mean.uniform_(-0.1, 0.1, generator=generator)
        net[1].running_var.uniform_(0.5, 2.0, generator=generator)
    functional.set_step_mode(net, step_mode)
    return net.eval()


def own_loop(net, x):
    """SpikingJelly's documented ways: per step, or all steps at once; (N, T, K)."""
    functional.reset_net(net)
    x = x.transpose(0, 1)
    if getattr(net[0], "step_mode", "s") == "m":
        return net(x).transpose(0, 1)
    return torch.stack([net(frame) for frame in x], dim=1)


KINDS = {
    "LIF": (neuron.LIFNode, {}),
    "LIF, input not decayed": (neuron.LIFNode, {"decay_input": False, "tau": 3.0}),
    "LIF, soft reset, detached": (neuron.LIFNode, {"v_reset": None, "detach_reset": True}),
    "IF": (neuron.IFNode, {"surrogate_function": surrogate.ATan()}),
    "IF, soft reset": (neuron.IFNode, {"v_reset": None, "v_threshold": 0.7}),
    "parametric LIF": (neuron.ParametricLIFNode, {"init_tau": 2.5}),
}


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_adapter_keeps_its_contract(kind, step_mode):
    cell, options = KINDS[kind]
    check_framework(ADAPTER, model(cell, step_mode, **options), events(), own_loop=own_loop)


def test_other_neurons_keep_it_too():
    check_framework(ADAPTER, model(neuron.EIFNode), events(), own_loop=own_loop)
    check_framework(
        ADAPTER, model(neuron.QIFNode, "m", v_threshold=0.3, v_c=0.2), events(), own_loop=own_loop
    )


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_networks_agree_with_spikingjelly(kind, step_mode):
    cell, options = KINDS[kind]
    net, x = model(cell, step_mode, **options), events(6, seed=3)
    network = compile_network(net, probe=PROBE)
    assert isinstance(network, SpikingNetwork)
    assert network.surrogate.kernel_code is not None
    y = torch.arange(6) % 3
    leaf = x.clone().requires_grad_(True)
    own = own_loop(net, leaf)
    loss = nn.functional.cross_entropy(own.sum(dim=1), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, leaf)
    found, _ = SpikingClassifier(network, input_shape=SHAPE).input_gradient(x, y)
    assert torch.equal(network(x), own)
    assert float((found - gradient).norm() / gradient.norm()) < 1e-5


def test_attacks_find_the_same_through_spikingjelly_and_the_fused_network():
    net, x = model(), events(6, seed=7)
    wrapped = SpikingClassifier.wrap(net, framework="spikingjelly", input_shape=SHAPE, nb_classes=3)
    fused = SpikingClassifier(compile_network(net, probe=x), input_shape=SHAPE)
    y = wrapped.predict(x.numpy()).argmax(axis=1)
    found = []
    for clf in (wrapped, fused):
        pgd = ProjectedGradientDescent(clf, eps=0.3, eps_step=0.1, max_iter=3, verbose=False)
        edits = EventGradientAttack(clf, EventEdits(40))
        found.append((pgd.generate(x.numpy(), y), edits.generate(x.numpy(), y)))
    assert np.allclose(found[0][0], found[1][0], atol=1e-5)
    assert np.array_equal(found[0][1], found[1][1])
    assert not np.array_equal(found[0][1], x.numpy())


def test_a_wrapped_model_is_a_whole_estimator():
    check_estimator(SpikingClassifier.wrap(model(step_mode="m"), input_shape=SHAPE), data=small_data())


def test_it_is_registered_and_recognised():
    assert "spikingjelly" in catalogue("frameworks")
    assert framework_adapter(None, model()).name == "spikingjelly"
    assert FrameworkNetwork(model(step_mode="m")).layout == "TN"
    assert FrameworkNetwork(model(step_mode="s")).layout == "step"


@pytest.mark.parametrize(
    ("own", "told"),
    [
        (surrogate.Sigmoid(), Sigmoid(slope=4.0, through_reset=True)),
        (surrogate.Sigmoid(alpha=7.0), Sigmoid(slope=7.0, through_reset=True)),
        (surrogate.ATan(alpha=3.0), Atan(alpha=3.0, through_reset=True)),
        (surrogate.PiecewiseQuadratic(alpha=2.0), Triangle(width=0.5, through_reset=True)),
        (surrogate.Rect(alpha=2.0), Rectangle(width=0.5, through_reset=True)),
        (surrogate.Erf(alpha=2.0), Gaussian(sigma=1 / (2 * 2**0.5), through_reset=True)),
        (surrogate.SoftSign(), FastSigmoid(slope=2.0, through_reset=True)),
        (surrogate.SuperSpike(), FastSigmoid(slope=1.0, through_reset=True)),
        (surrogate.SuperSpike(alpha=2.0), None),
        (surrogate.LeakyKReLU(), None),
    ],
)
def test_the_layers_own_surrogate_is_told_by_its_formula(own, told):
    network = FrameworkNetwork(model(surrogate_function=own))
    assert network.surrogate == told
    if told is not None:
        u = torch.linspace(-1.9, 1.9, 40).requires_grad_(True)
        (derivative,) = torch.autograd.grad(own(u).sum(), u)
        assert torch.allclose(derivative, told.derivative(u.detach()), atol=1e-6)
    assert pickle.loads(pickle.dumps(network)).surrogate == told


def test_a_spike_function_that_counts_cannot_be_exchanged():
    network = FrameworkNetwork(model(surrogate_function=surrogate.MultiLevelSpikeCount(2)))
    with pytest.raises(InvalidInput, match="surrogate of layer '2' cannot be exchanged"):
        network.with_surrogate(Atan())


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: model(neuron.EIFNode), "layer '2' is EIFNode, a neuron that graphs do not have"),
        (lambda: model(v_reset=-0.5), r"layer '2' starts at v_reset = -0\.5"),
        (lambda: model(gain=0.01), "layer '2' stays silent on the probes"),
    ],
)
def test_what_is_not_compiled_says_why(make, reason):
    with pytest.warns(NotCompiled, match=reason):
        network = compile_network(make(), probe=PROBE)
    assert isinstance(network, FrameworkNetwork)
    assert torch.isfinite(network(PROBE)).all()


def test_an_integrator_at_the_end_runs_stepwise():
    net = model(step_mode="m")
    net[7] = neuron.NonSpikingLIFNode()
    with pytest.warns(NotCompiled, match="layer '7' is NonSpikingLIFNode, a layer that graphs do not have"):
        network = compile_network(net, probe=PROBE, output="membrane")
    potentials = network(PROBE)
    assert potentials.shape == (8, 3)
    assert not torch.equal(potentials, potentials.round())
