# SPDX-License-Identifier: MIT
"""constraints.txt pins what the project needs, and nothing else."""

from __future__ import annotations

import importlib.metadata
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
OURS = {
    "art-spiking": ROOT / "pyproject.toml",
    "art-spiking-leaderboard": ROOT / "leaderboard/pyproject.toml",
}
EXTRAS = frozenset({"tonic", "dev"})


def required_by(name: str, extras: frozenset[str]) -> Iterator[Requirement]:
    """What a distribution asks for; ours as they are in the checkout, others as they are installed."""
    if name in OURS:
        project = tomllib.loads(OURS[name].read_text())["project"]
        optional = project.get("optional-dependencies", {})
        yield from map(Requirement, project["dependencies"])
        yield from (Requirement(line) for extra in extras for line in optional.get(extra, ()))
        return
    try:
        lines = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return  # for another platform
    for requirement in map(Requirement, lines):
        # Markers of platforms are taken as true: the pins serve all of them.
        if "extra" not in str(requirement.marker or "") or any(
            requirement.marker and requirement.marker.evaluate({"extra": extra}) for extra in extras
        ):
            yield requirement


def needed() -> set[str]:
    waiting = [(name, EXTRAS) for name in OURS]
    seen = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) not in seen:
            seen.add((name, extras))
            found = required_by(name, extras)
            waiting += [(canonicalize_name(each.name), frozenset(each.extras)) for each in found]
    return {name for name, _ in seen}


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pins}


def test_every_pin_is_needed():
    assert sorted(set(pinned()) - needed()) == []


def test_what_we_ask_for_ourselves_is_pinned():
    asked = {canonicalize_name(each.name) for name in OURS for each in required_by(name, EXTRAS)}
    assert sorted(asked - set(OURS) - set(pinned())) == []
