# SPDX-License-Identifier: MIT
"""SpikingJelly as it is installed: the adapter's contract, and compiled networks against its own runs."""

import importlib.metadata
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
from art_spiking.frameworks import (
    FrameworkNetwork,
    FrameworkWarning,
    NotCompiled,
    compile_network,
    framework_adapter,
)
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
        output = net(x)
        output = torch.stack(output) if isinstance(output, list) else output
        return output.transpose(0, 1)
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


def ending_in(last):
    """The model over all steps, with an integrator for its last layer."""
    net = model(step_mode="m")
    net[7] = last()
    return net.eval()


@pytest.mark.parametrize(
    ("last", "node"),
    [
        (neuron.NonSpikingLIFNode, "LI"),
        (lambda: neuron.NonSpikingLIFNode(5.0), "LI"),
        (neuron.NonSpikingIFNode, "I"),
    ],
)
def test_integrators_at_the_end_are_compiled(last, node):
    check_framework(ADAPTER, ending_in(last), events(), own_loop=own_loop)
    net, x = ending_in(last), events(6, seed=3)
    network = compile_network(net, probe=PROBE)
    assert isinstance(network, SpikingNetwork)
    graph = network.to_graph()
    assert graph.nodes[graph.order()[-2]].type == node
    leaf = x.clone().requires_grad_(True)
    own = own_loop(net, leaf)
    assert own.shape == (6, 5, 3)
    assert float(own.detach().abs().max()) > 0.01
    assert torch.allclose(network(x), own, rtol=1e-5, atol=1e-6)
    (gradient,) = torch.autograd.grad(own.amax(dim=1).sum(), leaf)
    (found,) = torch.autograd.grad(network(leaf).amax(dim=1).sum(), leaf)
    assert float((found - gradient).norm() / gradient.norm()) < 1e-5


def test_an_integrator_that_decodes_itself_runs_by_spikingjelly():
    net = ending_in(lambda: neuron.NonSpikingLIFNode(decode="max-mem"))
    with pytest.warns(NotCompiled, match="layer '7' decodes its potentials .decode='max-mem'."):
        network = compile_network(net, probe=PROBE)
    assert network(PROBE).shape == (8, 3)


def recurrent(wrap, step_mode="s", **options):
    """Events flattened into a full connection, a recurrent container, and neurons on its spikes."""
    net = nn.Sequential(
        layer.Flatten(), layer.Linear(128, 12), wrap(neuron.LIFNode(**options)), layer.Linear(12, 3),
        neuron.LIFNode(**options),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() > 1:
                bound = 8.0 / parameter[0].numel() ** 0.5
                parameter.uniform_(-bound, bound, generator=generator).add_(0.02)
    for one in net:
        one.step_mode = step_mode
    return net.eval()


def added(cell):
    return layer.ElementWiseRecurrentContainer(cell, lambda y, x: x + y)


def subtracted(cell):
    return layer.ElementWiseRecurrentContainer(cell, lambda y, x: x - 0.5 * y)


def concatenated(cell):
    return layer.LinearRecurrentContainer(cell, 12, 12)


def unbiased(cell):
    return layer.LinearRecurrentContainer(cell, 12, 12, bias=False)


@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("wrap", [added, subtracted, concatenated, unbiased])
def test_recurrent_containers_are_compiled(wrap, step_mode):
    picklable = wrap in (concatenated, unbiased)
    if picklable:
        check_framework(ADAPTER, recurrent(wrap, step_mode), events(), own_loop=recurrent_loop)
    net, x = recurrent(wrap, step_mode), events(6, seed=3)
    network = compile_network(net, probe=PROBE)
    assert isinstance(network, SpikingNetwork)
    name = "2.sub_module"
    assert {(name, f"{name}-feedback"), (f"{name}-feedback", name)} <= set(network.to_graph().edges)
    leaf = x.clone().requires_grad_(True)
    own = recurrent_loop(net, leaf)
    assert torch.equal(network(x), own)
    (gradient,) = torch.autograd.grad(own.sum(dim=1).square().sum(), leaf)
    (found,) = torch.autograd.grad(network(leaf).sum(dim=1).square().sum(), leaf)
    assert float((found - gradient).norm() / gradient.norm()) < 1e-5


def recurrent_loop(net, x):
    functional.reset_net(net)
    x = x.transpose(0, 1)
    if net[0].step_mode == "m":
        return net(x).transpose(0, 1)
    return torch.stack([net(frame) for frame in x], dim=1)


@pytest.mark.parametrize(
    ("wrap", "reason"),
    [
        (
            lambda cell: layer.ElementWiseRecurrentContainer(cell, lambda y, x: x * (1 - y)),
            "layer '2.sub_module' is fed back by an element_wise_function that is not x . k y",
        ),
        (
            lambda cell: layer.LinearRecurrentContainer(neuron.EIFNode(), 12, 12),
            "layer '2.sub_module' is EIFNode, a neuron that graphs do not have",
        ),
    ],
)
def test_containers_that_no_network_computes_run_by_spikingjelly(wrap, reason):
    with pytest.warns(NotCompiled, match=reason):
        network = compile_network(net := recurrent(wrap), probe=PROBE)
    assert torch.equal(network(PROBE), recurrent_loop(net, PROBE))


@pytest.mark.parametrize("version", ["2.1.0", "3.0.0"])
def test_a_version_that_is_too_new_is_told_what_was_tested(monkeypatch, version):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    reason = rf"spikingjelly {version} is newer than any .* 2\.0\.0 being the last"
    with pytest.warns(FrameworkWarning, match=reason) as caught:
        framework_adapter("spikingjelly", model())
    assert 'pip install "spikingjelly>=2.0,<2.1"' in str(caught[0].message)


def test_a_newer_patch_is_used_without_a_word(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.0.9")
    assert framework_adapter("spikingjelly", model()).tested == "2.0.0"
