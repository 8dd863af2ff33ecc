# SPDX-License-Identifier: MIT
"""SpikingJelly 2: its state, its step modes and its surrogates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from art_spiking.frameworks import (
    FrameworkAdapter,
    Layout,
    NeuronPlan,
    SurrogateSpike,
    check_step,
    replaced,
)
from art_spiking.surrogates import Surrogate
from art_spiking_spikingjelly.nodes import is_container, is_integrator, plan_of
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

    def units(self, model: nn.Module) -> dict[str, nn.Module]:
        """See `FrameworkAdapter`; a recurrent container stands for the neurons in it, by their name."""
        containers = {id(one.sub_module): one for one in model.modules() if is_container(one)}
        fires = self.neurons(model)
        return {
            name or type(model).__name__: containers.get(id(module), module)
            for name, module in model.named_modules()
            if (name or type(model).__name__) in fires or is_integrator(module)
        }

    def layout(self, model: nn.Module) -> Layout:
        """Time first, "TN", where a layer's step mode is "m"; else "step"."""
        several = any(getattr(module, "step_mode", "s") == "m" for module in model.modules())
        return "TN" if several else "step"

    def reset(self, model: nn.Module) -> None:
        """See `FrameworkAdapter`; resets what `functional.reset_net` would, without its cache.

        Nodes that do not fire start anew in every call, but keep what they ended with: it is dropped.
        """
        for module in model.modules():
            if is_integrator(module):
                module.__dict__.pop("v", None)
            forget = getattr(module, "reset", None)
            if callable(forget):
                forget()

    def split(self, output: Any) -> tuple[Any, Any]:
        """See `FrameworkAdapter`; a list holds the potentials of all steps, of a node that does not fire."""
        if isinstance(output, list) and output and all(isinstance(one, Tensor) for one in output):
            return torch.stack(output), None
        return super().split(output)

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
        """See `FrameworkAdapter`: IF and LIF nodes, firing or not, and recurrent containers around them."""
        return plan_of(layer, shape, dt_us)


def _of_spikingjelly(module: nn.Module) -> bool:
    return any(kind.__module__.partition(".")[0] == "spikingjelly" for kind in type(module).__mro__)
