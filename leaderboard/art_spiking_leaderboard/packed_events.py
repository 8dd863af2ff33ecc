# SPDX-License-Identifier: MIT
"""Attacked samples as bytes: bits where entries are zeros and ones, else one byte each, in safetensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from art_spiking.graphs import ModelProblems
from art_spiking.weight_files import read_arrays, write_arrays

Spikes = npt.NDArray[np.float32]

MOST_BYTES = 1 << 28
"""Of a file of events; what is longer is not read."""


def are_whole(x_adv: npt.NDArray[Any]) -> bool:
    """Whether the entries are whole numbers from 0 to 255, which is what a file of events can hold."""
    whole = np.equal(np.mod(x_adv, 1), 0).all()
    return bool(whole and x_adv.min(initial=0) >= 0 and x_adv.max(initial=0) <= 255)


def pack_events(counts: npt.NDArray[np.uint8]) -> bytes:
    """Samples (n, T, C, H, W) as the bytes of a file."""
    flat = counts.reshape(len(counts), -1)
    packed = np.packbits(flat, axis=1) if counts.max(initial=0) <= 1 else flat
    return write_arrays({"events": packed})


def unpack_events(raw: bytes, shape: tuple[int, ...], *, binary: bool, file: str) -> Spikes:
    """Samples from the bytes of a file that nobody vouches for.

    Args:
        raw: the file.
        shape: (n, T, C, H, W) that the data has.
        binary: whether the data are zeros and ones.
        file: its name, for the message.

    Raises:
        ModelProblems: they are not of that shape and kind.
    """
    each = int(np.prod(shape[1:]))
    problems: list[Any] = []
    for bits in (True, False):
        width = -(-each // 8) if bits else each
        arrays, problems = read_arrays(raw, {"events": ("uint8", (shape[0], width))}, file=file)
        if not problems:
            counts = np.unpackbits(arrays["events"], axis=1, count=each) if bits else arrays["events"]
            return np.ascontiguousarray(counts.reshape(shape), dtype=np.float32)
        if binary:
            break
    raise ModelProblems(problems)
