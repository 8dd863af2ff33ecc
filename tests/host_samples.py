# SPDX-License-Identifier: MIT
"""Small things the host's tests evaluate: a model, its data, and attacks that behave or cheat."""

import numpy as np
import torch

from art_spiking.building import Conv, Dense, Flat, Neurons
from art_spiking.datasets import EventData
from art_spiking.estimators import SpikingClassifier
from art_spiking.evaluate import Providers, Splits
from art_spiking.events import Grid
from art_spiking.network import SpikingNetwork
from art_spiking.registry import Catalogue
from art_spiking.suites import Case, Control, Suite
from art_spiking.threats import EventEdits, PatchRegion

GRID = Grid(steps=5, dt_us=1000, height=6, width=6)
CLASSES = 3
EDITS = {"kind": "event-edits", "max_edits": 12}


def network(seed: int = 0) -> SpikingNetwork:
    layers = [Conv(4, 3, padding=1, gain=2.0), Neurons(), Flat(), Dense(CLASSES, gain=2.0), Neurons()]
    return SpikingNetwork.sequential(
        (2, GRID.height, GRID.width),
        layers,
        semantics="snntorch",
        dt_us=GRID.dt_us,
        generator=torch.Generator().manual_seed(seed),
    )


def classifier(model: torch.nn.Module | None = None, **options) -> SpikingClassifier:
    return SpikingClassifier(network() if model is None else model, input_shape=GRID.shape, **options)


def data(split: str, samples: int, estimator: SpikingClassifier | None = None, *, seed: int = 1) -> EventData:
    """Random events, labelled by the classifier itself: its clean accuracy on them is 1."""
    x = (np.random.default_rng(seed).random((samples, *GRID.shape)) < 0.2).astype(np.float32)
    y = (estimator or classifier()).predict(x).argmax(axis=1).astype(np.int64)
    return EventData(x, y, GRID, "noise", split, classes=CLASSES)


def splits(craft: int = 6, test: int = 8) -> Splits:
    return Splits(craft=data("train", craft, seed=1), test=data("test", test, seed=2))


class FirstCells:
    """Flips the first `edits` cells of every sample; the factory that suites call."""

    universal = False

    def __init__(self, estimator, threat, *, edits=12, seed=0):
        self.estimator, self.threat, self.edits, self.seed = estimator, threat, edits, seed

    def generate(self, x, y):
        self.estimator.predict_torch(torch.from_numpy(x))
        self.estimator.input_gradient(torch.from_numpy(x), torch.from_numpy(y))
        x_adv = x.copy()
        flat = x_adv.reshape(len(x), -1)
        flat[:, : self.edits] = 1 - flat[:, : self.edits]
        return x_adv


class Nothing(FirstCells):
    def generate(self, x, y):
        return x.copy()


class Raises(FirstCells):
    def generate(self, x, y):
        raise RuntimeError("out of spikes")


class Interrupted(FirstCells):
    def generate(self, x, y):
        raise KeyboardInterrupt


class Returns:
    """An attack that returns whatever `change` makes of the clean samples."""

    def __init__(self, change):
        self.change = change

    def __call__(self, estimator, threat, *, seed=0):
        attack = Nothing(estimator, threat, seed=seed)
        attack.generate = lambda x, y: self.change(x)
        return attack


class Cheats(FirstCells):
    """Spoils everything it was given, then returns it as if nothing had changed."""

    def generate(self, x, y):
        x[:] = 1 - x
        y[:] = 0
        with torch.no_grad():
            for parameter in self.estimator.network.parameters():
                parameter.zero_()
        return x


class Loosens(FirstCells):
    """Raises the budget of the threat model that it was given."""

    def generate(self, x, y):
        self.threat.__dict__["max_edits"] = 10_000
        return 1 - x


class Meddles(FirstCells):
    """Changes what is global in the libraries."""

    def generate(self, x, y):
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        np.random.seed(3)  # noqa: NPY002 (that is what it is for)
        return x.copy()


class Exits(FirstCells):
    def generate(self, x, y):
        raise SystemExit(0)


class Shared:
    """A perturbation of the first `edits` cells, and what it was fitted on."""

    def __init__(self, edits, craft):
        self.edits, self.craft = edits, craft

    def apply(self, x, *, seed=0):
        flat = x.copy().reshape(len(x), -1)
        flat[:, : self.edits] = 1 - flat[:, : self.edits]
        return flat.reshape(x.shape)


class Universal(FirstCells):
    universal = True
    fitted: list = []  # noqa: RUF012 (read by the tests)

    def fit(self, x, y):
        type(self).fitted.append((x.copy(), y.copy()))
        self.estimator.predict_torch(torch.from_numpy(x))
        return Shared(self.edits, x)


class Targeted(FirstCells):
    seen: list = []  # noqa: RUF012 (read by the tests)

    def __init__(self, estimator, threat, *, targeted=False, seed=0):
        super().__init__(estimator, threat, seed=seed)
        self.targeted = targeted

    def generate(self, x, y):
        type(self).seen.append((self.targeted, y.copy()))
        return super().generate(x, y)


ATTACKS = {
    "first-cells": FirstCells,
    "nothing": Nothing,
    "raises": Raises,
    "interrupted": Interrupted,
    "cheats": Cheats,
    "universal": Universal,
    "targeted": Targeted,
}


def providers(**more) -> Providers:
    attacks = {**ATTACKS, **{name.replace("_", "-"): factory for name, factory in more.items()}}
    threats = {"event-edits": EventEdits, "patch-region": PatchRegion}
    return Providers(Catalogue.of("attacks", attacks, "tests 1.0"), Catalogue.of("threats", threats))


def case(attack: str, *, name: str | None = None, control: str | None = None, **fields) -> Case:
    return Case(
        name=name or attack,
        attack=attack,
        threat=fields.pop("threat", EDITS),
        control=None if control is None else Control(attack=control),
        **fields,
    )


def suite(*cases: Case, **fields) -> Suite:
    return Suite(**{"name": "small", "version": 1, "cases": cases, **fields})
