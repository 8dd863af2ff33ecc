# SPDX-License-Identifier: MIT
"""The node types of a graph: which fields each needs, and what shape it makes of its input."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
Array = NDArray[Any]
AttributeValue = int | float | str | Shape

MAX_ELEMENTS = 1 << 24
"""The most values a node may put out in one time step."""
MAX_ATTRIBUTE = (1 << 31) - 1
"""The largest magnitude of an attribute."""
PADDING_WORDS = ("same", "valid")


@dataclass(frozen=True)
class Mismatch:
    """One thing that is wrong with a node: the field, what was expected and what was found."""

    key: str
    expected: str
    found: str


@dataclass(frozen=True)
class NodeType:
    """What a node of one type holds.

    Attributes:
        arrays: Required arrays and their rank; None is any rank.
        attributes: Required attributes and their kind, a key of `ATTRIBUTE_KINDS`.
        optional: Attributes that may be absent.
        positive: Arrays whose entries must be above zero.
        not_negative: Arrays whose entries must be zero or above.
        defaults: Arrays that may be absent when the named other array is there: (other array, fill).
    """

    arrays: Mapping[str, int | None]
    attributes: Mapping[str, str]
    optional: tuple[str, ...] = ()
    positive: tuple[str, ...] = ()
    not_negative: tuple[str, ...] = ()
    defaults: Mapping[str, tuple[str, float]] = field(default_factory=dict)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_ATTRIBUTE


def _is_ints(value: object, length: int | None, low: int) -> bool:
    return (
        isinstance(value, tuple)
        and (length is None or len(value) == length)
        and all(_is_int(v) and v >= low for v in value)
    )


ATTRIBUTE_KINDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = MappingProxyType(
    {
        "shape": ("1 to 6 integers >= 1", lambda v: _is_ints(v, None, 1) and 1 <= len(v) <= 6),
        "int": ("an integer", _is_int),
        "count": ("an integer >= 1", lambda v: _is_int(v) and v >= 1),
        "pair": ("two integers >= 1", lambda v: _is_ints(v, 2, 1)),
        "pair from 0": ("two integers >= 0", lambda v: _is_ints(v, 2, 0)),
        "padding": (
            "an integer >= 0, 'same' or 'valid'",
            lambda v: v in PADDING_WORDS or (_is_int(v) and v >= 0),
        ),
        "padding pair": (
            "two integers >= 0, 'same' or 'valid'",
            lambda v: v in PADDING_WORDS or _is_ints(v, 2, 0),
        ),
    }
)

_LIF = {"tau": None, "r": None, "v_leak": None}
_CUBA = {"tau_syn": None, "tau_mem": None, "r": None, "v_leak": None}
_FIRES = {"v_threshold": None, "v_reset": None}
_RESET_TO_ZERO = {"v_reset": ("v_threshold", 0.0)}
_POOL = NodeType({}, {"kernel_size": "pair", "stride": "pair", "padding": "pair from 0"})

NODE_TYPES: Mapping[str, NodeType] = MappingProxyType(
    {
        "Input": NodeType({}, {"shape": "shape"}),
        "Output": NodeType({}, {"shape": "shape"}),
        "Conv1d": NodeType(
            {"weight": 3, "bias": 1},
            {
                "input_shape": "count",
                "stride": "count",
                "padding": "padding",
                "dilation": "count",
                "groups": "count",
            },
            optional=("input_shape",),
        ),
        "Conv2d": NodeType(
            {"weight": 4, "bias": 1},
            {
                "input_shape": "pair",
                "stride": "pair",
                "padding": "padding pair",
                "dilation": "pair",
                "groups": "count",
            },
            optional=("input_shape",),
        ),
        "Affine": NodeType({"weight": None, "bias": None}, {}),
        "Linear": NodeType({"weight": None}, {}),
        "Scale": NodeType({"scale": None}, {}),
        "SumPool2d": _POOL,
        "AvgPool2d": _POOL,
        "Flatten": NodeType(
            {}, {"start_dim": "int", "end_dim": "int", "input_type": "shape"}, optional=("input_type",)
        ),
        "I": NodeType({"r": None}, {}),
        "IF": NodeType({"r": None, **_FIRES}, {}, positive=("v_threshold",), defaults=_RESET_TO_ZERO),
        "LIF": NodeType({**_LIF, **_FIRES}, {}, positive=("tau", "v_threshold"), defaults=_RESET_TO_ZERO),
        "CubaLIF": NodeType(
            {**_CUBA, **_FIRES, "w_in": None},
            {},
            positive=("tau_syn", "tau_mem", "v_threshold"),
            defaults={**_RESET_TO_ZERO, "w_in": ("v_threshold", 1.0)},
        ),
        "CubaLI": NodeType(
            {**_CUBA, "w_in": None},
            {},
            positive=("tau_syn", "tau_mem"),
            defaults={"w_in": ("v_leak", 1.0)},
        ),
        "LI": NodeType(_LIF, {}, positive=("tau",)),
        "Threshold": NodeType({"threshold": None}, {}),
        "Delay": NodeType({"delay": None}, {}, not_negative=("delay",)),
    }
)
"""Every node type that a graph may hold, by NIR's name for it."""


STATEFUL = ("I", "IF", "LI", "LIF", "CubaLI", "CubaLIF")
"""The types whose output comes from a state."""


def holds_back(type_name: str, arrays: Mapping[str, Array]) -> bool:
    """Whether a node is a delay above zero, for every value that it takes."""
    return type_name == "Delay" and bool((arrays["delay"] > 0).all())


def has_state(type_name: str, arrays: Mapping[str, Array]) -> bool:
    """Whether a node's output depends on an input before, so that it may close a cycle."""
    return type_name in STATEFUL or holds_back(type_name, arrays)


def element_count(shape: Shape) -> int:
    """The number of values in an array of a shape; exact, however large."""
    return math.prod(shape)


def field_mismatches(
    type_name: str, attributes: Mapping[str, Any], arrays: Mapping[str, Array]
) -> list[Mismatch]:
    """Everything that is wrong with a node's own fields, its edges apart."""
    kind = NODE_TYPES.get(type_name)
    if kind is None:
        return [Mismatch("type", f"one of {', '.join(NODE_TYPES)}", f"{type_name!r:.80}")]
    out = []
    for name in sorted(set(kind.arrays) - set(arrays)):
        out.append(Mismatch(name, f"an array, which {type_name} needs", "nothing"))
    for name in sorted(set(kind.attributes) - set(attributes) - set(kind.optional)):
        out.append(Mismatch(name, ATTRIBUTE_KINDS[kind.attributes[name]][0], "nothing"))
    known = ", ".join([*kind.attributes, *kind.arrays])
    for name in sorted({*attributes, *arrays} - {*kind.attributes, *kind.arrays}):
        out.append(Mismatch(name[:80], f"{type_name} to have {known} only", "a field of another name"))
    for name in sorted(set(attributes) & set(kind.attributes)):
        expected, fits = ATTRIBUTE_KINDS[kind.attributes[name]]
        if not fits(attributes[name]):
            out.append(Mismatch(name, expected, f"{attributes[name]!r:.80}"))
    for name in sorted(set(arrays) & set(kind.arrays)):
        wrong = _array_mismatch(arrays[name], kind.arrays[name]) or _sign_mismatch(name, arrays[name], kind)
        if wrong is not None:
            out.append(Mismatch(name, *wrong))
    return out


def _array_mismatch(array: Array, rank: int | None) -> tuple[str, str] | None:
    if array.dtype not in (np.float32, np.float64):
        return "float32 or float64", str(array.dtype)
    if array.size == 0:
        return "at least one value", f"shape {array.shape}"
    if rank is not None and array.ndim != rank:
        return f"{rank} axes", f"shape {array.shape}"
    if not np.isfinite(array).all():
        return "finite values", f"{int((~np.isfinite(array)).sum())} that are NaN or infinite"
    return None


def _sign_mismatch(name: str, array: Array, kind: NodeType) -> tuple[str, str] | None:
    if name in kind.positive and not (array > 0).all():
        return "values above 0", f"{float(array.min()):g}"
    if name in kind.not_negative and not (array >= 0).all():
        return "values from 0", f"{float(array.min()):g}"
    return None


def output_shape(
    type_name: str, attributes: Mapping[str, Any], arrays: Mapping[str, Array], shape: Shape
) -> Shape | Mismatch:
    """The shape that a node without field mismatches makes of its input's shape, or why it cannot.

    Args:
        type_name: One of `NODE_TYPES`, not "Input".
        attributes: The node's attributes.
        arrays: The node's arrays.
        shape: What comes in at one time step, without batch and time: (C, H, W), (C, L) or (F,).
    """
    if type_name == "Output":
        declared = attributes["shape"]
        # Some exporters keep batch and time axes of length one in the declaration.
        same = [n for n in declared if n != 1] == [n for n in shape if n != 1]
        return shape if same else Mismatch("shape", str(shape), str(declared))
    if type_name in ("Conv1d", "Conv2d"):
        return _convolved(attributes, arrays, shape)
    if type_name in ("Affine", "Linear"):
        return _multiplied(arrays, shape)
    if type_name in ("SumPool2d", "AvgPool2d"):
        return _pooled(attributes, shape)
    if type_name == "Flatten":
        return _flattened(attributes, shape)
    for name, array in arrays.items():
        if array.shape != shape and array.size != 1:
            return Mismatch(name, f"{shape} or a single value", str(array.shape))
    return shape


def _multiplied(arrays: Mapping[str, Array], shape: Shape) -> Shape | Mismatch:
    """(*B, I) to (*B, O) by a matrix (*B, O, I); NIR's matrices may have axes before the two."""
    weight = arrays["weight"].shape
    if not 2 <= len(weight) <= 6:
        return Mismatch("weight", "2 to 6 axes", f"shape {weight}")
    bias = arrays["bias"].shape if "bias" in arrays else weight[:-1]
    if bias != weight[:-1]:
        return Mismatch("bias", str(weight[:-1]), str(bias))
    expected = (*weight[:-2], weight[-1])
    return weight[:-1] if shape == expected else Mismatch("weight", f"input {expected}", str(shape))


def _convolved(attributes: Mapping[str, Any], arrays: Mapping[str, Array], shape: Shape) -> Shape | Mismatch:
    weight, groups, padding = arrays["weight"].shape, attributes["groups"], attributes["padding"]
    kernel = weight[2:]
    axes = len(kernel)

    def per_axis(value: int | Shape) -> Shape:
        return value if isinstance(value, tuple) else (value,) * axes

    stride, dilation = per_axis(attributes["stride"]), per_axis(attributes["dilation"])
    if arrays["bias"].shape != weight[:1]:
        return Mismatch("bias", str(weight[:1]), str(arrays["bias"].shape))
    if weight[0] % groups:
        return Mismatch("groups", f"a divisor of the {weight[0]} output channels", str(groups))
    if len(shape) != axes + 1 or shape[0] != weight[1] * groups:
        named = ("L",) if axes == 1 else ("H", "W")
        return Mismatch("weight", f"input ({weight[1] * groups}, {', '.join(named)})", str(shape))
    declared = attributes.get("input_shape")
    if declared is not None and per_axis(declared) != shape[1:]:
        return Mismatch("input_shape", str(shape[1:]), str(per_axis(declared)))
    if padding == "same":
        if any(s != 1 for s in stride):
            return Mismatch("padding", "a number, because 'same' needs stride 1", f"'same', stride {stride}")
        return weight[0], *shape[1:]
    pads = (0,) * axes if padding == "valid" else per_axis(padding)
    return _windows(
        weight[0],
        shape[1:],
        pads,
        tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)),
        stride,
    )


def _pooled(attributes: Mapping[str, Any], shape: Shape) -> Shape | Mismatch:
    kernel, padding = attributes["kernel_size"], attributes["padding"]
    if len(shape) != 3:
        return Mismatch("kernel_size", "input (C, H, W)", str(shape))
    if any(p > k // 2 for p, k in zip(padding, kernel, strict=True)):
        return Mismatch("padding", f"at most half of kernel_size {kernel}", str(padding))
    return _windows(shape[0], shape[1:], padding, kernel, attributes["stride"])


def _windows(channels: int, sides: Shape, padding: Shape, window: Shape, stride: Shape) -> Shape | Mismatch:
    padded = tuple(n + 2 * p for n, p in zip(sides, padding, strict=True))
    if any(w > n for w, n in zip(window, padded, strict=True)):
        return Mismatch("kernel", f"a window of at most the padded input {padded}", str(window))
    return channels, *((n - w) // s + 1 for n, w, s in zip(padded, window, stride, strict=True))


def _flattened(attributes: Mapping[str, Any], shape: Shape) -> Shape | Mismatch:
    declared = attributes.get("input_type")
    if declared is not None and declared != shape:
        return Mismatch("input_type", str(shape), str(declared))
    first, last = (d + len(shape) if d < 0 else d for d in (attributes["start_dim"], attributes["end_dim"]))
    if not 0 <= first <= last < len(shape):
        found = f"{attributes['start_dim']} to {attributes['end_dim']}"
        return Mismatch("start_dim", f"axes within {shape}, from start_dim to end_dim", found)
    return *shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]
