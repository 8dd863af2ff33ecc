# SPDX-License-Identifier: MIT
"""Norse: its IAF module over time, between lifted layers as it documents them, or layers merged by hand."""

from __future__ import annotations

from norse import torch as norse
from torch import Tensor, nn

from art_spiking.network import SpikingNetwork
from art_spiking.semantics import NeuronSemantics
from art_spiking.surrogates import FastSigmoid
from peers import Peer, frame_modules, merged_runs


class OverTime(nn.Module):
    """`SequentialState` on (T, N, ...); IAF resets to 0, and the gradient flows through the reset."""

    def __init__(self, parts: list[nn.Module]) -> None:
        super().__init__()
        self.layers = norse.SequentialState(*parts)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, C, H, W) to spikes (N, T, K)."""
        spikes, _ = self.layers(x.transpose(0, 1).contiguous())
        return spikes.transpose(0, 1)


class Merged(nn.Module):
    """Layers on all frames at once, which Norse leaves to its users."""

    def __init__(self, run: nn.Sequential) -> None:
        super().__init__()
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        """(T, N, *F) to (T, N, *G)."""
        return self.run(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def lifted(network: SpikingNetwork) -> OverTime:
    runs = merged_runs(frame_modules(network))
    return OverTime([norse.IAF() if run is None else norse.Lift(run) for run in runs])


def merged(network: SpikingNetwork) -> OverTime:
    runs = merged_runs(frame_modules(network))
    return OverTime([norse.IAF() if run is None else Merged(run) for run in runs])


PEERS = tuple(
    Peer(
        name="Norse",
        layout=layout,
        semantics=NeuronSemantics(reset="value", fires="gt"),
        surrogate=FastSigmoid(slope=1.0, through_reset=True),
        build=build,
    )
    for layout, build in (("lifted", lifted), ("merged by hand", merged))
)
