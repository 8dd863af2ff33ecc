# SPDX-License-Identifier: MIT
"""Sinabs 3: its state, its layouts and its surrogates."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from art_spiking.frameworks import FrameworkAdapter, Layout, NeuronPlan, replaced
from art_spiking.surrogates import Surrogate
from art_spiking_sinabs.nodes import plan_of
from art_spiking_sinabs.surrogates import DerivativeAtThreshold, ResetGradient, told_surrogate


class SinabsAdapter(FrameworkAdapter):
    """Sinabs' stateful layers that fire, and those derived from them.

    The state is emptied, not zeroed: Sinabs draws the states of a batch of another size at random from those
    of the batch before.
    """

    name: ClassVar[str] = "sinabs"
    package: ClassVar[str] = "sinabs"
    distribution: ClassVar[str] = "sinabs"
    tested: ClassVar[str] = "3.1.3"
    install: ClassVar[str] = '--no-deps "sinabs>=3.1,<3.2"'

    def neurons(self, model: nn.Module) -> dict[str, nn.Module]:
        """See `FrameworkAdapter`; a model that is itself a neuron layer is called by its type."""
        from sinabs.layers import StatefulLayer

        return {
            name or type(model).__name__: module
            for name, module in model.named_modules()
            if isinstance(module, StatefulLayer) and module.does_spike
        }

    def units(self, model: nn.Module) -> dict[str, nn.Module]:
        """See `FrameworkAdapter`; all stateful layers, ExpLeak among them, which never fires."""
        from sinabs.layers import StatefulLayer

        return {
            name or type(model).__name__: module
            for name, module in model.named_modules()
            if isinstance(module, StatefulLayer)
        }

    def layout(self, model: nn.Module) -> Layout:
        """Samples and steps "merged" where a layer is squeezed; else batch first, "NT"."""
        return "merged" if _squeezed(model) else "NT"

    def reset(self, model: nn.Module) -> None:
        """See `FrameworkAdapter`; every state becomes empty, as in a new layer."""
        from sinabs.layers import StatefulLayer

        for module in model.modules():
            if not isinstance(module, StatefulLayer):
                continue
            for name, state in module._buffers.items():
                if isinstance(state, Tensor):
                    module._buffers[name] = torch.zeros(0, device=state.device)
            for name in ("recordings", "firing_rate"):
                module.__dict__.pop(name, None)

    @contextmanager
    def prepare(self, model: nn.Module, samples: int, steps: int) -> Iterator[None]:
        """See `FrameworkAdapter`; tells squeezed layers the sizes, which they were built for once."""
        layers = _squeezed(model)
        with ExitStack() as stack:
            stack.enter_context(replaced(layers, "batch_size", samples))
            stack.enter_context(
                replaced([one for one in layers if hasattr(one, "num_timesteps")], "num_timesteps", steps)
            )
            yield

    def surrogate(self, model: nn.Module) -> Surrogate | None:
        """See `FrameworkAdapter`."""
        found = {told_surrogate(layer) for layer in self.neurons(model).values()}
        return found.pop() if len(found) == 1 else None

    @contextmanager
    def using(self, model: nn.Module, surrogate: Surrogate) -> Iterator[None]:
        """See `FrameworkAdapter`."""
        from sinabs.activation import SingleSpike

        with ExitStack() as stack:
            for layer in self.neurons(model).values():
                several = layer.spike_fn is not SingleSpike
                derivative = DerivativeAtThreshold(surrogate, several)
                reset = ResetGradient(layer.reset_fn, surrogate.through_reset)
                stack.enter_context(replaced([layer], "surrogate_grad_fn", derivative))
                stack.enter_context(replaced([layer], "reset_fn", reset))
            yield

    def copied(self, model: nn.Module, memo: dict[int, Any]) -> nn.Module:
        """See `FrameworkAdapter`; Sinabs' own way of copying a layer fails where it holds another."""
        from sinabs.layers import StatefulLayer

        for layer in model.modules():
            if isinstance(layer, StatefulLayer) and any(True for _ in layer.children()):
                twin = memo[id(layer)] = object.__new__(type(layer))
                twin.__dict__.update(copy.deepcopy(layer.__dict__, memo))
        return copy.deepcopy(model, memo)

    def transparent(self, layer: nn.Module) -> bool:
        """Layers that only take the time axis apart."""
        from sinabs.layers import UnflattenTime

        return isinstance(layer, UnflattenTime)

    def plan(self, layer: nn.Module, shape: tuple[int, ...], dt_us: float) -> NeuronPlan:
        """See `FrameworkAdapter`: IAF, LIF and ExpLeak, squeezed or not, and IAF and LIF with recurrence."""
        return plan_of(layer, shape, dt_us)


def _squeezed(model: nn.Module) -> list[nn.Module]:
    """Layers that were told a batch size when they were built."""
    from sinabs.layers import UnflattenTime
    from sinabs.layers.reshape import SqueezeMixin

    return [module for module in model.modules() if isinstance(module, SqueezeMixin | UnflattenTime)]
