# SPDX-License-Identifier: MIT
"""SpikingJelly: multi-step neurons of the torch backend, stateless layers merged over time and samples."""

from __future__ import annotations

from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn

from art_spiking.network import SpikingNetwork
from art_spiking.semantics import NeuronSemantics
from art_spiking.surrogates import Atan
from peers import Peer, frame_modules, merged_runs


class MultiStep(nn.Module):
    """SeqToANNContainer around every run of stateless layers, IFNode in step mode m between them."""

    def __init__(self, network: SpikingNetwork) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(
                neuron.IFNode(
                    v_threshold=1.0,
                    v_reset=None,
                    surrogate_function=surrogate.ATan(alpha=2.0),
                    detach_reset=True,
                    step_mode="m",
                )
                if run is None
                else layer.SeqToANNContainer(*run)
                for run in merged_runs(frame_modules(network))
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, C, H, W) to spikes (N, T, K)."""
        functional.reset_net(self.layers)
        return self.layers(x.transpose(0, 1)).transpose(0, 1)


PEERS = (
    Peer(
        name="SpikingJelly",
        layout="multi-step, torch backend",
        semantics=NeuronSemantics(reset="subtract", fires="ge"),
        surrogate=Atan(2.0),
        build=MultiStep,
    ),
)
