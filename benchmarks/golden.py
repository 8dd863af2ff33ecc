# SPDX-License-Identifier: MIT
"""The community N-MNIST model on real recordings under every semantics, beside golden values: one command.

    python benchmarks/golden.py [--only ours frameworks] [--json] [--steps 31 310] [--model M --data-dir DIR]

    ours        our path under every semantics, counts and binary
    frameworks  each framework's own import of the file, as documented and with what makes it run, on counts;
                those not installed are named (make test-frameworks makes .venv-frameworks, where they are)

The golden values were measured on the 100 test recordings with other code (plain torch, step after step);
the sinabs row is what sinabs itself gives. Bins of fixed width from t=0, later events in the last one.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from importers import IMPORTERS, Importer, Mended, Run

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
    network = SpikingNetwork.from_nir(model, semantics="nir")
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    for (name, semantics), (accuracy, spikes) in zip(SEMANTICS.items(), GOLDEN[steps, binary], strict=True):
        start = time.perf_counter()
        view = network.with_semantics(semantics)
        with torch.no_grad():
            counts = torch.cat([view(part).sum(1) for part in x.split(BATCH)])
        correct = (counts.argmax(1) == y).float().mean().item()
        mean = counts.sum(1).mean().item()
        yield Pair(name, steps, binary, correct, mean, accuracy, spikes, time.perf_counter() - start)


@dataclass(frozen=True)
class Import:
    """What came of a framework's import of the file.

    Attributes:
        framework: Its name.
        version: The installed one.
        call: How the import is documented.
        plain: "works", or the error that the documented way ends with.
        steps: Of the recordings, counts.
        mended: What makes it run; None if nothing was found.
        pair: Accuracy and spikes of that, beside the golden ones.
        differing: Output spikes that are not those of our network under the same semantics.
    """

    framework: str
    version: str
    call: str
    plain: str
    steps: int
    mended: str | None = None
    pair: Pair | None = None
    differing: int | None = None


def imports(importer: Importer, model: Path, data: EventData, steps: int) -> Iterator[Import]:
    """What a framework makes of the file, one for each way in which it runs, or one if there is none."""
    x = torch.from_numpy(data.x)
    version = importlib.metadata.version(importer.framework)
    plain = problem(importer.plain, model, x[:2, :3]) or "works"
    found = Import(importer.framework, version, importer.call, plain, steps)
    if not importer.mended:
        yield found
    for way in importer.mended:
        yield replace(found, mended=way.words, **measured(way, model, data, steps))


def problem(run: Run, model: Path, x: torch.Tensor) -> str | None:
    """What a run ends with, if it does not end well."""
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spikes = run(model, x)
    except Exception as error:  # any importer's own
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return text if len(text) <= 120 else f"{text[:117]}..."
    shape = (*x.shape[:2], 10)
    return None if spikes.shape == shape else f"puts out {tuple(spikes.shape)} for {shape}"


def measured(way: Mended, model: Path, data: EventData, steps: int) -> dict[str, Any]:
    """Accuracy, spikes and agreement of a mended import."""
    ours = SpikingNetwork.from_nir(model, semantics=way.semantics)
    start, counts, differing = time.perf_counter(), [], 0
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for part in torch.from_numpy(data.x).split(BATCH):
            spikes = way.run(model, part)
            counts.append(spikes.sum(1))
            differing += int((spikes != ours(part)).sum())
    summed = torch.cat(counts)
    correct = (summed.argmax(1) == torch.from_numpy(data.y)).float().mean().item()
    accuracy, golden = dict(zip(SEMANTICS, GOLDEN[steps, False], strict=True))[way.golden]
    seconds = time.perf_counter() - start
    pair = Pair(way.golden, steps, False, correct, summed.sum(1).mean().item(), accuracy, golden, seconds)
    return {"pair": pair, "differing": differing}


def print_pair(pair: Pair) -> None:
    print(
        f"{pair.steps:4d} steps  {'binary' if pair.binary else 'counts'}  {pair.semantics:28s} "
        f"{pair.accuracy:.2f} / {pair.spikes:8.2f}   golden {pair.golden_accuracy:.2f} / "
        f"{pair.golden_spikes:8.2f}   {'agrees' if pair.agrees else 'DIFFERS'}   {pair.seconds:.1f} s",
        flush=True,
    )


def print_import(found: Import) -> None:
    print(f"\n{found.framework} {found.version}: {found.call}\n  as documented: {found.plain}")
    if found.pair is None:
        print("  no work-around", flush=True)
        return
    print(f"  with {found.mended}; {found.differing} output spikes differ from ours\n  ", end="")
    print_pair(found.pair)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    sections = ["ours", "frameworks"]
    parser.add_argument("--only", nargs="+", choices=sections, default=sections)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--steps", type=int, nargs="+", default=[31, 310], choices=[31, 310])
    parser.add_argument("--model", type=Path, default=SHARED / "nir" / "cnn_sinabs.nir")
    parser.add_argument("--data-dir", type=Path, default=SHARED / "nmnist-1100")
    options = parser.parse_args(arguments)
    found, imported, missing = [], [], []
    for steps in options.steps if "ours" in options.only else ():
        for binary in (False, True):
            data = recordings(options.data_dir, steps, binary)
            for pair in pairs(options.model, data, steps, binary):
                found.append(pair)
                if not options.json:
                    print_pair(pair)
    for importer in IMPORTERS if "frameworks" in options.only else ():
        absent = [name for name in (importer.framework, "nirtorch") if importlib.util.find_spec(name) is None]
        if absent:
            missing.append(importer.framework)
            if not options.json:
                needed = " and ".join(dict.fromkeys(absent))
                print(
                    f"\n{importer.framework}: skipped, {needed} not installed; make test-frameworks does it"
                )
            continue
        for steps in options.steps:
            for one in imports(importer, options.model, recordings(options.data_dir, steps, False), steps):
                imported.append(one)
                if not options.json:
                    print_import(one)
    if options.json:
        told = {
            "ours": [{**asdict(pair), "agrees": pair.agrees} for pair in found],
            "frameworks": [{**asdict(one), "agrees": one.pair and one.pair.agrees} for one in imported],
            "not installed": missing,
        }
        print(json.dumps(told, indent=1))
    if not all(pair.agrees for pair in (*found, *(one.pair for one in imported if one.pair))):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
