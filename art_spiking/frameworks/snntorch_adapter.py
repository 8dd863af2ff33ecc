# SPDX-License-Identifier: MIT
"""snnTorch: its state, its spikes and its surrogates, and which of its neurons a SpikingNetwork computes."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from art_spiking.errors import InvalidModel
from art_spiking.frameworks.adapters import FrameworkAdapter, Layout, NeuronPlan
from art_spiking.frameworks.snntorch_nodes import plan_of
from art_spiking.frameworks.spikes import SurrogateSpike, check_step, replaced
from art_spiking.surrogates import Atan, FastSigmoid, Sigmoid, StraightThrough, Surrogate

_MODULE = "snntorch.surrogate"


@dataclass(frozen=True)
class NamedSpike:
    """One of `snntorch.surrogate`'s spike functions by name, which pickles where snnTorch's closure does not.

    Attributes:
        function: Such as "fast_sigmoid".
        arguments: Such as (("slope", 25),).
    """

    function: str
    arguments: tuple[tuple[str, Any], ...]

    def __call__(self, u: Tensor) -> Tensor:
        """The spikes of u = potential - threshold, by snnTorch's own code."""
        from snntorch import surrogate

        spikes: Tensor = getattr(surrogate, self.function)(**dict(self.arguments))(u)
        return spikes

    @classmethod
    def of(cls, spike: Any) -> NamedSpike | None:
        """The name of a spike function, or None for one that is not of `snntorch.surrogate`."""
        if isinstance(spike, NamedSpike):
            return spike
        function, _, rest = getattr(spike, "__qualname__", "").partition(".")
        if getattr(spike, "__module__", None) != _MODULE or rest != "<locals>.inner":
            return None
        return cls(function, tuple(sorted(inspect.getclosurevars(spike).nonlocals.items())))


_SURROGATES: dict[str, Callable[..., Surrogate]] = {
    "atan": lambda alpha, **kind: Atan(alpha=float(alpha), **kind),
    "fast_sigmoid": lambda slope, **kind: FastSigmoid(slope=float(slope), **kind),
    "sigmoid": lambda slope, **kind: Sigmoid(slope=float(slope), **kind),
    "straight_through_estimator": StraightThrough,
}


class SnnTorchAdapter(FrameworkAdapter):
    """snnTorch's neurons: all of `snntorch.SpikingNeuron`, and LeakyParallel.

    The state of a layer is emptied layer by layer: `snntorch.utils.reset` finds neither layers inside nested
    containers nor copies made by deepcopy. A spike fires above the threshold, strictly. snnTorch cuts the
    gradient at a delayed reset, which a surrogate with `through_reset` changes; at the immediate one of
    `reset_delay=False` it passes, whatever the surrogate says.
    """

    name: ClassVar[str] = "snntorch"
    package: ClassVar[str] = "snntorch"
    distribution: ClassVar[str] = "snntorch"
    tested: ClassVar[str] = "1.0.0"
    install: ClassVar[str] = '"snntorch>=1.0,<1.1"'

    def neurons(self, model: nn.Module) -> dict[str, nn.Module]:
        """See `FrameworkAdapter`; a model that is itself a neuron layer is called by its type."""
        import snntorch

        kinds = (snntorch.SpikingNeuron, snntorch.LeakyParallel)
        named = {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
        return {name or type(model).__name__: module for name, module in named.items()}

    def layout(self, model: nn.Module) -> Layout:
        """Time first, "TN", with LeakyParallel, which runs whole sequences; else "step"."""
        import snntorch

        parallel = any(isinstance(module, snntorch.LeakyParallel) for module in model.modules())
        return "TN" if parallel else "step"

    def reset(self, model: nn.Module) -> None:
        """See `FrameworkAdapter`; every state becomes empty, as in a new layer."""
        import snntorch

        for module in model.modules():
            if not isinstance(module, snntorch.SpikingNeuron):
                continue
            for name in module._non_persistent_buffers_set:
                state = module._buffers[name]
                if isinstance(state, Tensor):
                    module._buffers[name] = torch.zeros(0, device=state.device)
            for name in ("reset", "spk"):  # left over from the last step, with its history
                if isinstance(module.__dict__.get(name), Tensor):
                    del module.__dict__[name]

    def surrogate(self, model: nn.Module) -> Surrogate | None:
        """See `FrameworkAdapter`; told are atan, fast_sigmoid, sigmoid and straight_through_estimator."""
        found = {self._surrogate_of(layer) for layer in self.neurons(model).values()}
        return found.pop() if len(found) == 1 else None

    @contextmanager
    def using(self, model: nn.Module, surrogate: Surrogate) -> Iterator[None]:
        """See `FrameworkAdapter`."""
        named = self.neurons(model)
        for name, layer in named.items():
            check_step(layer.spike_grad, "gt", name)  # type: ignore[arg-type]
        layers = list(named.values())
        spike = SurrogateSpike(surrogate)
        with ExitStack() as stack:
            stack.enter_context(replaced(layers, "spike_grad", spike))
            if surrogate.through_reset:
                for layer in layers:
                    if getattr(layer, "reset_delay", True):
                        reset = partial(_reset_with_gradient, layer, spike)
                        stack.enter_context(replaced([layer], "mem_reset", reset))
            yield

    def picklable(self, model: nn.Module) -> nn.Module:
        """See `FrameworkAdapter`; spike functions, closures in snnTorch, become `NamedSpike`."""
        named: dict[str, Any] = {}
        for name, layer in self.neurons(model).items():
            spike = NamedSpike.of(layer.spike_grad) or layer.spike_grad
            try:
                pickle.dumps(spike)
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise InvalidModel(
                    f"the spike function of layer '{name}' cannot be pickled",
                    found=f"{type(error).__name__}: {error}",
                    accepted="a function of snntorch.surrogate, or one defined at a module's top level",
                ) from error
            named[name] = spike
        tensors = (*model.parameters(), *model.buffers())
        twin = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
        for name, layer in self.neurons(twin).items():
            layer.__dict__["spike_grad"] = named[name]
        return twin

    def plan(self, layer: nn.Module, shape: tuple[int, ...], dt_us: float) -> NeuronPlan:
        """See `FrameworkAdapter`: Leaky, Synaptic, RSynaptic, LeakyParallel; Lapicque, RLeaky but to zero."""
        return plan_of(layer, shape, dt_us)

    def _surrogate_of(self, layer: nn.Module) -> Surrogate | None:
        import snntorch

        spike: Any = layer.spike_grad
        if isinstance(spike, SurrogateSpike):
            return spike.surrogate
        if spike == snntorch.LeakyParallel.ATan.apply:
            return Atan(alpha=2.0)
        named = NamedSpike.of(spike)
        make = _SURROGATES.get(named.function) if named else None
        if named is None or make is None:
            return None
        return make(**dict(named.arguments), through_reset=not getattr(layer, "reset_delay", True))


def _reset_with_gradient(layer: Any, spike: SurrogateSpike, mem: Tensor) -> Tensor:
    """SnnTorch's `mem_reset`, not detached."""
    return spike(mem - layer.threshold)
