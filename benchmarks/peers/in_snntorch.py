# SPDX-License-Identifier: MIT
"""snnTorch: Leaky without leak, stepped by the loop over time that its tutorials write."""

from __future__ import annotations

import dataclasses

import snntorch
import torch
from torch import Tensor, nn

from art_spiking.network import SpikingNetwork
from art_spiking.semantics import PRESETS
from art_spiking.surrogates import Atan
from peers import Peer, frame_modules


class Stepped(nn.Module):
    """The network stepped by snnTorch."""

    def __init__(self, network: SpikingNetwork) -> None:
        super().__init__()
        spike_grad = snntorch.surrogate.atan(alpha=2.0)
        self.steps = nn.ModuleList(
            snntorch.Leaky(beta=1.0, threshold=1.0, spike_grad=spike_grad) if module is None else module
            for module in frame_modules(network)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, C, H, W) to spikes (N, T, K)."""
        potentials: dict[int, Tensor] = {}
        outputs = []
        for frame in x.unbind(1):
            h = frame
            for place, module in enumerate(self.steps):
                if isinstance(module, snntorch.Leaky):
                    before = potentials.get(place, torch.zeros_like(h))
                    h, potentials[place] = module(h, before)
                else:
                    h = module(h)
            outputs.append(h)
        return torch.stack(outputs, 1)


PEERS = (
    Peer(
        name="snnTorch",
        layout="step by step",
        semantics=dataclasses.replace(PRESETS["snntorch"], pool_gradient="average"),
        surrogate=Atan(2.0),
        build=Stepped,
    ),
)
