# SPDX-License-Identifier: MIT
"""What one input gradient costs, beside its own linear operations and beside other frameworks: one command.

    python benchmarks/gradient.py [--only SECTION ...] [--json] [--steps 31 310] [--repeats 7] [--threads 2]

All contenders hold the weights of cnn_sinabs.nir and take turns in one process, on the same recordings:

    linear   over its convolutions, poolings and full connections on all frames at once, in PyTorch's defaults
             (linear alone), and beside snnTorch stepping the network in ART's PyTorchClassifier
    rate     multiply-adds a second, dense ones of forward and input gradient, over those of a large product
             of float32 matrices; and where the time goes, layer by layer
    peers    beside SpikingJelly, Sinabs and Norse, each in its own best layout, in plain torch; those not
             installed are named (make test-frameworks makes .venv-frameworks, where they are)
    memory   peak of a gradient over that of its linear operations alone, each in a process of its own
    scaling  time per sample as the steps go from 10 to 1000

Ratios are medians over the repeats of the ratio within a repeat. Spikes and gradients are compared first,
ours under the semantics and the surrogate of the contender.
Freed memory is kept, for all contenders, as `art-spiking` itself does; --plain-memory leaves that out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contenders import linear_alone, ours, ours_in_art, peer_alone, peer_in_art, peer_spikes
from layer_times import layer_rows
from measuring import MODEL, RECORDINGS, Setting, Times, agreement, machine, medians, ratio
from memory_use import MAKERS, peak_of
from peers import FRAMEWORKS, Peer, peers_of, version
from tqdm import trange

from art_spiking.errors import MissingData
from art_spiking.inspection import report
from art_spiking.memory import keep_freed_memory
from art_spiking.network import SpikingNetwork

Row = dict[str, Any]

SCALING_STEPS = (10, 31, 100, 310, 1000)
MATRIX = 2048
PROCESSES = 5


def linear(setting: Setting, options: argparse.Namespace) -> Iterator[Row]:
    """Ours over its linear operations alone, and snnTorch in ART over ours."""
    (peer,) = peers_of("snntorch")
    for steps in options.steps:
        network, x, y = prepared(setting, peer, steps)
        work = {
            "linear alone": linear_alone(network, x, y),
            "ours": ours(network, x, y),
            "ours in ART": ours_in_art(network, x, y),
            "snnTorch in ART": peer_in_art(peer, network, x, y),
        }
        agreed = agreement(
            spikes(network, x), peer_spikes(peer, network, x), work["ours"](), work["snnTorch in ART"]()
        )
        times = setting.in_turns(work, f"linear, {steps} steps", warm=("ours", "snnTorch in ART"))
        yield {
            "samples": len(y),
            "steps": steps,
            **agreed,
            "median ms": medians(times),
            "least ms": least(times),
            "ours / linear alone": ratio(times, "ours", "linear alone"),
            "snnTorch in ART / ours": ratio(times, "snnTorch in ART", "ours"),
            "snnTorch in ART / ours in ART": ratio(times, "snnTorch in ART", "ours in ART"),
        }


def rate(setting: Setting, options: argparse.Namespace) -> Iterator[Row]:
    """Multiply-adds a second of ours and of the linear operations alone over a matrix product's."""
    (peer,) = peers_of("snntorch")
    left, right = torch.rand(2, MATRIX, MATRIX, generator=torch.Generator().manual_seed(0))
    for steps in options.steps:
        network, x, y = prepared(setting, peer, steps)
        work = {
            "matrix product": lambda: left @ right,
            "linear alone": linear_alone(network, x, y),
            "ours": ours(network, x, y),
        }
        times = setting.in_turns(work, f"rate, {steps} steps")
        dense = report(network.to_graph()).multiply_adds * len(y) * steps
        # The gradient by a layer's input takes as many multiply-adds as its forward pass; by weights, none.
        rates = {name: 2 * dense / times[name] / 1e6 for name in ("ours", "linear alone")}
        rates["matrix product"] = MATRIX**3 / times["matrix product"] / 1e6
        yield {
            "samples": len(y),
            "steps": steps,
            "dense multiply-adds, forward": dense,
            "multiply-adds, 1e9 a second": medians(rates),
            "ours / matrix product": ratio(rates, "ours", "matrix product"),
            "linear alone / matrix product": ratio(rates, "linear alone", "matrix product"),
            "layers": layer_rows(network, work["ours"], setting.repeats),
        }


def peers(setting: Setting, options: argparse.Namespace) -> Iterator[Row]:
    """Every framework that is installed over ours, plain torch on both sides."""
    for framework in FRAMEWORKS:
        try:
            found = list(peers_of(framework))
        except ImportError as error:
            reason = f"not installed ({error}); run make test-frameworks, then this in .venv-frameworks"
            yield {"peer": framework, "skipped": reason}
            continue
        for peer in found:
            for steps in options.steps:
                yield {"peer": peer.title, "version": version(framework)} | against(setting, peer, steps)


def against(setting: Setting, peer: Peer, steps: int) -> Row:
    """Agreement with one peer, times, and how many times as long it takes."""
    network, x, y = prepared(setting, peer, steps)
    work = {"ours": ours(network, x, y), "peer": peer_alone(peer, network, x, y)}
    agreed = agreement(spikes(network, x), peer_spikes(peer, network, x), work["ours"](), work["peer"]())
    times = setting.in_turns(work, f"{peer.title}, {steps} steps", warm=("ours", "peer"))
    return {
        "samples": len(y),
        "steps": steps,
        "semantics": peer.semantics.to_text(),
        "surrogate": str(peer.surrogate),
        **agreed,
        "median ms": medians(times),
        "peer / ours": ratio(times, "peer", "ours"),
    }


def memory(setting: Setting, options: argparse.Namespace) -> Iterator[Row]:
    """Peak memory above what a fresh process holds, ours over the linear operations alone."""
    for steps in options.steps:
        taken: dict[str, list[float]] = {name: [] for name in MAKERS}
        # Where blocks come to lie differs from process to process, by a layer's output or two.
        for _ in trange(PROCESSES, desc=f"memory, {steps} steps", leave=False, disable=None):
            for name, found in taken.items():
                found.append(
                    peak_of(name, setting, steps, threads=options.threads, plain=options.plain_memory)
                )
        mib = {name: np.array(found) for name, found in taken.items()}
        yield {
            "samples": setting.samples,
            "steps": steps,
            "peak MiB": medians(mib),
            "largest over smallest": {name: float(v.max() / v.min()) for name, v in mib.items()},
            "ours / linear alone": ratio(mib, "ours", "linear alone"),
        }


def scaling(setting: Setting, options: argparse.Namespace) -> Iterator[Row]:
    """Time per sample and step over the number of steps: finer steps, and more of those of 10 ms."""
    (peer,) = peers_of("snntorch")
    network, x, y = prepared(setting, peer, SCALING_STEPS[1])
    finer, longer = {}, {}
    for steps in SCALING_STEPS:
        longer[str(steps)] = ours(network, x[:, np.arange(steps) % x.shape[1]], y)
        finer[str(steps)] = ours(*prepared(setting, peer, steps))
    for name, work in (("the same 310 ms, finer", finer), ("the same events a step, longer", longer)):
        yield scaling_row(setting, name, setting.in_turns(work, "scaling"))


def scaling_row(setting: Setting, name: str, times: Times) -> Row:
    """What the times at some numbers of steps come to, a sample and step."""
    per_step = {name: 1e3 * found / setting.samples / int(name) for name, found in times.items()}
    typical = medians(per_step)
    return {
        "recordings": name,
        "samples": setting.samples,
        "ms a sample": {name: ms / setting.samples for name, ms in medians(times).items()},
        "µs a sample and step": typical,
        "slowest / fastest step": max(typical.values()) / min(typical.values()),
    }


SECTIONS = {"linear": linear, "rate": rate, "peers": peers, "memory": memory, "scaling": scaling}


def prepared(setting: Setting, peer: Peer, steps: int) -> tuple[SpikingNetwork, np.ndarray, np.ndarray]:
    """Our network under the peer's semantics and surrogate, and the recordings."""
    return setting.network(peer.semantics, peer.surrogate), *setting.recordings(steps)


def spikes(network: SpikingNetwork, x: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        return network(torch.from_numpy(x))


def least(times: Times) -> dict[str, float]:
    return {name: float(found.min()) for name, found in times.items()}


def print_row(row: Row) -> None:
    for name, value in row.items():
        if name == "layers":
            print(f"\n{'layer':24s}{'type':12s}{'forward ms':>12s}{'backward ms':>13s}{'share':>8s}")
            for layer in value:
                forward, backward = (
                    f"{layer[k]:.2f}" if k in layer else "" for k in ("forward ms", "backward ms")
                )
                backward = f"{layer['rest ms']:.2f}" if "rest ms" in layer else backward
                print(
                    f"{layer['layer']:24s}{layer['type']:12s}{forward:>12s}{backward:>13s}{layer['share']:8.1%}"
                )
        else:
            print(f"{name:52s} {in_words(value)}")
    print(flush=True)


def in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {in_words(found)}" for name, found in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def options_of(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS), metavar="SECTION"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--steps", type=int, nargs="+", default=[31, 310])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--data-dir", type=Path, default=RECORDINGS)
    parser.add_argument("--plain-memory", action="store_true", help="leave the allocator as it is")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = options_of(arguments)
    if not options.plain_memory:
        keep_freed_memory()
    torch.set_num_threads(options.threads)
    setting = Setting(options.model, options.data_dir, options.samples, options.repeats)
    about = {**machine(options.threads), "repeats": options.repeats}
    if not options.json:
        print_row(about)
    found = []
    try:
        for name in options.only:
            for row in SECTIONS[name](setting, options):
                found.append({"section": name} | row)
                if not options.json:
                    print_row(found[-1])
    except MissingData as error:
        print(f"skipped: {error}", file=sys.stderr)
        return 0
    if options.json:
        print(json.dumps({**about, "results": found}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
