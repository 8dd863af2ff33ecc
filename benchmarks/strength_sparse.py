# SPDX-License-Identifier: MIT
"""The sections of strength.py on few edits of single samples: how few, how often, at what cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from strength_universal import trained_lif

from art_spiking.attacks import (
    EventAttack,
    EventExchange,
    EventGradientAttack,
    GumbelEventAttack,
    MinimalEdits,
    RandomEvents,
    SparseDynamicAttack,
    SpikeFool,
    TernaryGradientAttack,
)
from art_spiking.datasets import EventData, load_data
from art_spiking.estimators import SpikingClassifier
from art_spiking.gradient_paths import PotentialWidth
from art_spiking.model_files import load_model, save_model
from art_spiking.threats import EventEdits

if TYPE_CHECKING:
    from strength import Setting

Row = dict[str, Any]

DIGITS = Path(__file__).resolve().parents[1] / "leaderboard" / "submissions" / "digits-plain"
LIF = Path(__file__).resolve().parent / "build" / "lif-nmnist"
FINE_SAMPLES, DIGITS_SAMPLES = 30, 100

Build = Callable[..., EventAttack]

PUBLISHED: dict[str, tuple[Build, dict[str, Any]]] = {
    "SpikeFool": (SpikeFool, {}),
    "SpikeFool, reach 2": (SpikeFool, {"reach": 2.0}),
    "SDA": (SparseDynamicAttack, {}),
    "ternary gradients": (TernaryGradientAttack, {}),
    "Gumbel": (GumbelEventAttack, {}),
}
FEWEST: dict[str, tuple[Build, dict[str, Any]]] = {
    "fewest of EventGradientAttack": (EventGradientAttack, {"fewest": True}),
    "MinimalEdits": (MinimalEdits, {}),
    "MinimalEdits of SpikeFool": (MinimalEdits, {"attack": SpikeFool}),
    "MinimalEdits of EventExchange": (MinimalEdits, {"attack": EventExchange}),
    "the same, PDSG's gradient": (
        MinimalEdits,
        {"attack": EventExchange, "parameters": {"surrogate": PotentialWidth(through_reset=True)}},
    ),
}
TIGHT: dict[str, tuple[Build, dict[str, Any]]] = {
    "EventGradientAttack, 150 steps": (EventGradientAttack, {"steps": 150}),
    "EventExchange": (EventExchange, {}),
    "EventExchange, PDSG": (EventExchange, {"surrogate": PotentialWidth(through_reset=True)}),
}


@dataclass(frozen=True)
class Work:
    """A model and the recordings that it is attacked on."""

    model: SpikingClassifier
    test: EventData

    def right(self) -> tuple[np.ndarray, np.ndarray]:
        """The recordings that are classified correctly, and their labels."""
        found = self.model.predict(self.test.x).argmax(1) == self.test.y
        return self.test.x[found], self.test.y[found]

    def row(self, name: str, attack: EventAttack, x: np.ndarray, y: np.ndarray) -> Row:
        """How often an attack succeeds within budgets, read from one run without one, with how many edits."""
        with self.model.counting() as queries:
            start = time.perf_counter()
            x_adv = attack.generate(x, y)
            seconds = time.perf_counter() - start
        control = RandomEvents(self.model, EventEdits(200)).generate(x, y)
        found, by_chance = (attack_succeeds(attack, self.model.predict(z), y) for z in (x_adv, control))
        spent = np.abs(x_adv - x).reshape(len(x), -1).sum(1)
        edits = spent[found & (spent > 0)]
        return {
            "attack": name,
            "samples": len(x),
            "success": float(found.mean()),
            **{f"within {most}": float((found & (spent <= most)).mean()) for most in (50, 200)},
            "median edits": float(np.median(edits)) if len(edits) else float("nan"),
            "mean edits": float(edits.mean()) if len(edits) else float("nan"),
            "random 200": float(by_chance.mean()),
            "ms a sample": 1e3 * seconds / len(x),
            "gradients a sample": queries.backwards / len(x),
            "forwards a sample": queries.forwards / len(x),
        }

    def rows(self, label: str = "") -> Iterator[Row]:
        """All attacks, with insertions and deletions and no budget."""
        x, y = self.right()
        for name, (build, options) in (PUBLISHED | FEWEST).items():
            attack = build(self.model, EventEdits(x[0].size), **options)
            yield self.row(label + name, attack, x, y)

    def tight(self, budget: int, label: str = "") -> Iterator[Row]:
        """Attacks within a budget that leaves most samples standing."""
        x, y = self.right()
        threat = EventEdits(budget)
        for name, (build, options) in TIGHT.items():
            yield self.row(f"{label}{budget} edits, {name}", build(self.model, threat, **options), x, y)

    def insertions(self) -> Row:
        """The fewest insertions where one event per pixel and step is allowed, polarities together."""
        x, y = self.right()
        dt_us = self.test.grid.dt_us
        threat = EventEdits(x[0].size // 2, delete=False, refractory_us=dt_us, dt_us=dt_us)
        attack = MinimalEdits(self.model, threat, batch_size=50 if x.shape[1] < 100 else 10)
        return self.row(f"insertions, one a pixel and {dt_us // 1000} ms", attack, x, y)


def attack_succeeds(attack: EventAttack, logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether each sample is what the attacker wants."""
    predicted = logits.argmax(1)
    return predicted == y if attack.targeted else predicted != y


def sparse(setting: Setting) -> Iterator[Row]:
    """The community network: all attacks, two of them towards the next class, and insertions alone."""
    work = Work(setting.model, setting.test)
    yield from work.rows()
    x, y = work.right()
    target = (y + 1) % setting.model.nb_classes
    for name in ("SpikeFool", "Gumbel"):
        attack = PUBLISHED[name][0](setting.model, EventEdits(x[0].size), targeted=True)
        yield work.row(f"{name}, targeted", attack, x, target)
    yield work.insertions()


def sparse_models(setting: Setting) -> Iterator[Row]:
    """All attacks on leaky neurons trained on the same recordings, and on the bundled digits."""
    yield from Work(kept_lif(setting), setting.test).rows("LIF: ")
    yield from digits().rows("digits: ")


def tight(setting: Setting) -> Iterator[Row]:
    """Few edits, on the three models: what trials add to gradients."""
    yield from Work(setting.model, setting.test).tight(15)
    yield from Work(kept_lif(setting), setting.test).tight(15, "LIF: ")
    yield from digits().tight(15, "digits: ")


def digits() -> Work:
    """The first submission of the digits, and recordings."""
    test = load_data("digits-dvs", "test", steps=30, dt_us=10_000, limit=DIGITS_SAMPLES)
    return Work(SpikingClassifier(load_model(DIGITS), input_shape=test.grid.shape), test)


def kept_lif(setting: Setting) -> SpikingClassifier:
    """`trained_lif`, trained now or as it was trained before."""
    if not (LIF / "graph.json").is_file():
        network = trained_lif(setting).network
        if network is not None:
            LIF.mkdir(parents=True, exist_ok=True)
            save_model(network, LIF, steps=setting.test.grid.steps)
    return SpikingClassifier(load_model(LIF), input_shape=setting.test.grid.shape)


def sparse_fine(setting: Setting) -> Iterator[Row]:
    """Insertions alone at steps of 1 ms, one event a pixel and ms; the first recordings."""
    test = load_data("nmnist", "test", steps=310, dt_us=1000, data_dir=setting.data_dir, limit=FINE_SAMPLES)
    yield Work(SpikingClassifier(setting.network, input_shape=test.grid.shape), test).insertions()


SPARSE_SECTIONS = {
    "sparse": sparse,
    "sparse-models": sparse_models,
    "sparse-1ms": sparse_fine,
    "tight": tight,
}
