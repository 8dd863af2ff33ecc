# SPDX-License-Identifier: MIT
"""For refusals that the system does not make to the superuser: a test, run again without such powers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def again_without_powers(request: pytest.FixtureRequest) -> None:
    """Runs the test that asks for it in a process of its own that may do only what files' modes allow."""
    start = [shutil.which("bwrap") or "bwrap", "--dev-bind", "/", "/", "--cap-drop", "ALL", "--"]
    try:
        subprocess.run([*start, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(
            "the superuser may do everything, and bubblewrap, which would take that away, cannot be used"
        )
    command = [*start, sys.executable, "-m", "pytest", "-q", request.node.nodeid]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
