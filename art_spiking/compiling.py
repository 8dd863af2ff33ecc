# SPDX-License-Identifier: MIT
"""How loops are compiled: numba, keeping what it compiled where a folder for that can be written."""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """The function as machine code, made at its first call; it releases the interpreter.

    What was kept is compiled anew when the file of any compiled function that it calls changes; numba itself
    looks at the function's own alone.
    """
    digest = 0
    for path in sorted(_sources(function, set())):
        digest = zlib.crc32(path.read_bytes(), digest)
    function.__qualname__ += f"_{digest:08x}"
    try:
        made: F = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # no folder for the cache can be written
        made = numba.njit(nogil=True, error_model="numpy")(function)
    return made


def _sources(function: Callable[..., Any], seen: set[Path]) -> set[Path]:
    """The files of a function and of all compiled functions that it may call, added to `seen`."""
    home = Path(function.__code__.co_filename)
    if home not in seen:
        seen.add(home)
        for value in function.__globals__.values():
            called = getattr(value, "py_func", None) or getattr(value, "_defn", None)  # jitted, or intrinsic
            if inspect.isfunction(called):
                _sources(called, seen)
    return seen
