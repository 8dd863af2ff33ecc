# SPDX-License-Identifier: MIT
"""Opening files, and reading JSON, that nobody vouches for."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any, BinaryIO

from art_spiking.errors import InvalidModel

_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_BRACKETS = re.compile(r"[\[\]{}]")


def open_regular(path: str | os.PathLike[str], max_bytes: int, *, follow_links: bool = True) -> BinaryIO:
    """Opens a regular file of limited size for reading; a pipe or device is refused without waiting on it.

    Args:
        path: The file.
        max_bytes: The largest size accepted.
        follow_links: Whether the path itself may be a symbolic link.

    Raises:
        InvalidModel: No such file, not a regular file, a symbolic link where none may be, or too large.
    """
    name = Path(path).name
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if not follow_links:
        if Path(path).is_symlink():
            raise InvalidModel(f"{name} is refused", found="a symbolic link", accepted="a regular file")
        flags |= getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise InvalidModel(f"{name} cannot be opened", found=getattr(error, "strerror", error)) from error
    status = os.fstat(descriptor)
    regular = stat.S_ISREG(status.st_mode)
    if not regular or status.st_size > max_bytes:
        os.close(descriptor)
        found = f"{status.st_size} bytes" if regular else "not a regular file"
        raise InvalidModel(f"{name} is refused", found=found, accepted=f"a file of at most {max_bytes} bytes")
    return os.fdopen(descriptor, "rb")


def parse_json(raw: bytes, *, max_depth: int = 8) -> Any:
    """JSON text from a stranger, as Python data: each key once, no NaN, no deep nesting.

    Raises:
        ValueError: The text is not that; the message says what was found.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from None
    depth = 0
    # Before parsing, which recurses once for each bracket.
    for bracket in _BRACKETS.findall(_STRINGS.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > max_depth:
            raise ValueError(f"brackets nested deeper than {max_depth}")
    return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key, value in pairs:
        if key in data:
            raise ValueError(f"the key {key!r:.80} more than once")
        data[key] = value
    return data


def _no_constant(name: str) -> None:
    raise ValueError(f"{name}, which is not a number of JSON")
