# SPDX-License-Identifier: MIT
"""Files that frameworks' own exporters write: what they leave open, and the network that comes out.

Each needs its framework installed, as in the environment of the plugins' tests; elsewhere it is skipped.
"""

import warnings
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
import torch
from torch import nn

from art_spiking.cli import run
from art_spiking.graphs import GraphSpec
from art_spiking.network import SpikingNetwork
from art_spiking.nir_graphs import read_nir
from art_spiking.time_steps import retimed

X = (torch.rand(4, 12, 6, generator=torch.Generator().manual_seed(0)) < 0.5).float()


def lively(net: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() == 2:
                parameter.uniform_(-1, 1.6, generator=generator)
    return net


def written(graph: nir.NIRGraph, path: Path) -> GraphSpec:
    """The graph as it comes back from a file, in which the exporter stated no semantics and no step."""
    nir.write(path, graph)
    keys: list[str] = []
    with h5py.File(path) as file:
        file.visit(keys.append)
    assert not [key for key in keys if "metadata" in key]
    found = read_nir(path)
    assert dict(found.metadata) == {}
    return found


def check(graph: GraphSpec, own: torch.Tensor, *, semantics: str, dt_us: float) -> None:
    with torch.no_grad():
        assert torch.equal(SpikingNetwork.from_graph(graph, semantics=semantics, dt_us=dt_us)(X), own)
    assert 0 < float(own.mean()) < 1


@pytest.mark.parametrize("dt", [1e-4, 1e-3])
def test_spikingjelly(tmp_path, dt):
    pytest.importorskip("spikingjelly.activation_based")
    from spikingjelly.activation_based import functional, layer, neuron, nir_exchange

    layers = layer.Linear(6, 4), neuron.IFNode(), layer.Linear(4, 3), neuron.LIFNode(tau=2.0)
    net = lively(nn.Sequential(*layers))
    with torch.no_grad():
        own = torch.stack([net(frame) for frame in X.unbind(1)], 1)
    functional.reset_net(net)
    graph = written(nir_exchange.export_to_nir(net, torch.zeros(1, 6), dt=dt), tmp_path / "m.nir")
    check(retimed(graph, dt * 1e6, 5000), own, semantics="spikingjelly", dt_us=5000)


def test_norse(tmp_path):
    """Its exporter multiplies each time constant by its step of 1 ms, and writes the batch axis."""
    norse = pytest.importorskip("norse.torch")
    from norse.torch.functional.lif_box import LIFBoxParameters
    from norse.torch.utils.export_nir import to_nir

    def cell(size):
        parts = {"tau_mem_inv": 100.0, "v_leak": 0.0, "v_th": 0.2, "v_reset": 0.0}
        return norse.LIFBoxCell(LIFBoxParameters(**{k: torch.full((size,), v) for k, v in parts.items()}))

    net = lively(norse.SequentialState(nn.Linear(6, 4), cell(4), nn.Linear(4, 3), cell(3)))
    state, outputs = None, []
    with torch.no_grad():
        for frame in X.unbind(1):
            output, state = net(frame, state)
            outputs.append(output)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = to_nir(net, torch.zeros(1, 6))
    graph = written(exported, tmp_path / "m.nir")
    assert graph.shapes()[graph.order()[0]] == (6,)
    check(retimed(graph, 1, 1000), torch.stack(outputs, 1), semantics="norse", dt_us=1000)


def test_sinabs(tmp_path):
    sl = pytest.importorskip("sinabs.layers")
    from sinabs.nir import to_nir

    layers = [sl.IAF(spike_threshold=torch.ones(size), min_v_mem=-1.0) for size in (4, 3)]
    net = lively(nn.Sequential(nn.Linear(6, 4), layers[0], nn.Linear(4, 3), layers[1]))
    with torch.no_grad():
        own = net(X)
    squeezed = [sl.IAFSqueeze(batch_size=1, spike_threshold=torch.ones(size)) for size in (4, 3)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = to_nir(nn.Sequential(net[0], squeezed[0], net[2], squeezed[1]), torch.zeros(1, 6))
    graph = written(exported, tmp_path / "m.nir")
    with torch.no_grad():
        assert torch.equal(SpikingNetwork.from_graph(graph, semantics="sinabs")(X), own)
    assert float(own.max()) > 1


def test_a_file_as_exporters_write_it_is_asked_for_its_semantics(tmp_path, capsys):
    node = nir.IF(np.ones(3, np.float32), np.ones(3, np.float32))
    nir.write(tmp_path / "m.nir", nir.NIRGraph.from_list(node))
    assert run(["evaluate", str(tmp_path / "m.nir"), "--data", "digits-dvs"]) == 2
    assert "m.nir does not state its semantics" in capsys.readouterr().err
