# SPDX-License-Identifier: MIT
"""Models that draw random numbers: told by experiment, decided by the majority of several draws."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from art_spiking.surroundings import own_surroundings

if TYPE_CHECKING:
    from art_spiking.estimators import EventClassifier

DECISION_DRAWS = 10
"""Forward passes whose majority is what a random model says."""

# Another order of floating-point sums moves logits by less than this, relative to the largest.
TOLERANCE = 1e-4

_SEEDS = (0, 0, 1)


def draw_difference(estimator: EventClassifier, x: Tensor) -> float:
    """How far the logits of fresh copies of a model differ on one input, relative to the largest above 1.

    Copies, so that state which a model keeps is not taken for randomness; two of them with the same seed, so
    that a model which seeds itself by the clock is found too.
    """
    first, *others = (_drawn(copy.deepcopy(estimator), x, seed) for seed in _SEEDS)
    scale = max(1.0, float(first.abs().max()))
    return max(float((first - other).abs().max()) for other in others) / scale


def is_random(estimator: EventClassifier, x: Tensor) -> bool:
    """Whether the model draws random numbers, as a few inputs tell."""
    return draw_difference(estimator, x) > TOLERANCE


def decide(
    estimator: EventClassifier,
    x: Tensor,
    *,
    draws: int,
    seed: int | None = None,
    batch_size: int = 50,
) -> tuple[Tensor, Tensor]:
    """The classes (N,) that most of several forward passes give, and the mean logits (N, K).

    With one draw it is the class of the largest logit. Of classes with equal votes the one with the largest
    mean logit wins, then the lowest.

    Args:
        estimator: the model.
        x: inputs (N, *input_shape).
        draws: forward passes.
        seed: of what is drawn; by default torch's generators go on from where they are.
        batch_size: samples per pass.
    """
    if seed is not None:
        with own_surroundings(seed):
            return decide(estimator, x, draws=draws, batch_size=batch_size)
    passes = [estimator.predict_torch(x, batch_size) for _ in range(draws)]
    mean = torch.stack(passes).mean(0)
    if draws == 1:
        return mean.argmax(1), mean
    votes = torch.stack([torch.nn.functional.one_hot(p.argmax(1), p.shape[1]) for p in passes]).sum(0)
    most = votes == votes.amax(1, keepdim=True)
    return mean.masked_fill(~most, -torch.inf).argmax(1), mean


def _drawn(estimator: EventClassifier, x: Tensor, seed: int) -> Tensor:
    with own_surroundings(seed):
        return estimator.predict_torch(x, batch_size=len(x))
