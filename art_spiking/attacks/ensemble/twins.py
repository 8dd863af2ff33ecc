# SPDX-License-Identifier: MIT
"""Views of a model whose classes are its own, and whose gradients and scores are better than its own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from art_spiking.attacks.ensemble.scores import Squashing, tempered
from art_spiking.attacks.ensemble.straight_through import replace_own_spikes, straight_through
from art_spiking.attacks.paths import SAMPLE_SURROGATE
from art_spiking.errors import InvalidInput, InvalidModel
from art_spiking.estimators import (
    BlackBoxEventClassifier,
    Objective,
    SpikingClassifier,
    cross_entropy,
)
from art_spiking.estimators.inputs import label_indices
from art_spiking.estimators.module import FRAMES_PER_PASS
from art_spiking.surrogates import GradientPath, Surrogate

Gradient = Callable[[Tensor, Tensor, Objective], tuple[Tensor, Tensor]]
"""(x (N, ...), labels (N,), objective) -> gradient like x and logits (N, K), detached."""

_PROBES = 8


class Twin(SpikingClassifier):
    """A view of a classifier that takes its gradients elsewhere; its classes and counts are the model's.

    Its predictions are the scores which the model's are squashed from, if they are; see `Squashing`.

    Attributes:
        source: where `input_gradient` comes from.
        draws: how many passes a prediction is the mean of, for models that draw random numbers.
    """

    source: Gradient
    draws: int = 1

    @classmethod
    def of(cls, estimator: SpikingClassifier, source: Gradient, *, draws: int = 1) -> Twin:
        """The view of `estimator` with the gradients of `source`."""
        view = cls(
            estimator.model.view(),
            clip_values=estimator.clip_values,
            preprocessing_defences=estimator.preprocessing_defences,
            postprocessing_defences=estimator.postprocessing_defences,
            preprocessing=estimator.preprocessing,
            device_type="cpu" if torch.device(estimator.device).type == "cpu" else "gpu",
        )
        view.source, view.draws = source, draws
        return view

    @property
    def exchanges_surrogate(self) -> bool:
        """Never: what it differentiates by is its source's business."""
        return False

    def input_gradient(
        self, x: Tensor, y: Tensor, *, objective: Objective | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `SpikingClassifier.input_gradient`; by the source."""
        self._check_tensor(x)
        labels = torch.as_tensor(label_indices(y, len(x), self.nb_classes), device=self.device)
        given = x.detach().to(self.device)
        return self.source(given, labels, objective or cross_entropy)

    def predict_torch(self, x: Tensor, batch_size: int = 128) -> Tensor:
        """See `SpikingClassifier.predict_torch`; the mean of `draws` passes."""
        return self.passes_torch(x, batch_size).mean(0)

    def passes_torch(self, x: Tensor, batch_size: int = 128) -> Tensor:
        """What each of `draws` passes says, (draws, N, K): scores from before they were squashed.

        The class stays the model's: rows in which rounding moved it to another class keep the logits.
        """
        self._check_tensor(x)
        # The module splits longer passes, and nothing would be undone of what it puts together.
        parts = torch.split(x, max(1, min(batch_size, FRAMES_PER_PASS // self.input_shape[0])))
        with torch.no_grad():
            return torch.stack([torch.cat([self._scores(part) for part in parts]) for _ in range(self.draws)])

    def _scores(self, x: Tensor) -> Tensor:
        with Squashing() as squashing:
            logits = self.logits(x)
        scores = squashing.undone(logits)
        return torch.where((scores.argmax(1) == logits.argmax(1))[:, None], scores, logits)


def with_derivative(estimator: SpikingClassifier, surrogate: GradientPath) -> SpikingClassifier | None:
    """A view of the model whose spikes have another derivative, however deep they sit in its module.

    Where the classifier can exchange its surrogate, it does. Else modules inside it that can are exchanged;
    autograd functions of its own that look like spikes get the derivative; and torch's functions without a
    gradient get one, see `StraightThrough`.

    A gradient path that acts on whole layers is for modules that have layers alone; torch's functions get
    `SAMPLE_SURROGATE` beside it.

    Returns:
        The view; None where none of this leads to a gradient.
    """
    if estimator.exchanges_surrogate:
        return estimator.with_surrogate(surrogate)
    if not takes(estimator, surrogate):
        return None
    reached = exchanged(estimator.model.network, surrogate)
    inner = estimator if reached is estimator.model.network else _around(estimator, reached)
    patch = surrogate if isinstance(surrogate, Surrogate) else SAMPLE_SURROGATE
    twins = [Twin.of(estimator, _Patched(inner, patch, through_cuts)) for through_cuts in (False, True)]
    led = [_led(twin) for twin in twins]
    return twins[led.index(max(led))] if any(led) else None


def takes(estimator: SpikingClassifier, surrogate: GradientPath) -> bool:
    """Whether `with_derivative` can give a model this derivative: a path of whole layers needs layers."""
    if isinstance(surrogate, Surrogate):
        return True
    network = estimator.model.network
    try:
        if estimator.exchanges_surrogate:
            estimator.with_surrogate(surrogate)
            return True
        return exchanged(network, surrogate) is not network
    except InvalidInput:
        return False  # neurons that such a path does not serve


def exchanged(module: torch.nn.Module, surrogate: GradientPath) -> torch.nn.Module:
    """The module with every part that has a `with_surrogate` exchanged; itself where there is none.

    Weights are shared; the module given is not changed.
    """
    exchange = getattr(module, "with_surrogate", None)
    if callable(exchange):
        found: torch.nn.Module = exchange(surrogate)
        return found
    children = {name: exchanged(child, surrogate) for name, child in module.named_children()}
    # Networks that a module keeps out of torch's sight, in a list, a tuple or a dict.
    kept = {name: _exchanged_in(value, surrogate) for name, value in vars(module).items() if name[0] != "_"}
    changed = {name: value for name, value in kept.items() if value is not vars(module)[name]}
    if not changed and all(child is module._modules[name] for name, child in children.items()):
        return module
    twin = copy.copy(module)
    twin._modules = {**module._modules, **children}
    vars(twin).update(changed)
    return twin


def _exchanged_in(value: object, surrogate: GradientPath) -> object:
    """A plain container with every module in it exchanged; what does not change is returned as it is."""
    if isinstance(value, torch.nn.Module):
        return exchanged(value, surrogate)
    if type(value) is dict:
        pairs = {key: _exchanged_in(item, surrogate) for key, item in value.items()}
        return pairs if any(pairs[key] is not value[key] for key in value) else value
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        items = [_exchanged_in(item, surrogate) for item in value]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else type(value)(items)
    return value


class _Patched:
    """Gradients through a module as `straight_through` and `replace_own_spikes` make them.

    The objective sees scores from before they were squashed, on the scale of spike counts; see `tempered`.
    """

    def __init__(self, inner: SpikingClassifier, surrogate: Surrogate, through_cuts: bool) -> None:
        self._inner, self._surrogate, self._through_cuts = inner, surrogate, through_cuts

    def __call__(self, x: Tensor, y: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
        def patched(logits: Tensor, labels: Tensor) -> Tensor:
            scores = squashing.undone(logits)
            if scores.grad_fn is not None:
                replace_own_spikes(scores, self._surrogate)
            return objective(tempered(scores), labels)

        with (
            straight_through(self._surrogate, through_cuts=self._through_cuts),
            Squashing() as squashing,
        ):
            return self._inner.input_gradient(x, y, objective=patched)


def averaged(estimator: SpikingClassifier, *, gradients: int, predictions: int) -> SpikingClassifier:
    """A view of a random model: gradients and predictions are means over its own draws.

    Expectation over transformation (Athalye, Engstrom, Ilyas and Kwok, ICML 2018), over the model's draws.

    Args:
        estimator: the model, or a view of it.
        gradients: draws of a gradient.
        predictions: draws of a prediction.
    """
    return Twin.of(estimator, _Averaged(estimator, gradients), draws=predictions)


class _Averaged:
    def __init__(self, inner: SpikingClassifier, draws: int) -> None:
        self._inner, self._draws = inner, draws

    def __call__(self, x: Tensor, y: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
        pairs = [self._inner.input_gradient(x, y, objective=objective) for _ in range(self._draws)]
        gradients, logits = zip(*pairs, strict=True)
        return torch.stack(gradients).mean(0), torch.stack(logits).mean(0)


def averaged_answers(box: BlackBoxEventClassifier, *, predictions: int) -> BlackBoxEventClassifier:
    """A view of a random black box: an answer is the mean of several of its own."""
    view = _SeveralAnswers(box.predict, box.input_shape, box.nb_classes)
    view.draws = predictions
    return view


class _SeveralAnswers(BlackBoxEventClassifier):
    draws: int = 1

    def __deepcopy__(self, memo: dict[int, Any]) -> BlackBoxEventClassifier:
        found = super().__deepcopy__(memo)
        if isinstance(found, _SeveralAnswers):
            found.draws = self.draws
        return found

    def predict_torch(self, x: Tensor, batch_size: int = 128) -> Tensor:
        """See `BlackBoxEventClassifier.predict_torch`; the mean of `draws` answers."""
        return self.passes_torch(x, batch_size).mean(0)

    def passes_torch(self, x: Tensor, batch_size: int = 128) -> Tensor:
        """Each of `draws` answers, (draws, N, K)."""
        answers = [super(_SeveralAnswers, self).predict_torch(x, batch_size) for _ in range(self.draws)]
        return torch.stack(answers)


def _around(estimator: SpikingClassifier, network: torch.nn.Module) -> SpikingClassifier:
    """The classifier around another network that shares the counter."""
    return SpikingClassifier(
        estimator.model.view(network=network),
        clip_values=estimator.clip_values,
        preprocessing_defences=estimator.preprocessing_defences,
        postprocessing_defences=estimator.postprocessing_defences,
        preprocessing=estimator.preprocessing,
    )


def _led(twin: Twin) -> int:
    """For how many of a few random recordings the twin has a gradient that is not zero."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand((_PROBES, *twin.input_shape), generator=generator) < 0.1).float()
    y = torch.arange(_PROBES) % twin.nb_classes
    try:
        gradient, _ = twin.input_gradient(x.to(twin.device), y)
    except (InvalidModel, InvalidInput, RuntimeError):
        return 0
    sound = torch.isfinite(gradient).flatten(1).all(1) & (gradient != 0).flatten(1).any(1)
    return int(sound.sum())
