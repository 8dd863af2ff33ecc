# SPDX-License-Identifier: MIT
"""How loops are compiled: numba, keeping what it compiled where a folder for that can be written."""

from __future__ import annotations

import functools
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """The function as machine code, made at its first call; it releases the interpreter.

    What was kept is compiled anew when any file beside the function's changes: it may hold code of theirs.
    """
    home = Path(sys.modules[function.__module__].__file__ or "").parent
    function.__qualname__ += f"_{_digest(home):08x}"
    try:
        made: F = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # no folder for the cache can be written
        made = numba.njit(nogil=True, error_model="numpy")(function)
    return made


@functools.cache
def _digest(folder: Path) -> int:
    """A number that changes with the source files of a folder."""
    digest = 0
    for path in sorted(folder.glob("*.py")):
        digest = zlib.crc32(path.read_bytes(), digest)
    return digest
