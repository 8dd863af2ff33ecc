# SPDX-License-Identifier: MIT
"""The one module that ART sees: spike tensors in, logits out, and nothing kept in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from art_spiking.errors import InvalidInput
from art_spiking.estimators.counting import QueryCounter
from art_spiking.estimators.inputs import check_shape, layout_text
from art_spiking.estimators.readouts import Readout, readout_named
from art_spiking.network import SpikingNetwork

FRAMES_PER_PASS = 4096
"""Frames (N * T) that one pass without gradients may hold; ART's own batch is 128 recordings."""

ONE_SAMPLE_IN_TRAINING = "Expected more than 1 value per channel when training"
"""What torch's batch normalisation says of a single sample in training mode."""

Reset = Callable[[torch.nn.Module], object]


class SpikingModule(torch.nn.Module):
    """Wraps a network so that ART's attacks, which may rebuild a classifier around it, see all that matters.

    In here, and not in the estimator: the reset of state before and after each call, the cast to the
    parameters' type (ART pushes float64), the readout, the count of queries, and the split of a folded input.

    Shapes: (N, T, C, H, W), (N, T, F) or, folded, (N, T*C, H, W) in; logits (N, K) out.
    """

    counter: QueryCounter

    def __init__(
        self,
        network: torch.nn.Module,
        *,
        input_shape: tuple[int, ...],
        readout: str = "spike-count",
        reset: Reset | None = None,
        folded: bool = False,
        counter: QueryCounter | None = None,
        trainable: tuple[str, ...] | None = None,
    ) -> None:
        """Wraps `network`.

        Args:
            network: a SpikingNetwork, or any module from (N, T, ...) to (N, T, K) or (N, K).
            input_shape: one sample, (T, C, H, W) or (T, F), unfolded.
            readout: name of the deployed readout.
            reset: called with the network before and after each call, for frameworks that keep state in
                their layers, such as `snntorch.utils.reset`; it must be picklable.
            folded: whether the input comes as (N, T*C, H, W).
            counter: totals to count into; a new one by default.
            trainable: names of the parameters that `fit` trains; by default those that take a gradient now,
                or all where none does.
        """
        super().__init__()
        self.network = network
        self.sample_shape = tuple(int(size) for size in input_shape)
        self.readout = readout_named(readout).name
        self.reset_state = reset
        self.folded = folded
        self.counter = QueryCounter() if counter is None else counter
        if trainable is None:
            named = list(network.named_parameters())
            trainable = tuple(name for name, p in named if p.requires_grad) or tuple(
                name for name, _ in named
            )
        self.trainable = trainable

    @property
    def input_shape(self) -> tuple[int, ...]:
        """One sample as this module takes it."""
        if not self.folded:
            return self.sample_shape
        steps, channels, height, width = self.sample_shape
        return (steps * channels, height, width)

    @property
    def dtype(self) -> torch.dtype:
        """The floating type of the parameters; float32 for a network without any."""
        return next((p.dtype for p in self.network.parameters() if p.is_floating_point()), torch.float32)

    def view(self, **changes: Any) -> SpikingModule:
        """Returns a module that shares network and counter, but for the arguments in `changes`."""
        arguments: dict[str, Any] = {
            "network": self.network,
            "input_shape": self.sample_shape,
            "readout": self.readout,
            "reset": self.reset_state,
            "folded": self.folded,
            "counter": self.counter,
            "trainable": self.trainable,
        }
        module = SpikingModule(**(arguments | changes))
        module.train(self.training)
        return module

    def prepare(self, x: torch.Tensor) -> torch.Tensor:
        """Checks, casts and unfolds a batch for the network.

        Raises:
            InvalidInput: the shape is not (N, *input_shape), or the batch is empty.
        """
        check_shape(tuple(x.shape), self.input_shape, folded=self.folded)
        given, x = x, x.to(self.dtype)
        if x is given and not isinstance(self.network, SpikingNetwork):
            x = x.clone()  # a network may write into its input, which is the caller's
        return x.reshape(len(x), *self.sample_shape) if self.folded else x

    @contextmanager
    def clean_state(self) -> Iterator[None]:
        """Resets the network's state on entry and on exit, where a reset was given."""
        if self.reset_state is None:
            yield
            return
        self.reset_state(self.network)
        try:
            yield
        finally:
            self.reset_state(self.network)

    def forward(self, x: torch.Tensor, readout: str | None = None) -> torch.Tensor:
        """Returns the logits (N, K) of a batch, in the deployed readout unless another is named.

        Raises:
            InvalidInput: a wrong shape, or a network whose output is neither (N, K) nor (N, T, K).
        """
        x = self.prepare(x)
        chosen = readout_named(readout or self.readout)
        rows = max(1, FRAMES_PER_PASS // self.sample_shape[0])
        if torch.is_grad_enabled() or self.training or len(x) <= rows:
            logits = self._logits(x, chosen)
        else:
            logits = torch.cat([self._logits(part, chosen) for part in torch.split(x, rows)])
        self.counter.count_forward(len(x))
        self.counter.watch(logits)
        return logits

    def _logits(self, x: torch.Tensor, readout: Readout) -> torch.Tensor:
        with self.clean_state():
            if readout.membrane:
                membrane = getattr(self.network, "membrane", None)
                if not callable(membrane):
                    raise InvalidInput(
                        f"readout {readout.name!r} needs the membrane potential",
                        found=f"{type(self.network).__name__} without a method membrane(x)",
                        accepted="a SpikingNetwork, or a module whose membrane(x) returns (N, T, K)",
                    )
                output = membrane(x)
            else:
                output = self.network(x)
        check_output(output, x, readout)
        return readout.reduce(output) if output.ndim == 3 else output

    def probe(self) -> int:
        """Returns the number of classes: what a SpikingNetwork states, else what a silent sample gives.

        The sample is not counted as a query.

        Raises:
            InvalidInput: the network refuses an input of the declared shape, or its output is unusable.
        """
        if isinstance(self.network, SpikingNetwork):
            return _stated_classes(self.network)
        device = next((p.device for p in self.network.parameters()), torch.device("cpu"))
        x = torch.zeros((1, *self.sample_shape), dtype=self.dtype, device=device)
        training = {module: module.training for module in self.modules()}
        self.eval()
        try:
            with torch.no_grad():
                return int(self._logits(x, readout_named(self.readout)).shape[1])
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            if isinstance(error, InvalidInput):
                raise
            if ONE_SAMPLE_IN_TRAINING in str(error):
                raise InvalidInput(
                    "a batch normalisation stays in training mode",
                    found=f"{type(error).__name__}: {error}",
                    accepted="a network whose eval() reaches all of its layers",
                    remedy="call eval() on the part that normalises, and hold it as a submodule, "
                    "so that the classifier reaches it",
                ) from error
            raise InvalidInput(
                "the network does not take the declared input",
                asked=layout_text(self.sample_shape),
                found=f"{type(error).__name__}: {error}",
                remedy=_axes_advice(self.sample_shape),
            ) from error
        finally:
            for module, mode in training.items():
                module.training = mode


def _stated_classes(network: SpikingNetwork) -> int:
    if len(network.output_shape) != 1:
        raise InvalidInput(
            "the network does not end in classes",
            found=f"output {network.output_shape} per step",
            accepted="(K,)",
            remedy="end it with Flatten and a dense layer",
        )
    return int(network.output_shape[0])


def check_output(output: object, x: torch.Tensor, readout: Readout) -> None:
    """Checks that a network's output for `x` (N, T, ...) is (N, T, K), or (N, K) for the spike count.

    Raises:
        InvalidInput: it is a tuple, no tensor, or of another shape; the message says how to put it right.
    """
    accepted = "one tensor (N, T, K)" if readout.membrane else "one tensor (N, T, K) or (N, K)"
    if not isinstance(output, torch.Tensor):
        advice = "wrap it in a module that returns one tensor"
        if isinstance(output, (tuple, list)):
            advice += "; snnTorch's last layer returns (spikes, potential): return the spikes of all steps"
        raise InvalidInput(
            "the network does not return a tensor",
            found=type(output).__name__,
            accepted=accepted,
            remedy=advice,
        )
    shape, samples, steps = tuple(output.shape), x.shape[0], x.shape[1]
    if len(shape) == 2 and not readout.membrane and shape[0] == samples:
        return
    if len(shape) == 3 and shape[:2] == (samples, steps):
        return
    remedy: str | None = None
    if len(shape) == 3 and shape[:2] == (steps, samples):
        remedy = "the network is time-first: swap its first two axes in a wrapping module"
    raise InvalidInput(
        "the network's output has the wrong shape",
        found=f"{shape} for an input {tuple(x.shape)}",
        accepted=accepted,
        remedy=remedy,
    )


def wrap_network(
    model: torch.nn.Module,
    input_shape: tuple[int, ...] | None,
    *,
    readout: str | None,
    reset: Reset | None,
) -> SpikingModule:
    """Returns the module for a network, or a view of a module, that takes `input_shape`.

    Raises:
        InvalidInput: no torch module, or an input shape that is missing or does not fit.
    """
    if isinstance(model, SpikingModule):
        if input_shape is not None and tuple(input_shape) != model.input_shape:
            raise InvalidInput(
                "the module has another input shape", asked=input_shape, found=model.input_shape
            )
        changes = {"readout": readout, "reset": reset}
        return model.view(**{key: value for key, value in changes.items() if value is not None})
    if not isinstance(model, torch.nn.Module):
        raise InvalidInput(
            "the model is not a torch module", found=type(model).__name__, accepted="nn.Module"
        )
    shape = _sample_shape(model, input_shape)
    return SpikingModule(model, input_shape=shape, readout=readout or "spike-count", reset=reset)


def _sample_shape(model: torch.nn.Module, input_shape: tuple[int, ...] | None) -> tuple[int, ...]:
    features = tuple(model.input_shape) if isinstance(model, SpikingNetwork) else None
    if input_shape is None:
        known = "" if features is None else f", here (T, {', '.join(str(size) for size in features)})"
        raise InvalidInput(
            "input_shape is needed: no network knows its number of time steps",
            accepted=f"(T, C, H, W) or (T, F){known}",
        )
    shape = tuple(input_shape)
    if len(shape) == 1 and features is not None:
        shape += features
    if len(shape) < 2 or any(not isinstance(n, (int, np.integer)) or n < 1 for n in shape):
        raise InvalidInput(
            "input_shape is not the shape of one sample",
            asked=shape,
            accepted="(T, C, H, W) or (T, F), all >= 1",
        )
    if features is not None and shape[1:] != features:
        swapped = len(shape) == len(features) + 1 > 2 and (shape[0], *shape[2:]) == features
        steps = shape[1] if swapped else shape[0]
        raise InvalidInput(
            "input_shape does not fit the network",
            asked=layout_text(shape),
            accepted=layout_text((steps, *features)),
            remedy="time comes first: its first two axes are swapped" if swapped else None,
        )
    return shape


def _axes_advice(shape: tuple[int, ...]) -> str:
    """What to look at where a network refuses samples of this shape."""
    if len(shape) == 4 and shape[0] <= 2 < shape[1]:
        swapped = (shape[1], shape[0], *shape[2:])
        return f"time comes first: its first two axes look swapped, try input_shape={swapped}"
    return "pass the input_shape of one sample, time first: (T, C, H, W)"
