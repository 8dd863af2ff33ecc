# SPDX-License-Identifier: MIT
"""The community N-MNIST network in Sinabs, on 100 real recordings: its own loop against the fused one."""

from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("sinabs", reason="Sinabs is not installed: see the plugin's README.md")
pytest.importorskip("art_spiking_sinabs", reason="pip install -e plugins/art-spiking-sinabs")
pytest.importorskip("nirtorch", reason="Sinabs imports NIR by nirtorch: pip install nirtorch")

import nir
from sinabs import activation, layers
from sinabs.nir import from_nir

from art_spiking.datasets import nmnist
from art_spiking.frameworks import FrameworkWarning, compile_network
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
    """By Sinabs' own import: several spikes, subtraction, a lower bound of -1."""
    return from_nir(nir.read(MODEL), batch_size=PART).requires_grad_(False).eval()


def firing_once():
    """The same, reset to 0, at most one spike a step, without a bound, and a surrogate of both."""
    model = imported()
    for layer in model.modules():
        if isinstance(layer, layers.StatefulLayer):
            layer.spike_fn, layer.reset_fn = activation.SingleSpike, activation.MembraneReset()
            layer.surrogate_grad_fn = activation.Gaussian(mu=0.0, sigma=0.5, grad_scale=1.0)
            layer.min_v_mem = None
    return model


def own_loop(model, x):
    for layer in model.modules():
        if isinstance(layer, layers.StatefulLayer):
            layer.batch_size, layer.num_timesteps = x.shape[:2]
            if layer.is_state_initialised():
                layer.reset_states()
    return model(x.flatten(0, 1))[0].unflatten(0, x.shape[:2])


def test_the_model_as_imported_has_the_same_spikes(recordings):
    x, y = recordings
    model = imported()
    with pytest.warns(FrameworkWarning):  # of the bound and of the surrogate
        network = compile_network(model, probe=x[::10], dt_us=DT_US)
    assert isinstance(network, SpikingNetwork)
    assert (network.semantics.spikes, network.semantics.v_min) == ("several", -1.0)
    with torch.no_grad():
        own = torch.cat([own_loop(model, part) for part in x.split(PART)])
        assert torch.equal(network(x), own)
    counts = own.sum(dim=1)
    assert float((counts.argmax(dim=1) == y).float().mean()) == pytest.approx(0.98)
    assert float(counts.sum(dim=1).mean()) == pytest.approx(852.38, abs=0.02)


def test_all_spikes_and_logits_agree_and_all_gradients_do(recordings):
    x, y = recordings
    model = firing_once()
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
