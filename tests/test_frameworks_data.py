# SPDX-License-Identifier: MIT
"""The community N-MNIST network in snnTorch's layers, on real recordings: its loop against the fused."""

from pathlib import Path

import pytest
import snntorch as snn
import torch
from framework_samples import stepped
from torch import nn

from art_spiking.datasets import nmnist
from art_spiking.estimators import SpikingClassifier
from art_spiking.frameworks import compile_network
from art_spiking.network import SpikingNetwork
from art_spiking.nir_graphs import read_nir

STEPS, DT_US = 31, 10_000


def in_snntorch(path: Path) -> nn.Sequential:
    """The graph's nodes as snnTorch's layers; reset to 0 and one spike, as NIR defines IF."""
    graph = read_nir(path)
    layers: list[nn.Module] = []
    for name in graph.order()[1:-1]:
        node = graph.nodes[name]
        weight = torch.tensor(node.arrays["weight"]).float() if "weight" in node.arrays else None
        if node.type == "Conv2d":
            sides = {key: node.attributes[key] for key in ("stride", "padding")}
            layer = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2:], **sides)
        elif node.type == "Affine":
            layer = nn.Linear(weight.shape[1], weight.shape[0])
        elif node.type == "IF":
            layer = snn.Leaky(beta=1.0, reset_mechanism="zero", init_hidden=True)
        elif node.type == "SumPool2d":
            layer = nn.LPPool2d(1, node.attributes["kernel_size"])
        else:
            layer = nn.Flatten()
        if weight is not None:
            layer.weight = nn.Parameter(weight)
            layer.bias = nn.Parameter(torch.tensor(node.arrays["bias"]).float())
        layers.append(layer)
    return nn.Sequential(*layers).eval()


@pytest.mark.data
def test_all_spikes_of_100_recordings_agree_and_the_gradient_does(shared_data: Path):
    data = nmnist("test", steps=STEPS, dt_us=DT_US, binary=True, data_dir=shared_data / "nmnist-1100")
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    model = in_snntorch(shared_data / "nir" / "cnn_sinabs.nir")
    network = compile_network(model, probe=x[::10], dt_us=DT_US)
    assert isinstance(network, SpikingNetwork)
    with torch.no_grad():
        own = stepped(model, x)
        assert torch.equal(network(x), own)
    # The golden pair of this setting: 0.97 and 22.97.
    assert float((own.sum(dim=1).argmax(dim=1) == y).float().mean()) == pytest.approx(0.97)
    assert float(own.sum(dim=(1, 2)).mean()) == pytest.approx(22.97, abs=0.005)
    wrapped = SpikingClassifier.wrap(model, input_shape=tuple(x.shape[1:]))
    fused = SpikingClassifier(network, input_shape=tuple(x.shape[1:]))
    for part, labels in zip(x.split(20), y.split(20), strict=True):
        (theirs, logits), (ours, fused_logits) = (
            clf.input_gradient(part, labels) for clf in (wrapped, fused)
        )
        assert torch.equal(fused_logits, logits)
        for own_gradient, found in zip(theirs, ours, strict=True):
            assert own_gradient.any()
            assert float((found - own_gradient).norm() / own_gradient.norm()) < 1e-5
