# SPDX-License-Identifier: MIT
"""What ART does to a classifier beside asking it: setting, training, cloning, copying, pickling."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from art.estimators.classification import PyTorchClassifier

from art_spiking.errors import InvalidInput
from art_spiking.estimators.activations import layer_names
from art_spiking.estimators.counting import QueryCounter
from art_spiking.estimators.inputs import check_labels, check_shape
from art_spiking.estimators.module import ONE_SAMPLE_IN_TRAINING, SpikingModule

_LABEL_FORMS: tuple[tuple[tuple[type, ...], tuple[bool, bool, bool]], ...] = (
    ((torch.nn.CrossEntropyLoss,), (True, True, True)),
    ((torch.nn.NLLLoss, torch.nn.MultiMarginLoss), (True, True, False)),
    ((torch.nn.BCELoss, torch.nn.BCEWithLogitsLoss), (True, False, False)),
)


class ManagedClassifier(PyTorchClassifier):
    """PyTorchClassifier whose every ART parameter can be set, and which copies and pickles without files.

    ART's `set_params` writes past a property that has no setter, which leaves `model` unwrapped and the label
    format of `loss` stale; ART's pickling writes weights beside the pickle and moves them to the first GPU.
    """

    _nb_classes: int

    @property
    def model(self) -> SpikingModule:
        """The module that ART sees; setting a network keeps shape, readout and reset, and freezes it."""
        module: SpikingModule = self._model._model
        return module

    @model.setter
    def model(self, model: torch.nn.Module) -> None:
        module = model if isinstance(model, SpikingModule) else self.model.view(network=model, trainable=None)
        self._use(module)

    def _use(self, module: SpikingModule) -> None:
        classes = module.probe()
        if classes != self.nb_classes:
            raise InvalidInput(
                "the network's classes differ from the classifier's", asked=self.nb_classes, found=classes
            )
        module.network.requires_grad_(False)
        self._model = self._make_model_wrapper(module)
        self._model.to(self._device)
        self._model.eval()
        self._input_shape = module.input_shape
        self._layer_names = layer_names(module)

    @property
    def readout(self) -> str:
        """The deployed readout's name."""
        return self.model.readout

    @readout.setter
    def readout(self, readout: str) -> None:
        self._use(self.model.view(readout=readout))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """One sample; T may be set to another number of steps."""
        shape: tuple[int, ...] = self._input_shape
        return shape

    @input_shape.setter
    def input_shape(self, input_shape: tuple[int, ...]) -> None:
        shape = tuple(input_shape)
        if shape == self.model.input_shape:
            return
        if self.model.folded:
            raise InvalidInput("a folded view keeps its shape", asked=shape, accepted=self.model.input_shape)
        self._use(self.model.view(input_shape=shape))

    @property
    def nb_classes(self) -> int:
        """The number of classes, K."""
        return int(self._nb_classes)

    @nb_classes.setter
    def nb_classes(self, nb_classes: int) -> None:
        # ART's constructor sets this too, before the module is wrapped; the class count is checked by then.
        if "_layer_names" in self.__dict__ and nb_classes != self._nb_classes:
            raise InvalidInput(
                "nb_classes does not match the network's output", asked=nb_classes, found=self._nb_classes
            )
        self._nb_classes = nb_classes

    @property
    def loss(self) -> torch.nn.Module:
        """The loss; sum-reduced losses keep a sample's gradient independent of its batch."""
        loss: torch.nn.Module = self._loss
        return loss

    @loss.setter
    def loss(self, loss: torch.nn.Module) -> None:
        self._loss = loss
        forms = next(
            (forms for kinds, forms in _LABEL_FORMS if isinstance(loss, kinds)), (False, False, False)
        )
        self._reduce_labels, self._int_labels, self._probability_labels = forms

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """What `fit` steps; None until the first `fit` makes an Adam."""
        optimizer: torch.optim.Optimizer | None = self._optimizer
        return optimizer

    @optimizer.setter
    def optimizer(self, optimizer: torch.optim.Optimizer | None) -> None:
        self._optimizer = optimizer

    @property
    def clip_values(self) -> Any:
        """Least and greatest entry of an input, as an array of two."""
        return self._clip_values

    @clip_values.setter
    def clip_values(self, clip_values: Any) -> None:
        before = getattr(self, "_clip_values", None)
        self._clip_values = clip_values
        try:
            self._check_params()
        except ValueError:
            self._clip_values = before
            raise

    @property
    def device_type(self) -> str:
        """Either "cpu" or "gpu"; setting it moves the network."""
        kind: str = self._device_type
        return kind

    @device_type.setter
    def device_type(self, device_type: str) -> None:
        self._device_type = device_type
        self._device = _device(device_type)
        self._model.to(self._device)

    @property
    def channels_first(self) -> bool:
        """Always True: the layout is (N, T, C, H, W)."""
        return True

    @channels_first.setter
    def channels_first(self, channels_first: bool) -> None:
        _only("channels_first", channels_first, True)

    @property
    def use_amp(self) -> bool:
        """Always False: ART's mixed precision needs apex, and spikes do not survive half precision."""
        return False

    @use_amp.setter
    def use_amp(self, use_amp: bool) -> None:
        _only("use_amp", use_amp, False)

    @property
    def opt_level(self) -> str:
        """ART's level of mixed precision, unused."""
        level: str = self._opt_level
        return level

    @opt_level.setter
    def opt_level(self, opt_level: str) -> None:
        self._opt_level = opt_level

    @property
    def loss_scale(self) -> float | str | None:
        """ART's scale of mixed precision, unused."""
        scale: float | str | None = self._loss_scale
        return scale

    @loss_scale.setter
    def loss_scale(self, loss_scale: float | str | None) -> None:
        self._loss_scale = loss_scale

    def _ensure_optimizer(self) -> None:
        parameters = dict(self.model.network.named_parameters())
        trained = [parameters[name] for name in self.model.trainable if name in parameters]
        if not trained:
            raise InvalidInput("the network has no parameter to train")
        if self._optimizer is None:
            self._optimizer = torch.optim.Adam(trained, lr=1e-3)
        held = {id(p) for group in self._optimizer.param_groups for p in group["params"]}
        if not held & {id(p) for p in trained}:
            raise InvalidInput(
                "the optimizer holds none of the network's parameters",
                remedy="build it from the network given to the classifier",
            )

    @contextmanager
    def trainable(self) -> Iterator[Self]:
        """Lets the parameters take gradients inside a `with` block; then as before, in evaluation mode.

        For ART's trainers that do not call `fit` (FBF, AWP, TRADES) and GradientMatching.
        """
        try:
            with gradients_on(self.model):
                yield self
        finally:
            self._model.eval()

    def fit(self, x: Any, y: Any, batch_size: int = 128, nb_epochs: int = 10, **kwargs: Any) -> None:
        """Trains with ART's loop; afterwards, also after an error, the parameters are frozen again.

        Args:
            x: (N, *input_shape).
            y: indices (N,) or one-hot (N, K).
            batch_size: samples per step; the default loss is a sum, so its scale grows with it.
            nb_epochs: passes over the data.
            **kwargs: ART's: training_mode, drop_last, scheduler, verbose.

        Raises:
            InvalidInput: data or labels that do not fit, or a last batch of one sample, of which a batch
                normalisation cannot learn.
        """
        check_shape(tuple(x.shape), self.input_shape, folded=self.model.folded)
        check_labels(y, len(x), self.nb_classes)
        with self.trainable():
            self._ensure_optimizer()
            try:
                super().fit(x, y, batch_size=batch_size, nb_epochs=nb_epochs, **kwargs)
            except ValueError as error:
                if ONE_SAMPLE_IN_TRAINING not in str(error):
                    raise
                raise InvalidInput(
                    "a batch normalisation cannot learn from a batch of one sample",
                    asked=f"{len(x)} samples in batches of {batch_size}",
                    accepted="batches of at least 2 samples",
                    remedy="pass drop_last=True, or a batch_size that leaves no single sample over",
                ) from error

    def fit_generator(self, generator: Any, nb_epochs: int = 20, **kwargs: Any) -> None:
        """Trains on ART's data generator; afterwards the parameters are frozen again."""
        with self.trainable():
            self._ensure_optimizer()
            super().fit_generator(generator, nb_epochs=nb_epochs, **kwargs)

    def clone_for_refitting(self) -> Self:
        """Returns an untrained copy: same settings and kind of optimizer, fresh weights and totals."""
        module = copy.deepcopy(self.model)
        module.counter = QueryCounter()
        optimizer = None
        if self._optimizer is not None:
            kind = type(self._optimizer)
            accepted = inspect.signature(kind).parameters
            settings = {key: value for key, value in self._optimizer.defaults.items() if key in accepted}
            optimizer = kind(module.parameters(), **settings)
        clone = type(self)(
            module, copy.deepcopy(self._loss), self.input_shape, self.nb_classes, optimizer=optimizer
        )
        settings = self.get_params()
        for name in ("model", "optimizer", "loss"):
            del settings[name]
        clone.set_params(**settings)
        clone.reset()
        return clone

    def reset(self) -> None:
        """Draws new weights; see `restart`."""
        restart(self.model.network)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state["_model"] = self.model
        del state["_model_wrapper"], state["_device"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._device = _device(self._device_type)
        self._model = self._make_model_wrapper(state["_model"])
        self._model.to(self._device)
        self._model.eval()


def _device(device_type: str) -> torch.device:
    if device_type == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device(f"cuda:{torch.cuda.current_device()}")


def _only(name: str, asked: object, accepted: object) -> None:
    if asked != accepted:
        raise InvalidInput(f"{name} is fixed for a spiking classifier", asked=asked, accepted=accepted)


@contextmanager
def gradients_on(module: SpikingModule) -> Iterator[None]:
    """Switches the gradients of the trainable parameters on, and back as they were, also after an error."""
    parameters = dict(module.network.named_parameters())
    before = {name: parameter.requires_grad for name, parameter in parameters.items()}
    for name in module.trainable:
        if name in parameters:
            parameters[name].requires_grad_(True)
    try:
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.requires_grad_(before[name])
            if not before[name]:
                parameter.grad = None


def restart(network: torch.nn.Module) -> None:
    """Draws new weights from torch's global generator; neuron constants (time constants, thresholds) stay.

    A module that has `reset_parameters` draws its own. Elsewhere `weight` and `bias` are drawn uniformly with
    the spread they have now: a spiking network falls silent, or never is, where torch's default is too small
    or too large for its thresholds.
    """
    for module in network.modules():
        draw = getattr(module, "reset_parameters", None)
        if callable(draw):
            draw()
            continue
        for name, parameter in module.named_parameters(recurse=False):
            if name in ("weight", "bias") and parameter.numel() > 1:
                with torch.no_grad():
                    bound = math.sqrt(3) * float(parameter.std())
                    parameter.uniform_(-bound, bound)
