# SPDX-License-Identifier: MIT
"""What every attack on events does the same way: ART's duties, checked inputs, exactly valid outputs."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Protocol, final

import numpy as np
import numpy.typing as npt
import torch
from art.attacks.attack import EvasionAttack
from torch import Tensor
from typing_extensions import TypeVar

from art_spiking.attacks.choosing import SWEEP, SWEEP_SAMPLES, strongest
from art_spiking.attacks.objectives import gap
from art_spiking.attacks.serving import serving_text
from art_spiking.attacks.universal.perturbations import Perturbation
from art_spiking.errors import InvalidInput, InvalidModel
from art_spiking.estimators import (
    NO_GRADIENT,
    BlackBoxEventClassifier,
    EventClassifier,
    SpikingClassifier,
    warn_of_own_surrogate,
)
from art_spiking.estimators.inputs import check_shape, label_indices
from art_spiking.events import validate_spike_tensor
from art_spiking.gradient_paths import GradientPath, path_from_dict, path_named
from art_spiking.surrogates import Atan
from art_spiking.threats import EventEdits, EventThreat, Retiming, ThreatModel

Array = npt.NDArray[Any]

SAMPLE_SURROGATE = Atan(alpha=3.0, through_reset=True)
"""The spike derivative that attacks on single samples use unless told otherwise.

The gradient through the reset tells the attack that a spike brought forward is not a spike gained: on the
community N-MNIST network under `subtract` it halved the accuracy that 250 inserted events leave. From one
step to the next it multiplies by 1 - h(u); a derivative higher than 2, an alpha above 4, makes that grow
without bound (measured: attacks all but fail from alpha 5 on).
"""

OneSurrogate = GradientPath | Mapping[str, Any] | str
"""A gradient path, its `to_dict`, its name in `gradient_paths.PATHS`, or "sweep"; see `EventAttack.tune`."""

Surrogates = OneSurrogate | Sequence[OneSurrogate] | None

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
            if predicted is None:
                predicted = self.estimator.predict_torch(clean, self.batch_size).argmax(1)
            open_ = torch.nonzero(~self.fooled(predicted, labels).cpu())[:, 0]
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

        Ties are decided by argmax, as they are when the model is scored: a lead of 0 may be either.
        """
        logits = self.estimator.predict_torch(x_adv, self.batch_size)
        return gap(logits, y) * (-1 if self.targeted else 1), self.fooled(logits.argmax(1), y)

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


class Search(Protocol):
    """A fit of one perturbation, epoch by epoch.

    Attributes:
        label: by what it is differentiated, as plain data; see `labels_of`.
    """

    label: Mapping[str, Any]

    def epoch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Perturbation:
        """Goes once through the craft split and returns the valid perturbation it has come to."""


class UniversalAttack(EventAttack):
    """An attack that fits one perturbation for all samples on a craft split.

    `fit` makes it, `perturbation.apply` uses it on any other split; `generate` does both on one batch, as
    ART's universal attacks do, and its fooling rate is then an in-sample one. A subclass writes
    `fit_tensors`.

    Attributes:
        perturbation: what was fitted last; None before.
    """

    universal: ClassVar[bool] = True
    leaves_fooled: ClassVar[bool] = False

    perturbation: Perturbation | None = None

    @property
    def noise(self) -> Array | None:
        """What was fitted last, as an array; ART's name for it."""
        return None if self.perturbation is None else self.perturbation.values

    @abstractmethod
    def fit_tensors(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Perturbation:
        """Fits on checked tensors; see `EventAttack.run`."""

    @final
    def fit(self, x: Array, y: Array | None = None) -> Perturbation:
        """Fits the perturbation on a craft split and keeps it as `perturbation`.

        Args:
            x: (N, T, C, H, W) event counts.
            y: labels as indices or one-hot; the model's own predictions if None.

        Raises:
            InvalidInput: an input, labels or a budget that do not fit.
        """
        clean, labels, _ = self._prepare(x, y)
        with self._telling_of_gradients():
            self.perturbation = self.fit_tensors(clean, labels, torch.Generator().manual_seed(self.seed))
        return self.perturbation

    def race(
        self, searches: Sequence[Search], x: Tensor, y: Tensor, generator: torch.Generator, *, epochs: int
    ) -> tuple[Perturbation, tuple[float, float]]:
        """Runs every search for one epoch and the best one for the others; `chosen` says which that was.

        Returns:
            The best perturbation seen, by `craft_score`, and its score.
        """
        runs = []
        for search in searches:
            candidate = search.epoch(x, y, generator)
            runs.append((self.craft_score(candidate, x, y), candidate, search))
        score, best, search = min(runs, key=lambda run: run[0])
        self.note_race([(one.label, found) for found, _, one in runs], len(x))
        for _ in range(epochs - 1):
            candidate = search.epoch(x, y, generator)
            value = self.craft_score(candidate, x, y)
            if value < score:
                score, best = value, candidate
        return best, score

    def note_race(self, runs: Sequence[tuple[Mapping[str, Any], tuple[float, float]]], samples: int) -> None:
        """Puts into `chosen` what won a race on the craft split and how all did, in the form of `Choice`.

        Args:
            runs: by what each search is differentiated, and its `craft_score`; the lowest won.
            samples: of the craft split.
        """
        ranked = sorted(runs, key=lambda run: run[1])
        ranking = [{**label, "fooled": 1 - unfooled, "lead": -left} for label, (unfooled, left) in ranked]
        swept = self.chosen if "refused" in self.chosen else self.chosen.get("sweep")
        race = {"surrogate": ranking[0]["path"], "samples": samples, "ranking": ranking}
        self.chosen = race if swept is None else {**race, "sweep": swept}

    def craft_score(self, candidate: Perturbation, x: Tensor, y: Tensor) -> tuple[float, float]:
        """Scores a candidate on the craft split; lower is better for the attacker.

        Returns:
            The share of samples that are not fooled, and the mean gap by which they are not.
        """
        unfooled, lead = 0, 0.0
        for start in range(0, len(x), self.batch_size):
            part = slice(start, start + self.batch_size)
            edited = candidate.apply(x[part], seed=self.seed + start)
            logits = self.estimator.predict_torch(edited, self.batch_size)
            unfooled += int((~self.fooled(logits.argmax(1), y[part])).sum())
            lead += float(gap(logits, y[part]).sum()) * (1 if self.targeted else -1)
        return unfooled / len(x), lead / len(x)

    def run(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Applies what was fitted last, with the attack's own seed.

        Raises:
            InvalidInput: nothing was fitted.
        """
        if self.perturbation is None:
            raise InvalidInput("nothing is fitted yet", remedy="call fit or generate first")
        return self.perturbation.apply(x, seed=self.seed)

    def _generate(self, clean: Tensor, labels: Tensor, predicted: Tensor | None) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        self.perturbation = self.fit_tensors(clean, labels, generator)
        return self.threat.project(self.run(clean, labels, generator), clean)


def shuffled(samples: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yields the indices of all samples in random order, in batches."""
    yield from torch.split(torch.randperm(samples, generator=generator), batch_size)


def attack_views(estimator: SpikingClassifier, surrogates: Surrogates) -> list[SpikingClassifier]:
    """Returns the estimator as the attacker differentiates it, once for each surrogate.

    Args:
        estimator: the model under attack.
        surrogates: a gradient path, its `to_dict` or its name, or several; None, or a network that has no
            exchangeable one, leaves the estimator's own. The latter is told by an `OwnSurrogateWarning`.

    Raises:
        InvalidInput: a path that the network cannot have, or a sweep that was not made.
    """
    if surrogates is None:
        return [estimator]
    if not estimator.exchanges_surrogate:
        warn_of_own_surrogate(estimator)
        return [estimator]
    if surrogates == SWEEP:
        raise InvalidInput(
            "the attack's surrogate is yet to be chosen",
            asked=repr(surrogates),
            remedy="call tune(x, y) with a craft split first, or name a gradient path",
        )
    return [estimator.with_surrogate(surrogate) for surrogate in checked_surrogates(surrogates)]


def labels_of(estimator: SpikingClassifier, surrogates: Surrogates) -> list[dict[str, Any]]:
    """Returns what records call the views of `attack_views`, in their order: by path, None for the own."""
    if surrogates is None or not estimator.exchanges_surrogate:
        return [{"path": None}]
    return [{"path": path.to_dict()} for path in checked_surrogates(surrogates)]


def checked_surrogates(surrogates: Surrogates) -> list[GradientPath]:
    """Returns gradient paths given as themselves, as the dicts that suites hold, or by name.

    Empty for None, and for "sweep", which leaves them to be chosen.

    Raises:
        InvalidInput: neither, or an empty sequence.
        UnknownName: a dict or a name that names none.
    """
    if surrogates is None or surrogates == SWEEP:
        return []
    several = surrogates if isinstance(surrogates, list | tuple) else [surrogates]
    read = [_path(one) for one in several]
    result = [path for path in read if isinstance(path, GradientPath)]
    if not result or len(result) < len(read):
        raise InvalidInput(
            "a surrogate does not fit",
            asked=repr(surrogates),
            accepted="a gradient path or Surrogate, its to_dict or name, several of these, or None",
        )
    return result


def _path(one: Any) -> Any:
    if isinstance(one, str):
        return path_named(one)
    return path_from_dict(one) if isinstance(one, Mapping) else one


def check_whole(name: str, value: object, *, least: int = 1, most: int | None = None) -> None:
    """Raises InvalidInput unless `value` is a whole number from `least` to `most`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):  # type: ignore[operator]
        accepted = f"a whole number of at least {least}" + ("" if most is None else f" and at most {most}")
        raise InvalidInput(f"{name} does not fit", asked=repr(value), accepted=accepted)


def check_flag(name: str, value: object) -> None:
    """Raises InvalidInput unless `value` is True or False."""
    if not isinstance(value, bool):
        raise InvalidInput(f"{name} does not fit", asked=repr(value), accepted="True or False")
