# SPDX-License-Identifier: MIT
"""Which part of the input a value of every layer comes from, in pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from art_spiking.graphs import GraphSpec, Group, NodeSpec
from art_spiking.node_types import Shape

Field = tuple[int, ...] | Literal["all"] | None
"""Pixels along every spatial axis of the input; "all" behind a full connection; None where not defined."""


@dataclass(frozen=True)
class _Axis:
    """Value 0 of a layer comes from the pixels low to high, and value i from `i * jump` further on."""

    jump: int
    low: int
    high: int


@dataclass(frozen=True)
class _Flat:
    """So many pixels along every axis, for values that no longer lie on the axes."""

    sizes: tuple[int, ...]


_Seen = tuple[_Axis, ...] | _Flat | Literal["all", "undefined"]


def receptive_fields(graph: GraphSpec) -> dict[str, Field]:
    """The receptive field of every node: over how many pixels of the input a value is computed.

    Windows of convolutions and pooling add up as in Araujo et al., "Computing receptive fields of
    convolutional neural networks" (2019); a field may reach beyond the border, into the padding. Where
    branches meet it spans both. A recurrent group whose windows widen it at every step sees everything in
    the end. Along time, any value depends on all steps before.

    Returns:
        By node name, pixels per axis, as (5, 5) for images (C, H, W) and (5,) for sequences (C, L); "all"
        behind a full connection; None where neither holds, as for features (F,) that are not yet mixed.
    """
    shapes = graph.shapes()
    first, *others = graph.groups()
    start = first.nodes[0]
    axes = len(shapes[start]) - 1
    seen: dict[str, _Seen] = {start: (_Axis(1, 0, 0),) * axes if axes in (1, 2) else "undefined"}
    for group in others:
        _settle(graph, group, seen, shapes)
    return {name: _size(field) for name, field in seen.items()}


def _settle(graph: GraphSpec, group: Group, seen: dict[str, _Seen], shapes: Mapping[str, Shape]) -> None:
    """Adds the nodes of a group; what grows after a round for every edge that leads back grows for ever."""
    place = {name: k for k, name in enumerate(group.nodes)}
    feeding = {name: [a for a, b in graph.edges if b == name] for name in group.nodes}
    back = sum(place.get(a, -1) >= place[name] for name in group.nodes for a in feeding[name])
    rounds, settled = 0, False
    while not settled:
        rounds, settled = rounds + 1, True
        for name in group.nodes:
            before = [a for a in feeding[name] if a in seen]
            if seen.get(name) == "all" or not before:
                continue
            field = _merged([seen[a] for a in before])
            found = _through(graph.nodes[name], field, shapes[before[0]])
            if seen.get(name) != found:
                seen[name] = found if rounds <= back + 1 else "all"
                settled = not group.is_recurrent


def _merged(fields: list[_Seen]) -> _Seen:
    """The field of a sum."""
    if "all" in fields:
        return "all"
    first = fields[0]
    for other in fields[1:]:
        if first == other:
            continue
        if not isinstance(first, tuple) or not isinstance(other, tuple) or len(first) != len(other):
            return "undefined"
        if any(a.jump != b.jump for a, b in zip(first, other, strict=True)):
            return "undefined"
        pairs = zip(first, other, strict=True)
        first = tuple(_Axis(a.jump, min(a.low, b.low), max(a.high, b.high)) for a, b in pairs)
    return first


def _through(node: NodeSpec, field: _Seen, shape: Shape) -> _Seen:
    """The field behind a node that takes in values (*shape) of the given field."""
    if field == "all":
        return "all"
    if node.type in ("Affine", "Linear"):
        return "all" if len(shape) == 1 else "undefined"
    if node.type in ("Conv1d", "Conv2d", "SumPool2d", "AvgPool2d"):
        windows = _windows(node)
        if not isinstance(field, tuple) or len(field) != len(windows):
            return "undefined"
        return tuple(
            _Axis(a.jump * stride, a.low - before * a.jump, a.high + (length - 1 - before) * a.jump)
            for a, (length, stride, before) in zip(field, windows, strict=True)
        )
    if node.type == "Flatten" and isinstance(field, tuple) and len(shape) > 1:
        return _Flat(tuple(a.high - a.low + 1 for a in field))
    return field


def _windows(node: NodeSpec) -> list[tuple[int, int, int]]:
    """Length, stride and padding before, along every axis."""
    is_pooling = node.type in ("SumPool2d", "AvgPool2d")
    kernel = _pair(node.attributes["kernel_size"]) if is_pooling else node.arrays["weight"].shape[2:]
    axes = len(kernel)
    dilation = (1,) * axes if is_pooling else _pair(node.attributes["dilation"])
    lengths = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    padding = node.attributes["padding"]
    if padding == "same":
        before = tuple((length - 1) // 2 for length in lengths)
    else:
        before = (0,) * axes if padding == "valid" else _pair(padding)
    return list(zip(lengths, _pair(node.attributes["stride"]), before, strict=True))


def _pair(value: object) -> tuple[int, ...]:
    """An attribute per axis."""
    return value if isinstance(value, tuple) else (int(value),)  # type: ignore[call-overload]


def _size(field: _Seen) -> Field:
    if isinstance(field, tuple):
        return tuple(a.high - a.low + 1 for a in field)
    if isinstance(field, _Flat):
        return field.sizes
    return "all" if field == "all" else None
