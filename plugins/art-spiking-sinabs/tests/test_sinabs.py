# SPDX-License-Identifier: MIT
"""Sinabs as it is installed: the adapter's contract, and compiled networks against its own runs."""

import importlib.metadata

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("sinabs", reason="Sinabs is not installed: see the plugin's README.md")
pytest.importorskip("art_spiking_sinabs", reason="pip install -e plugins/art-spiking-sinabs")

from art.attacks.evasion import ProjectedGradientDescent
from art_spiking_sinabs.adapter import SinabsAdapter
from art_spiking_sinabs.surrogates import SingleExponential
from sinabs import activation, layers

from art_spiking.estimators import SpikingClassifier
from art_spiking.frameworks import (
    FrameworkNetwork,
    FrameworkWarning,
    Inexpressible,
    NotCompiled,
    compile_network,
    framework_adapter,
)
from art_spiking.network import SpikingNetwork
from art_spiking.registry import catalogue
from art_spiking.surrogates import Atan, FastSigmoid, Gaussian
from art_spiking.testing import check_estimator, check_framework, small_data

ADAPTER = SinabsAdapter()
SHAPE = (5, 2, 8, 8)
ONE = {"spike_fn": activation.SingleSpike}
RESET = {"reset_fn": activation.MembraneReset()}


def events(samples=4, *, seed=0):
    return (torch.rand(samples, *SHAPE, generator=torch.Generator().manual_seed(seed)) < 0.3).float()


PROBE = events(8)


def model(kind=layers.IAFSqueeze, *, gain=3.0, **options):
    """A squeezed convolutional network, as `sinabs.from_torch` and `from_nir` make them."""
    options = {"batch_size": 1, **options}
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        kind(**options),
        layers.SumPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 3, bias=False),
        kind(**options),
    )
    return lively(net, gain)


def unsqueezed(kind=layers.LIF, *, gain=3.0, **options):
    """Batch and time apart, convolutions repeated."""
    net = nn.Sequential(
        layers.Repeat(nn.Conv2d(2, 4, 3, padding=1)),
        kind(**options),
        nn.Flatten(2),
        nn.Linear(256, 3),
        kind(**options),
    )
    return lively(net, gain)


def lively(net, gain):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if parameter.dim() > 1:
                bound = gain / parameter[0].numel() ** 0.5
                parameter.uniform_(-bound, bound, generator=generator).add_(0.02)
            elif name.endswith("bias"):
                parameter.zero_()
    return net.eval()


def own_loop(net, x):
    """As Sinabs runs it: states forgotten, samples and steps merged where layers are squeezed."""
    samples, steps = x.shape[:2]
    squeezed = False
    for one in net.modules():
        if isinstance(one, layers.StatefulLayer):
            for name, state in list(one.named_buffers(recurse=False)):
                one.register_buffer(name, torch.zeros_like(state[:0].flatten()))
        if hasattr(one, "num_timesteps"):
            one.batch_size, one.num_timesteps, squeezed = samples, steps, True
    return net(x.flatten(0, 1)).unflatten(0, (samples, steps)) if squeezed else net(x)


CASES = {
    "IAF, several spikes": (model, {}),
    "IAF, one spike": (model, ONE),
    "IAF, one spike, reset": (model, {**ONE, **RESET}),
    "IAF, reset": (model, RESET),
    "LIF": (model, {"kind": layers.LIFSqueeze, "tau_mem": 5.0, "norm_input": False, **ONE}),
    "LIF, input normalised": (unsqueezed, {"tau_mem": 3.0, "gain": 9.0, **ONE}),
    "LIF, synapse": (unsqueezed, {"tau_mem": 5.0, "tau_syn": 2.0, "norm_input": False, **ONE}),
    "IAF, synapse": (unsqueezed, {"kind": layers.IAF, "tau_syn": 2.0}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_adapter_keeps_its_contract(case):
    make, options = CASES[case]
    told = options.get("spike_fn") is activation.SingleSpike
    check_framework(ADAPTER, make(**options), events(), own_loop=own_loop, told=told)
    clamped = make(**options, min_v_mem=-1.0)
    check_framework(ADAPTER, clamped, events(), own_loop=own_loop, told=told)


def test_adaptive_neurons_keep_it_too():
    net = unsqueezed(layers.ALIF, tau_mem=3.0, tau_adapt=4.0, gain=9.0)
    check_framework(ADAPTER, net, events(), own_loop=own_loop, told=False)


@pytest.mark.parametrize("case", CASES)
def test_compiled_networks_agree_with_sinabs(case):
    make, options = CASES[case]
    net, x = make(**options), events(6, seed=3)
    if options.get("spike_fn") is activation.SingleSpike:
        network = compile_network(net, probe=PROBE)
    else:
        with pytest.warns(FrameworkWarning, match="surrogates of the model's neurons have no counterpart"):
            network = compile_network(net, probe=PROBE)
    assert isinstance(network, SpikingNetwork)
    with torch.no_grad():
        assert torch.equal(network(x), own_loop(net, x))
    y = torch.arange(6) % 3
    wrapped = SpikingClassifier.wrap(net, input_shape=SHAPE)
    fused = SpikingClassifier(network, input_shape=SHAPE)
    views = [(wrapped.with_surrogate(s), fused.with_surrogate(s)) for s in (Atan(), Atan(through_reset=True))]
    if network.surrogate == ADAPTER.surrogate(net):
        views.append((wrapped, fused))
    for own, found in views:
        first, second = own.input_gradient(x, y)[0], found.input_gradient(x, y)[0]
        assert first.any()
        assert float((second - first).norm() / first.norm()) < 1e-5


def test_a_lower_bound_keeps_the_spikes_and_the_difference_of_the_gradient_is_told():
    """As in the published N-MNIST network, whose bound is -1."""
    net, x = model(**ONE, min_v_mem=-0.5), events(6, seed=3)
    with pytest.warns(FrameworkWarning, match=r"layer '1' has a lower bound of the potential") as caught:
        network = compile_network(net, probe=PROBE)
    assert len(caught) == 1
    with torch.no_grad():
        assert torch.equal(network(x), own_loop(net, x))
        free = compile_network(model(**ONE), probe=PROBE)
        assert not torch.equal(network(x), free(x))


def test_bounds_per_neuron_as_its_nir_import_makes_them():
    plan = ADAPTER.plan(layers.IAF(min_v_mem=torch.full((4,), -1.0)), (4,), 1000.0)
    assert plan.semantics.v_min == -1
    with pytest.raises(Inexpressible, match="several lower bounds"):
        ADAPTER.plan(layers.IAF(min_v_mem=torch.tensor([-1.0, -2.0])), (2,), 1000.0)


def test_attacks_find_the_same_through_sinabs_and_the_fused_network():
    net, x = model(**ONE), events(6, seed=7)
    wrapped = SpikingClassifier.wrap(net, framework="sinabs", input_shape=SHAPE, nb_classes=3)
    fused = SpikingClassifier(compile_network(net, probe=x), input_shape=SHAPE)
    y = wrapped.predict(x.numpy()).argmax(axis=1)
    own, found = (
        ProjectedGradientDescent(clf, eps=0.3, eps_step=0.1, max_iter=3, verbose=False).generate(x.numpy(), y)
        for clf in (wrapped, fused)
    )
    assert np.allclose(own, found, atol=1e-5)
    assert not np.array_equal(own, x.numpy())


def test_a_wrapped_model_is_a_whole_estimator():
    check_estimator(SpikingClassifier.wrap(model(), input_shape=SHAPE), data=small_data())


def test_it_is_registered_and_recognised():
    assert "sinabs" in catalogue("frameworks")
    assert framework_adapter(None, model()).name == "sinabs"
    assert FrameworkNetwork(model()).layout == "merged"
    assert FrameworkNetwork(unsqueezed(tau_mem=3.0)).layout == "NT"


def test_sizes_that_layers_were_built_for_come_back():
    net = model(batch_size=7)
    FrameworkNetwork(net)(events(3))
    assert (net[1].batch_size, net[1].num_timesteps) == (7, -1)


def test_own_surrogates_are_told():
    single = {
        **ONE,
        "surrogate_grad_fn": activation.SingleExponential(grad_width=0.4),
        "spike_threshold": 2.0,
    }
    single["spike_threshold"] = torch.tensor(2.0)
    told = FrameworkNetwork(model(**single)).surrogate
    assert told == SingleExponential(width=0.8, through_reset=True)
    gaussian = FrameworkNetwork(model(**ONE, **RESET, surrogate_grad_fn=activation.Gaussian(sigma=0.3)))
    assert gaussian.surrogate == Gaussian(sigma=0.3)
    assert FrameworkNetwork(model()).surrogate is None
    view = FrameworkNetwork(model()).with_surrogate(FastSigmoid())
    assert view.surrogate == FastSigmoid()


def biased():
    """Whose connection adds something without any spike."""
    net = recurrent(layers.IAFRecurrent, nn.Linear(12, 12), **ONE)
    with torch.no_grad():
        net[2].rec_connect.bias.fill_(0.2)
    return net


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: unsqueezed(layers.ALIF, tau_mem=3.0, tau_adapt=4.0, gain=9.0), "layer '1' is ALIF"),
        (lambda: model(spike_fn=activation.MaxSpike(2)), "layer '1' fires by MaxSpike"),
        (lambda: model(reset_fn=activation.MembraneSubtract(0.5)), "takes another value than its threshold"),
        (lambda: model(reset_fn=activation.MembraneReset(0.1)), "adds its reset_value at every step"),
        (lambda: model(gain=0.01), "layer '1' stays silent on the probes"),
        (
            lambda: ending_in(lambda: layers.ExpLeak(tau_mem=4.0, min_v_mem=-1.0)),
            "layer '4' is an integrator with a lower bound of the potential",
        ),
        (
            lambda: biased(),
            "layer '2' is fed back with a bias, which Sinabs leaves out in the first step",
        ),
        (
            lambda: recurrent(layers.IAFRecurrent, nn.Sequential(nn.Flatten(), nn.Linear(12, 12)), **ONE),
            "layer '2' is fed back by rec_connect, which is Sequential, a layer that graphs do not have",
        ),
        (
            lambda: recurrent(layers.ALIFRecurrent, tau_mem=5.0, tau_adapt=5.0),
            "layer '2' is ALIFRecurrent, a neuron that graphs do not have",
        ),
    ],
)
def test_what_is_not_compiled_says_why(make, reason):
    with pytest.warns(NotCompiled, match=reason):
        network = compile_network(make(), probe=PROBE)
    assert isinstance(network, FrameworkNetwork)
    assert torch.isfinite(network(PROBE)).all()


def ending_in(last, make=unsqueezed, **options):
    """The model with an integrator for its last layer, the others firing once a step."""
    net = make(**{"tau_mem": 5.0, "norm_input": False} | ONE | options)
    net[len(net) - 1] = last()
    return net.eval()


def squeezed_lif(**options):
    return model(kind=layers.LIFSqueeze, **options)


INTEGRATORS = {
    "ExpLeak": lambda: ending_in(lambda: layers.ExpLeak(tau_mem=4.0)),
    "ExpLeak, input normalised": lambda: ending_in(lambda: layers.ExpLeak(tau_mem=4.0, norm_input=True)),
    "ExpLeakSqueeze": lambda: ending_in(
        lambda: layers.ExpLeakSqueeze(tau_mem=4.0, batch_size=1), squeezed_lif
    ),
}


@pytest.mark.parametrize("name", INTEGRATORS)
def test_integrators_at_the_end_are_compiled(name):
    net, x = INTEGRATORS[name](), events(6, seed=3)
    check_framework(ADAPTER, INTEGRATORS[name](), events(), own_loop=own_loop)
    network = compile_network(net, probe=PROBE)
    assert isinstance(network, SpikingNetwork)
    graph = network.to_graph()
    assert graph.nodes[graph.order()[-2]].type == "LI"
    leaf = x.clone().requires_grad_(True)
    own = own_loop(net, leaf)
    assert float(own.detach().abs().max()) > 0.01
    assert torch.allclose(network(x), own, rtol=1e-5, atol=1e-6)
    (gradient,) = torch.autograd.grad(own.amax(dim=1).sum(), leaf)
    (found,) = torch.autograd.grad(network(leaf).amax(dim=1).sum(), leaf)
    assert float((found - gradient).norm() / gradient.norm()) < 1e-5


def recurrent(kind, connect=None, **options):
    """Events flattened into a full connection, recurrent neurons, and others on their spikes."""
    connect = nn.Linear(12, 12, bias=False) if connect is None else connect
    net = nn.Sequential(
        nn.Flatten(2), nn.Linear(128, 12), kind(rec_connect=connect, **options), nn.Linear(12, 3),
        layers.IAF(**{key: value for key, value in options.items() if key == "spike_fn"}),
    )  # fmt: skip
    return lively(net, 4.0)


def convolved():
    """Recurrent convolution."""
    connect = nn.Conv2d(4, 4, 3, padding=1, bias=False)
    return lively(
        nn.Sequential(
            layers.Repeat(nn.Conv2d(2, 4, 3, padding=1)),
            layers.IAFRecurrent(rec_connect=connect, **ONE),
            nn.Flatten(2),
            nn.Linear(256, 3),
            layers.IAF(**ONE),
        ),
        2.0,
    )


RECURRENT = {
    "IAF": lambda: recurrent(layers.IAFRecurrent, **ONE),
    "IAF, several spikes": lambda: recurrent(layers.IAFRecurrent),
    "IAF, one to one": lambda: recurrent(layers.IAFRecurrent, nn.Identity(), **ONE),
    "LIF": lambda: recurrent(layers.LIFRecurrent, tau_mem=5.0, norm_input=False, **ONE),
    "LIF, synapse": lambda: recurrent(layers.LIFRecurrent, tau_mem=5.0, tau_syn=2.0, norm_input=False, **ONE),
    "IAF, a sequence of one": lambda: recurrent(
        layers.IAFRecurrent, nn.Sequential(nn.Linear(12, 12, bias=False)), **ONE
    ),
    "IAF, convolution": convolved,
}


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.filterwarnings("ignore:the surrogates of the model's neurons have no counterpart")
def test_recurrent_neurons_are_compiled(name):
    net, x = RECURRENT[name](), events(6, seed=3)
    told = name != "IAF, several spikes"
    check_framework(ADAPTER, RECURRENT[name](), events(), own_loop=own_loop, told=told)
    network = compile_network(net, probe=PROBE)
    assert isinstance(network, SpikingNetwork)
    recurring = next(iter(ADAPTER.neurons(net)))
    assert {(recurring, f"{recurring}-feedback"), (f"{recurring}-feedback", recurring)} <= set(
        network.to_graph().edges
    )
    leaf = x.clone().requires_grad_(True)
    assert torch.equal(network(x), own_loop(net, x))
    wrapped = FrameworkNetwork(net)
    for surrogate in (Atan(), Atan(through_reset=True)):
        pair = [view.with_surrogate(surrogate)(leaf).sum(dim=1).square().sum() for view in (wrapped, network)]
        theirs, ours = (torch.autograd.grad(one, leaf)[0] for one in pair)
        assert float((ours - theirs).norm() / theirs.norm()) < 1e-5


@pytest.mark.parametrize("version", ["3.2.0", "4.0.0"])
def test_a_version_that_is_too_new_is_told_what_was_tested(monkeypatch, version):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    reason = rf"sinabs {version} is newer than any .* 3\.1\.3 being the last"
    with pytest.warns(FrameworkWarning, match=reason) as caught:
        framework_adapter("sinabs", model())
    assert 'pip install --no-deps "sinabs>=3.1,<3.2"' in str(caught[0].message)


def test_a_newer_patch_is_used_without_a_word(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "3.1.9")
    assert framework_adapter("sinabs", model()).tested == "3.1.3"
