# SPDX-License-Identifier: MIT
"""Is an evaluation to be trusted? Checks of the model and of what an attack returned, told as flags."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from art_spiking.attacks.objectives import soft_gap
from art_spiking.errors import InvalidInput, InvalidModel
from art_spiking.estimators.blackbox import BlackBoxEventClassifier
from art_spiking.estimators.draws import DECISION_DRAWS, TOLERANCE, draw_difference
from art_spiking.events import validate_spike_tensor
from art_spiking.metrics import Classes, accuracy
from art_spiking.records import Flag
from art_spiking.surroundings import own_surroundings

if TYPE_CHECKING:
    from art_spiking.estimators import EventClassifier
    from art_spiking.threats import ThreatModel, Violation

Array = npt.NDArray[Any]

SAMPLES = 16
"""Samples that the checks of a model look at."""

ZERO_GRADIENT_SHARE = 0.1
"""From this share of samples without any gradient on, gradient attacks are taken to be blinded."""

BATCH_SHARE = 0.05
"""From this share of samples on whose logits change with their batch, the model is taken to mix samples."""


def model_flags(estimator: EventClassifier, x: Array, y: Array) -> tuple[Flag, ...]:
    """Every doubt that the model itself raises, whatever the attack.

    Args:
        estimator: the classifier; it is copied, not changed.
        x: clean samples, (N, T, C, H, W); the first `SAMPLES` are used.
        y: labels, (N,).
    """
    inputs = torch.from_numpy(np.ascontiguousarray(x[:SAMPLES]))
    labels = torch.from_numpy(np.ascontiguousarray(y[:SAMPLES]))
    found = [
        zero_gradient_flag(estimator, inputs, labels),
        randomness_flag(estimator, inputs),
        state_flag(estimator, inputs),
    ]
    # The order of samples cannot be told apart from chance in a model that draws random numbers.
    if found[1] is None and found[2] is None:
        found.append(batch_flag(estimator, inputs))
    return tuple(flag for flag in found if flag is not None)


def zero_gradient_flag(estimator: EventClassifier, x: torch.Tensor, y: torch.Tensor) -> Flag | None:
    """A flag when the gradient is exactly zero, or missing, for many samples, or cannot be had.

    It is the gradient of what the attacks ascend: that of cross entropy vanishes by itself where spike counts
    leave no doubt, and blinds none of them. A black box gives none by its nature: that is a flag of its own.
    """
    if isinstance(estimator, BlackBoxEventClassifier):
        text = "the model is a black box: attacks by gradient cannot run, and they might find more"
        return Flag(code="black-box", text=text)
    try:
        with own_surroundings(0):
            gradient, _ = copy.deepcopy(estimator).input_gradient(x, y, objective=soft_gap)
    except InvalidModel:
        share = 1.0
    else:
        share = float((gradient.flatten(1).abs().amax(dim=1) == 0).float().mean())
    if share < ZERO_GRADIENT_SHARE:
        return None
    text = f"the gradient is exactly zero for {share:.0%} of samples: attacks by gradient are blind there"
    return Flag(code="zero-gradient", text=text, value=share)


def randomness_flag(estimator: EventClassifier, x: torch.Tensor) -> Flag | None:
    """A flag when two fresh copies of the model differ on one input: it draws random numbers."""
    worst = draw_difference(estimator, x)
    if worst <= TOLERANCE:
        return None
    text = (
        f"identical calls give different logits: the majority of {DECISION_DRAWS} draws is scored, and "
        "attacks that average no draws of the model are weak against it"
    )
    return Flag(code="non-deterministic", text=text, value=worst)


def state_flag(estimator: EventClassifier, x: torch.Tensor) -> Flag | None:
    """A flag when logits depend on what the model was shown before."""
    fresh = _logits(copy.deepcopy(estimator), x, seed=0)
    used = copy.deepcopy(estimator)
    _logits(used, torch.ones_like(x), seed=0)
    worst = _difference(fresh, _logits(used, x, seed=0))
    if worst <= TOLERANCE:
        return None
    text = "logits depend on earlier calls: the model keeps state, give the classifier its reset"
    return Flag(code="state-leak", text=text, value=worst)


def batch_flag(estimator: EventClassifier, x: torch.Tensor) -> Flag | None:
    """A flag when a sample's logits depend on the samples beside it, or on its place among them."""
    model = copy.deepcopy(estimator)
    together = _logits(model, x, seed=0)
    alone = torch.cat([_logits(model, sample[None], seed=0) for sample in x])
    order = torch.arange(len(x)).flip(0)
    turned = torch.empty_like(together)
    turned[order] = _logits(model, x[order], seed=0)
    scale = max(1.0, float(together.abs().max()))
    apart = torch.maximum((alone - together).abs(), (turned - together).abs()).amax(dim=1) / scale
    share = float((apart > TOLERANCE).float().mean())
    if share < BATCH_SHARE:
        return None
    text = f"logits of {share:.0%} of samples change with the other samples of their batch"
    return Flag(code="batch-dependent", text=text, value=share)


def adversarial_flags(x_adv: Array, x: Array, threat: ThreatModel, *, binary: bool) -> tuple[Flag, ...]:
    """What is wrong with the samples an attack returned; empty exactly when they may be scored.

    Args:
        x_adv: what the attack returned, whatever it is.
        x: the clean samples, (N, T, C, H, W), a copy that the attack never had.
        threat: the threat model they must keep to.
        binary: whether entries must be 0 or 1; else whole counts.
    """
    try:
        validate_spike_tensor(x_adv, shape=x.shape[1:], binary=binary)
        if len(x_adv) != len(x):
            raise InvalidInput("the number of samples changed", asked=len(x), found=len(x_adv))
    except InvalidInput as error:
        return (Flag(code="invalid-sample", text=f"the attack returned no spike tensors: {error}"),)
    violations = threat.violations(x_adv, x)
    if not violations:
        return ()
    return tuple(_violation_flag(violations, rule, len(x)) for rule in sorted({v.rule for v in violations}))


def control_flag(labels: Classes, adversarial: Classes, control: Classes) -> Flag | None:
    """A flag when random edits of equal budget leave no more samples right than the attack."""
    attacked, random = accuracy(labels, adversarial), accuracy(labels, control)
    if random.count > attacked.count:
        return None
    text = (
        f"the random control is as strong as the attack: accuracy {random.value:.2f} against "
        f"{attacked.value:.2f}"
    )
    return Flag(code="control-as-strong", text=text, value=random.value - attacked.value)


def _violation_flag(violations: list[Violation], rule: str, samples: int) -> Flag:
    broken = [violation for violation in violations if violation.rule == rule]
    worst = max(broken, key=lambda violation: abs(violation.found - violation.limit))
    text = f"{len(broken)} of {samples} samples break rule '{rule}' of the threat model: {worst.text}"
    return Flag(code="budget-violation", text=text, value=worst.found)


def _logits(estimator: EventClassifier, x: torch.Tensor, *, seed: int) -> torch.Tensor:
    with own_surroundings(seed):
        return estimator.predict_torch(x, batch_size=len(x))


def _difference(first: torch.Tensor, second: torch.Tensor) -> float:
    """The largest difference, relative to the largest logit where that is above 1."""
    return float((first - second).abs().max()) / max(1.0, float(first.abs().max()))
