# SPDX-License-Identifier: MIT
"""How strong an attack is with each gradient path, on a plain and on a masked model: a part of strength.py.

The masked model is the same network, whose own surrogate is `Atan(100)`: to a gradient through its own it is
all but flat, and any other path undoes it. The sweep chooses among the paths on train recordings.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from art.attacks.evasion import ProjectedGradientDescent

from art_spiking.attacks import EventGradientAttack
from art_spiking.attacks.choosing import CANDIDATES
from art_spiking.gradient_paths import GradientPath, Hart, Mixture, path_text
from art_spiking.surrogates import Atan
from art_spiking.threats import EventEdits

if TYPE_CHECKING:
    from strength import Setting

    from art_spiking.estimators import SpikingClassifier

PATHS: tuple[GradientPath, ...] = (
    *CANDIDATES,
    Hart(Atan(3.0, through_reset=True)),
    Mixture((Atan(3.0, through_reset=True), Atan(1.0, through_reset=True)), over="steps"),
)
"""What is measured."""

MASKED = Atan(100.0)
EPSILON = 0.02
CRAFT = 50


def paths(setting: Setting) -> Iterator[dict[str, Any]]:
    """Success at 50 and 200 edits, and of PGD on whole frames in an L-inf ball, with each path."""
    x, y = setting.right()
    plain, masked = setting.model, setting.model.with_surrogate(MASKED)
    named = [(path_text(path.to_dict()), plain.with_surrogate(path)) for path in PATHS]
    for name, view in (("own surrogate, masked", masked), ("own surrogate", plain), *named):
        row: dict[str, Any] = {"attack": name, "samples": len(x)}
        for budget in (50, 200):
            start = time.perf_counter()
            attack = EventGradientAttack(view, EventEdits(budget), surrogate=None)
            row[f"{budget} edits"] = success(setting, attack.generate(x, y), y)
            row[f"ms a sample at {budget}"] = 1e3 * (time.perf_counter() - start) / len(x)
        row[f"frames, L-inf {EPSILON}"] = success(setting, frames(view).generate(x, y), y)
        yield row
    craft = setting.craft(CRAFT)
    for name, model in (("sweep", setting.model), ("sweep, masked", masked)):
        attack = EventGradientAttack(model, EventEdits(50), surrogate="sweep")
        attack.tune(*craft)
        yield {
            "attack": name,
            "samples": len(x),
            "50 edits": success(setting, attack.generate(x, y), y),
            "chosen": path_text(attack.chosen["surrogate"]),
            "on craft": [f"{path_text(row['path'])} {row['fooled']:.2f}" for row in attack.chosen["ranking"]],
        }


def frames(view: SpikingClassifier) -> ProjectedGradientDescent:
    """PGD on the cells of all frames, which no sensor could emit: the attack of the papers on images."""
    return ProjectedGradientDescent(
        view, norm=np.inf, eps=EPSILON, eps_step=EPSILON / 4, max_iter=10, batch_size=50, verbose=False
    )


def success(setting: Setting, x_adv: np.ndarray, y: np.ndarray) -> float:
    """Share of the samples that the deployed model gets wrong."""
    return float((setting.model.predict(x_adv).argmax(1) != y).mean())
