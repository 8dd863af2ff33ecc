# SPDX-License-Identifier: MIT
"""Frames of tensors over a pipe: every length is checked before anything is read, and nothing is unpickled.

The service in the sandbox imports this file by itself: it needs torch and safetensors, and nothing of ours.
"""

from __future__ import annotations

import os
import select
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from safetensors.torch import load, save
from torch import Tensor

MAGIC = b"ASF1"
_HEAD = struct.Struct("<4s8sI")
TEXT_BYTES = 2000
"""The most bytes of an error message."""


class FrameError(Exception):
    """What came is no frame, or none that was asked for."""


class LateError(FrameError):
    """Nothing, or not all of it, came in time."""


@dataclass(frozen=True)
class Frame:
    """One message: what kind it is, and its tensors or its text."""

    kind: str
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    text: str = ""


def write_frame(pipe: int, frame: Frame, *, deadline: float | None = None) -> None:
    """Writes a whole frame.

    Args:
        pipe: A file descriptor; non-blocking if there is a deadline.
        frame: Tensors, or a text that is cut to `TEXT_BYTES`.
        deadline: By `time.monotonic`.

    Raises:
        LateError: The other side did not read in time.
        OSError: There is no other side any more.
    """
    tensors = {name: value.detach().contiguous() for name, value in frame.tensors.items()}
    body = save(tensors) if tensors else frame.text.encode()[:TEXT_BYTES]
    content = memoryview(_HEAD.pack(MAGIC, frame.kind.encode(), len(body)) + body)
    while content:
        if deadline is not None:
            _wait(pipe, deadline, reading=False)
        content = content[os.write(pipe, content[: 1 << 20]) :]


def read_frame(pipe: int, *, most: int, deadline: float | None = None) -> Frame | None:
    """Reads a whole frame; None at the end of the pipe.

    Args:
        pipe: A file descriptor.
        most: Bytes of a body; more are not read.
        deadline: By `time.monotonic`.

    Raises:
        FrameError: It is no frame, or a larger one.
        LateError: It did not come in time.
    """
    head = _read(pipe, _HEAD.size, deadline)
    if not head:
        return None
    if len(head) < _HEAD.size:
        raise FrameError("a frame broke off")
    magic, raw_kind, length = _HEAD.unpack(head)
    kind = raw_kind.rstrip(b"\0").decode("ascii", "replace")
    if magic != MAGIC or not kind.isalpha():
        raise FrameError("something else than a frame")
    if length > most:
        raise FrameError(f"a frame of {length} bytes, at most {most} were expected")
    body = _read(pipe, length, deadline)
    if len(body) < length:
        raise FrameError("a frame broke off")
    if kind in ("error", "ready"):
        return Frame(kind, text=body[:TEXT_BYTES].decode("utf-8", "replace"))
    try:
        return Frame(kind, load(body))
    except Exception as error:  # whatever a stranger's bytes make the reader raise
        raise FrameError(f"a frame without tensors ({type(error).__name__})") from error


def checked(frame: Frame, kind: str, shapes: Mapping[str, tuple[int, ...]]) -> Mapping[str, Tensor]:
    """The tensors of a frame that is just what was expected.

    Raises:
        FrameError: Another kind, or other names, shapes or types, or a number that is not finite.
    """
    if frame.kind != kind:
        raise FrameError(f"'{frame.kind}' where '{kind}' was expected")
    found = {name: tuple(value.shape) for name, value in frame.tensors.items()}
    if found != dict(shapes):
        raise FrameError(f"tensors {found} where {dict(shapes)} were expected")
    for name, value in frame.tensors.items():
        if value.dtype != torch.float32:
            raise FrameError(f"{name} of {value.dtype}, float32 was expected")
        if not bool(torch.isfinite(value).all()):
            raise FrameError(f"NaN or infinity in {name}")
    return frame.tensors


def _read(pipe: int, count: int, deadline: float | None) -> bytes:
    parts, left = [], count
    while left:
        if deadline is not None:
            _wait(pipe, deadline, reading=True)
        part = os.read(pipe, min(left, 1 << 20))
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _wait(pipe: int, deadline: float, *, reading: bool) -> None:
    seconds = deadline - time.monotonic()
    pipes = ([pipe], []) if reading else ([], [pipe])
    if seconds <= 0 or not any(select.select(*pipes, [], seconds)):
        raise LateError("no answer in time")
