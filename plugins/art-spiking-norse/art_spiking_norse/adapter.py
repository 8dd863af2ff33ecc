# SPDX-License-Identifier: MIT
"""Norse 1: how its modules take time and state, and how its surrogates are exchanged."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, ClassVar

from torch import nn

from art_spiking.frameworks import FrameworkAdapter, Layout, NeuronPlan, replaced
from art_spiking.surrogates import Surrogate
from art_spiking_norse.nodes import is_integrator, plan_of
from art_spiking_norse.surrogates import told_surrogate, with_surrogate


class NorseAdapter(FrameworkAdapter):
    """Norse's cells, and its modules that run them over time, feed-forward or recurrent, if they fire.

    Norse keeps no state: it is returned, and passed on. A spike fires above the threshold, strictly.
    """

    name: ClassVar[str] = "norse"
    package: ClassVar[str] = "norse"
    distribution: ClassVar[str] = "norse"
    tested: ClassVar[str] = "1.1.0"
    install: ClassVar[str] = '"norse>=1.1,<1.2"'

    def neurons(self, model: nn.Module) -> dict[str, nn.Module]:
        """See `FrameworkAdapter`; a model that is itself a neuron layer is called by its type."""
        from norse.torch.module import snn

        kinds = (snn.SNNCell, snn.SNN, snn.SNNRecurrentCell, snn.SNNRecurrent)
        return {
            name or type(model).__name__: module
            for name, module in model.named_modules()
            if isinstance(module, kinds) and hasattr(module.p, "method")
        }

    def units(self, model: nn.Module) -> dict[str, nn.Module]:
        """See `FrameworkAdapter`; the neurons, and the integrators LI, LICell, LIBoxCell and LILinearCell."""
        fires = self.neurons(model)
        return {
            name or type(model).__name__: module
            for name, module in model.named_modules()
            if (name or type(model).__name__) in fires or is_integrator(module)
        }

    def layout(self, model: nn.Module) -> Layout:
        """Time first, "TN", with modules over time; else "step-state"."""
        from norse.torch import Lift
        from norse.torch.module import snn

        timed = (Lift, snn.SNN, snn.SNNRecurrent)
        return "TN" if any(isinstance(module, timed) for module in model.modules()) else "step-state"

    def reset(self, model: nn.Module) -> None:
        """See `FrameworkAdapter`; there is nothing to forget."""

    def split(self, output: Any) -> tuple[Any, Any]:
        """Spikes, without a potential: beside them Norse returns states of any form."""
        return (output[0] if isinstance(output, tuple) else output), None

    def surrogate(self, model: nn.Module) -> Surrogate | None:
        """See `FrameworkAdapter`."""
        found = {told_surrogate(layer) for layer in self.neurons(model).values()}
        return found.pop() if len(found) == 1 else None

    @contextmanager
    def using(self, model: nn.Module, surrogate: Surrogate) -> Iterator[None]:
        """See `FrameworkAdapter`."""
        with ExitStack() as stack:
            for name, layer in self.neurons(model).items():
                step = with_surrogate(layer.activation, surrogate, name)
                stack.enter_context(replaced([layer], "activation", step))
            yield

    def picklable(self, model: nn.Module) -> nn.Module:
        """See `FrameworkAdapter`; Norse's parameters, of classes that pickle does not find, become plain."""
        tensors = (*model.parameters(), *model.buffers())
        twin = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
        for module in twin.modules():
            parameters = getattr(module, "p", None)
            if isinstance(parameters, tuple) and hasattr(parameters, "_asdict"):
                module.__dict__["p"] = SimpleNamespace(**parameters._asdict())
        return twin

    def per_step(self, layer: nn.Module) -> nn.Module:
        """What a Lift lifts, if it has no state."""
        from norse.torch import Lift

        if isinstance(layer, Lift) and not layer.is_stateful:
            lifted: nn.Module = layer.lifted_module
            return lifted
        return layer

    def plan(self, layer: nn.Module, shape: tuple[int, ...], dt_us: float) -> NeuronPlan:
        """See `FrameworkAdapter`: IAF, LIFBox, LIF and LI, cells or over time; LIF with recurrence too."""
        return plan_of(layer, shape, dt_us)
