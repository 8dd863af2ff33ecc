# SPDX-License-Identifier: MIT
"""Follows one step through a model: which layers it calls, one on the output of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from art_spiking.frameworks.adapters import Inexpressible
from art_spiking.frameworks.running import FrameworkNetwork

# Samples in the trace: any number but one, so that (T, N, ...) and (N, ...) look different at T = 1.
_SAMPLES = 3


@dataclass(frozen=True)
class TracedLayer:
    """One call of a layer.

    Attributes:
        name: The layer's name in the model.
        module: The layer.
        shape: What came in, of one sample in one step.
        output: What came out, likewise.
        reshaped_from: What the layer before put out, if its axes were merged in between, outside any layer.
    """

    name: str
    module: nn.Module
    shape: tuple[int, ...]
    output: tuple[int, ...]
    reshaped_from: tuple[int, ...] | None


@dataclass
class _Call:
    name: str
    module: nn.Module
    given: Tensor
    returned: Tensor


def follow(network: FrameworkNetwork, x: Tensor) -> list[TracedLayer]:
    """The layers of a model that is a chain, in the order of the computation.

    The model is run on one step of x (N, T, *F). A layer belongs to the chain if it was given what the one
    before returned, in the same memory; views that merge axes (`flatten`, `view`) are seen, other functions
    between layers are not, and end the chain.

    Raises:
        Inexpressible: It is no chain; `what` says from where on.
    """
    frames = x[:1, :1].expand(_SAMPLES, *([-1] * (x.dim() - 1))).clone()
    calls = _calls(network, frames)
    names = [call.name for call in calls]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Inexpressible(f"layer '{twice[0]}' is called {names.count(twice[0])} times in one step")
    before, last, layers = frames[:, 0], tuple(frames.shape[2:]), []
    what = "the input"
    for call in calls:
        if not _same_memory(before, call.given):
            raise Inexpressible(
                f"layer '{call.name}' is not given what {what} puts out: a function, a branch or a second "
                "input stands between them"
            )
        what = f"layer '{call.name}'"
        axes = _batch_axes(call.given, last, what)
        shape = tuple(call.given.shape[axes:])
        output = tuple(call.returned.shape[_batch_axes(call.returned, None, what, axes) :])
        layers.append(TracedLayer(call.name, call.module, shape, output, None if shape == last else last))
        before, last = call.returned, output
    if not layers:
        raise Inexpressible("the model calls no layer")
    return layers


def _calls(network: FrameworkNetwork, frames: Tensor) -> list[_Call]:
    """Every call of an innermost module; the framework's units count as such whatever they hold."""
    watched = network.adapter.units(network.model)
    for name, module in network.model.named_modules():
        if network.adapter.per_step(module) is not module:
            watched[name or type(module).__name__] = module
    taken = {id(part) for layer in watched.values() for part in layer.modules()}
    called: list[_Call] = []

    def keep(name: str) -> Any:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            returned = network.adapter.split(output)[0]
            if arguments and isinstance(arguments[0], Tensor) and isinstance(returned, Tensor):
                called.append(_Call(name, network.adapter.per_step(module), arguments[0], returned))

        return hook

    for name, module in network.model.named_modules():
        if id(module) not in taken and not any(True for _ in module.children()):
            watched[name or type(module).__name__] = module
    handles = [module.register_forward_hook(keep(name)) for name, module in watched.items()]
    try:
        with torch.no_grad():
            network(frames)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise Inexpressible(f"the model does not run on a single step: {error}") from error
    finally:
        for handle in handles:
            handle.remove()
    return called


def _same_memory(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors are the same numbers in the same place, whatever their axes."""
    if first.numel() != second.numel():
        return False
    same_place = first.data_ptr() == second.data_ptr()
    return same_place and bool(torch.equal(first.reshape(-1), second.reshape(-1)))


def _batch_axes(value: Tensor, sample: tuple[int, ...] | None, what: str, likely: int = 1) -> int:
    """How many axes stand before those of a sample: 1, (N,), or 2, (T, N) or (N, T) with T = 1.

    Args:
        value: What a layer was given or returned.
        sample: The shape of one sample, where it is known; (N, 1, H, W) may be either.
        what: The layer.
        likely: Where nothing else decides.
    """
    shape = tuple(value.shape)
    both = {(1, _SAMPLES), (_SAMPLES, 1)}
    possible = [axes for axes, fits in ((1, shape[:1] == (_SAMPLES,)), (2, shape[:2] in both)) if fits]
    if not possible:
        raise Inexpressible(f"{what} has no batch axis in {shape}, for {_SAMPLES} samples")
    known = [axes for axes in possible if shape[axes:] == sample]
    return known[0] if known else likely if likely in possible else possible[0]
