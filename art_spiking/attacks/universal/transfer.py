# SPDX-License-Identifier: MIT
"""Does what was fitted on one model fool another? Universal perturbations, every model against every one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from art_spiking.attacks.universal.attack import UniversalAttack
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier

Array = npt.NDArray[Any]
Samples = tuple[Array, Array]
"""Event counts (N, T, C, H, W) and labels (N,)."""
Attack = Callable[[SpikingClassifier], UniversalAttack]
"""Makes the attack on a model."""


@dataclass(frozen=True, eq=False)
class TransferMatrix:
    """Accuracies under perturbations that were fitted on other models.

    Attributes:
        names: of the models.
        clean: (K,) accuracy of each model on the test samples.
        accuracy: (K, K) of the victims, columns, under what was fitted on the sources, rows.
        control: (K,) of the victims under the control.
    """

    names: tuple[str, ...]
    clean: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]
    control: npt.NDArray[np.float64]

    @property
    def transferred(self) -> npt.NDArray[np.float64]:
        """(K, K): what share of the accuracy that a fit on the victim itself costs, one on the source costs.

        1 on the diagonal; NaN where the victim's own fit costs nothing.
        """
        lost = self.clean - self.accuracy
        own = lost.diagonal()
        return np.divide(lost, own, out=np.full_like(lost, np.nan), where=own > 0)


def transfer_matrix(
    models: Mapping[str, SpikingClassifier],
    attack: Attack,
    control: Attack,
    *,
    craft: Samples,
    test: Samples,
    seed: int = 0,
) -> TransferMatrix:
    """Fits a universal perturbation on each model and scores it on all of them.

    The models may come from any framework and have any semantics and defences; each is attacked and scored
    with its own. What is fitted is applied with the same seed to all.

    Args:
        models: by name; all take samples of one shape.
        attack: makes the attack on a model.
        control: makes the random control, fitted once, on the first model, of which it asks nothing.
        craft: samples and labels to fit on.
        test: samples and labels to score on.
        seed: decides shifts and places where these are random.

    Raises:
        InvalidInput: no models, or samples that do not fit one.
    """
    if not models:
        raise InvalidInput("a transfer matrix needs models", found="none")
    x, y = test

    def accuracy(model: SpikingClassifier, samples: Array) -> float:
        return float((model.predict(samples).argmax(1) == y).mean())

    first = next(iter(models.values()))
    noise = control(first).fit(*craft).apply(x, seed=seed)
    rows = []
    for source in models.values():
        x_adv = attack(source).fit(*craft).apply(x, seed=seed)
        rows.append([accuracy(victim, x_adv) for victim in models.values()])
    return TransferMatrix(
        names=tuple(models),
        clean=np.array([accuracy(model, x) for model in models.values()]),
        accuracy=np.array(rows),
        control=np.array([accuracy(model, noise) for model in models.values()]),
    )
