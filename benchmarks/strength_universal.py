# SPDX-License-Identifier: MIT
"""Sections of strength.py on universal perturbations and patches: forms, filters, objects, and transfer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from strength_patch_limit import patch_limit

from art_spiking.attacks import (
    HeatmapPerturbation,
    IterativePerturbation,
    Patch,
    Perturbation,
    RandomPatch,
    RandomUniversal,
    RobustUniversalPerturbation,
    SpikingAdversarialPatch,
    SpikingUniversalPerturbation,
    UniversalAttack,
)
from art_spiking.attacks.universal.transfer import Samples, transfer_matrix
from art_spiking.building import Conv, Dense, Flat, LayerPlan, Neurons
from art_spiking.datasets import EventData, load_data
from art_spiking.defences import BackgroundActivityFilter, MaskFilter
from art_spiking.estimators import SpikingClassifier
from art_spiking.model_files import load_model
from art_spiking.network import SpikingNetwork
from art_spiking.semantics import PRESETS, NeuronSemantics
from art_spiking.surroundings import own_surroundings
from art_spiking.threats import EventEdits, EventThreat, ObjectRegion, PatchRegion, PixelRate

if TYPE_CHECKING:
    from strength import Row, Setting

SUBMISSIONS = Path(__file__).resolve().parents[1] / "leaderboard" / "submissions"
DT_US = 10_000
CRAFT, DRAWS = 400, 5
MIDDLE = (14, 14)
"""Top and left of a patch of 5 pixels in the middle of a sensor of 34."""
LIF_EPOCHS = 12
FILTERS: dict[str, Any] = {
    "background activity, 10 ms": BackgroundActivityFilter(DT_US, DT_US),
    "background activity, same step, support 4": BackgroundActivityFilter(1, DT_US, support=4),
    "mask, 16 events": MaskFilter(16),
}


def over_draws(setting: Setting, made: Perturbation) -> float:
    """Mean accuracy on the test recordings, over draws of shifts and places."""
    return float(np.mean([setting.accuracy(made.apply(setting.test.x, seed=k)) for k in range(DRAWS)]))


def place_of(made: Perturbation) -> tuple[int, int] | Literal["random"]:
    """Where a patch lies, as an attack is told it."""
    return made.location if isinstance(made, Patch) and made.location is not None else "random"


def forms(setting: Setting) -> Iterator[Row]:
    """Accuracy after SPAA's masks, and after masks that need no synchronisation or aim."""
    x, y = setting.craft(CRAFT)
    for budget in (250, 500, 1000):
        threat = EventEdits(budget, delete=False)
        chance = RandomUniversal(setting.model, threat, max_shift=10).fit(x, y)
        control = {"random": over_draws(setting, chance)}
        attacks: dict[str, UniversalAttack] = {
            "frequency heatmap": HeatmapPerturbation(setting.model, threat),
            "iterative": IterativePerturbation(setting.model, threat),
            "shifts up to 100 ms": RobustUniversalPerturbation(setting.model, threat, max_translation=0),
            "and up to 2 pixels": RobustUniversalPerturbation(setting.model, threat),
        }
        for name, attack in attacks.items():
            yield {
                "attack": f"{budget} insertions, {name}",
                "accuracy": over_draws(setting, attack.fit(x, y)),
            } | control


def filters(setting: Setting) -> Iterator[Row]:
    """What a mask and a patch still cost behind filters."""
    threat = EventEdits(250, delete=False)
    yield from _filtered(setting, "250 insertions", threat, SpikingUniversalPerturbation, RandomUniversal)
    yield from _filtered(
        setting,
        "patch of 2.5%, in the middle",
        PatchRegion(0.025),
        lambda model, threat: SpikingAdversarialPatch(model, threat, location=MIDDLE, epochs=4),
        lambda model, threat: RandomPatch(model, threat, location=MIDDLE),
    )


def _filtered(
    setting: Setting,
    what: str,
    threat: EventThreat,
    build: Callable[..., UniversalAttack],
    by_chance: Callable[..., UniversalAttack],
) -> Iterator[Row]:
    """Accuracy behind each filter, for an attacker who knows of it, and for one who does not."""
    x, y = setting.craft(CRAFT // 2)
    bare = build(setting.model, threat).fit(x, y)
    unfiltered = setting.accuracy(setting.test.x) - over_draws(setting, bare)
    for name, one in FILTERS.items():
        defended = SpikingClassifier(
            setting.network, input_shape=setting.test.grid.shape, preprocessing_defences=one
        )
        behind = type(setting)(defended, setting.train, setting.test)
        before = behind.accuracy(setting.test.x)
        after = over_draws(behind, build(defended, threat).fit(x, y))
        yield {
            "attack": f"{what}; {name}",
            "clean": before,
            "accuracy": after,
            "filter unknown": over_draws(behind, bare),
            "random": over_draws(behind, by_chance(defended, threat).fit(x, y)),
            "loss left": (before - after) / unfiltered,
        }


def objects(setting: Setting) -> Iterator[Row]:
    """Accuracy under patches where the network looks, and under what an object could do."""
    x, y = setting.craft(CRAFT // 2)
    moving = ObjectRegion(0.05, velocity=(0.0, 60.0), dt_us=DT_US)
    threats: dict[str, tuple[EventThreat, Any]] = {
        "patch of 2.5%, attended place": (PatchRegion(0.025), "attended"),
        "object of 5% at rest": (ObjectRegion(0.05), "random"),
        "object of 5%, 60 px/s": (moving, "random"),
        "object of 5%, 60 px/s, 30 Hz a pixel": (moving & PixelRate(30.0, DT_US), "random"),
        "object of 5%, flickering at 25 Hz": (ObjectRegion(0.05, flicker_hz=25.0, dt_us=DT_US), "random"),
        "object of 5%, flickering, best place": (
            ObjectRegion(0.05, flicker_hz=25.0, dt_us=DT_US),
            "best",
        ),
    }
    for name, (threat, location) in threats.items():
        made = SpikingAdversarialPatch(setting.model, threat, location=location, epochs=6).fit(x, y)
        control = RandomPatch(setting.model, threat, location=place_of(made)).fit(x, y)
        yield {
            "attack": name,
            "accuracy": over_draws(setting, made),
            "random": over_draws(setting, control),
        }


def transfer(setting: Setting) -> Iterator[Row]:
    """Accuracy of each model, columns, under 500 insertions that were fitted on another, rows."""
    craft = setting.craft(CRAFT // 2)
    network = setting.network
    models = {
        "subtract, one, clamp": setting.model,
        "reset to 0": _with(network, PRESETS["spikingjelly"], setting.test),
        "subtract, several, clamp": _with(network, PRESETS["sinabs"], setting.test),
        "LIF, trained here": trained_lif(setting),
    }
    yield from _transferred(models, craft, (setting.test.x, setting.test.y))
    train, test = (
        load_data("digits-dvs", split, limit=limit) for split, limit in (("train", 200), ("test", 100))
    )
    yield from _transferred(submitted(test), (train.x, train.y), (test.x, test.y))


def _transferred(models: Mapping[str, SpikingClassifier], craft: Samples, test: Samples) -> Iterator[Row]:
    threat = EventEdits(500, delete=False)
    found = transfer_matrix(
        models,
        lambda model: SpikingUniversalPerturbation(model, threat),
        lambda model: RandomUniversal(model, threat),
        craft=craft,
        test=test,
    )
    lines = {"clean": found.clean, "random": found.control}
    lines |= {f"fitted on {name}": row for name, row in zip(found.names, found.accuracy, strict=True)}
    for name, values in lines.items():
        yield {"attack": name} | dict(zip(found.names, values.tolist(), strict=True))


def _with(network: SpikingNetwork, semantics: NeuronSemantics, data: EventData) -> SpikingClassifier:
    return SpikingClassifier(network.with_semantics(semantics), input_shape=data.grid.shape)


def trained_lif(setting: Setting) -> SpikingClassifier:
    """A network of leaky neurons, trained on the recordings that are here, the craft ones included."""
    data = load_data("nmnist", "train", steps=setting.test.grid.steps, dt_us=DT_US, data_dir=setting.data_dir)
    neurons = Neurons("LIF", tau_us=5 * DT_US, r=5.0)
    layers: list[LayerPlan] = [
        Conv(12, 5, stride=2, padding=2, gain=3.0),
        neurons,
        Conv(24, 3, stride=2, padding=1, gain=2.0),
        neurons,
        Flat(),
        Dense(10, gain=2.0),
        neurons,
    ]
    network = SpikingNetwork.sequential(
        data.grid.shape[1:],
        layers,
        semantics=PRESETS["spikingjelly"],
        dt_us=DT_US,
        generator=torch.Generator().manual_seed(0),
    )
    model = SpikingClassifier(
        network, input_shape=data.grid.shape, optimizer=torch.optim.Adam(network.parameters(), lr=2e-3)
    )
    with own_surroundings(0):  # ART shuffles by global random states
        model.fit(data.x, data.y, batch_size=25, nb_epochs=LIF_EPOCHS, verbose=False)
    return model


def submitted(data: EventData) -> dict[str, SpikingClassifier]:
    """The digits submissions, with their defences."""
    noise_filter = BackgroundActivityFilter(20_000, DT_US, support=2)
    defences = {"digits-plain": None, "digits-adversarial": None, "digits-filtered": noise_filter}
    return {
        name: SpikingClassifier(
            load_model(SUBMISSIONS / name), input_shape=data.grid.shape, preprocessing_defences=defence
        )
        for name, defence in defences.items()
    }


UNIVERSAL_SECTIONS = {
    "forms": forms,
    "filters": filters,
    "objects": objects,
    "patch-limit": patch_limit,
    "transfer": transfer,
}
