# SPDX-License-Identifier: MIT
"""The `art-spiking` program; imports nothing until it is called, so that ctrl-C finds it ready."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from art_spiking.cli.listing import list_command
    from art_spiking.cli.program import INVALID, USAGE, Program, run

__all__ = ["INTERRUPTED", "INVALID", "USAGE", "Program", "list_command", "main", "run"]

INTERRUPTED = 75


def main() -> None:
    """The entry point: runs the program and exits with its code.

    The process is ours: it keeps freed memory, and being terminated is an interruption like ctrl-C. Either is
    told in one line from here on, while the program itself is imported too; Python's own start is before us.
    """
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        from art_spiking.cli.program import run
        from art_spiking.memory import keep_freed_memory

        keep_freed_memory()
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = INTERRUPTED
    sys.exit(code)


def __getattr__(name: str) -> Any:
    """The other public names, imported when they are asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from art_spiking.cli import listing, program

    return getattr(listing if name == "list_command" else program, name)
