# SPDX-License-Identifier: MIT
"""What every attack on events does the same way: ART's duties, checked inputs, exactly valid outputs."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, ClassVar, Generic, final

import numpy as np
import numpy.typing as npt
import torch
from art.attacks.attack import EvasionAttack
from torch import Tensor
from typing_extensions import TypeVar

from art_spiking.attacks.choosing import SWEEP, SWEEP_SAMPLES, strongest
from art_spiking.attacks.objectives import gap
from art_spiking.attacks.options import check_flag, check_whole
from art_spiking.attacks.serving import serving_text
from art_spiking.errors import InvalidInput, InvalidModel
from art_spiking.estimators import (
    NO_GRADIENT,
    BlackBoxEventClassifier,
    EventClassifier,
    SpikingClassifier,
)
from art_spiking.estimators.inputs import check_shape, label_indices
from art_spiking.events import validate_spike_tensor
from art_spiking.gradient_paths import GradientPath
from art_spiking.threats import EventEdits, EventThreat, Retiming, ThreatModel

Array = npt.NDArray[Any]


_ACCEPTED = {"EventThreat": "EventEdits, PixelRate, PatchRegion, or several joined by &"}
ThreatT = TypeVar("ThreatT", bound=ThreatModel, default=EventThreat)


class EventAttack(EvasionAttack, Generic[ThreatT]):
    """An attack whose results are events that its threat model allows.

    A subclass writes `run` and its own hyper-parameters, keyword-only and with defaults, and names these in
    `attack_params`. It gets checked tensors on the estimator's device and a seeded generator. Whatever it
    returns is projected onto the threat model and then checked by it.

    Attributes:
        threats: the kinds of threat model that it serves.
        gradients: whether it needs gradients; one that does not works on any model that predicts.
        universal: whether `fit` makes one perturbation for all samples.
        leaves_fooled: whether samples that are misclassified already are returned unchanged.
        chosen: what `tune` chose, as plain data for the record; empty where nothing was left to choose.
    """

    attack_params: ClassVar[list[str]] = [*EvasionAttack.attack_params, "threat", "seed", "batch_size"]
    _estimator_requirements = ((SpikingClassifier, BlackBoxEventClassifier),)
    threats: ClassVar[tuple[type[ThreatModel], ...]] = (EventThreat,)
    gradients: ClassVar[bool] = True
    universal: ClassVar[bool] = False
    leaves_fooled: ClassVar[bool] = True
    chosen: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self, estimator: EventClassifier, threat: ThreatT, *, seed: int = 0, batch_size: int = 50
    ) -> None:
        """Takes what every attack needs.

        Args:
            estimator: the model under attack, unfolded; a SpikingClassifier where the attack takes gradients.
            threat: what may be changed.
            seed: the same seed gives the same result.
            batch_size: samples attacked at once.

        Raises:
            InvalidInput: a threat model of another kind, a model without gradients where the attack takes
                them, or an option that does not fit; the first two list the attacks that do serve.
            art.exceptions.EstimatorError: the estimator is no SpikingClassifier nor BlackBoxEventClassifier.
        """
        super().__init__(estimator=estimator)
        if self.needs_gradients and not isinstance(estimator, SpikingClassifier):
            raise InvalidInput(
                f"{type(self).__name__} needs gradients, and this model gives none",
                found=type(estimator).__name__,
                accepted="SpikingClassifier",
                remedy=f"attacks that ask for answers alone: {serving_text(threat, without_gradients=True)}",
            )
        self.threat = threat
        self.seed = seed
        self.batch_size = batch_size
        EventAttack._check_params(self)

    @classmethod
    def serves(cls, threat: ThreatModel) -> bool:
        """Whether it takes a threat model; errors that list attacks ask it."""
        return isinstance(threat, cls.threats)

    @property
    def needs_gradients(self) -> bool:
        """Whether it needs gradients with the options that it has; what its class says, unless it is told."""
        return self.gradients

    def set_params(self, **kwargs: Any) -> None:
        """ART's; where a value does not fit, the attack stays as it was."""
        before = {name: getattr(self, name) for name in kwargs if hasattr(self, name)}
        try:
            super().set_params(**kwargs)
        except Exception:
            for name, value in before.items():
                setattr(self, name, value)
            raise

    def _check_params(self) -> None:
        """Checks the attributes; ART's `set_params` calls it after a change."""
        super()._check_params()
        if not hasattr(self, "batch_size"):
            return  # ART checks once before there is anything to check
        if not isinstance(self.threat, self.threats):
            raise InvalidInput(
                f"{type(self).__name__} does not serve this threat model",
                asked=repr(self.threat),
                accepted=", ".join(_ACCEPTED.get(kind.__name__, kind.__name__) for kind in self.threats),
                remedy=f"attacks that do: {serving_text(self.threat)}",
            )
        if getattr(self.estimator.model, "folded", False):
            raise InvalidInput(
                "a folded view cannot be attacked in events", remedy="pass the classifier itself"
            )
        check_whole("seed", self.seed, least=0)
        check_whole("batch_size", self.batch_size)
        check_flag("targeted", self.targeted)

    @abstractmethod
    def run(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Attacks one batch.

        Args:
            x: clean counts (N, T, C, H, W), float32; not to be changed.
            y: int64 (N,): labels to leave or, if `targeted`, classes to reach.
            generator: the only source of randomness, on the CPU.

        Returns:
            The adversarial batch, of the same shape.
        """

    @final
    def generate(self, x: Array, y: Array | None = None, **kwargs: Any) -> Array:
        """Attacks every sample.

        Args:
            x: (N, T, C, H, W) or (N, T, F) event counts.
            y: labels as indices or one-hot; the model's own predictions if None. Targets where the attack is
                targeted.
            **kwargs: ART passes options here; there are none.

        Returns:
            Adversarial counts like `x`, float32, allowed by the threat model.

        Raises:
            InvalidInput: an input, labels or a budget that do not fit, or an attack that broke its rules.
        """
        if kwargs:
            raise InvalidInput("this attack takes no such option", asked=", ".join(kwargs), accepted="x, y")
        clean, labels, predicted = self._prepare(x, y)
        with self._telling_of_gradients():
            result = self._generate(clean, labels, predicted)
        self.check_valid(result, clean)
        return result.cpu().numpy()

    def _generate(self, clean: Tensor, labels: Tensor, predicted: Tensor | None) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        result = clean.clone()
        open_ = torch.arange(len(clean))
        if self.leaves_fooled:
            already = self.lead(clean, labels)[1] if predicted is None else self.fooled(predicted, labels)
            open_ = torch.nonzero(~already.cpu())[:, 0]
        for part in torch.split(open_, self.batch_size) if len(open_) else ():
            x = clean[part]
            found = self.run(x, labels[part], generator)
            result[part] = self.threat.project(found.detach(), x)
        return result

    @contextmanager
    def _telling_of_gradients(self) -> Iterator[None]:
        """Lists the attacks that would do, where a model turns out to give no gradient."""
        try:
            yield
        except InvalidModel as error:
            if error.what != NO_GRADIENT:
                raise
            raise InvalidModel(
                f"{type(self).__name__} needs gradients: {error.what}",
                remedy=f"{error.remedy}; or attack without gradients: "
                f"{serving_text(self.threat, without_gradients=True)}",
            ) from error

    def tune(self, x: Array, y: Array) -> None:
        """Chooses on a craft split what was left open: the surrogate, where it is "sweep".

        `evaluate` calls it before the attack. The surrogate becomes the strongest of `choosing.CANDIDATES` on
        the first `SWEEP_SAMPLES` samples, and `chosen` says how all of them did. A network that cannot
        exchange its surrogate leaves nothing to choose.

        Args:
            x: (N, T, C, H, W) event counts of the craft split.
            y: their labels, or targets where the attack is targeted.
        """
        if getattr(self, "surrogate", None) != SWEEP or not self.estimator.exchanges_surrogate:
            return

        def build(path: GradientPath) -> EventAttack[Any]:
            twin = copy.copy(self)
            twin.set_params(surrogate=path)
            return twin

        choice = strongest(build, x[:SWEEP_SAMPLES], y[:SWEEP_SAMPLES])
        self.set_params(surrogate=choice.best)
        self.chosen = choice.to_dict()

    def fooled(self, predicted: Tensor, y: Tensor) -> Tensor:
        """Whether each predicted class is what the attacker wants: the target, or any class but `y`."""
        return predicted == y if self.targeted else predicted != y

    def lead(self, x_adv: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """How far each sample is towards what the attacker wants, and whether it is there.

        Ties are decided by argmax, as they are when the model is scored: a lead of 0 may be either. A view
        that draws random numbers tells several passes, as `passes_torch` (D, N, K): the lead is one standard
        deviation below their mean, and the sample is there if that is above 0, or all passes say so. A mean
        above 0 would be chance: a search tries often, and stops where it is lucky.
        """
        several = getattr(self.estimator, "passes_torch", None)
        if several is None:
            passes = self.estimator.predict_torch(x_adv, self.batch_size)[None]
        else:
            passes = several(x_adv, self.batch_size)
        leads = torch.stack([gap(logits, y) for logits in passes]) * (-1 if self.targeted else 1)
        there = torch.stack([self.fooled(logits.argmax(1), y) for logits in passes]).all(0)
        if len(passes) == 1:
            return leads[0], there
        lead = leads.mean(0) - leads.std(0)
        return lead, there | (lead > 0)

    def check_valid(self, x_adv: Tensor, x: Tensor) -> None:
        """Raises InvalidInput if the threat model finds a broken rule."""
        found = self.threat.violations(x_adv, x)
        if found:
            raise InvalidInput(
                f"{type(self).__name__} returned samples that its threat model forbids",
                found="; ".join(violation.text for violation in found[:3]),
                accepted=repr(self.threat),
                remedy="this is an error in the attack or the threat model; do not use its result",
            )

    def _prepare(self, x: Array, y: Array | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Checks a batch; returns it with labels, and predictions where they had to be made."""
        check_shape(np.shape(x), self.estimator.input_shape)
        # A copy: neither the attack nor ART's callers may see the other's changes.
        counts = np.array(validate_spike_tensor(x, shape=self.estimator.input_shape, binary=False))
        clean = torch.from_numpy(counts).to(self.estimator.device)
        # The threat refuses here, before any work, a budget or a polarity that the input cannot have.
        self.threat.check_input(clean[:1])
        if isinstance(self.threat, Retiming) and clean.shape[1] == 1:
            raise InvalidInput(
                "events cannot move in time in a recording of one step",
                asked=repr(self.threat),
                found=f"{tuple(clean.shape)}: T is 1",
                remedy=f"attacks that insert and delete events: {serving_text(EventEdits(1))}",
            )
        if y is not None:
            labels = label_indices(np.asarray(y), len(clean), self.estimator.nb_classes)
            return clean, torch.as_tensor(labels, device=clean.device), None
        if self.targeted:
            raise InvalidInput("a targeted attack needs its target classes", remedy="pass them as y")
        predicted = self.estimator.predict_torch(clean, self.batch_size).argmax(1)
        return clean, predicted, predicted
