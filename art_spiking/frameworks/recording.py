# SPDX-License-Identifier: MIT
"""What a framework's neuron layers put out while their model runs, brought to (N, T, ...)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from art_spiking.errors import InvalidModel
from art_spiking.frameworks.adapters import FrameworkAdapter, Layout


@contextmanager
def outputs_kept(
    layers: Mapping[str, nn.Module], adapter: FrameworkAdapter
) -> Iterator[dict[str, list[Tensor]]]:
    """Keeps the spikes of every call of every layer inside a `with` block, by layer, in order."""
    kept: dict[str, list[Tensor]] = {name: [] for name in layers}

    def keep(name: str) -> Any:
        def hook(_layer: nn.Module, _arguments: Any, output: Any) -> None:
            kept[name].append(adapter.split(output)[0])

        return hook

    handles = [layer.register_forward_hook(keep(name)) for name, layer in layers.items()]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def attributes_kept(model: nn.Module) -> Iterator[None]:
    """Puts tensors that modules keep in plain attributes, alone or in lists, back as they were before.

    Parameters and buffers are not meant: a framework's layers keep their states in them, and training changes
    them. A tensor that the model writes into, instead of replacing it, stays changed.
    """
    before = [(module, _own(module)) for module in model.modules()]
    try:
        yield
    finally:
        for module, kept in before:
            after = _own(module)
            for name in kept.keys() | after.keys():
                if not (_holds_tensor(kept.get(name)) or _holds_tensor(after.get(name))):
                    continue
                if name in kept:
                    module.__dict__[name] = kept[name]
                else:
                    del module.__dict__[name]


def _own(module: nn.Module) -> dict[str, Any]:
    """A module's plain attributes; lists and dicts are copied, since a model may add to them."""
    own = {name: value for name, value in module.__dict__.items() if not name.startswith("_")}
    return {name: value.copy() if isinstance(value, list | dict) else value for name, value in own.items()}


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return any(isinstance(item, Tensor) for item in value)
    return isinstance(value, Tensor)


def over_time(kept: Mapping[str, list[Tensor]], batch: tuple[int, int], layout: Layout) -> dict[str, Tensor]:
    """The spikes (N, T, *F) of each layer, from those of its calls.

    A layer may be called once per step, as (N, *F), or once with all of them in the model's own layout. One
    that is called k times per step becomes k entries, "name", "name#2", and so on.

    Args:
        kept: From `outputs_kept`.
        batch: (N, T).
        layout: How the model takes a recording.

    Raises:
        InvalidModel: A layer that took no part, or whose calls do not fit the steps.
    """
    samples, steps = batch
    found: dict[str, Tensor] = {}
    for name, calls in kept.items():
        sequences = [sequence for call in calls if (sequence := _whole(call, batch, layout)) is not None]
        if not calls or len(sequences) < len(calls):
            per_step = all(call.shape[:1] == (samples,) for call in calls) and len(calls) % steps == 0
            if not calls or not per_step:
                raise InvalidModel(
                    f"the activity of layer '{name}' cannot be told",
                    found="no call"
                    if not calls
                    else f"{len(calls)} calls, the first {tuple(calls[0].shape)}",
                    accepted=f"one call per step or one for all, for N = {samples} and T = {steps}",
                )
            uses = len(calls) // steps
            sequences = [torch.stack(calls[use::uses], dim=1) for use in range(uses)]
        for use, sequence in enumerate(sequences):
            found[name if use == 0 else f"{name}#{use + 1}"] = sequence
    return found


def _whole(call: Tensor, batch: tuple[int, int], layout: Layout) -> Tensor | None:
    """(N, T, *F) of a call that held all steps, or None; a model that is stepped makes no such call."""
    samples, steps = batch
    if layout == "TN" and call.shape[:2] == (steps, samples):
        return call.transpose(0, 1)
    if layout in ("NT", "merged") and call.shape[:2] == (samples, steps):
        return call
    if layout in ("NT", "merged") and steps > 1 and call.shape[0] == samples * steps:
        return call.reshape(samples, steps, *call.shape[1:])
    return None
