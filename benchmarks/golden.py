# SPDX-License-Identifier: MIT
"""The community N-MNIST model on real recordings under every semantics, beside golden values: one command.

    python benchmarks/golden.py [--json] [--steps 31 310] [--model M.nir --data-dir DIR]

The golden values were measured on the 100 test recordings with other code (plain torch, step after step);
the sinabs row is what sinabs itself gives. Bins of fixed width from t=0, later events in the last one.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from art_spiking.datasets import EventData, load_data
from art_spiking.network import SpikingNetwork
from art_spiking.semantics import PRESETS, NeuronSemantics

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
RECORDING_US = 310_000
BATCH = 20

SEMANTICS = {
    "reset to 0, one": PRESETS["spikingjelly"],
    "subtract, several, clamp -1": PRESETS["sinabs"],
    "subtract, one": NeuronSemantics(reset="subtract", spikes="one", fires="ge"),
    "subtract, several": NeuronSemantics(reset="subtract", spikes="several", fires="ge"),
    "subtract, one, clamp -1": NeuronSemantics(reset="subtract", spikes="one", v_min=-1.0, fires="ge"),
}
# (steps, binary) -> accuracy and mean output spikes per sample, in the order of SEMANTICS.
GOLDEN = {
    (310, False): [(1.00, 108.90), (0.96, 1674.82), (0.98, 357.45), (1.00, 675.40), (0.98, 402.45)],
    (310, True): [(1.00, 108.93), (0.96, 1675.11), (0.98, 357.68), (1.00, 674.64), (0.98, 403.29)],
    (31, False): [(0.93, 22.32), (0.99, 1598.07), (0.89, 38.92), (1.00, 678.93), (0.95, 41.91)],
    (31, True): [(0.97, 22.97), (0.98, 852.38), (0.90, 38.58), (0.99, 385.74), (0.94, 41.23)],
}
ACCURACY_WITHIN, SPIKES_WITHIN = 0.01, 0.005


@dataclass(frozen=True)
class Pair:
    """Accuracy and mean output spikes per sample of one setting, and what they should be."""

    semantics: str
    steps: int
    binary: bool
    accuracy: float
    spikes: float
    golden_accuracy: float
    golden_spikes: float
    seconds: float

    @property
    def agrees(self) -> bool:
        """Whether both are as near as they must be."""
        near = abs(self.accuracy - self.golden_accuracy) <= ACCURACY_WITHIN + 1e-9
        return near and abs(self.spikes / self.golden_spikes - 1) <= SPIKES_WITHIN


def recordings(data_dir: Path, steps: int, binary: bool) -> EventData:
    """The 100 test recordings on a grid that spans them."""
    return load_data(
        "nmnist", "test", steps=steps, dt_us=RECORDING_US // steps, binary=binary, data_dir=data_dir
    )


def pairs(model: Path, data: EventData, steps: int, binary: bool) -> Iterator[Pair]:
    """One pair for each semantics."""
    network = SpikingNetwork.from_nir(model)
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    for (name, semantics), (accuracy, spikes) in zip(SEMANTICS.items(), GOLDEN[steps, binary], strict=True):
        start = time.perf_counter()
        view = network.with_semantics(semantics)
        with torch.no_grad():
            counts = torch.cat([view(part).sum(1) for part in x.split(BATCH)])
        correct = (counts.argmax(1) == y).float().mean().item()
        mean = counts.sum(1).mean().item()
        yield Pair(name, steps, binary, correct, mean, accuracy, spikes, time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--steps", type=int, nargs="+", default=[31, 310], choices=[31, 310])
    parser.add_argument("--model", type=Path, default=SHARED / "nir" / "cnn_sinabs.nir")
    parser.add_argument("--data-dir", type=Path, default=SHARED / "nmnist-1100")
    options = parser.parse_args()
    found = []
    for steps in options.steps:
        for binary in (False, True):
            data = recordings(options.data_dir, steps, binary)
            for pair in pairs(options.model, data, steps, binary):
                found.append(pair)
                if not options.json:
                    print(
                        f"{steps:4d} steps  {'binary' if binary else 'counts'}  {pair.semantics:28s} "
                        f"{pair.accuracy:.2f} / {pair.spikes:8.2f}   golden {pair.golden_accuracy:.2f} / "
                        f"{pair.golden_spikes:8.2f}   {'agrees' if pair.agrees else 'DIFFERS'}   "
                        f"{pair.seconds:.1f} s",
                        flush=True,
                    )
    if options.json:
        print(json.dumps([{**asdict(pair), "agrees": pair.agrees} for pair in found], indent=1))
    if not all(pair.agrees for pair in found):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
