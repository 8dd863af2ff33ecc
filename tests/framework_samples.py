# SPDX-License-Identifier: MIT
"""Small snnTorch models, written in the ways that people write them, and samples on which all layers fire."""

import snntorch as snn
import torch
from snntorch import surrogate, utils
from torch import nn

SHAPE = (5, 2, 8, 8)
CLASSES = 3


def events(samples=4, *, seed=0, shape=SHAPE):
    return (torch.rand(samples, *shape, generator=torch.Generator().manual_seed(seed)) < 0.3).float()


def lively(model, *, gain=3.0, seed=1):
    """The model with weights large enough for every layer to fire."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                bound = gain / parameter[0].numel() ** 0.5
                parameter.uniform_(-bound, bound, generator=generator).add_(0.02)
            elif "bias" in name:
                parameter.zero_()
    return model.eval()


def sequential(kind=snn.Leaky, *arguments, gain=3.0, **options):
    """nn.Sequential of layers that keep their state, the last returning (spikes, ..., potential)."""
    options = {"beta": 0.9, **options}
    first, last = ({"init_hidden": True, "output": last, **options} for last in (False, True))
    return lively(
        nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            kind(*arguments, **first),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(64, CLASSES),
            kind(*arguments, **last),
        ),
        gain=gain,
    )


def dense(kind, *arguments, gain=3.0, **options):
    """Two layers on 6 features."""
    options = {"beta": 0.9, **options}
    return lively(
        nn.Sequential(
            nn.Linear(6, 8),
            kind(*arguments, init_hidden=True, **options),
            nn.Linear(8, CLASSES),
            snn.Leaky(beta=0.8, init_hidden=True, output=True),
        ),
        gain=gain,
    )


class Looping(nn.Module):
    """snnTorch's tutorial: forward loops over time, holds the states, and stacks what it records."""

    def __init__(self):
        super().__init__()
        spike_grad = surrogate.fast_sigmoid(slope=5)
        self.fc1 = nn.Linear(128, 16)
        self.lif1 = snn.Leaky(beta=0.9, spike_grad=spike_grad)
        self.fc2 = nn.Linear(16, CLASSES)
        self.lif2 = snn.Leaky(beta=0.8, spike_grad=spike_grad)
        lively(self)

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spk_rec, mem_rec = [], []
        for frame in x:
            spk1, mem1 = self.lif1(self.fc1(frame.flatten(1)), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk_rec.append(spk2)
            mem_rec.append(mem2)
        return torch.stack(spk_rec), torch.stack(mem_rec)


class ExplicitState(nn.Module):
    """One step; the caller carries the states."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(128, 16)
        self.lif1 = snn.Leaky(beta=0.9)
        self.fc2 = nn.Linear(16, CLASSES)
        self.lif2 = snn.Synaptic(alpha=0.6, beta=0.8)
        lively(self)

    def forward(self, x, mem1=None, syn2=None, mem2=None):
        spk1, mem1 = self.lif1(self.fc1(x.flatten(1)), mem1)
        spk2, syn2, mem2 = self.lif2(self.fc2(spk1), syn2, mem2)
        return spk2, mem1, syn2, mem2


def stepped(model, x):
    """snnTorch's own loop over a model that keeps its state: (N, T, K)."""
    utils.reset(model)
    outputs = [model(frame) for frame in x.transpose(0, 1)]
    spikes = [output[0] if isinstance(output, tuple) else output for output in outputs]
    return torch.stack(spikes, dim=1)


def own_state_step(model, x):
    """A loop that carries the states of `ExplicitState` itself."""
    utils.reset(model)
    outputs, state = [], ()
    for frame in x.transpose(0, 1):
        spikes, *state = model(frame, *state)
        outputs.append(spikes)
    return torch.stack(outputs, dim=1)


def whole(model, x):
    """A model that takes (T, N, ...) and returns (spk_rec, mem_rec), or spk_rec."""
    output = model(x.transpose(0, 1))
    return (output[0] if isinstance(output, tuple) else output).transpose(0, 1)
