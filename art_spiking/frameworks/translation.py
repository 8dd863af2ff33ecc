# SPDX-License-Identifier: MIT
"""torch's own layers as nodes of a graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from art_spiking.frameworks.adapters import Inexpressible
from art_spiking.graphs import NodeSpec
from art_spiking.node_types import Array

# What changes nothing in evaluation mode.
_TRANSPARENT = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)


def node_of(module: nn.Module, shape: tuple[int, ...], output: tuple[int, ...]) -> NodeSpec | None:
    """The node of a layer of `torch.nn`, or None for one that does nothing in evaluation mode.

    Subclasses count as what they derive from: frameworks derive layers that only treat time differently.
    Batch normalisation becomes a convolution of 1 x 1 by its running statistics.

    Args:
        module: The layer.
        shape: Its input, of one sample in one step.
        output: Its output, likewise.

    Raises:
        Inexpressible: Another layer, or an option that no node has.
    """
    if isinstance(module, _TRANSPARENT):
        return None
    for kind, translate in _TRANSLATIONS.items():
        if isinstance(module, kind):
            return translate(module, shape)
    if isinstance(module, nn.Flatten):
        return None if shape == output else merged_axes(shape, output)
    raise Inexpressible(f"is {type(module).__name__}, a layer that graphs do not have")


def merged_axes(shape: tuple[int, ...], merged: tuple[int, ...]) -> NodeSpec:
    """The Flatten node that makes `merged` of `shape`.

    Raises:
        Inexpressible: No single Flatten does.
    """
    for first in range(len(shape)):
        for last in range(first, len(shape)):
            middle = int(np.prod(shape[first : last + 1]))
            if (*shape[:first], middle, *shape[last + 1 :]) == merged:
                return NodeSpec("Flatten", {"start_dim": first, "end_dim": last})
    raise Inexpressible(f"is given {shape} as {merged}, which merging neighbouring axes does not make")


def _convolution(module: Any, shape: tuple[int, ...]) -> NodeSpec:
    if module.padding_mode != "zeros":
        raise Inexpressible(f"pads with '{module.padding_mode}'")
    name = "Conv2d" if isinstance(module, nn.Conv2d) else "Conv1d"
    attributes = {key: getattr(module, key) for key in ("stride", "padding", "dilation", "groups")}
    return NodeSpec(name, attributes, {"weight": _array(module.weight), "bias": _bias(module)})


def _linear(module: Any, shape: tuple[int, ...]) -> NodeSpec:
    if module.bias is None:
        return NodeSpec("Linear", {}, {"weight": _array(module.weight)})
    return NodeSpec("Affine", {}, {"weight": _array(module.weight), "bias": _array(module.bias)})


def _average_pool(module: Any, shape: tuple[int, ...]) -> NodeSpec:
    _refuse_ceil_mode(module)
    padding = _pair(module.padding)
    if module.divisor_override not in (None, 1):
        raise Inexpressible(f"divides its sums by {module.divisor_override}")
    if not module.count_include_pad and any(padding) and module.divisor_override is None:
        raise Inexpressible("leaves the padding out of its averages (count_include_pad=False)")
    name = "AvgPool2d" if module.divisor_override is None else "SumPool2d"
    return NodeSpec(name, {**_windows(module), "padding": padding})


def _power_pool(module: Any, shape: tuple[int, ...]) -> NodeSpec:
    _refuse_ceil_mode(module)
    if module.norm_type != 1:
        raise Inexpressible(f"pools with the norm {module.norm_type}, where graphs know sums, norm 1")
    return NodeSpec("SumPool2d", {**_windows(module), "padding": 0})


def _batch_norm(module: Any, shape: tuple[int, ...]) -> NodeSpec:
    if module.running_mean is None:
        raise Inexpressible("normalises by the batch itself (track_running_stats=False)")
    if len(shape) != 3:
        raise Inexpressible(f"normalises an input {shape}; only (C, H, W) becomes a convolution")
    # In float64: one rounding, as near to torch's own order of operations as any single product can be.
    scale = 1 / torch.sqrt(module.running_var.double() + module.eps)
    shift = -module.running_mean.double() * scale
    if module.weight is not None:
        scale, shift = scale * module.weight.double(), shift * module.weight.double() + module.bias.double()
    channels = shape[0]
    attributes = {"stride": 1, "padding": 0, "dilation": 1, "groups": channels}
    weight = scale.reshape(channels, 1, 1, 1).float()
    return NodeSpec("Conv2d", attributes, {"weight": _array(weight), "bias": _array(shift.float())})


def _windows(module: Any) -> dict[str, tuple[int, ...]]:
    kernel = _pair(module.kernel_size)
    stride = kernel if module.stride is None else _pair(module.stride)
    return {"kernel_size": kernel, "stride": stride}


def _refuse_ceil_mode(module: Any) -> None:
    if module.ceil_mode:
        raise Inexpressible("keeps incomplete windows (ceil_mode=True)")


def _pair(value: Any) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _bias(module: Any) -> Array:
    if module.bias is None:
        return np.zeros(module.out_channels, np.float32)
    return _array(module.bias)


def _array(value: Tensor) -> Array:
    array: Array = value.detach().cpu().numpy()
    return array


_TRANSLATIONS: dict[type[nn.Module], Callable[[Any, tuple[int, ...]], NodeSpec]] = {
    nn.Conv2d: _convolution,
    nn.Conv1d: _convolution,
    nn.Linear: _linear,
    nn.AvgPool2d: _average_pool,
    nn.LPPool2d: _power_pool,
    nn.BatchNorm2d: _batch_norm,
}
