# SPDX-License-Identifier: MIT
"""Norse as it is installed: the adapter's contract, and compiled networks against its own runs."""

import importlib.metadata

import numpy as np
import pytest
import torch
from torch import nn

# Norse scripts functions as it is imported, which torch deprecates; importorskip keeps that quiet.
pytest.importorskip("norse.torch", reason="Norse is not installed: see the plugin's README.md")
pytest.importorskip("art_spiking_norse", reason="pip install -e plugins/art-spiking-norse")

from art.attacks.evasion import ProjectedGradientDescent
from art_spiking_norse.adapter import NorseAdapter
from norse import torch as norse
from norse.torch.functional.reset import reset_subtract

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
from art_spiking.surrogates import Atan, FastSigmoid
from art_spiking.testing import check_estimator, check_framework, small_data

ADAPTER = NorseAdapter()
SHAPE = (5, 2, 8, 8)


def events(samples=4, *, seed=0):
    return (torch.rand(samples, *SHAPE, generator=torch.Generator().manual_seed(seed)) < 0.3).float()


PROBE = events(8)


def lively(net, gain=3.0):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if parameter.dim() > 1:
                bound = gain / parameter[0].numel() ** 0.5
                parameter.uniform_(-bound, bound, generator=generator).add_(0.02)
            elif name.endswith("bias"):
                parameter.zero_()
    return net.eval()


def stepped(make, gain=3.0):
    """Cells, called step by step with their state."""
    net = norse.SequentialState(
        nn.Conv2d(2, 4, 3, padding=1), make(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 3), make()
    )
    return lively(net, gain)


def timed(make, gain=3.0):
    """Modules over time."""
    conv = norse.Lift(nn.Conv2d(2, 4, 3, padding=1))
    return lively(norse.SequentialState(conv, make(), nn.Flatten(2), nn.Linear(256, 3), make()), gain)


def own_loop(net, x):
    x, state, outputs = x.transpose(0, 1), None, []
    if ADAPTER.layout(net) == "TN":
        return net(x)[0].transpose(0, 1)
    for frame in x:
        output, state = net(frame, state)
        outputs.append(output)
    return torch.stack(outputs, dim=1)


def box(**options):
    return norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=torch.as_tensor(500.0), **options))


def lif(kind):
    return kind(norse.LIFParameters(tau_mem_inv=torch.as_tensor(500.0)))


CASES = {
    "IAF": (stepped, norse.IAFCell, 3.0),
    "LIFBox": (stepped, box, 6.0),
    "LIFBox, subtraction": (stepped, lambda: box(reset_method=reset_subtract), 6.0),
    "LIF": (stepped, lambda: lif(norse.LIFCell), 6.0),
    "IAF over time": (timed, norse.IAF, 3.0),
    "LIF over time": (timed, lambda: lif(norse.LIF), 6.0),
}


@pytest.mark.parametrize("case", CASES)
def test_the_adapter_keeps_its_contract(case):
    make, cell, gain = CASES[case]
    check_framework(ADAPTER, make(cell, gain), events(), own_loop=own_loop)


@pytest.mark.parametrize("case", CASES)
def test_compiled_networks_agree_with_norse(case):
    make, cell, gain = CASES[case]
    net, x = make(cell, gain), events(6, seed=3)
    network = compile_network(net, probe=PROBE)
    assert isinstance(network, SpikingNetwork)
    with torch.no_grad():
        assert torch.equal(network(x), own_loop(net, x))
    y = torch.arange(6) % 3
    leaf = x.clone().requires_grad_(True)
    loss = nn.functional.cross_entropy(own_loop(net, leaf).sum(dim=1), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, leaf)
    fused = SpikingClassifier(network, input_shape=SHAPE)
    wrapped = SpikingClassifier.wrap(net, input_shape=SHAPE)
    assert _near(fused.input_gradient(x, y)[0], gradient)
    for surrogate in (Atan(), Atan(through_reset=True)):
        own, found = (clf.with_surrogate(surrogate).input_gradient(x, y)[0] for clf in (wrapped, fused))
        assert _near(found, own)


def _near(first, second):
    return bool(second.any()) and float((first - second).norm() / second.norm()) < 1e-5


def test_attacks_find_the_same_through_norse_and_the_fused_network():
    net, x = stepped(box, 6.0), events(6, seed=7)
    wrapped = SpikingClassifier.wrap(net, framework="norse", input_shape=SHAPE, nb_classes=3)
    fused = SpikingClassifier(compile_network(net, probe=x), input_shape=SHAPE)
    y = wrapped.predict(x.numpy()).argmax(axis=1)
    own, found = (
        ProjectedGradientDescent(clf, eps=0.3, eps_step=0.1, max_iter=3, verbose=False).generate(x.numpy(), y)
        for clf in (wrapped, fused)
    )
    assert np.allclose(own, found, atol=1e-5)
    assert not np.array_equal(own, x.numpy())


def test_a_wrapped_model_is_a_whole_estimator():
    check_estimator(SpikingClassifier.wrap(stepped(box, 6.0), input_shape=SHAPE), data=small_data())


def test_it_is_registered_and_recognised():
    assert "norse" in catalogue("frameworks")
    assert framework_adapter(None, stepped(box)).name == "norse"
    assert FrameworkNetwork(stepped(box)).surrogate == FastSigmoid(slope=1.0, through_reset=True)
    other = stepped(lambda: box(method="tanh"))
    assert FrameworkNetwork(other).surrogate is None


def test_the_adjoint_method_keeps_its_own_gradient():
    adjoint = stepped(lambda: norse.LIFCell(norse.LIFParameters(method="adjoint")))
    with pytest.raises(InvalidInput, match="surrogate of layer '1' cannot be exchanged"):
        FrameworkNetwork(adjoint).with_surrogate(Atan())


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda: stepped(lambda: box(v_leak=torch.as_tensor(0.5))),
            r"layer '1' starts at a potential of 0\.5",
        ),
        (lambda: stepped(norse.LIFAdExCell), "layer '1' is LIFAdEx"),
        (
            lambda: lively(norse.SequentialState(nn.Flatten(), norse.LSNNRecurrentCell(128, 3)), 9.0),
            "layer '1' is LSNNRecurrentCell, a neuron that graphs do not have",
        ),
        (
            lambda: ending_in(lambda: norse.LICell(norse.LIParameters(v_leak=torch.as_tensor(0.5)))),
            r"layer '5' starts at a potential of 0\.5",
        ),
        (lambda: stepped(box, gain=0.01), "layer '1' stays silent on the probes"),
    ],
)
def test_what_is_not_compiled_says_why(make, reason):
    with pytest.warns(NotCompiled, match=reason):
        network = compile_network(make(), probe=PROBE)
    assert isinstance(network, FrameworkNetwork)
    assert torch.isfinite(network(PROBE)).all()


def ending_in(last, make=stepped, cell=box):
    """The model with an integrator for its last layer."""
    net = make(cell, 6.0)
    net[len(net) - 1] = last()
    return lively(net, 6.0)


def li_parameters():
    return norse.LIParameters(tau_syn_inv=torch.as_tensor(300.0), tau_mem_inv=torch.as_tensor(400.0))


def box_in_the_middle():
    return lively(
        norse.SequentialState(
            nn.Conv2d(2, 4, 3, padding=1), box(), norse.LIBoxCell(), nn.Flatten(), nn.Linear(256, 3), box()
        ),
        9.0,
    )


INTEGRATORS = {
    "LICell": (lambda: ending_in(norse.LICell), "CubaLI"),
    "LICell of other constants": (lambda: ending_in(lambda: norse.LICell(li_parameters())), "CubaLI"),
    "LIBoxCell": (lambda: ending_in(norse.LIBoxCell), "LI"),
    "LILinearCell": (lambda: ending_in(lambda: norse.LILinearCell(3, 2, li_parameters())), "CubaLI"),
    "LI over time": (lambda: ending_in(norse.LI, timed, norse.IAF), "CubaLI"),
}


@pytest.mark.parametrize("name", INTEGRATORS)
def test_integrators_at_the_end_are_compiled(name):
    make, node = INTEGRATORS[name]
    check_framework(ADAPTER, make(), events(), own_loop=own_loop)
    net, x = make(), events(6, seed=3)
    network = compile_network(net, probe=PROBE)
    assert isinstance(network, SpikingNetwork)
    graph = network.to_graph()
    assert graph.nodes[graph.order()[-2]].type == node
    leaf = x.clone().requires_grad_(True)
    own = own_loop(net, leaf)
    assert float(own.detach().abs().max()) > 0.01
    assert torch.allclose(network(x), own, rtol=1e-5, atol=1e-6)
    (gradient,) = torch.autograd.grad(own.amax(dim=1).sum(), leaf)
    (found,) = torch.autograd.grad(network(leaf).amax(dim=1).sum(), leaf)
    assert _near(found, gradient)


def test_an_integrator_between_neurons_is_compiled():
    check_framework(ADAPTER, box_in_the_middle(), events(), own_loop=own_loop)
    network = compile_network(box_in_the_middle(), probe=PROBE)
    assert isinstance(network, SpikingNetwork)
    assert "LI" in {node.type for node in network.to_graph().nodes.values()}
    assert torch.equal(network(PROBE), own_loop(box_in_the_middle(), PROBE))


def recurrent(kind, autapses=False, **options):
    """Flattened events into a recurrent layer, and another on its spikes."""
    p = norse.LIFParameters(tau_mem_inv=torch.as_tensor(500.0), **options)
    flatten = nn.Flatten(2) if kind is norse.LIFRecurrent else nn.Flatten()
    parts = (kind(128, 12, p, autapses=autapses), kind(12, 3, p, autapses=autapses))
    return lively(norse.SequentialState(flatten, *parts), 6.0)


RECURRENT = {
    "cells": lambda: recurrent(norse.LIFRecurrentCell),
    "over time": lambda: recurrent(norse.LIFRecurrent),
    "autapses": lambda: recurrent(norse.LIFRecurrentCell, autapses=True),
    "reset above 0": lambda: recurrent(norse.LIFRecurrentCell, v_reset=torch.as_tensor(0.2)),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_neurons_are_compiled_with_their_weights(name):
    net, x = RECURRENT[name](), events(6, seed=3)
    check_framework(ADAPTER, RECURRENT[name](), events(), own_loop=own_loop)
    network = compile_network(net, probe=PROBE)
    assert isinstance(network, SpikingNetwork)
    assert {("1", "1-feedback"), ("1-feedback", "1"), ("1-input", "1")} <= set(network.to_graph().edges)
    leaf = x.clone().requires_grad_(True)
    own = own_loop(net, leaf)
    assert torch.equal(network(x), own)
    (gradient,) = torch.autograd.grad(own.sum(dim=1).square().sum(), leaf)
    (found,) = torch.autograd.grad(network(leaf).sum(dim=1).square().sum(), leaf)
    assert _near(found, gradient)
    wrapped, fused = FrameworkNetwork(net), network
    for surrogate in (Atan(), Atan(through_reset=True)):
        pair = [view.with_surrogate(surrogate)(leaf).sum(dim=1).square().sum() for view in (wrapped, fused)]
        theirs, ours = (torch.autograd.grad(one, leaf)[0] for one in pair)
        assert _near(ours, theirs)


def test_spikes_come_back_one_step_later():
    """Without its feedback the network is another."""
    net = RECURRENT["cells"]()
    network = compile_network(net, probe=PROBE)
    with torch.no_grad():
        net[1].recurrent_weights.zero_()
    assert not torch.equal(network(PROBE), own_loop(net, PROBE))


@pytest.mark.parametrize("version", ["1.2.0", "2.0.0"])
def test_a_version_that_is_too_new_is_told_what_was_tested(monkeypatch, version):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    with pytest.warns(
        FrameworkWarning, match=rf"norse {version} is newer .* 1\.1\.0 being the last"
    ) as caught:
        framework_adapter("norse", stepped(box))
    assert 'pip install "norse>=1.1,<1.2"' in str(caught[0].message)


def test_a_newer_patch_is_used_without_a_word(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.1.9")
    assert framework_adapter("norse", stepped(box)).tested == "1.1.0"
