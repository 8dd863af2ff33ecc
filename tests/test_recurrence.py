# SPDX-License-Identifier: MIT
"""Recurrent groups: snnTorch's recurrent neurons, steps by hand, and what a delay does in a cycle."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import pickle
from collections.abc import Iterable

import nir
import numpy as np
import pytest
import snntorch
import torch
from torch import Tensor
from torch.nn import functional

from art_spiking import layers as layers_module
from art_spiking import network as network_module
from art_spiking import running
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.graphs import GraphSpec, NodeSpec
from art_spiking.model_files import load_model, save_model
from art_spiking.network import SpikingNetwork
from art_spiking.neurons import PRESETS, NeuronSemantics
from art_spiking.surrogates import Atan, StraightThrough

DT_US = 500.0
SUBTRACT = NeuronSemantics(reset="subtract")


def weights(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape) * scale


def full(shape: int | tuple[int, ...], value: float) -> np.ndarray:
    return np.full(shape, value, np.float64)


def spikes(*shape: int, seed: int = 0, rate: float = 0.4) -> Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < rate).double()


def node(kind: str, *shape: int, **values: float) -> NodeSpec:
    return NodeSpec(kind, {}, {name: full(shape, value) for name, value in values.items()})


def linear(*shape: int, seed: int = 0, bias: bool = False) -> NodeSpec:
    arrays = {"weight": weights(*shape, seed=seed)} | (
        {"bias": weights(shape[0], seed=seed + 50)} if bias else {}
    )
    return NodeSpec("Affine" if bias else "Linear", {}, arrays)


def network_of(
    text: str,
    size: int | tuple[int, ...],
    out: int | tuple[int, ...],
    semantics: NeuronSemantics | str = SUBTRACT,
    **nodes: NodeSpec,
) -> SpikingNetwork:
    """A float64 network of edges such as "i>w w>o"; i is the Input and o the Output."""
    shapes = [(n,) if isinstance(n, int) else n for n in (size, out)]
    ends = {
        k: NodeSpec(kind, {"shape": s}) for k, kind, s in zip("io", ("Input", "Output"), shapes, strict=True)
    }
    edges = tuple((pair.split(">")[0], pair.split(">")[1]) for pair in text.split())
    network = SpikingNetwork.from_graph(GraphSpec(ends | nodes, edges), semantics=semantics, dt_us=DT_US)
    # Coefficients and weights in the float32 they were rounded to.
    return network.double()


def gradients(output: Tensor, by: Iterable[Tensor]) -> list[Tensor]:
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(9), dtype=output.dtype)
    found = torch.autograd.grad((output * direction).sum(), list(by))
    assert all(gradient.abs().sum() > 0 for gradient in found)
    return list(found)


def braille(kind: str) -> nir.NIRGraph:
    """An RNN as snnTorch exports it: the recurrent layer is a graph of its own (NIR's Braille example)."""
    # 1 - dt / tau is 7/8 and 3/4; the gains undo Euler's scaling of the input.
    tau, tau_syn, dt = 4e-3, 2e-3, DT_US * 1e-6
    fires = {"v_leak": full(6, 0), "v_threshold": full(6, 1), "v_reset": full(6, 0)}
    if kind == "RLeaky":
        lif = nir.LIF(tau=full(6, tau), r=full(6, tau / dt), **fires)
    else:
        lif = nir.CubaLIF(
            tau_syn=full(6, tau_syn),
            tau_mem=full(6, tau),
            r=full(6, tau / dt),
            w_in=full(6, tau_syn / dt),
            **fires,
        )
    inner = {
        "input": nir.Input(np.array([6])),
        "lif": lif,
        "w_rec": nir.Affine(weights(6, 6, seed=1, scale=0.5), weights(6, seed=2, scale=0.3)),
        "output": nir.Output(np.array([6])),
    }
    edges = [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")]
    outer = {
        "input": nir.Input(np.array([4])),
        "fc1": nir.Affine(weights(6, 4, seed=3), weights(6, seed=4, scale=0.2)),
        "lif1": nir.NIRGraph(inner, edges, type_check=False),
        "fc2": nir.Linear(weights(3, 6, seed=5)),
        "lif2": nir.LI(tau=full(3, tau), r=full(3, tau / dt), v_leak=full(3, 0)),
        "output": nir.Output(np.array([3])),
    }
    names = list(outer)
    return nir.NIRGraph(outer, list(itertools.pairwise(names)), type_check=False)


# RLeaky with reset "zero" is left out: unlike Leaky, it drops what it takes in at the step after a spike.
@pytest.mark.parametrize(
    ("kind", "reset"), [("RLeaky", "subtract"), ("RSynaptic", "subtract"), ("RSynaptic", "zero")]
)
def test_equals_snntorchs_recurrent_neurons(kind: str, reset: str):
    """Spikes identical, the bias at step 0 included; gradients equal, by input, weight and bias."""
    semantics = dataclasses.replace(
        PRESETS["snntorch"], reset={"subtract": "subtract", "zero": "value"}[reset]
    )
    network = SpikingNetwork.from_nir(braille(kind), semantics=semantics, dt_us=DT_US)
    network = network.with_surrogate(Atan(2.0))
    modules = dict(zip(network.node_names, network.layers, strict=True))
    assert network.node_names == ("fc1", "lif1.lif", "lif1.w_rec", "fc2", "lif2")
    options = {
        "linear_features": 6, "reset_mechanism": reset, "spike_grad": snntorch.surrogate.atan(alpha=2.0)
    }  # fmt: skip
    theirs = (
        snntorch.RLeaky(0.875, **options) if kind == "RLeaky" else snntorch.RSynaptic(0.75, 0.875, **options)
    )
    theirs.recurrent.load_state_dict(modules["lif1.w_rec"].state_dict())
    x = spikes(5, 40, 4).float().requires_grad_()
    current = modules["fc1"](x.flatten(0, 1)).reshape(5, 40, 6)
    state = [torch.zeros(5, 6) for _ in range(2 if kind == "RLeaky" else 3)]
    fired = []
    for frame in current.unbind(1):
        state = list(theirs(frame, *state))
        fired.append(state[0])
    expected = torch.stack(fired, 1)
    ours = network.activity(x)["lif1.lif"]
    assert 0.05 < expected.mean() < 0.9
    assert torch.equal(ours, expected)
    found = gradients(ours, (x, modules["lif1.w_rec"].weight, modules["lif1.w_rec"].bias))
    wanted = gradients(expected, (x, theirs.recurrent.weight, theirs.recurrent.bias))
    for a, b in zip(found, wanted, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4)


def test_two_populations_by_hand():
    """a feeds b at once, b feeds a one step late; both integrate, subtract and fire above 1."""
    one = {"r": 1.0, "v_threshold": 1.0}
    network = network_of(
        "i>a a>v v>b b>w w>a b>o",
        1,
        1,
        a=node("IF", 1, **one),
        v=NodeSpec("Linear", {}, {"weight": full((1, 1), 0.75)}),
        b=node("IF", 1, **one),
        w=NodeSpec("Affine", {}, {"weight": full((1, 1), -2.0), "bias": full(1, 0.25)}),
    )
    x = torch.tensor([1.0, 1.5, 0.0, 1.0, 2.0], dtype=torch.float64).view(1, 5, 1)
    activity = network.activity(x)
    # a: 0 + 1 + 0.25 = 1.25 fires; b: 0.75.
    # a: 0.25 + 1.5 + 0.25 = 2 fires; b: 1.5 fires.
    # a: 1 + 0 + 0.25 - 2 = -0.75; b: 0.5.
    # a: -0.75 + 1 + 0.25 = 0.5; b: 0.5.
    # a: 0.5 + 2 + 0.25 = 2.75 fires; b: 1.25 fires.
    assert activity["a"].flatten().tolist() == [1, 1, 0, 0, 1]
    assert activity["b"].flatten().tolist() == [0, 1, 0, 0, 1]
    assert torch.equal(network(x), activity["b"])
    assert network.membrane(x).flatten().tolist() == [0.75, 1.5, 0.5, 0.5, 1.25]


FORWARD = "i>w w>a a>v v>b b>o"
LIF = {"tau": 4e-3, "r": 6.0, "v_leak": 0.0, "v_threshold": 1.0}


def layers_ahead() -> dict[str, NodeSpec]:
    return {
        "w": linear(5, 4),
        "a": node("LIF", 5, **LIF),
        "v": linear(3, 5, seed=1),
        "b": node("LIF", 3, **LIF),
    }


@pytest.mark.parametrize("semantics", list(PRESETS))
def test_a_way_back_of_weight_zero_changes_nothing(semantics):
    """The stepped group and the fused scans agree: spikes bit for bit, gradients up to rounding."""
    plain = network_of(FORWARD, 4, 3, semantics, **layers_ahead())
    back = NodeSpec("Linear", {}, {"weight": full((5, 3), 0.0)})
    looped = network_of(FORWARD + " b>z z>a", 4, 3, semantics, **layers_ahead(), z=back)
    x = spikes(4, 30, 4).requires_grad_()
    expected, found = plain(x), looped(x)
    assert expected.sum() > 0
    assert torch.equal(found, expected)
    (wanted,), (gradient,) = gradients(expected, [x]), gradients(found, [x])
    assert torch.allclose(gradient, wanted, rtol=1e-9, atol=1e-9)
    assert torch.equal(looped.membrane(x), plain.membrane(x))


def test_only_the_cycle_is_stepped(monkeypatch):
    scanned, stepped = [], []
    scan, group = layers_module.scan_by, running.scan_group
    monkeypatch.setattr(
        layers_module, "scan_by", lambda *a, **k: (scanned.append(a[1].shape), scan(*a, **k))[1]
    )
    monkeypatch.setattr(
        running, "scan_group", lambda *a, **k: (stepped.append(a[0].nodes), group(*a, **k))[1]
    )
    nodes = layers_ahead() | {"z": linear(3, 3, seed=2)}
    network = network_of(FORWARD + " b>z z>b", 4, 3, **nodes)
    assert network(spikes(2, 6, 4)).shape == (2, 6, 3)
    assert scanned == [(2, 6, 5)]
    assert stepped == [("b", "z")]


def test_a_cycle_with_a_delay_takes_that_delay():
    """A delay of one step in a cycle is the step that it would be late by itself; one of two is longer."""
    plain = network_of(
        "i>w w>n n>r r>n n>o", 4, 5, w=linear(5, 4), n=node("LIF", 5, **LIF), r=linear(5, 5, seed=1)
    )
    x = spikes(3, 25, 4).requires_grad_()
    expected = plain(x)
    outputs = []
    for steps in (1, 2):
        delayed = network_of(
            "i>w w>n n>d d>r r>n n>o", 4, 5, w=linear(5, 4), n=node("LIF", 5, **LIF), r=linear(5, 5, seed=1),
            d=node("Delay", 5, delay=steps * DT_US * 1e-6),
        )  # fmt: skip
        outputs.append(delayed(x))
    assert torch.equal(outputs[0], expected)
    assert torch.allclose(gradients(outputs[0], [x])[0], gradients(expected, [x])[0], rtol=1e-12)
    assert not torch.equal(outputs[1], expected)


def test_delays_of_several_lengths_in_a_cycle():
    """Stepped by hand; one delay of a layer is zero, so that the layer does not keep the cycle open."""
    lengths = np.array([0, 1, 3])
    network = network_of(
        "i>n n>d d>r r>n n>o", 3, 3, n=node("IF", 3, r=1.0, v_threshold=1.0), r=linear(3, 3, seed=1),
        d=NodeSpec("Delay", {}, {"delay": lengths * DT_US * 1e-6}),
    )  # fmt: skip
    x = spikes(2, 12, 3)
    weight = torch.tensor(network.to_graph().nodes["r"].arrays["weight"]).float().double()
    v, past, expected = torch.zeros(2, 3, dtype=torch.float64), [], []
    for t in range(12):
        # What comes late is what r put out a step before, of what the delay put out then.
        out = torch.zeros(2, 3, dtype=torch.float64)
        for k, length in enumerate(lengths):
            if t - 1 - length >= 0:
                out[:, k] = past[t - 1 - length][:, k]
        v = v + (x[:, t] + out @ weight.T)
        fired = (v > 1).double()
        v = v - fired
        past.append(fired)
        expected.append(fired)
    assert torch.equal(network(x), torch.stack(expected, 1))


@pytest.mark.parametrize("delays", [(0.0, 40.0), (40.0, 40.0), (2.0, 40.0)])
def test_a_delay_longer_than_the_recording(delays):
    one = NodeSpec("Scale", {}, {"scale": full(1, 0.5)})
    network = network_of(
        "i>s s>n n>d d>s n>o", 2, 2, s=one, n=node("I", 1, r=1.0),
        d=NodeSpec("Delay", {}, {"delay": np.array(delays) * DT_US * 1e-6}),
    )  # fmt: skip
    x = torch.ones(1, 4, 2).double()
    # v[t] = v[t-1] + (1 + v[t-1-delay]) / 2, the last step's v where the delay is zero: s comes first then.
    expected = {0.0: [0.5, 1.25, 2.375, 4.0625], 2.0: [0.5, 1.0, 1.75, 2.75], 40.0: [0.5, 1.0, 1.5, 2.0]}
    assert network(x)[0].T.tolist() == [expected[delays[0]], expected[delays[1]]]


def test_a_cycle_of_delays_alone_rings():
    """y[t] = x[t] + y[t - 2]."""
    one = NodeSpec("Scale", {}, {"scale": full(1, 1.0)})
    network = network_of("i>s s>d d>s s>o", 1, 1, s=one, d=node("Delay", 1, delay=2 * DT_US * 1e-6))
    x = torch.tensor([1.0, 0, 0, 4, 0, 0]).double().view(1, 6, 1)
    assert network(x).flatten().tolist() == [1, 0, 1, 4, 1, 4]


def test_a_delay_that_is_no_number_of_steps():
    node_ = node("Delay", 1, delay=0.75 * DT_US * 1e-6)
    with pytest.raises(
        InvalidInput, match=r"node 'd' \(Delay\): a delay is not a whole number.*found: a delay of 375 µs"
    ):
        network_of("i>d d>o", 1, 1, d=node_)
    with pytest.raises(InvalidInput, match="not a whole number"):
        network_of("i>d d>o", 1, 1, d=node("Delay", 1, delay=1e-12))
    graph = GraphSpec(
        {"i": NodeSpec("Input", {"shape": (1,)}), "d": node_, "o": NodeSpec("Output", {"shape": (1,)})},
        (("i", "d"), ("d", "o")),
    )
    with pytest.raises(InvalidInput, match=r"node 'd' \(Delay\): a delay needs the length of a step"):
        SpikingNetwork(graph)


def test_convolutions_and_thresholds_in_a_cycle():
    """Feature maps, a stateless Threshold that fires at rest, and a custom path through the reset."""
    arrays = {"weight": weights(2, 2, 3, 3, scale=0.3), "bias": weights(2, scale=0.1)}
    conv = NodeSpec("Conv2d", {"stride": 1, "padding": "same", "dilation": 1, "groups": 1}, arrays)
    nodes = {
        "n": node("IF", 2, 4, 4, r=1.0, v_threshold=1.0),
        "c": conv,
        "t": node("Threshold", 1, threshold=0.1),
    }
    network = network_of("i>n n>c c>t t>n n>o", (2, 4, 4), (2, 4, 4), **nodes)
    network = network.with_surrogate(StraightThrough(through_reset=True))
    x = spikes(3, 8, 2, 4, 4).requires_grad_()
    same = x.detach().clone().requires_grad_()
    c, t = (layer for name, layer in zip(network.node_names, network.layers, strict=True) if name in "ct")
    v, last, expected = torch.zeros(3, 2, 4, 4).double(), torch.zeros(3, 2, 4, 4).double(), []
    for frame in same.unbind(1):
        back = t(c(last).unsqueeze(1))[0].squeeze(1)
        u = v + frame + back
        last = (u > 1).double().detach() + (u - u.detach())
        v = u - last
        expected.append(last)
    found, wanted = network(x), torch.stack(expected, 1)
    assert torch.equal(found, wanted)
    assert torch.allclose(gradients(found, [x])[0], gradients(wanted, [same])[0], rtol=1e-9)


@pytest.mark.parametrize(("samples", "steps"), [(0, 4), (3, 0), (1, 1)])
def test_few_or_none(samples: int, steps: int):
    network = network_of(FORWARD + " b>z z>a", 4, 3, **layers_ahead(), z=linear(5, 3, seed=3))
    x = spikes(samples, steps, 4)
    assert network(x).shape == network.membrane(x).shape == (samples, steps, 3)
    assert {name: tuple(v.shape) for name, v in network.activity(x).items()} == {
        "a": (samples, steps, 5),
        "b": (samples, steps, 3),
    }


def test_no_state_is_kept_and_no_sample_sees_another():
    network = network_of(FORWARD + " b>z z>a", 4, 3, **layers_ahead(), z=linear(5, 3, seed=3))
    x = spikes(6, 20, 4)
    first = network(x)
    network(spikes(2, 7, 4, seed=4))
    assert torch.equal(network(x), first)
    assert torch.allclose(network(x[2:3]), first[2:3])


def recurrent() -> SpikingNetwork:
    """In float32, as it comes from files."""
    return network_of(FORWARD + " b>z z>a", 4, 3, **layers_ahead(), z=linear(5, 3, seed=3, bias=True)).float()


def test_shares_of_a_batch_and_copies(monkeypatch, tmp_path):
    network = recurrent()
    x = spikes(7, 10, 4).float()
    expected = network(x)
    assert 0.02 < expected.mean() < 0.95
    monkeypatch.setattr(network_module, "_FRAMES_AT_ONCE_STEPPED", 30)
    assert torch.equal(network(x), expected)
    save_model(network, tmp_path, steps=10)
    network.to_nir(tmp_path / "a.nir")
    for again in (
        copy.deepcopy(network),
        pickle.loads(pickle.dumps(network)),
        load_model(tmp_path),
        SpikingNetwork.from_nir(tmp_path / "a.nir"),
        SpikingNetwork.from_nir(nir.read(tmp_path / "a.nir")),
        network.with_surrogate(StraightThrough()),
    ):
        assert again.digest() == network.digest()
        assert torch.equal(again(x), expected)


def test_weights_of_a_cycle_can_be_trained():
    network = recurrent()
    x = spikes(16, 12, 4).float()
    wanted = torch.full((16, 3), 2.0)
    optimizer = torch.optim.Adam(network.parameters(), 0.03)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = functional.mse_loss(network(x).sum(1), wanted)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_in_an_estimator():
    network = recurrent()
    classifier = SpikingClassifier(network, nb_classes=3, input_shape=(10, 4), readout="membrane-mean")
    x = spikes(6, 10, 4).float().numpy()
    y = np.eye(3, dtype=np.float32)[np.arange(6) % 3]
    gradient = classifier.loss_gradient(x, y)
    same = torch.tensor(x, requires_grad=True)
    logits = network.membrane(same).mean(1)
    loss = functional.cross_entropy(logits, torch.arange(6) % 3, reduction="sum")
    (expected,) = torch.autograd.grad(loss, same)
    assert expected.abs().max() > 0
    assert np.allclose(gradient, expected.numpy(), rtol=1e-5, atol=1e-6)
