# SPDX-License-Identifier: MIT
"""SpikingJelly 2: its state, its surrogates, and which of its neurons a SpikingNetwork computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from art_spiking.frameworks import (
    FrameworkAdapter,
    Inexpressible,
    Layout,
    NeuronPlan,
    SurrogateSpike,
    check_step,
    replaced,
)
from art_spiking.graphs import NodeSpec
from art_spiking.semantics import NeuronSemantics
from art_spiking.surrogates import Surrogate
from art_spiking_spikingjelly.surrogates import told_surrogate


class SpikeModule(nn.Module):
    """A `SurrogateSpike` as the module that SpikingJelly's neurons hold; it runs on their torch reference."""

    spiking = True

    def __init__(self, spike: SurrogateSpike) -> None:
        super().__init__()
        self.spike = spike

    def forward(self, u: Tensor) -> Tensor:
        """The spikes of u = potential - threshold."""
        return self.spike(u)


class SpikingJellyAdapter(FrameworkAdapter):
    """All layers of SpikingJelly, or derived from them, that fire through a `surrogate_function`.

    A spike fires at the threshold or above it. `detach_reset` is part of the surrogate, which says by
    `through_reset` whether the gradient flows through the reset, and is exchanged with it.
    """

    name: ClassVar[str] = "spikingjelly"
    package: ClassVar[str] = "spikingjelly"
    distribution: ClassVar[str] = "spikingjelly"
    tested: ClassVar[str] = "2.0.0"
    install: ClassVar[str] = '"spikingjelly>=2.0,<2.1"'

    def neurons(self, model: nn.Module) -> dict[str, nn.Module]:
        """See `FrameworkAdapter`; a model that is itself a neuron layer is called by its type."""
        return {
            name or type(model).__name__: module
            for name, module in model.named_modules()
            if "surrogate_function" in module._modules and _of_spikingjelly(module)
        }

    def layout(self, model: nn.Module) -> Layout:
        """Time first, "TN", where a layer's step mode is "m"; else "step"."""
        several = any(getattr(module, "step_mode", "s") == "m" for module in model.modules())
        return "TN" if several else "step"

    def reset(self, model: nn.Module) -> None:
        """See `FrameworkAdapter`; resets what `functional.reset_net` would, without its cache."""
        for module in model.modules():
            forget = getattr(module, "reset", None)
            if callable(forget):
                forget()

    def surrogate(self, model: nn.Module) -> Surrogate | None:
        """See `FrameworkAdapter`."""
        found = {
            told_surrogate(layer.surrogate_function, through_reset=not getattr(layer, "detach_reset", False))
            for layer in self.neurons(model).values()
        }
        return found.pop() if len(found) == 1 else None

    @contextmanager
    def using(self, model: nn.Module, surrogate: Surrogate) -> Iterator[None]:
        """See `FrameworkAdapter`."""
        layers = self.neurons(model)
        for name, layer in layers.items():
            check_step(layer.surrogate_function, "ge", name)  # type: ignore[arg-type]
        with ExitStack() as stack:
            spike = SpikeModule(SurrogateSpike(surrogate, fires="ge"))
            stack.enter_context(replaced(layers.values(), "surrogate_function", spike))
            stack.enter_context(replaced(layers.values(), "detach_reset", not surrogate.through_reset))
            yield

    def transparent(self, layer: nn.Module) -> bool:
        """Dropout, which in SpikingJelly is a layer with a memory."""
        from spikingjelly.activation_based import layer as layers

        return isinstance(layer, layers.Dropout | layers.Dropout2d)

    def plan(self, layer: nn.Module, shape: tuple[int, ...], dt_us: float) -> NeuronPlan:
        """See `FrameworkAdapter`: IFNode, LIFNode and ParametricLIFNode, and the first two's Simple forms.

        With tau in steps, charging is v + (x - v) / tau where `decay_input`, else v - v / tau + x, which a
        LIF does but for the order of additions.
        """
        from spikingjelly.activation_based import neuron

        options: Any = layer
        integrates = (neuron.IFNode, neuron.SimpleIFNode)
        leaks = (neuron.LIFNode, neuron.SimpleLIFNode, neuron.ParametricLIFNode)
        if type(layer) not in (*integrates, *leaks):
            raise Inexpressible(f"is {type(layer).__name__}, a neuron that graphs do not have")
        if options.v_threshold <= 0:
            raise Inexpressible("has a threshold that is not above 0")
        if options.v_reset:
            raise Inexpressible(f"starts at v_reset = {options.v_reset:g}, where networks start at 0")
        semantics = NeuronSemantics(
            reset="subtract" if options.v_reset is None else "value", fires="ge", integration="euler"
        )
        values = {"v_threshold": options.v_threshold, "v_reset": 0.0, "r": 1.0}
        if type(layer) in leaks:
            steps = _time_constant(options)
            values |= {"tau": steps * dt_us * 1e-6, "v_leak": 0.0, "r": 1.0 if options.decay_input else steps}
        arrays = {name: np.full(shape, value) for name, value in values.items()}
        return NeuronPlan(NodeSpec("LIF" if "tau" in values else "IF", {}, arrays), semantics)


def _time_constant(layer: Any) -> float:
    """Time constant in steps; ParametricLIFNode learns its inverse, as the sigmoid of a number."""
    if hasattr(layer, "w"):
        return float(1 / torch.sigmoid(layer.w.detach().double()))
    return float(layer.tau)


def _of_spikingjelly(module: nn.Module) -> bool:
    return any(kind.__module__.partition(".")[0] == "spikingjelly" for kind in type(module).__mro__)
