# SPDX-License-Identifier: MIT
"""Sinabs: squeezed layers, which take samples and steps merged, as its own from_torch makes them."""

from __future__ import annotations

from sinabs import activation, layers
from torch import Tensor, nn

from art_spiking.network import SpikingNetwork
from art_spiking.semantics import NeuronSemantics
from art_spiking.surrogates import Gaussian
from peers import Peer, frame_modules


class Squeezed(nn.Module):
    """Convolutions and IAFSqueeze on (N*T, ...), once a step, the threshold subtracted."""

    def __init__(self, network: SpikingNetwork) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(
                layers.IAFSqueeze(
                    batch_size=1,
                    spike_fn=activation.SingleSpike,
                    reset_fn=activation.MembraneSubtract(),
                    surrogate_grad_fn=activation.Gaussian(mu=0.0, sigma=0.5, grad_scale=1.0),
                )
                if module is None
                else module
                for module in frame_modules(network)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, C, H, W) to spikes (N, T, K)."""
        for one in self.layers:
            if isinstance(one, layers.StatefulLayer):
                one.batch_size, one.num_timesteps = x.shape[0], x.shape[1]
                if one.is_state_initialised():
                    one.reset_states()
        return self.layers(x.flatten(0, 1)).unflatten(0, x.shape[:2])


PEERS = (
    Peer(
        name="Sinabs",
        layout="squeezed",
        semantics=NeuronSemantics(reset="subtract", fires="ge"),
        surrogate=Gaussian(0.5, through_reset=True),
        build=Squeezed,
    ),
)
