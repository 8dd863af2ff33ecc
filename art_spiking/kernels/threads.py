# SPDX-License-Identifier: MIT
"""Sharing a loop among threads without competing with torch's own."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

_Body = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_LOADED_BY = os.getpid()


def run_shares(share: Callable[[int], None], count: int) -> None:
    """Calls share(0) to share(count - 1), each once, all at the same time, and returns when all are done.

    A share must release the interpreter for most of its time. torch's OpenMP team does the work where it can
    be had: between two operations its threads spin for a while on the cores that other helpers would need,
    and two threads of ours were no faster than one (measured: a scan takes 0.55 of that time so).

    Args:
        share: Does one part, by its number.
        count: How many parts; torch.get_num_threads(), or 1: another number makes the team start anew.

    Raises:
        BaseException: What the first share that failed raised.
    """
    if count == 1:
        share(0)
        return
    team = _team() if os.getpid() == _LOADED_BY else None
    if team is None:
        others = [_pool(os.getpid()).submit(share, k) for k in range(1, count)]
        share(0)
        for other in others:
            other.result()
        return
    todo = iter(range(count))  # the team may be smaller than asked for, as within another parallel region
    failures: list[BaseException] = []

    def body(_nothing: Any) -> None:
        try:
            for k in todo:
                share(k)
        except BaseException as error:  # nothing may leave a callback
            failures.append(error)

    team.GOMP_parallel(_Body(body), None, ctypes.c_uint(count), ctypes.c_uint(0))
    if failures:
        raise failures[0]


@functools.lru_cache(maxsize=1)
def _team() -> ctypes.CDLL | None:
    """The OpenMP library that torch brings along, if it is GNU's; another copy has threads of its own."""
    library = Path(torch.__file__).parent / "lib" / "libgomp.so.1"
    try:
        loaded = ctypes.CDLL(str(library), mode=os.RTLD_NOLOAD)
        loaded.GOMP_parallel.restype = None
    except (AttributeError, OSError):
        return None
    return loaded


@functools.lru_cache(maxsize=1)
def _pool(process: int) -> ThreadPoolExecutor:
    """Helper threads of this process; a forked child, which has none of its parent's, makes its own.

    Idle helpers sleep; numba's parallel mode has a pool that spins, or one that a fork cannot survive.
    """
    return ThreadPoolExecutor(max(1, (os.cpu_count() or 1) - 1), thread_name_prefix="art-spiking-scan")
