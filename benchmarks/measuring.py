# SPDX-License-Identifier: MIT
"""What the benchmarks share: the setting, times taken in turns, agreement, and the machine's name."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from art_spiking.datasets import load_data
from art_spiking.network import SpikingNetwork
from art_spiking.semantics import NeuronSemantics
from art_spiking.surrogates import Surrogate

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
MODEL = SHARED / "nir" / "cnn_sinabs.nir"
RECORDINGS = SHARED / "nmnist-1100"
RECORDING_US = 310_000

Times = dict[str, np.ndarray]


@dataclass(frozen=True)
class Setting:
    """The model, how many recordings it sees, and how often each contender is timed.

    Attributes:
        model: A .nir file.
        data_dir: The folder of the N-MNIST recordings.
        samples: Recordings in a batch.
        repeats: Times that every contender takes its turn.
        progress: Whether to show how far it is on stderr, where that is a terminal.
    """

    model: Path = MODEL
    data_dir: Path = RECORDINGS
    samples: int = 16
    repeats: int = 7
    progress: bool = True

    def network(self, semantics: NeuronSemantics, surrogate: Surrogate) -> SpikingNetwork:
        """The model under a semantics, its weights without gradients."""
        network = SpikingNetwork.from_nir(self.model, semantics=semantics).with_surrogate(surrogate)
        return network.requires_grad_(False)

    def recordings(self, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Test recordings (N, T, 2, 34, 34) on a grid of `steps` that spans them, and their classes."""
        data = load_data(
            "nmnist",
            "test",
            steps=steps,
            dt_us=RECORDING_US // steps,
            data_dir=self.data_dir,
            limit=self.samples,
        )
        return data.x, data.y

    def in_turns(
        self, work: Mapping[str, Callable[[], object]], what: str, *, warm: tuple[str, ...] = ()
    ) -> Times:
        """The milliseconds of every repeat of each, taking turns; those not yet `warm` run once before."""
        times: dict[str, list[float]] = {name: [] for name in work}
        with tqdm(
            total=len(work) * (self.repeats + 1) - len(warm),
            desc=what,
            leave=False,
            disable=None if self.progress else True,
        ) as bar:
            for name, run in work.items():
                if name not in warm:
                    run()
                    bar.update()
            for _ in range(self.repeats):
                for name, run in work.items():
                    start = time.perf_counter()
                    run()
                    times[name].append(1e3 * (time.perf_counter() - start))
                    bar.update()
        return {name: np.array(found) for name, found in times.items()}


def ratio(times: Times, over: str, under: str) -> float:
    """The median over the repeats of the ratio within a repeat."""
    return float(np.median(times[over] / times[under]))


def medians(times: Times) -> dict[str, float]:
    return {name: float(np.median(found)) for name, found in times.items()}


def agreement(
    own_spikes: torch.Tensor, spikes: torch.Tensor, own: np.ndarray, gradient: np.ndarray
) -> dict[str, Any]:
    """How far a contender is from ours: output spikes that differ, and the gradient's largest difference."""
    return {
        "differing output spikes": int((own_spikes != spikes).sum()),
        "largest gradient difference over largest gradient": float(
            np.abs(own - gradient).max() / np.abs(gradient).max()
        ),
    }


def machine(threads: int) -> dict[str, Any]:
    """What a figure has to be quoted with."""
    return {
        "processor": processor(),
        "threads": threads,
        "load before": os.getloadavg()[0],
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def processor() -> str:
    """The processor's name, with the numbers that tell its generation where Linux gives them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = told.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in told and "model" in told:
        return f"{name}, family {told['cpu family']} model {told['model']}"
    return name
