# SPDX-License-Identifier: MIT
"""Norse 1: how its modules take time and state, and which of its neurons a SpikingNetwork computes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from art_spiking.frameworks import (
    FrameworkAdapter,
    Inexpressible,
    Layout,
    NeuronPlan,
    node_value,
    replaced,
)
from art_spiking.graphs import NodeSpec
from art_spiking.node_types import Array
from art_spiking.semantics import NeuronSemantics
from art_spiking.surrogates import Surrogate
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
        """See `FrameworkAdapter`: IAF, LIFBox and LIF, cells or over time, without recurrence.

        Norse's time constants are in seconds and its dt is the layer's own; the node has the same ratio to
        the network's. A LIF's current jumps by the whole input before the potential is charged.
        """
        options: Any = layer
        step = getattr(options.activation, "__name__", "")
        names = ("iaf_feed_forward_step", "lif_box_feed_forward_step", "lif_feed_forward_step")
        if step not in names:
            raise Inexpressible(f"is {type(layer).__name__}, a neuron that graphs do not have")
        p = options.p
        if bool((torch.as_tensor(p.v_th) <= 0).any()):
            raise Inexpressible("has a threshold that is not above 0")
        start = p.v_reset if step == names[0] else p.v_leak
        if bool((torch.as_tensor(start) != 0).any()):
            raise Inexpressible(f"starts at a potential of {float(start):g}, where networks start at 0")
        values: dict[str, Array] = {
            "v_threshold": node_value(torch.as_tensor(p.v_th), shape),
            "v_reset": node_value(torch.as_tensor(p.v_reset), shape),
            "r": np.ones(1),
        }
        seconds = dt_us * 1e-6
        if step != names[0]:
            share = node_value(torch.as_tensor(options.dt * p.tau_mem_inv), shape)
            values |= {"tau" if step == names[1] else "tau_mem": seconds / share, "v_leak": np.zeros(1)}
        if step == names[2]:
            share = node_value(torch.as_tensor(options.dt * p.tau_syn_inv), shape)
            values |= {"tau_syn": seconds / share, "w_in": 1 / share}
        arrays = {name: np.broadcast_to(value, shape).copy() for name, value in values.items()}
        kind = {names[0]: "IF", names[1]: "LIF", names[2]: "CubaLIF"}[step]
        return NeuronPlan(NodeSpec(kind, {}, arrays), _semantics(p))


def _semantics(p: Any) -> NeuronSemantics:
    from norse.torch.functional.reset import reset_subtract, reset_value

    kinds: list[tuple[Any, Any]] = [(reset_value, "value"), (reset_subtract, "subtract")]
    reset = getattr(p, "reset_method", reset_value)
    word = next((word for kind, word in kinds if reset is kind), None)
    if word is None:
        raise Inexpressible(f"resets by {reset!r:.60}, neither reset_value nor reset_subtract")
    return NeuronSemantics(reset=word, fires="gt", integration="euler")
