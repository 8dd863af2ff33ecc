# SPDX-License-Identifier: MIT
"""Other frameworks on the same weights: a module each, in the layout that suits it best, by public names."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from art_spiking.graphs import NodeSpec
from art_spiking.network import SpikingNetwork
from art_spiking.semantics import NeuronSemantics
from art_spiking.surrogates import Surrogate

FRAMEWORKS = ("snntorch", "spikingjelly", "sinabs", "norse")


@dataclass(frozen=True)
class Peer:
    """A framework's way of running a network of convolutions and integrate-and-fire neurons.

    Attributes:
        name: The framework.
        layout: How it is run, in words.
        semantics: What its neurons do, under which ours must put out the same spikes.
        surrogate: The derivative of its spikes, under which ours must give the same gradient.
        build: From our network to a module, (N, T, C, H, W) to spikes (N, T, K), with the same weights.
    """

    name: str
    layout: str
    semantics: NeuronSemantics
    surrogate: Surrogate
    build: Callable[[SpikingNetwork], nn.Module]

    @property
    def title(self) -> str:
        """Framework and layout."""
        return f"{self.name}, {self.layout}"


def peers_of(framework: str) -> Iterator[Peer]:
    """The ways of a framework that is installed.

    Raises:
        ModuleNotFoundError: It is not.
    """
    if importlib.util.find_spec(framework) is None:
        raise ModuleNotFoundError(f"No module named '{framework}'", name=framework)
    yield from importlib.import_module(f"peers.in_{framework}").PEERS


def version(framework: str) -> str:
    return importlib.metadata.version(framework)


class SumPool(nn.Module):
    """Sums over windows, as the average times their size."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """(M, C, H, W) to (M, C, H / side, W / side)."""
        return functional.avg_pool2d(x, self.side) * self.side**2


def frame_modules(network: SpikingNetwork) -> list[nn.Module | None]:
    """PyTorch's own module for every node, in order; None for neurons."""
    nodes = network.to_graph().nodes
    return [_frame_module(nodes[name]) for name in network.node_names]


def merged_runs(modules: list[nn.Module | None]) -> list[nn.Sequential | None]:
    """The same with neighbouring modules in one Sequential, for layouts that merge samples and steps."""
    runs: list[nn.Sequential | None] = []
    for module in modules:
        if module is None:
            runs.append(None)
        elif runs and runs[-1] is not None:
            runs[-1].append(module)
        else:
            runs.append(nn.Sequential(module))
    return runs


def _frame_module(node: NodeSpec) -> nn.Module | None:
    arrays = {name: torch.tensor(array) for name, array in node.arrays.items()}
    options: dict[str, Any] = dict(node.attributes)
    module: nn.Module
    if node.type == "Conv2d":
        out, into, rows, columns = arrays["weight"].shape
        module = nn.Conv2d(into, out, (rows, columns), options["stride"], options["padding"])
    elif node.type == "Affine":
        out, into = arrays["weight"].shape
        module = nn.Linear(into, out)
    elif node.type == "SumPool2d":
        return SumPool(options["kernel_size"][0])
    elif node.type == "Flatten":
        return nn.Flatten()
    else:
        return None
    module.load_state_dict(arrays)
    return module
