# SPDX-License-Identifier: MIT
"""Arrays in a safetensors file that nobody vouches for: exactly those that were declared, and finite.

The safetensors package refuses malformed headers, but takes a key twice, NaN, and shapes of length zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np
import safetensors
import safetensors.numpy

from art_spiking.graph_checks import ModelProblem
from art_spiking.node_types import Array, Shape
from art_spiking.untrusted_files import parse_json

MAX_HEADER = 1 << 20
"""The most bytes of a header."""
DTYPES: Mapping[str, str] = {"float32": "F32", "float64": "F64", "uint8": "U8"}
"""Safetensors' name of every dtype an array may have."""
_MAGICS = (
    (b"PK\x03\x04", "a zip archive, such as a PyTorch file"),
    (b"\x80", "a pickle"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x93NUMPY", "a NumPy file"),
)

Declared = Mapping[str, tuple[str, Shape]]
"""Dtype and shape of every array, by key."""


def write_arrays(arrays: Mapping[str, Array]) -> bytes:
    """The arrays as a safetensors file, in an order that depends on names and types alone."""
    return safetensors.numpy.save({key: arrays[key] for key in sorted(arrays)})


def read_arrays(raw: bytes, declared: Declared, *, file: str) -> tuple[dict[str, Array], list[ModelProblem]]:
    """The arrays of a safetensors file, or every reason why they are not the declared ones.

    Args:
        raw: The whole file.
        declared: What must be in it, no more and no less.
        file: The file that problems name.
    """
    header, found = _header(raw)
    if header is None:
        return {}, [ModelProblem(file, "", "a safetensors file", found)]
    problems = _header_problems(header, declared, file)
    if problems:
        return {}, problems
    try:
        arrays = safetensors.numpy.load(raw)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        return {}, [ModelProblem(file, "", "a safetensors file", f"{error!s:.200}")]
    for key, array in arrays.items():
        bad = int((~np.isfinite(array)).sum())
        if bad:
            problems.append(ModelProblem(file, key, "finite values", f"{bad} that are NaN or infinite"))
    return ({} if problems else arrays), problems


def _header(raw: bytes) -> tuple[dict[str, Any] | None, str]:
    """The header, or None and what was found instead."""
    for magic, name in _MAGICS:
        # A header of 128 bytes also begins with the byte of a pickle; a header starts with a brace.
        if raw.startswith(magic) and raw[8:9] != b"{":
            return None, name
    length = int.from_bytes(raw[:8], "little")
    if len(raw) < 10 or length > min(MAX_HEADER, len(raw) - 8):
        return None, f"{len(raw)} bytes with a header of {length}"
    try:
        header = parse_json(raw[8 : 8 + length], max_depth=3)
    except ValueError as error:
        return None, f"a header that is not JSON: {error!s:.200}"
    if not isinstance(header, dict):
        return None, "a header that is no table"
    return header, ""


def _header_problems(header: dict[str, Any], declared: Declared, file: str) -> list[ModelProblem]:
    """What in the header differs from what was declared; gaps and overlaps are safetensors' to find."""
    notes = header.pop("__metadata__", {})
    problems = []
    if not isinstance(notes, dict) or not all(isinstance(value, str) for value in notes.values()):
        problems.append(ModelProblem(file, "__metadata__", "a table of texts", f"{notes!r:.80}"))
    for key in sorted(set(declared) - set(header)):
        problems.append(ModelProblem(file, key, "an array, as the graph declares", "nothing"))
    for key in sorted(set(header) - set(declared)):
        problems.append(ModelProblem(file, key[:80], "only arrays that the graph declares", "one more"))
    for key in sorted(set(header) & set(declared)):
        dtype, shape = declared[key]
        entry = header[key]
        wanted = {"dtype": DTYPES[dtype], "shape": list(shape)}
        size = math.prod(shape) * np.dtype(dtype).itemsize
        stated = {k: entry.get(k) for k in wanted} if isinstance(entry, dict) else None
        span = entry.get("data_offsets") if isinstance(entry, dict) else None
        stored = span[1] - span[0] if _is_span(span) else -1
        if stated != wanted:
            problems.append(ModelProblem(file, key, f"{dtype} of shape {shape}", f"{stated or entry!r:.120}"))
        elif stored != size:
            problems.append(ModelProblem(file, key, f"data_offsets of {size} bytes", f"{span!r:.80}"))
    return problems


def _is_span(span: Any) -> TypeGuard[list[int]]:
    return (
        isinstance(span, list)
        and len(span) == 2
        and all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 1 << 53 for v in span)
    )
