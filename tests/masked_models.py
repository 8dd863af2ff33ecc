# SPDX-License-Identifier: MIT
"""One sound spiking network behind every planted mask of its gradient, for tests."""

import host_samples
import torch

from art_spiking.estimators import SpikingClassifier
from art_spiking.surrogates import Atan


class Around(torch.nn.Module):
    """A plain module that hides the network's exchange of its surrogate."""

    def __init__(self, network):
        super().__init__()
        self.inner = network

    def forward(self, x):
        return self.inner(x)


class InAList(torch.nn.Module):
    """Holds the network where torch does not look."""

    def __init__(self, network):
        super().__init__()
        self.held = [network]

    def forward(self, x):
        return self.held[0](x)


class Steep(torch.autograd.Function):
    """A spike of a module's own, with a derivative that sees nothing but neurons at their threshold."""

    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (u,) = ctx.saved_tensors
        return gradient * 500 / (1 + (1570 * u) ** 2)


class OwnSpikes(torch.nn.Module):
    """The first layer written out by hand, with `Steep` spikes; its twin has Atan(2) ones."""

    def __init__(self, spike):
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        size = 2 * host_samples.GRID.height * host_samples.GRID.width
        self.first = torch.nn.Parameter(torch.randn(32, size, generator=generator) * 0.3)
        self.last = torch.nn.Parameter(torch.randn(host_samples.CLASSES, 32, generator=generator) * 0.4)
        self.spike = spike

    def forward(self, x):
        potential, spikes = torch.zeros(len(x), 32), []
        for frame in x.flatten(2).unbind(1):
            potential = 0.8 * potential + frame @ self.first.T
            spikes.append(self.spike(potential - 1.0))
            potential = potential - spikes[-1].detach()
        return torch.stack(spikes, 1) @ self.last.T


class Saturated(Around):
    """Probabilities of a temperature at which they are 0 and 1."""

    def forward(self, x):
        return torch.softmax(self.inner(x).sum(1) * 1e3, 1)


class Scaled(Around):
    """Logits so large that cross entropy leaves no gradient."""

    def forward(self, x):
        return self.inner(x) * 1e3


class Rates(Around):
    """Draws its input as rates, without a straight-through gradient."""

    def forward(self, x):
        return self.inner(torch.bernoulli(x.clamp(0, 1)))


class Compares(Around):
    """The same, by a comparison."""

    def forward(self, x):
        return self.inner((torch.rand_like(x) < x).float())


class RandomThreshold(Around):
    """Every time step's thresholds move at random, which is its input scaled."""

    def forward(self, x):
        scale = 1 + 0.1 * torch.randn(len(x), x.shape[1], *[1] * (x.ndim - 2))
        return self.inner(x * scale)


def classifier(model):
    return SpikingClassifier(model, input_shape=host_samples.GRID.shape)


def unmasked():
    return classifier(host_samples.network())


def masks():
    """name -> (masked classifier, its unmasked twin, codes one of which must be flagged)."""
    steep = host_samples.network().with_surrogate(Atan(1e3))
    own = {"own-derivative-masks", "gradient-misleads", "black-box-beats-white-box", "unbounded-fails"}
    blind = {"zero-gradient", "saturated-loss"}
    network = host_samples.network
    by_hand = OwnSpikes(lambda u: SoftSpike.apply(u))
    return {
        "steep, exchangeable": (classifier(steep), unmasked(), own),
        "steep, wrapped": (classifier(Around(steep)), unmasked(), own),
        "steep, in a list": (classifier(InAList(steep)), unmasked(), own),
        "steep, own function": (classifier(OwnSpikes(Steep.apply)), classifier(by_hand), own),
        "saturated outputs": (classifier(Saturated(network())), unmasked(), blind),
        "saturated loss": (classifier(Scaled(network())), unmasked(), blind),
        "rate encoder": (classifier(Rates(network())), unmasked(), {"zero-gradient"}),
        "rate encoder by comparison": (classifier(Compares(network())), unmasked(), {"zero-gradient"}),
        "random threshold": (classifier(RandomThreshold(network())), unmasked(), {"non-deterministic"}),
    }


class SoftSpike(torch.autograd.Function):
    """What `Steep` is without the mask."""

    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return (u >= 0).to(u.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (u,) = ctx.saved_tensors
        return gradient * Atan(2.0).derivative(u)
