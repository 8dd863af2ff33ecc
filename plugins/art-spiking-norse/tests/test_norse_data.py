# SPDX-License-Identifier: MIT
"""The community N-MNIST network in Norse, on 100 real recordings: its own loop against the fused one."""

from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("norse.torch", reason="Norse is not installed: see the plugin's README.md")
pytest.importorskip("art_spiking_norse", reason="pip install -e plugins/art-spiking-norse")

import nir
from norse.torch import from_nir

from art_spiking.datasets import nmnist
from art_spiking.frameworks import compile_network
from art_spiking.network import SpikingNetwork

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
MODEL = SHARED / "nir" / "cnn_sinabs.nir"
STEPS, DT_US = 31, 10_000
PART = 20

pytestmark = [
    pytest.mark.data,
    pytest.mark.filterwarnings("ignore:nirtorch.load is being deprecated:DeprecationWarning"),
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


def imported():
    """By Norse's own import, whose Flatten would merge the samples."""
    model = from_nir(nir.read(MODEL))
    for layer in model.modules():
        if isinstance(layer, nn.Flatten):
            layer.start_dim = 1
    return model.requires_grad_(False).eval()


def own_loop(model, x):
    outputs, state = [], None
    for frame in x.unbind(1):
        output, state = model(frame, state)
        outputs.append(output)
    return torch.stack(outputs, 1)


def test_all_spikes_and_logits_agree_and_all_gradients_do(recordings):
    x, y = recordings
    model = imported()
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
