# SPDX-License-Identifier: MIT
"""A program behind bubblewrap that can write nothing but a scratch folder: for fuzzing."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SCRATCH_BYTES = 1 << 30


def run_confined(command: list[str]) -> int | None:
    """Runs a program whose file system is read-only but for an empty TMPDIR; it has no network.

    The superuser keeps one power, to make device files, which cannot be opened where they can be made. So a
    program that writes through a link, or changes modes behind it, changes no file outside the folder.

    Returns:
        Its exit code; None where there is no bubblewrap, or nobody may use it.
    """
    program = shutil.which("bwrap")
    if program is None:
        return None
    isolated = ["--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    if os.getuid() == 0:
        apart = ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts")
        isolated += [*apart, "--cap-add", "CAP_MKNOD"]
    else:
        isolated += ["--unshare-all"]
    with tempfile.TemporaryDirectory(prefix="confined-") as scratch:
        mounts = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
        mounts += ["--size", str(SCRATCH_BYTES), "--tmpfs", scratch, "--chdir", str(Path.cwd())]
        names = ("TMPDIR", "HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR")
        places = [part for name in names for part in ("--setenv", name, scratch)]
        start = [program, *isolated, *mounts, *places, "--"]
        if subprocess.run([*start, "true"], capture_output=True, check=False).returncode:
            return None
        return subprocess.run([*start, *command], check=False).returncode
