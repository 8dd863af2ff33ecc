# SPDX-License-Identifier: MIT
"""Chooses the gradient path that an attack is strongest with, on a craft split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from art_spiking.errors import InvalidInput
from art_spiking.estimators.inputs import label_indices
from art_spiking.gradient_paths import (
    AdaptiveSharpness,
    GradientPath,
    Hart,
    Mixture,
    Pooled,
    PotentialWidth,
    RateGradient,
    ThroughRate,
)
from art_spiking.surrogates import Atan, StraightThrough, Triangle

if TYPE_CHECKING:
    from art_spiking.attacks.base import EventAttack

Array = npt.NDArray[Any]

SWEEP = "sweep"
"""What an attack takes as its surrogate where `EventAttack.tune` is to choose one."""

SWEEP_SAMPLES = 50
"""Samples of the craft split that `EventAttack.tune` tries the candidates on."""

_NARROW, _WIDE = Atan(3.0, through_reset=True), Atan(1.0, through_reset=True)

CANDIDATES: tuple[GradientPath, ...] = (
    PotentialWidth(through_reset=True),
    Mixture((_NARROW, _WIDE), over="layers"),
    _NARROW,
    PotentialWidth(),
    Triangle(1.0),
    Hart(),
    Atan(2.0),
    AdaptiveSharpness(),
    AdaptiveSharpness(through_reset=True),
    Mixture(),
    Pooled(_NARROW, "average"),
    Pooled(_NARROW, "lp"),
    _WIDE,
    RateGradient(),
    StraightThrough(),
    ThroughRate(),
)
"""What a sweep tries unless told otherwise, about in the order of strength on the N-MNIST network."""


@dataclass(frozen=True)
class Trial:
    """How an attack fared with one gradient path.

    Attributes:
        path: the path.
        fooled: share of the samples that the attacker has where he wants them.
        lead: mean lead over all samples, see `EventAttack.lead`.
    """

    path: GradientPath
    fooled: float
    lead: float

    def to_dict(self) -> dict[str, Any]:
        """The trial as plain data."""
        return {"path": self.path.to_dict(), "fooled": self.fooled, "lead": self.lead}


@dataclass(frozen=True)
class Choice:
    """What a sweep found.

    Attributes:
        ranking: the trials, strongest first.
        samples: how many samples each was tried on.
        refused: paths that the network cannot have.
    """

    ranking: tuple[Trial, ...]
    samples: int
    refused: tuple[GradientPath, ...] = ()

    @property
    def best(self) -> GradientPath:
        """The strongest path."""
        return self.ranking[0].path

    def to_dict(self) -> dict[str, Any]:
        """The choice as plain data, for records."""
        return {
            "surrogate": self.best.to_dict(),
            "samples": self.samples,
            "ranking": [trial.to_dict() for trial in self.ranking],
            "refused": [path.to_dict() for path in self.refused],
        }


def strongest(
    build: Callable[[GradientPath], EventAttack[Any]],
    x: Array,
    y: Array,
    candidates: Sequence[GradientPath] = CANDIDATES,
) -> Choice:
    """Runs an attack once with each gradient path and ranks them: share fooled, then mean lead.

    The samples are those of a craft split: a path that is chosen on the samples it is scored on flatters the
    attack. Of paths that do equally well the first candidate is chosen.

    Args:
        build: makes the attack with a path, such as `lambda path: EventGradientAttack(classifier, threat,
            surrogate=path)`.
        x: (N, T, C, H, W) event counts.
        y: labels as indices or one-hot, or targets where the attack is targeted.
        candidates: the paths.

    Raises:
        InvalidInput: no candidate, or none that the network can have; samples or labels that do not fit.
    """
    trials, refused = [], []
    for path in candidates:
        attack = build(path)
        try:
            attack.estimator.with_surrogate(path)
        except InvalidInput:
            refused.append(path)
            continue
        trials.append(_trial(attack, path, x, y))
    if not trials:
        raise InvalidInput(
            "there is no gradient path to choose from",
            found=", ".join(path.name for path in refused) or "no candidate",
            accepted="one or more that the network can have",
        )
    ranking = sorted(trials, key=lambda trial: (-trial.fooled, -trial.lead))
    return Choice(tuple(ranking), len(x), tuple(refused))


def _trial(attack: EventAttack[Any], path: GradientPath, x: Array, y: Array) -> Trial:
    labels = torch.as_tensor(label_indices(np.asarray(y), len(x), attack.estimator.nb_classes))
    device = attack.estimator.device
    found = torch.from_numpy(attack.generate(x, y)).to(device)
    lead, fooled = attack.lead(found, labels.to(device))
    return Trial(path, float(fooled.double().mean()), float(lead.double().mean()))
