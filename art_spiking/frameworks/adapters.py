# SPDX-License-Identifier: MIT
"""What art-spiking asks of a spiking framework: the contract that an adapter keeps."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor, nn

from art_spiking.errors import ArtSpikingError
from art_spiking.graphs import NodeSpec
from art_spiking.node_types import Array
from art_spiking.semantics import NeuronSemantics
from art_spiking.surrogates import Surrogate

Layout = Literal["step", "step-state", "TN", "NT", "merged"]
"""How a model takes a recording; see `FrameworkNetwork`."""


class Inexpressible(ArtSpikingError):
    """A layer that no SpikingNetwork computes; `what` says why, in words that follow the layer's name."""


@dataclass(frozen=True)
class NeuronPlan:
    """A framework's layer with a state as a node of a graph, and the semantics under which it is that layer.

    Attributes:
        node: Type and parameters; time constants in seconds. One that never fires puts out its potential.
        semantics: What the node leaves open; layers of one model may differ.
        remark: Where the gradient is another than the framework's although the spikes are the same; empty if
            nowhere. Compiling warns of it.
        feedback: What brings the layer's spikes back to it, as input one step later; None if nothing does.
        weights: What the layer itself does to its input before its neurons get it; None if nothing.
    """

    node: NodeSpec
    semantics: NeuronSemantics
    remark: str = ""
    feedback: NodeSpec | None = None
    weights: NodeSpec | None = None


class FrameworkAdapter(ABC):
    """What differs from framework to framework; it holds no state, and one serves every model.

    Importing an adapter must not import its framework: a model that exists has done so already.
    `art_spiking.testing.check_framework` checks one against the installed framework.
    """

    name: ClassVar[str]
    """Under what it is registered, such as "snntorch"."""
    package: ClassVar[str]
    """The framework's import name."""
    distribution: ClassVar[str]
    """The framework's name for pip."""
    tested: ClassVar[str]
    """The newest version that the adapter's tests ran with, "major.minor.patch"."""
    install: ClassVar[str]
    """What comes after "pip install" to get a version that was tested."""

    @abstractmethod
    def neurons(self, model: nn.Module) -> dict[str, nn.Module]:
        """The layers of this framework whose outputs are spikes, by their names in the model, in order."""

    def units(self, model: nn.Module) -> dict[str, nn.Module]:
        """The layers with a state, each a unit that `plan` is asked about, by name in the model, in order.

        By default the neurons. A framework adds its integrators, which never fire, and puts what feeds a
        layer's spikes back to it, under the layer's name, in its place.
        """
        return self.neurons(model)

    def recognises(self, model: nn.Module) -> bool:
        """Whether the model has neurons of this framework."""
        return bool(self.neurons(model))

    @abstractmethod
    def layout(self, model: nn.Module) -> Layout:
        """How the model takes a recording where the user does not say."""

    @abstractmethod
    def reset(self, model: nn.Module) -> None:
        """Forgets the state of every layer of the model, as if it had never been called.

        No tensor with a gradient's history may be left, nor a tensor of a batch's size.
        """

    def prepare(self, model: nn.Module, samples: int, steps: int) -> AbstractContextManager[None]:
        """What must hold while the model sees `samples` recordings of `steps`; by default nothing."""
        return nullcontext()

    def split(self, output: Any) -> tuple[Any, Any]:
        """Spikes and, if told, membrane potential, of what a layer or a model returns.

        By default the first element of a tuple and, if it has several, the last, which is how most frameworks
        return them.
        """
        if isinstance(output, tuple | list):
            return output[0], output[-1] if len(output) > 1 else None
        return output, None

    def state(self, output: Any) -> tuple[Any, ...]:
        """What a model of layout "step-state" wants beside the next step; all but the first by default."""
        return tuple(output[1:])

    @abstractmethod
    def surrogate(self, model: nn.Module) -> Surrogate | None:
        """The surrogate that all neurons of the model have, or None where it differs or is not known here."""

    @abstractmethod
    def using(self, model: nn.Module, surrogate: Surrogate) -> AbstractContextManager[None]:
        """Gives all neurons another surrogate inside a `with` block, which changes no spike.

        Raises:
            InvalidInput: A surrogate that the framework cannot take.
        """

    def copied(self, model: nn.Module, memo: dict[int, Any]) -> nn.Module:
        """A deep copy of the model, by default as `copy.deepcopy` makes it."""
        return copy.deepcopy(model, memo)

    def picklable(self, model: nn.Module) -> nn.Module:
        """The model, or a copy that shares its tensors and can be pickled where the model cannot.

        Raises:
            InvalidModel: It cannot be pickled; the message names the layer.
        """
        return model

    def transparent(self, layer: nn.Module) -> bool:
        """Whether a layer of the framework, not of torch, does nothing in evaluation mode, as dropout."""
        return False

    def per_step(self, layer: nn.Module) -> nn.Module:
        """What a container of the framework applies to every step by itself; any other layer is its own."""
        return layer

    @abstractmethod
    def plan(self, layer: nn.Module, shape: tuple[int, ...], dt_us: float) -> NeuronPlan:
        """The node of one of `units`, for an input of `shape` in one step of one sample.

        Args:
            layer: The unit.
            shape: Such as (C, H, W) or (F,).
            dt_us: Length of a step in µs, by which time constants are written.

        Raises:
            Inexpressible: It does what no node does.
        """


def node_value(value: Tensor, shape: tuple[int, ...]) -> Array:
    """A neuron's parameter as a node holds it, in float64: a single value, or of the layer's shape.

    Raises:
        Inexpressible: It does not broadcast to the shape.
    """
    array: Array = value.detach().cpu().double().numpy()
    if array.size == 1:
        return array.reshape(1)
    try:
        return np.broadcast_to(array, shape).copy()
    except ValueError:
        raise Inexpressible(f"has a parameter of shape {array.shape}, which does not fit {shape}") from None
