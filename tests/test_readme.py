# SPDX-License-Identifier: MIT
"""The README runs: its Python blocks in one session, its shell blocks line by line, in a fresh folder."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
SHELL_LINES = [
    line
    for language, text in BLOCKS
    if language == "sh"
    for line in text.replace("\\\n", " ").splitlines()
    if line.strip() and not line.startswith("#")
]


def environment(folder: Path) -> dict[str, str]:
    """The environment of a user who activated the virtual environment."""
    scripts = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": scripts + os.pathsep + os.environ["PATH"], "HOME": str(folder)}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the README's lines read, so that they can write beside it."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("leaderboard", "plugins"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "records"))
    for name in ("pyproject.toml", "constraints.txt", "Makefile", "README.md", "LICENSE", "art_spiking"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def rehearsal(line: str) -> list[str]:
    """The command that shows a line to be right without installing or spending ten minutes."""
    words = shlex.split(line)
    if words[0] == "make":
        return ["make", "--dry-run", *words[1:]]
    if words[:3] == ["python3", "-m", "venv"]:
        return [sys.executable, "-m", "venv", "--without-pip", words[3]]
    if "pip" in words[0] or words[1:3] == ["-m", "pip"]:
        options = ["--dry-run", "--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check"]
        return [sys.executable, "-m", "pip", *words[words.index("install") :], *options]
    return words


def test_the_readme_leads_with_demo_and_test():
    assert [line.split()[:2] for line in SHELL_LINES[:2]] == [["make", "demo"], ["make", "test"]]


@pytest.mark.slow
@pytest.mark.parametrize("line", SHELL_LINES)
def test_shell_line_runs(line: str, checkout: Path):
    done = subprocess.run(
        rehearsal(line), cwd=checkout, env=environment(checkout), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
def test_python_blocks_run(checkout: Path):
    session = "\n".join(text for language, text in BLOCKS if language == "python")
    assert session, "the README shows no Python"
    done = subprocess.run(
        [sys.executable, "-c", session],
        cwd=checkout,
        env=environment(checkout),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
