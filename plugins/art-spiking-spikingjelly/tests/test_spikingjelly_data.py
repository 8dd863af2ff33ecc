# SPDX-License-Identifier: MIT
"""The community N-MNIST network in SpikingJelly, on 100 real recordings: its loop against the fused."""

from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed: see the plugin's README.md")
pytest.importorskip("art_spiking_spikingjelly", reason="pip install -e plugins/art-spiking-spikingjelly")

from spikingjelly.activation_based import functional, layer, neuron, surrogate

from art_spiking.datasets import nmnist
from art_spiking.frameworks import compile_network
from art_spiking.network import SpikingNetwork
from art_spiking.nir_graphs import read_nir

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
MODEL = SHARED / "nir" / "cnn_sinabs.nir"
STEPS, DT_US = 31, 10_000
PART = 20

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not MODEL.is_file(), reason=f"the real recordings are not here: no {MODEL}"),
]


@pytest.fixture(scope="module")
def recordings():
    data = nmnist("test", steps=STEPS, dt_us=DT_US, binary=True, data_dir=SHARED / "nmnist-1100")
    return torch.from_numpy(data.x), torch.from_numpy(data.y)


def gradient_of(run, x, y):
    """Of the summed cross entropy of the spike counts, by the input."""
    leaf = x.clone().requires_grad_(True)
    loss = nn.functional.cross_entropy(run(leaf).sum(dim=1), y, reduction="sum")
    return torch.autograd.grad(loss, leaf)[0]


def in_spikingjelly():
    """The graph's nodes as SpikingJelly's layers over all steps; reset to 0, as NIR defines IF."""
    graph = read_nir(MODEL)
    layers = []
    for name in graph.order()[1:-1]:
        node = graph.nodes[name]
        arrays = {key: torch.tensor(value).float() for key, value in node.arrays.items()}
        if node.type == "Conv2d":
            out, into, *kernel = arrays["weight"].shape
            sides = {key: node.attributes[key] for key in ("stride", "padding")}
            layers.append(layer.Conv2d(into, out, tuple(kernel), **sides))
        elif node.type == "Affine":
            layers.append(layer.Linear(*reversed(arrays["weight"].shape)))
        elif node.type == "IF":
            layers.append(neuron.IFNode(surrogate_function=surrogate.ATan(), detach_reset=True))
        elif node.type == "SumPool2d":
            layers.append(layer.AvgPool2d(node.attributes["kernel_size"], divisor_override=1))
        else:
            layers.append(layer.Flatten())
        if node.type in ("Conv2d", "Affine"):
            layers[-1].load_state_dict(arrays)
    model = nn.Sequential(*layers)
    functional.set_step_mode(model, "m")
    return model.requires_grad_(False).eval()


def own_loop(model, x):
    functional.reset_net(model)
    return model(x.transpose(0, 1)).transpose(0, 1)


def test_all_spikes_and_logits_agree_and_all_gradients_do(recordings):
    x, y = recordings
    model = in_spikingjelly()
    network = compile_network(model, probe=x[::10], dt_us=DT_US)
    assert isinstance(network, SpikingNetwork)
    network.requires_grad_(False)
    logits = []
    for part, labels in zip(x.split(PART), y.split(PART), strict=True):
        with torch.no_grad():
            own = own_loop(model, part)
            assert torch.equal(network(part), own)
        logits.append(own.sum(dim=1))
        theirs, ours = (gradient_of(run, part, labels) for run in (lambda v: own_loop(model, v), network))
        for own_gradient, found in zip(theirs, ours, strict=True):
            assert own_gradient.any()
            assert float((found - own_gradient).norm() / own_gradient.norm()) < 1e-5
    summed = torch.cat(logits)
    # The golden pair of this setting.
    assert float((summed.argmax(dim=1) == y).float().mean()) == pytest.approx(0.97)
    assert float(summed.sum(dim=1).mean()) == pytest.approx(22.97, abs=0.005)
