# SPDX-License-Identifier: MIT
"""Every row of the table of threats names tests that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
README = TESTS.parent / "leaderboard" / "README.md"


def rows() -> list[str]:
    section = README.read_text().split("## Threats, and the tests that hold them off")[1].split("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


def functions(file: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}


def test_the_table_has_the_threats():
    assert len(rows()) >= 16


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.split("|")[1].strip())
def test_every_threat_has_tests_that_are_there(row):
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", row)
    assert named
    assert [f"{file}::{name}" for file, name in named if name not in functions(TESTS / file)] == []
