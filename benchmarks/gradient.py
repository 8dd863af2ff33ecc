# SPDX-License-Identifier: MIT
"""The time of one input gradient, beside its linear operations alone and snnTorch in ART: one command.

    python benchmarks/gradient.py [--json] [--steps 31 310] [--repeats 7] [--threads 2] [--samples 16]

All contenders hold the weights of cnn_sinabs.nir and take turns in one process, on the same recordings:

    ours             SpikingNetwork, torch tensors in and out
    ours in ART      SpikingClassifier.loss_gradient, arrays in and out
    linear alone     its convolutions, poolings and full connections on all frames at once, PyTorch's defaults
    snnTorch in ART  the same network stepped by snnTorch, in ART's PyTorchClassifier.loss_gradient

Ratios are medians over the repeats of the ratio within a repeat. Spikes and gradients of ours and of snnTorch
are compared first; both subtract the threshold, fire once a step, and use the arc tangent as surrogate.
Freed memory is kept, for all contenders, as `art-spiking` itself does; --plain-memory leaves that out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import snntorch
import torch
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn
from torch.nn import functional

from art_spiking.datasets import load_data
from art_spiking.estimators import SpikingClassifier
from art_spiking.graphs import NodeSpec
from art_spiking.memory import keep_freed_memory
from art_spiking.network import SpikingNetwork
from art_spiking.semantics import PRESETS
from art_spiking.surrogates import Atan

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
RECORDING_US = 310_000
SEMANTICS = dataclasses.replace(PRESETS["snntorch"], pool_gradient="average")
CONTENDERS = ("linear alone", "ours", "ours in ART", "snnTorch in ART")

Gradient = Callable[[], np.ndarray]


def frame_modules(network: SpikingNetwork) -> list[nn.Module | None]:
    """PyTorch's own module for every node; None for neurons."""
    modules: list[nn.Module | None] = []
    for node in (network.to_graph().nodes[name] for name in network.node_names):
        modules.append(frame_module(node))
    return modules


def frame_module(node: NodeSpec) -> nn.Module | None:
    arrays = {name: torch.tensor(array) for name, array in node.arrays.items()}
    options: dict[str, Any] = dict(node.attributes)
    module: nn.Module
    if node.type == "Conv2d":
        out, into, *kernel = arrays["weight"].shape
        module = nn.Conv2d(into, out, tuple(kernel), options["stride"], options["padding"])
    elif node.type == "Affine":
        module = nn.Linear(*reversed(arrays["weight"].shape))
    elif node.type == "SumPool2d":
        return SumPool(options["kernel_size"][0])
    elif node.type == "Flatten":
        return nn.Flatten()
    else:
        return None
    module.load_state_dict(arrays)
    return module


class SumPool(nn.Module):
    """Sums over windows, as the average times their size."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """(M, C, H, W) to (M, C, H / side, W / side)."""
        return functional.avg_pool2d(x, self.side) * self.side**2


class Linear(nn.Module):
    """The network without its neurons, on merged frames."""

    def __init__(self, network: SpikingNetwork) -> None:
        super().__init__()
        self.modules_in_order = nn.Sequential(*(m for m in frame_modules(network) if m is not None))

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, C, H, W) to (N, K)."""
        return self.modules_in_order(x.flatten(0, 1)).unflatten(0, x.shape[:2]).sum(1)


class Stepped(nn.Module):
    """The network stepped by snnTorch: (N, T, C, H, W) to spike counts (N, K)."""

    def __init__(self, network: SpikingNetwork) -> None:
        super().__init__()
        spike_grad = snntorch.surrogate.atan(alpha=2.0)
        self.steps = nn.ModuleList(
            snntorch.Leaky(beta=1.0, threshold=1.0, spike_grad=spike_grad) if module is None else module
            for module in frame_modules(network)
        )

    def spikes(self, x: Tensor) -> Tensor:
        """(N, T, C, H, W) to (N, T, K)."""
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

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, C, H, W) to (N, K)."""
        return self.spikes(x).sum(1)


def contenders(network: SpikingNetwork, x: np.ndarray, y: np.ndarray) -> tuple[dict[str, Gradient], Stepped]:
    """A function for each that takes one input gradient of the summed cross entropy."""
    classes, shape = network.output_shape[0], x.shape[1:]
    linear = Linear(network).requires_grad_(False)
    stepped = Stepped(network)
    loss = nn.CrossEntropyLoss(reduction="sum")
    in_art = PyTorchClassifier(stepped, loss, shape, classes, clip_values=(0.0, 1.0), device_type="cpu")
    classifier = SpikingClassifier(network, input_shape=shape, nb_classes=classes)
    tensor, labels = torch.from_numpy(x), torch.from_numpy(y)

    def of(module: Callable[[Tensor], Tensor]) -> Gradient:
        def gradient() -> np.ndarray:
            leaf = tensor.clone().requires_grad_()
            (found,) = torch.autograd.grad(loss(module(leaf), labels), leaf)
            return found.numpy()

        return gradient

    one_hot = np.eye(classes, dtype=np.float32)[y]
    return {
        "linear alone": of(linear),
        "ours": of(lambda leaf: network(leaf).sum(1)),
        "ours in ART": lambda: classifier.loss_gradient(x, one_hot),
        "snnTorch in ART": lambda: in_art.loss_gradient(x, one_hot),
    }, stepped


def compare(options: argparse.Namespace, steps: int) -> dict[str, Any]:
    """Agreement, times in ms and ratios for one number of steps."""
    network = SpikingNetwork.from_nir(options.model, semantics=SEMANTICS).with_surrogate(Atan(2.0))
    network.requires_grad_(False)
    data = load_data(
        "nmnist",
        "test",
        steps=steps,
        dt_us=RECORDING_US // steps,
        data_dir=options.data_dir,
        limit=options.samples,
    )
    gradients, stepped = contenders(network, data.x, data.y)
    with torch.no_grad():
        x = torch.from_numpy(data.x)
        differing = int((network(x) != stepped.spikes(x)).sum())
    ours, theirs = gradients["ours"](), gradients["snnTorch in ART"]()
    times: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for name in ("linear alone", "ours in ART"):
        gradients[name]()
    for _ in range(options.repeats):
        for name in CONTENDERS:
            start = time.perf_counter()
            gradients[name]()
            times[name].append(1e3 * (time.perf_counter() - start))
    array = {name: np.array(found) for name, found in times.items()}
    return {
        "samples": len(data.y),
        "steps": steps,
        "differing output spikes": differing,
        "largest gradient difference over largest gradient": float(
            np.abs(ours - theirs).max() / np.abs(theirs).max()
        ),
        "median ms": {name: float(np.median(found)) for name, found in array.items()},
        "least ms": {name: float(found.min()) for name, found in array.items()},
        "ours / linear alone": float(np.median(array["ours"] / array["linear alone"])),
        "snnTorch in ART / ours": float(np.median(array["snnTorch in ART"] / array["ours"])),
        "snnTorch in ART / ours in ART": float(np.median(array["snnTorch in ART"] / array["ours in ART"])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--steps", type=int, nargs="+", default=[31, 310])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--model", type=Path, default=SHARED / "nir" / "cnn_sinabs.nir")
    parser.add_argument("--data-dir", type=Path, default=SHARED / "nmnist-1100")
    parser.add_argument("--plain-memory", action="store_true", help="leave the allocator as it is")
    options = parser.parse_args()
    if not options.plain_memory:
        keep_freed_memory()
    torch.set_num_threads(options.threads)
    found = []
    for steps in options.steps:
        found.append(compare(options, steps))
        if not options.json:
            print("\n".join(f"{name:52s} {value}" for name, value in found[-1].items()), "\n", flush=True)
    if options.json:
        note = {"threads": options.threads, "repeats": options.repeats, "load": os.getloadavg()[0]}
        print(json.dumps({**note, "results": found}, indent=1))


if __name__ == "__main__":
    main()
