# SPDX-License-Identifier: MIT
"""Mean activity of a network's layers over time, which ART's poisoning defences take as activations."""

from __future__ import annotations

from typing import Any

import torch

from art_spiking.errors import InvalidInput, UnknownName
from art_spiking.estimators.module import SpikingModule
from art_spiking.network import SpikingNetwork


def layer_names(module: SpikingModule) -> list[str]:
    """Returns the layers whose activity can be read, from the input to the output.

    Those are the neuron layers of a network with an `activity(x)` method, such as SpikingNetwork, and the
    innermost modules of any other.
    """
    network = module.network
    if callable(getattr(network, "activity", None)):
        device = next((p.device for p in network.parameters()), torch.device("cpu"))
        shape = module.sample_shape
        if isinstance(network, SpikingNetwork):  # any number of steps will do, and one is quickest
            shape = (1, *shape[1:])
        with torch.no_grad(), module.clean_state():
            return list(network.activity(torch.zeros((1, *shape), device=device)))  # type: ignore[operator]
    return [
        name for name, child in network.named_modules() if name and not any(True for _ in child.children())
    ]


def layer_named(names: list[str], layer: int | str) -> str:
    """Returns the name of a layer given by name or index.

    Raises:
        UnknownName: there is no such layer.
    """
    if isinstance(layer, str) and layer in names:
        return layer
    if isinstance(layer, int) and -len(names) <= layer < len(names):
        return names[layer]
    raise UnknownName("unknown layer", asked=repr(layer), accepted=", ".join(names) or "no layer has a name")


def mean_activity(module: SpikingModule, x: torch.Tensor, name: str) -> torch.Tensor:
    """Returns the time mean (N, *shape) of what layer `name` puts out for the batch `x`, differentiable.

    A layer of a foreign network may be called once with all steps, as (N, T, ...) or merged (N*T, ...), or
    once per step: the calls' outputs are then averaged. Of a tuple, the first element (the spikes) is read.

    Raises:
        InvalidInput: a wrong shape, or a layer whose output has no batch axis first.
    """
    x = module.prepare(x)
    network = module.network
    with module.clean_state():
        if callable(getattr(network, "activity", None)):
            mean = network.activity(x)[name].mean(dim=1)  # type: ignore[operator]
        else:
            mean = _hooked_mean(network, x, name)
    module.counter.count_forward(len(x))
    module.counter.watch(mean)
    return mean  # type: ignore[no-any-return]


def _hooked_mean(network: torch.nn.Module, x: torch.Tensor, name: str) -> torch.Tensor:
    calls: list[torch.Tensor] = []

    def keep(_layer: torch.nn.Module, _arguments: Any, output: Any) -> None:
        calls.append(output[0] if isinstance(output, tuple) else output)

    handle = network.get_submodule(name).register_forward_hook(keep)
    try:
        network(x)
    finally:
        handle.remove()
    if not calls:
        raise InvalidInput("the layer took no part in the forward pass", asked=repr(name))
    samples, steps = x.shape[:2]
    if len(calls) > 1:
        return torch.stack(calls).mean(dim=0)
    output = calls[0]
    if output.shape[:2] == (samples, steps):
        return output.mean(dim=1)
    if output.shape[0] == samples * steps and steps > 1:
        return output.reshape(samples, steps, *output.shape[1:]).mean(dim=1)
    if output.shape[0] == samples:
        return output
    raise InvalidInput(
        "the layer's output has no batch axis first",
        asked=repr(name),
        found=tuple(output.shape),
        accepted=f"(N, T, ...), (N*T, ...) or, step by step, (N, ...) with N = {samples} and T = {steps}",
    )
