# SPDX-License-Identifier: MIT
"""The contract of an attack."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from art_spiking.checks import adversarial_flags
from art_spiking.datasets import EventData
from art_spiking.estimators import SpikingClassifier
from art_spiking.testing.contracts import Property, require, run_contract, same, subject_of
from art_spiking.testing.samples import small_classifier, small_data
from art_spiking.threats import EventEdits, ThreatModel

Array = npt.NDArray[Any]
THREATS: tuple[ThreatModel, ...] = (
    EventEdits(1),
    EventEdits(10),
    EventEdits(10, delete=False),
    EventEdits(0.5, insert=False),
)


def check_attack(
    factory: Callable[..., Any],
    *,
    threats: Sequence[ThreatModel] = THREATS,
    estimator: SpikingClassifier | None = None,
    data: EventData | None = None,
) -> None:
    """Checks an attack as the host calls it: `factory(estimator, threat, seed=...)`.

    Under every threat model: numpy in and out; valid spike tensors within the budget; inputs, labels and
    model untouched; the same seed gives the same result, and no global random state moves; labels may be
    indices or one-hot. A universal attack is fitted on some samples and applied to others.

    Args:
        factory: the attack's class, or what a plugin registers.
        threats: the threat models that the attack supports; by default budgets of edits of several kinds.
        estimator: the model to attack; by default `small_classifier()`.
        data: samples for it; by default `small_data()`.

    Raises:
        ContractBroken: names every property that does not hold.
    """
    model = small_classifier() if estimator is None else estimator
    samples = small_data() if data is None else data
    properties: list[tuple[str, Property]] = []
    for threat in threats:
        trial = _Trial(factory, threat, model, samples)
        properties += [(f"{name} under {threat!r}", check) for name, check in trial.properties()]
    run_contract(f"the attack {subject_of(factory)}", properties)


@dataclass(frozen=True)
class _Trial:
    """One attack under one threat model."""

    factory: Callable[..., Any]
    threat: ThreatModel
    model: SpikingClassifier
    data: EventData

    def properties(self) -> Iterator[tuple[str, Property]]:
        yield "takes and returns numpy arrays", self.takes_and_returns_numpy
        yield "returns valid samples within its budget", self.stays_within_its_budget
        yield "leaves inputs and labels untouched", self.leaves_inputs_untouched
        yield "leaves the model untouched", self.leaves_the_model_untouched
        yield "gives the same result for the same seed", self.repeats_itself
        yield "leaves global random state alone", self.draws_from_its_own_generator
        yield "takes labels as indices or one-hot", self.takes_both_kinds_of_labels

    def attacked(
        self, *, seed: int = 0, one_hot: bool = False, model: SpikingClassifier | None = None
    ) -> Any:
        """What a new attack returns; a universal one is fitted on the first half, applied to the whole.

        Each attack gets a model of its own, so that one property's offence does not hide in another.
        """
        attack = self.factory(
            copy.deepcopy(self.model) if model is None else model, copy.deepcopy(self.threat), seed=seed
        )
        x, y = self.data.x.copy(), self.labels(one_hot=one_hot)
        if not getattr(attack, "universal", False):
            return attack.generate(x, y)
        half = max(1, len(x) // 2)
        return attack.fit(x[:half], y[:half]).apply(x, seed=seed)

    def labels(self, *, one_hot: bool) -> Array:
        y = self.data.y.copy()
        return np.eye(self.model.nb_classes, dtype=np.float32)[y] if one_hot else y

    def takes_and_returns_numpy(self) -> None:
        found = self.attacked()
        require(isinstance(found, np.ndarray), f"it returned {type(found).__name__}, not a numpy array")
        require(found.dtype == np.float32, f"it returned {found.dtype}, not float32")
        require(found.shape == self.data.x.shape, f"it returned {found.shape} for {self.data.x.shape}")

    def stays_within_its_budget(self) -> None:
        found = self.attacked()
        flags = adversarial_flags(found, self.data.x, self.threat, binary=self.data.grid.binary)
        require(not flags, "; ".join(flag.text for flag in flags))

    def leaves_inputs_untouched(self) -> None:
        attack = self.factory(copy.deepcopy(self.model), copy.deepcopy(self.threat), seed=0)
        x, y = self.data.x.copy(), self.data.y.copy()
        calls = [attack.generate]
        if getattr(attack, "universal", False):
            calls = [attack.fit, lambda x, _: attack.fit(x, self.data.y.copy()).apply(x)]
        for call in calls:
            call(x, y)
        require(same(x, self.data.x), "it changed the samples that it was given")
        require(same(y, self.data.y), "it changed the labels that it was given")

    def leaves_the_model_untouched(self) -> None:
        model = copy.deepcopy(self.model)
        before = {name: value.clone() for name, value in model.model.state_dict().items()}
        frozen = [parameter.requires_grad for parameter in model.model.parameters()]
        readout = model.readout
        self.attacked(model=model)
        after = model.model.state_dict()
        changed = [name for name, value in before.items() if not torch.equal(value, after[name])]
        require(not changed, f"it changed {', '.join(changed)}")
        now = [parameter.requires_grad for parameter in model.model.parameters()]
        require(now == frozen, "it switched gradients of the parameters on or off")
        require(model.readout == readout, "it changed the readout")

    def repeats_itself(self) -> None:
        for seed in (0, 1):
            first, second = self.attacked(seed=seed), self.attacked(seed=seed)
            require(same(first, second), f"two attacks with seed {seed} returned different samples")

    def draws_from_its_own_generator(self) -> None:
        torch_before, numpy_before = torch.random.get_rng_state(), _numpy_state()
        self.attacked()
        moved = not torch.equal(torch_before, torch.random.get_rng_state())
        require(not moved, "it drew from torch's global generator")
        require(_numpy_state() == numpy_before, "it drew from numpy's global generator")

    def takes_both_kinds_of_labels(self) -> None:
        require(same(self.attacked(), self.attacked(one_hot=True)), "one-hot labels gave another result")


def _numpy_state() -> bytes:
    """Numpy's global generator as it is now; it is read, not drawn from."""
    return pickle.dumps(np.random.get_state())  # noqa: NPY002
