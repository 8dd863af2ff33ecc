# SPDX-License-Identifier: MIT
"""Parsl's interchange in a process that ends with the run that started it; Parsl's own outlives a kill."""

from __future__ import annotations

import contextlib
import ctypes
import os
import runpy
import signal
import sys


def end_with(parent: int) -> None:
    """Has this process killed when its parent ends; ends it now if that happened already."""
    with contextlib.suppress(OSError, AttributeError):  # Linux has it
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is the run's to answer
    end_with(int(sys.argv[1]))
    runpy.run_module("parsl.executors.high_throughput.interchange", run_name="__main__")
