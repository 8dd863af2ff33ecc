# SPDX-License-Identifier: MIT
"""How strong the attacks are, on real recordings, beside random controls and ART's attacks: one command.

    python benchmarks/strength.py [--json] [--only SECTION ...] [--model M.nir --data-dir DIR]

The setting: cnn_sinabs.nir on N-MNIST, 31 steps of 10 ms, binary; `subtract`, one spike a step, clamp at -1.
Universal perturbations and patches are fitted on train recordings and scored on the test recordings. ART's
perturbations are not events: their k largest cells are inserted. ART's UniversalPerturbation runs twice, with
PGD's defaults inside (100 steps of 0.1) and with 10 larger steps. Times are of this process, by the clock.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from art.attacks.evasion import ProjectedGradientDescent, UniversalPerturbation
from strength_auto import AUTO_SECTIONS
from strength_paths import paths
from strength_queries import queries
from strength_sparse import SPARSE_SECTIONS
from strength_universal import UNIVERSAL_SECTIONS, place_of

from art_spiking.attacks import (
    AutoSpike,
    EventAttack,
    EventGradientAttack,
    RandomEvents,
    RandomPatch,
    RandomRetiming,
    RandomUniversal,
    SpikeRetiming,
    SpikingAdversarialPatch,
    SpikingUniversalPerturbation,
)
from art_spiking.datasets import EventData, load_data
from art_spiking.errors import MissingData
from art_spiking.estimators import SpikingClassifier
from art_spiking.network import SpikingNetwork
from art_spiking.semantics import NeuronSemantics
from art_spiking.threats import EventEdits, PatchRegion, Retiming

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SEMANTICS = NeuronSemantics(reset="subtract", spikes="one", v_min=-1.0, fires="ge")
STEPS, DT_US, CRAFT, CRAFT_TIMED = 31, 10_000, 400, 200

RADIUS = 500**0.5
ART: dict[str, dict[str, Any]] = {
    "ART UAP": {},
    "ART UAP, 10 steps": {"eps_step": RADIUS / 4, "max_iter": 10},
}

Row = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """The model and the recordings that every section uses."""

    model: SpikingClassifier
    train: EventData
    test: EventData
    data_dir: Path = SHARED / "nmnist-1100"

    @property
    def network(self) -> SpikingNetwork:
        """The network of the model."""
        if self.model.network is None:
            raise TypeError("the sections take a SpikingNetwork")
        return self.model.network

    def accuracy(self, x: np.ndarray) -> float:
        """Accuracy on the test recordings, changed to `x`."""
        return float((self.model.predict(x).argmax(1) == self.test.y).mean())

    def right(self) -> tuple[np.ndarray, np.ndarray]:
        """The test recordings that are classified correctly, and their labels."""
        found = self.model.predict(self.test.x).argmax(1) == self.test.y
        return self.test.x[found], self.test.y[found]

    def run(self, name: str, attack: EventAttack[Any], control: EventAttack[Any]) -> Row:
        """Success, control and cost of an attack on these recordings."""
        x, y = self.right()
        with self.model.counting() as queries:
            x_adv, seconds = timed(attack.generate, x, y)
        by_chance = control.generate(x, y)
        return {
            "attack": name,
            "samples": len(x),
            "success": float((self.model.predict(x_adv).argmax(1) != y).mean()),
            "random": float((self.model.predict(by_chance).argmax(1) != y).mean()),
            "ms a sample": 1e3 * seconds / len(x),
            "gradients a sample": queries.backwards / len(x),
            "forwards a sample": queries.forwards / len(x),
        }

    def craft(self, samples: int) -> tuple[np.ndarray, np.ndarray]:
        """The first train recordings and their labels."""
        return self.train.x[:samples], self.train.y[:samples]


def edits(setting: Setting) -> Iterator[Row]:
    """Success of per-sample edits on the recordings that are classified correctly before."""
    x, y = setting.right()

    def success(x_adv: np.ndarray) -> float:
        return float((setting.model.predict(x_adv).argmax(1) != y).mean())

    for budget in (50, 200):
        threat = EventEdits(budget)
        with setting.model.counting() as queries:
            x_adv, seconds = timed(EventGradientAttack(setting.model, threat).generate, x, y)
        pgd = ProjectedGradientDescent(
            setting.model, norm=2, eps=budget**0.5, eps_step=budget**0.5 / 4, max_iter=10, verbose=False
        )
        art, art_seconds = timed(pgd.generate, x, y)
        yield {
            "attack": f"{budget} edits",
            "samples": len(x),
            "success": success(x_adv),
            "random": success(RandomEvents(setting.model, threat).generate(x, y)),
            "ART PGD L2, largest cells": success(largest_edits(art, x, budget)),
            "ms a sample": 1e3 * seconds / len(x),
            "ART ms a sample": 1e3 * art_seconds / len(x),
            "gradients a sample": queries.backwards / len(x),
            "forwards a sample": queries.forwards / len(x),
        }
    attack = EventGradientAttack(setting.model, EventEdits(200), fewest=True)
    x_adv, seconds = timed(attack.generate, x, y)
    spent = np.abs(x_adv - x).reshape(len(x), -1).sum(1)
    yield {
        "attack": "fewest edits, up to 200",
        "samples": len(x),
        "success": success(x_adv),
        "median edits": float(np.median(spent[spent > 0])),
        "mean edits": float(spent[spent > 0].mean()),
        "ms a sample": 1e3 * seconds / len(x),
    }


def timing(setting: Setting) -> Iterator[Row]:
    """Success of retiming, no event added or removed."""
    for threat in (
        Retiming(1),
        Retiming(2),
        *(Retiming(max_moved=moved) for moved in (50, 100, 200, 400)),
        Retiming(max_total_shift=200),
    ):
        attack, control = SpikeRetiming(setting.model, threat), RandomRetiming(setting.model, threat)
        yield setting.run(repr(threat), attack, control)


def auto(setting: Setting) -> Iterator[Row]:
    """Success of the ensemble."""
    for budget in (50, 200):
        threat = EventEdits(budget)
        control = RandomEvents(setting.model, threat)
        yield setting.run(f"{budget} edits, AutoSpike", AutoSpike(setting.model, threat), control)


def universal(setting: Setting) -> Iterator[Row]:
    """Accuracy after one mask of insertions for all recordings."""
    x, y = setting.craft(CRAFT)
    noises = {
        name: art_universal(setting, *setting.craft(CRAFT_TIMED), inner)[0] for name, inner in ART.items()
    }
    for budget in (250, 500, 1000):
        threat = EventEdits(budget, delete=False)
        mask, seconds = timed(SpikingUniversalPerturbation(setting.model, threat).fit, x, y)
        control = RandomUniversal(setting.model, threat).fit(x, y)
        others = {
            name: setting.accuracy(largest_cells(noise, setting.test.x, budget))
            for name, noise in noises.items()
        }
        yield {
            "attack": f"{budget} insertions for all",
            "clean": setting.accuracy(setting.test.x),
            "accuracy": setting.accuracy(mask.apply(setting.test.x)),
            "random": setting.accuracy(control.apply(setting.test.x)),
            **others,
            "seconds": seconds,
        }


def fit_time(setting: Setting) -> Iterator[Row]:
    """Time of a fit of 500 insertions on 200 recordings, and of ART's right after it."""
    x, y = setting.craft(CRAFT_TIMED)
    for name, inner in ART.items():
        attack = SpikingUniversalPerturbation(setting.model, EventEdits(500, delete=False))
        with setting.model.counting() as queries:
            mask, seconds = timed(attack.fit, x, y)
        with setting.model.counting() as art_queries:
            noise, art_seconds = art_universal(setting, x, y, inner)
        yield {
            "attack": f"fit of 500 on {len(x)} against {name}",
            "accuracy": setting.accuracy(mask.apply(setting.test.x)),
            "ART accuracy": setting.accuracy(largest_cells(noise, setting.test.x, 500)),
            "seconds": seconds,
            "ART seconds": art_seconds,
            "times faster": art_seconds / seconds,
            "gradients": queries.backwards,
            "ART gradients": art_queries.backwards,
        }


def patch(setting: Setting) -> Iterator[Row]:
    """Accuracy under a patch, and how often it brings other classes to a target, mean over the targets."""
    x, y = setting.craft(CRAFT_TIMED)
    classes = setting.model.nb_classes
    for area in (0.05, 0.025):
        for location in ("random", "best"):
            options: dict[str, Any] = {"location": location}
            made, seconds = timed(build_patch(setting, area, options).fit, x, y)
            control = RandomPatch(setting.model, PatchRegion(area), location=place_of(made)).fit(x, y)
            reached: list[float] = []
            by_chance: list[float] = []
            for target in range(classes):
                targeted = build_patch(setting, area, options | {"targeted": True, "epochs": 4})
                others = setting.test.y != target
                for found, fitted in (
                    (reached, targeted.fit(x, np.full(len(x), target))),
                    (by_chance, control),
                ):
                    x_adv = fitted.apply(setting.test.x[others], seed=1)
                    found.append(float((setting.model.predict(x_adv).argmax(1) == target).mean()))
            yield {
                "attack": f"patch of {area:.1%}, {location} place",
                "accuracy": setting.accuracy(made.apply(setting.test.x, seed=1)),
                "random": setting.accuracy(control.apply(setting.test.x, seed=1)),
                "target reached": float(np.mean(reached)),
                "best target": float(np.max(reached)),
                "target by chance": float(np.mean(by_chance)),
                "seconds": seconds,
            }


def build_patch(setting: Setting, area: float, options: dict[str, Any]) -> SpikingAdversarialPatch:
    return SpikingAdversarialPatch(setting.model, PatchRegion(area), **options)


def art_universal(
    setting: Setting, x: np.ndarray, y: np.ndarray, inner: dict[str, Any]
) -> tuple[np.ndarray, float]:
    """ART's UniversalPerturbation by PGD in an L2 ball whose radius is that of 500 insertions."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (ART draws from it)
    options = {"norm": 2, "eps": RADIUS, "verbose": False} | inner
    attack = UniversalPerturbation(
        setting.model, attacker="pgd", attacker_params=options, eps=RADIUS, norm=2, verbose=False
    )
    _, seconds = timed(attack.generate, x, y)
    return attack.noise[0], seconds


def largest_cells(noise: np.ndarray, x: np.ndarray, budget: int) -> np.ndarray:
    """Events inserted where one perturbation for all is largest."""
    mask = np.zeros(noise.size, np.float32)
    mask[np.argsort(-noise.ravel())[:budget]] = 1.0
    return np.maximum(x, mask.reshape(noise.shape))


def largest_edits(x_adv: np.ndarray, x: np.ndarray, budget: int) -> np.ndarray:
    """The edits of each recording for which its perturbation asks most."""
    wanted = np.where(x > 0, x - x_adv, x_adv - x).reshape(len(x), -1)
    result = x.reshape(len(x), -1).copy()
    chosen = np.argsort(-wanted, axis=1)[:, :budget]
    np.put_along_axis(result, chosen, 1 - np.take_along_axis(result, chosen, 1), 1)
    return result.reshape(x.shape)


def timed(work: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    result = work(*arguments)
    return result, time.perf_counter() - start


SECTIONS: dict[str, Callable[[Setting], Iterator[Row]]] = {
    "edits": edits,
    "timing": timing,
    "auto": auto,
    "queries": queries,
    "universal": universal,
    "time": fit_time,
    "patch": patch,
    "paths": paths,
    **UNIVERSAL_SECTIONS,
    **SPARSE_SECTIONS,
    **AUTO_SECTIONS,
}


def print_row(row: Row) -> None:
    figures = (
        f"{name} {value:.2f}" if isinstance(value, float) else f"{name} {value}"
        for name, value in row.items()
        if name not in ("section", "attack")
    )
    print(f"{row['attack']:32s} {'; '.join(figures)}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="How strong the attacks are, beside controls and ART's.")
    parser.add_argument("--model", type=Path, default=SHARED / "nir" / "cnn_sinabs.nir")
    parser.add_argument("--data-dir", type=Path, default=SHARED / "nmnist-1100")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="one JSON list on stdout")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        train, test = (
            load_data("nmnist", split, steps=STEPS, dt_us=DT_US, data_dir=options.data_dir, limit=limit)
            for split, limit in (("train", CRAFT), ("test", None))
        )
        if not options.model.is_file():
            raise MissingData("no such model", asked=options.model)
    except MissingData as error:
        print(f"skipped: {error}", file=sys.stderr)
        return 0
    network = SpikingNetwork.from_nir(options.model, semantics=SEMANTICS)
    setting = Setting(SpikingClassifier(network, input_shape=test.grid.shape), train, test, options.data_dir)
    rows = []
    for name in options.only:
        for row in SECTIONS[name](setting):
            rows.append({"section": name} | row)
            if not options.json:
                print_row(rows[-1])
            else:
                print(row["attack"], file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
