# SPDX-License-Identifier: MIT
"""SpikingClassifier: a spiking network as an ART classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier

from art_spiking.errors import InvalidInput, InvalidModel
from art_spiking.estimators.activations import layer_named, layer_names, mean_activity
from art_spiking.estimators.counting import QueryCounter, QueryWindow
from art_spiking.estimators.inputs import (
    Array,
    check_finite,
    check_labels,
    check_one_largest,
    check_shape,
    label_indices,
    plain_array,
)
from art_spiking.estimators.lifecycle import ManagedClassifier
from art_spiking.estimators.module import Reset, SpikingModule, wrap_network
from art_spiking.frameworks import FrameworkAdapter, FrameworkNetwork, Layout
from art_spiking.network import SpikingNetwork

if TYPE_CHECKING:
    from art_spiking.estimators.folding import FoldedClassifier
    from art_spiking.surrogates import GradientPath

NO_GRADIENT = "the logits do not depend on the input by any differentiable path"
"""What `input_gradient` says of a model without gradients."""

Objective = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(logits (N, K), labels (N,)) -> loss (N,) that the attacker wants to be high."""


def cross_entropy(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Returns the cross entropy of each sample (N,)."""
    return torch.nn.functional.cross_entropy(logits, y, reduction="none")


class SpikingClassifier(ManagedClassifier):
    """A spiking network as ART's PyTorchClassifier: (N, T, C, H, W) or (N, T, F) to logits (N, K).

    ART's own attacks, defences and metrics run on it. Beside ART's numpy methods stands a path on tensors for
    attack loops: `logits`, `input_gradient`, `predict_torch`. What differs from ART: the network's parameters
    take no gradient outside `fit` and `trainable()`; the default loss is summed over the batch, so that a
    sample's gradient does not depend on its batch; labels may be indices or one-hot everywhere; a batch that
    does not fit is an InvalidInput that names the axis; queries are counted, see `counting`.
    """

    told_own_surrogate = False  # whether `warn_of_own_surrogate` has warned already

    estimator_params = [*PyTorchClassifier.estimator_params, "readout"]  # noqa: RUF012 (ART's list)

    def __init__(  # noqa: PLR0913 (ART's constructor)
        self,
        model: torch.nn.Module,
        loss: torch.nn.Module | None = None,
        input_shape: tuple[int, ...] | None = None,
        nb_classes: int | None = None,
        optimizer: torch.optim.Optimizer | None = None,
        *,
        readout: str | None = None,
        reset: Reset | None = None,
        clip_values: tuple[Any, Any] | None = (0.0, 1.0),
        preprocessing_defences: Any = None,
        postprocessing_defences: Any = None,
        preprocessing: Any = None,
        device_type: str = "cpu",
    ) -> None:
        """Wraps `model`, freezes its parameters and puts it in evaluation mode.

        Args:
            model: a SpikingNetwork, or any module from (N, T, ...) to (N, T, K) or (N, K), batch first. One
                that keeps state between calls needs `reset`.
            loss: sum-reduced cross entropy by default. With a mean-reduced loss ART's gradients depend on the
                batch.
            input_shape: one sample, (T, C, H, W) or (T, F); for a SpikingNetwork (T,) is enough.
            nb_classes: K; by default what the network returns.
            optimizer: used by `fit`; by default a fresh Adam of learning rate 1e-3 at the first `fit`.
            readout: what makes logits of the output, a name in READOUTS; `spike-count` by default.
            reset: called with the network before and after each call, such as `snntorch.utils.reset`.
            clip_values: least and greatest entry of an input, ART's box.
            preprocessing_defences: ART preprocessors, such as BackgroundActivityFilter.
            postprocessing_defences: ART postprocessors; `predict` applies them, the tensor path does not.
            preprocessing: ART's (mean, standard deviation), or a preprocessor; none by default.
            device_type: "cpu" or "gpu".

        Raises:
            InvalidInput: a shape, class count, readout or output that does not fit.
        """
        module = wrap_network(model, input_shape, readout=readout, reset=reset)
        found = module.probe()
        if nb_classes is not None and nb_classes != found:
            raise InvalidInput(
                "nb_classes does not match the network's output",
                asked=nb_classes,
                found=f"(N, {found}) logits",
            )
        if found < 2:
            raise InvalidInput("a classifier needs at least two classes", found=f"(N, {found}) logits")
        super().__init__(
            model=module,
            loss=torch.nn.CrossEntropyLoss(reduction="sum") if loss is None else loss,
            input_shape=module.input_shape,
            nb_classes=found,
            optimizer=optimizer,
            channels_first=True,
            clip_values=clip_values,
            preprocessing_defences=preprocessing_defences,
            postprocessing_defences=postprocessing_defences,
            preprocessing=preprocessing,
            device_type=device_type,
        )
        self._layer_names = layer_names(module)
        module.network.requires_grad_(False)
        self._model.eval()

    @classmethod
    def wrap(
        cls,
        model: torch.nn.Module,
        *,
        framework: str | FrameworkAdapter | None = None,
        layout: Layout | None = None,
        input_shape: tuple[int, ...] | None = None,
        nb_classes: int | None = None,
        readout: str | None = None,
        clip_values: tuple[Any, Any] | None = (0.0, 1.0),
    ) -> Self:
        """Returns the classifier of a spiking framework's model: its state, time axis and tuples are seen to.

        Args:
            model: a module of snnTorch, or of a framework that a plugin brings.
            framework: a name in `art-spiking list frameworks`; by default it is recognised.
            layout: how the model takes a recording, in `frameworks.LAYOUTS`; by default the adapter tells.
            input_shape: one sample, (T, C, H, W) or (T, F), whatever the model's own layout.
            nb_classes: K; by default what the model returns.
            readout: as in the constructor; one of the membrane needs a model returning (spikes, potential).
            clip_values: as in the constructor.

        Raises:
            InvalidModel: no framework recognises the model, or its output does not fit the layout.
            InvalidInput: a shape, layout, class count or readout that does not fit.
            MissingDependency: the framework or its plugin is not installed.
        """
        network = FrameworkNetwork(model, framework, layout=layout)
        if input_shape is not None:
            network.check_samples(tuple(input_shape))
        return cls(network, None, input_shape, nb_classes, readout=readout, clip_values=clip_values)

    # -- what it is made of ------------------------------------------------------------------------------

    @property
    def network(self) -> SpikingNetwork | None:
        """The SpikingNetwork, or None for another kind of module."""
        network = self.model.network
        return network if isinstance(network, SpikingNetwork) else None

    @property
    def surrogate(self) -> GradientPath | None:
        """The spike derivative or gradient path of the network, or None where the module has none to tell."""
        return getattr(self.model.network, "surrogate", None)

    @property
    def exchanges_surrogate(self) -> bool:
        """Whether `with_surrogate` works; a plain module around a SpikingNetwork hides its method."""
        return callable(getattr(self.model.network, "with_surrogate", None))

    @property
    def queries(self) -> QueryCounter:
        """Running totals of samples passed forward and back, through whatever path."""
        counter: QueryCounter = self.model.counter
        return counter

    @contextmanager
    def counting(self) -> Iterator[QueryWindow]:
        """Counts the queries made inside a `with` block: `with clf.counting() as c: ...; c.forwards`."""
        window = QueryWindow(self.queries)
        try:
            yield window
        finally:
            window.close()

    # -- the path on tensors -----------------------------------------------------------------------------

    def logits(self, x: torch.Tensor, *, readout: str | None = None) -> torch.Tensor:
        """Returns the logits (N, K) of `x` (N, *input_shape), through the preprocessing defences.

        Differentiable, unlike `predict`.

        Args:
            x: the batch, on any device and of any floating type.
            readout: the deployed one unless named.

        Raises:
            InvalidInput: a wrong shape, an empty batch, NaN, or defences that are not made of torch.
        """
        self._check_tensor(x)
        if not self.all_framework_preprocessing:
            kinds = ", ".join(type(p).__name__ for p in self.preprocessing_operations)
            raise InvalidInput(
                "a preprocessing defence works on numpy alone",
                found=kinds,
                accepted="PreprocessorPyTorch",
                remedy="use predict and loss_gradient",
            )
        if self._model.training or self.model.network.training:
            self._model.eval()
        x, _ = self._apply_preprocessing(x.to(self._device), y=None, fit=False, no_grad=False)
        logits: torch.Tensor = self.model(x, readout)
        return logits

    def input_gradient(
        self, x: torch.Tensor, y: torch.Tensor, *, objective: Objective | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the gradient of the objective with respect to `x`, and the logits (N, K), both detached.

        The objective of each sample is summed, so a sample's gradient does not depend on its batch; with the
        default it equals `loss_gradient` with the default loss. The parameters take no gradient.

        Args:
            x: (N, *input_shape).
            y: labels, indices (N,) or one-hot (N, K).
            objective: loss (N,) to ascend, of logits and label indices; cross entropy by default.

        Raises:
            InvalidInput: a batch or labels that do not fit, or an objective that does not return (N,).
            InvalidModel: no differentiable path leads from the logits to the input.
        """
        self._check_tensor(x)
        labels = torch.as_tensor(label_indices(y, len(x), self.nb_classes), device=self._device)
        leaf = x.detach().to(self._device).requires_grad_(True)
        with torch.enable_grad():
            logits = self.logits(leaf)
            loss = (objective or cross_entropy)(logits, labels)
        if loss.shape != labels.shape:
            raise InvalidInput(
                "the objective must return one value per sample",
                found=tuple(loss.shape),
                accepted=tuple(labels.shape),
            )
        gradient = None
        if loss.requires_grad:
            (gradient,) = torch.autograd.grad(loss.sum(), leaf, allow_unused=True)
        if gradient is None:
            raise InvalidModel(
                NO_GRADIENT,
                remedy="give its encoder or spike function a surrogate or straight-through gradient",
            )
        return gradient, logits.detach()

    def predict_torch(self, x: torch.Tensor, batch_size: int = 128) -> torch.Tensor:
        """Returns the logits (N, K) of `x`, without gradients, in batches.

        Raises:
            InvalidInput: a batch that does not fit.
        """
        self._check_tensor(x)
        with torch.no_grad():
            return torch.cat([self.logits(part) for part in torch.split(x, batch_size)])

    def _check_tensor(self, x: torch.Tensor) -> None:
        if not isinstance(x, torch.Tensor):
            raise InvalidInput(
                "this method takes tensors",
                found=type(x).__name__,
                remedy="use predict or loss_gradient for numpy arrays",
            )
        check_shape(tuple(x.shape), self.input_shape, folded=self.model.folded)

    # -- views -------------------------------------------------------------------------------------------

    def with_surrogate(self, surrogate: GradientPath) -> SpikingClassifier:
        """Returns a view with another gradient path: same weights, same counter, same predictions.

        Raises:
            InvalidInput: the network is not one whose surrogate can be exchanged, or cannot have this path.
        """
        exchange = getattr(self.model.network, "with_surrogate", None)
        if not callable(exchange):
            raise InvalidInput(
                "this network's surrogate cannot be exchanged",
                found=type(self.model.network).__name__,
                accepted="a SpikingNetwork, or a module with a method with_surrogate(surrogate)",
            )
        return self._view(self.model.view(network=exchange(surrogate)))

    def with_readout(self, readout: str) -> SpikingClassifier:
        """Returns a view with another readout: same weights, same counter. Scores belong to the deployed one.

        Raises:
            UnknownName: there is no such readout.
            InvalidInput: the network has no membrane potential to read.
        """
        return self._view(self.model.view(readout=readout))

    def folded(self) -> FoldedClassifier:
        """Returns a view on (N, T*C, H, W) for ART's attacks that accept images only.

        Raises:
            InvalidInput: the input is not (T, C, H, W).
        """
        from art_spiking.estimators.folding import fold_classifier

        return fold_classifier(self)

    def _view(self, module: SpikingModule) -> SpikingClassifier:
        return type(self)(
            module,
            self._loss,
            optimizer=None,
            clip_values=self.clip_values,
            preprocessing_defences=self.preprocessing_defences,
            postprocessing_defences=self.postprocessing_defences,
            preprocessing=self.preprocessing,
            device_type=self._device_type,
        )

    # -- ART's methods, with checks ----------------------------------------------------------------------

    def _apply_preprocessing(
        self, x: Any, y: Any = None, fit: bool = False, no_grad: bool = True
    ) -> tuple[Any, Any]:
        """ART's, after the checks: every method of ART passes its input through here."""
        check_shape(tuple(x.shape), self.input_shape, folded=self.model.folded)
        check_finite(x)
        if y is not None:
            check_labels(y, len(x), self.nb_classes)
        if isinstance(y, np.ndarray):
            y = plain_array(y)
        result: tuple[Any, Any] = super()._apply_preprocessing(_floating(x), y, fit=fit, no_grad=no_grad)
        return result

    def reduce_labels(self, y: Array) -> Array:
        """ART's, for labels that may be indices already.

        Raises:
            InvalidInput: a row that is to become an index has no single largest entry.
        """
        if self._int_labels and (y.ndim == 1 or y.shape[1] == 1):
            return label_indices(y, len(y), self.nb_classes)
        reduced: Array = super().reduce_labels(y)
        if reduced is not y and y.ndim == 2 and y.shape[1] == self.nb_classes:
            check_one_largest(y)
        return reduced

    def loss_gradient(self, x: Any, y: Any, training_mode: bool = False, **kwargs: Any) -> Any:
        """ART's gradient of the loss with respect to `x`; counts may come as integers, labels as indices."""
        y = plain_array(y) if isinstance(y, np.ndarray) else y
        return super().loss_gradient(_floating(x), y, training_mode=training_mode, **kwargs)

    def class_gradient(self, x: Any, label: Any = None, training_mode: bool = False, **kwargs: Any) -> Any:
        """ART's gradients of the logits with respect to `x`; counts may come as integers.

        Raises:
            InvalidInput: a label out of range.
        """
        if label is not None:
            wanted = np.atleast_1d(np.asarray(label))
            check_labels(wanted, 1 if np.ndim(label) == 0 else len(x), self.nb_classes)
        return super().class_gradient(_floating(x), label=label, training_mode=training_mode, **kwargs)

    def compute_loss(self, x: Any, y: Any, reduction: str = "none", **kwargs: Any) -> Any:
        """ART's loss of each sample; labels may be indices."""
        check_labels(y, len(x), self.nb_classes)
        return super().compute_loss(x, y, reduction=reduction, **kwargs)

    def get_activations(
        self, x: Any, layer: int | str | None = None, batch_size: int = 128, framework: bool = False
    ) -> Any:
        """Returns the mean over time (N, *shape) of what a layer puts out: firing rates of a spiking layer.

        Args:
            x: array, or with `framework` also tensor, (N, *input_shape).
            layer: name in `layer_names`, or index into it.
            batch_size: samples per pass where the result is an array.
            framework: return a differentiable tensor.

        Raises:
            UnknownName: there is no such layer.
            InvalidInput: a batch that does not fit.
        """
        name = layer_named(self._layer_names, -1 if layer is None else layer)
        self._model.eval()
        x, _ = self._apply_preprocessing(x, y=None, fit=False, no_grad=not framework)
        if framework:
            return mean_activity(self.model, torch.as_tensor(x).to(self._device), name)
        with torch.no_grad():
            parts = torch.split(torch.as_tensor(x).to(self._device), batch_size)
            return np.concatenate([mean_activity(self.model, part, name).cpu().numpy() for part in parts])


def _floating(x: Any) -> Any:
    if isinstance(x, torch.Tensor):
        return x if x.is_floating_point() else x.float()
    return plain_array(x) if x.dtype.kind == "f" else x.astype(np.float32, order="C")
