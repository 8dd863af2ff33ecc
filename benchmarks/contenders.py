# SPDX-License-Identifier: MIT
"""The contenders that need no other framework: ours, its linear operations alone, and snnTorch in ART."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from peers import Peer, frame_modules
from torch import Tensor, nn

from art_spiking.estimators import SpikingClassifier
from art_spiking.network import SpikingNetwork

Gradient = Callable[[], np.ndarray]


class Linear(nn.Module):
    """The network without its neurons, on merged frames, in PyTorch's defaults."""

    def __init__(self, network: SpikingNetwork) -> None:
        super().__init__()
        self.modules_in_order = nn.Sequential(*(m for m in frame_modules(network) if m is not None))

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, C, H, W) to (N, K)."""
        return self.modules_in_order(x.flatten(0, 1)).unflatten(0, x.shape[:2]).sum(1)


def gradient_of(module: Callable[[Tensor], Tensor], x: np.ndarray, y: np.ndarray) -> Gradient:
    """Takes one gradient of the summed cross entropy by the input, for a module to logits (N, K)."""
    loss = nn.CrossEntropyLoss(reduction="sum")
    tensor, labels = torch.from_numpy(x), torch.from_numpy(y)

    def gradient() -> np.ndarray:
        leaf = tensor.clone().requires_grad_()
        (found,) = torch.autograd.grad(loss(module(leaf), labels), leaf)
        return found.numpy()

    return gradient


def ours(network: SpikingNetwork, x: np.ndarray, y: np.ndarray) -> Gradient:
    return gradient_of(lambda leaf: network(leaf).sum(1), x, y)


def ours_in_art(network: SpikingNetwork, x: np.ndarray, y: np.ndarray) -> Gradient:
    classes = network.output_shape[0]
    classifier = SpikingClassifier(network, input_shape=x.shape[1:], nb_classes=classes)
    one_hot = np.eye(classes, dtype=np.float32)[y]
    return lambda: classifier.loss_gradient(x, one_hot)


def linear_alone(network: SpikingNetwork, x: np.ndarray, y: np.ndarray) -> Gradient:
    return gradient_of(Linear(network).requires_grad_(False), x, y)


def peer_spikes(peer: Peer, network: SpikingNetwork, x: np.ndarray) -> Tensor:
    """The peer's output spikes (N, T, K)."""
    with torch.no_grad():
        return peer.build(network)(torch.from_numpy(x))


def peer_alone(peer: Peer, network: SpikingNetwork, x: np.ndarray, y: np.ndarray) -> Gradient:
    spikes = peer.build(network).requires_grad_(False)
    return gradient_of(lambda leaf: spikes(leaf).sum(1), x, y)


def peer_in_art(peer: Peer, network: SpikingNetwork, x: np.ndarray, y: np.ndarray) -> Gradient:
    """As most would attack it: in ART's PyTorchClassifier, weights as they come, with their gradients."""
    classes = network.output_shape[0]
    loss = nn.CrossEntropyLoss(reduction="sum")
    options: dict[str, Any] = {"clip_values": (0.0, 1.0), "device_type": "cpu"}
    in_art = PyTorchClassifier(Counting(peer.build(network)), loss, x.shape[1:], classes, **options)
    one_hot = np.eye(classes, dtype=np.float32)[y]
    return lambda: in_art.loss_gradient(x, one_hot)


class Counting(nn.Module):
    """Spike counts (N, K) of a module that puts out spikes (N, T, K)."""

    def __init__(self, spikes: nn.Module) -> None:
        super().__init__()
        self.spikes = spikes

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, C, H, W) to (N, K)."""
        return self.spikes(x).sum(1)
