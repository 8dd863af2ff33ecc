# SPDX-License-Identifier: MIT
"""Sinabs 3: its state, its surrogates, and which of its layers a SpikingNetwork computes."""

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
    node_value,
    replaced,
)
from art_spiking.graphs import NodeSpec
from art_spiking.node_types import Array
from art_spiking.semantics import NeuronSemantics
from art_spiking.surrogates import Surrogate
from art_spiking_sinabs.surrogates import DerivativeAtThreshold, ResetGradient, told_surrogate

# A time constant in steps so long that a step's decay is lost in float64.
_ENDLESS = 2.0**60
_CLAMPED = (
    "has a lower bound of the potential (min_v_mem): below it Sinabs' spikes still have their surrogate's "
    "gradient, those of the fused network none"
)


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

    def transparent(self, layer: nn.Module) -> bool:
        """Layers that only take the time axis apart."""
        from sinabs.layers import UnflattenTime

        return isinstance(layer, UnflattenTime)

    def plan(self, layer: nn.Module, shape: tuple[int, ...], dt_us: float) -> NeuronPlan:
        """See `FrameworkAdapter`: IAF and LIF with and without synapse, one spike per step or several.

        A LIF of decay a has an impulse's step, v[t] = a v[t-1] + r x[t], r = 1 - a where `norm_input`. Sinabs
        clamps the potential after the reset, a network before: the same, as long as no reset goes below. The
        gradients differ there, as the plan remarks.
        """
        from sinabs import layers

        options: Any = layer
        if type(layer) not in (layers.IAF, layers.LIF, layers.IAFSqueeze, layers.LIFSqueeze):
            raise Inexpressible(f"is {type(layer).__name__}, a neuron that graphs do not have")
        step = dt_us * 1e-6
        decay = node_value(options.alpha_mem_calculated, shape)
        values: dict[str, Array] = {
            "v_threshold": node_value(options.spike_threshold, shape),
            "v_reset": np.zeros(1),
            "r": 1 - decay if options.norm_input else np.ones(1),
        }
        synapse = options.alpha_syn_calculated
        leaks = synapse is not None or bool((decay < 1).any())
        if leaks:
            values["v_leak"] = np.zeros(1)
            values["tau" if synapse is None else "tau_mem"] = step * _steps(decay)
        if synapse is not None:
            values |= {"w_in": np.ones(1), "tau_syn": step * _steps(node_value(synapse, shape))}
        arrays = {name: np.broadcast_to(value, shape).copy() for name, value in values.items()}
        kind = "CubaLIF" if synapse is not None else "LIF" if leaks else "IF"
        semantics = _semantics(options)
        remark = "" if semantics.v_min is None else _CLAMPED
        return NeuronPlan(NodeSpec(kind, {}, arrays), semantics, remark)


def _semantics(layer: Any) -> NeuronSemantics:
    from sinabs.activation import MembraneReset, MembraneSubtract, MultiSpike, SingleSpike

    kinds: list[tuple[Any, Any]] = [(MultiSpike, "several"), (SingleSpike, "one")]
    spikes = next((word for kind, word in kinds if layer.spike_fn is kind), None)
    if spikes is None:
        raise Inexpressible(f"fires by {layer.spike_fn}, neither SingleSpike nor MultiSpike")
    reset: Any = {MembraneSubtract: "subtract", MembraneReset: "value"}.get(type(layer.reset_fn))
    if reset is None:
        raise Inexpressible(f"resets by {layer.reset_fn}, neither MembraneSubtract nor MembraneReset")
    if getattr(layer.reset_fn, "subtract_value", None) is not None:
        raise Inexpressible("takes another value than its threshold off the potential (subtract_value)")
    if getattr(layer.reset_fn, "reset_value", 0) != 0:
        raise Inexpressible("adds its reset_value at every step, spike or no spike")
    low = layer.min_v_mem
    if low is not None and not bool(((low == low.flatten()[0]) & (low <= 0)).all()):
        raise Inexpressible("has several lower bounds of the potential, or one above 0")
    v_min = None if low is None else float(low.flatten()[0])
    return NeuronSemantics(reset=reset, spikes=spikes, v_min=v_min, fires="ge", integration="impulse")


def _steps(decay: Array) -> Array:
    """Time constant in steps of a decay per step."""
    with np.errstate(divide="ignore"):
        steps: Array = np.minimum(-1 / np.log(decay), _ENDLESS)
    return np.where(decay < 1, steps, _ENDLESS)


def _squeezed(model: nn.Module) -> list[nn.Module]:
    """Layers that were told a batch size when they were built."""
    from sinabs.layers import UnflattenTime
    from sinabs.layers.reshape import SqueezeMixin

    return [module for module in model.modules() if isinstance(module, SqueezeMixin | UnflattenTime)]
