# SPDX-License-Identifier: MIT
"""Imports point down: a module imports only from the layers below its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "art_spiking"
LEADERBOARD = ROOT / "leaderboard" / "art_spiking_leaderboard"

# From the bottom up. Modules of one line stand side by side and may not import each other,
# unless they belong to one package. The registry reaches `builtin` by name at run time, not by import.
LAYERS: list[set[str]] = [
    {"errors"},
    {"hookspecs", "files", "memory", "compiling", "surroundings"},
    {"registry"},
    {"events"},
    {"threats", "figures"},
    {"semantics", "neuron_types"},
    {"surrogates"},
    {"neurons"},
    {"kernels"},
    {"gradient_paths"},
    {"node_types"},
    {"graph_order"},
    {"graph_checks"},
    {"graphs"},
    {"untrusted_files"},
    {"hdf5_raw", "weight_files"},
    {"hdf5_files"},
    {"nir_graphs"},
    {
        "building",
        "layers",
        "semantics_text",
        "receptive_fields",
        "spike_delays",
        "layer_semantics",
        "time_steps",
    },
    {"recurrence", "connections", "spiking_blocks"},
    {"running"},
    {"network"},
    {"model_files", "frameworks"},
    {"packing", "estimators"},
    {"attacks", "defences", "datasets", "metrics"},
    {"suites", "inspection"},
    {"records"},
    {"checks"},
    {"trust"},
    {"evaluate"},
    {"builtin"},
    {"testing", "cli"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def modules_of(package: Path) -> list[Path]:
    return sorted(package.rglob("*.py"))


def room(path: Path) -> str:
    """The top-level module or package that a file belongs to."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported_modules(path: Path, package: Path) -> set[str]:
    """Absolute dotted names of everything a file imports, inside functions too."""
    parts = [package.name, *path.relative_to(package).with_suffix("").parts]
    home = parts[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            found |= {prefix, *(f"{prefix}.{alias.name}" for alias in node.names)}
    return found


def upward_imports(path: Path) -> list[str]:
    own = room(path)
    problems = []
    for name in imported_modules(path, PACKAGE):
        parts = name.split(".")
        if parts[0] != "art_spiking" or len(parts) < 2:
            continue
        other = parts[1]
        if other == own or other not in LEVEL:
            continue
        if LEVEL[other] >= LEVEL[own]:
            problems.append(f"{path.relative_to(ROOT)} imports {name}, which is not below '{own}'")
    return problems


def test_every_module_has_a_layer():
    placed = {room(path) for path in modules_of(PACKAGE)} - {"__init__"}
    assert placed - set(LEVEL) == set(), "place the new module in LAYERS"
    assert set(LEVEL) - placed == set(), "LAYERS names modules that are gone"


@pytest.mark.parametrize(
    "path",
    [p for p in modules_of(PACKAGE) if room(p) != "__init__"],
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_imports_point_down(path: Path):
    assert upward_imports(path) == []


def test_the_core_never_imports_the_leaderboard():
    for path in modules_of(PACKAGE):
        assert not any(
            name.startswith("art_spiking_leaderboard") for name in imported_modules(path, PACKAGE)
        ), path


def test_an_upward_import_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The check itself can fail: inside functions and by relative import too."""
    package = tmp_path / "art_spiking"
    package.mkdir()
    offender = package / "events.py"
    offender.write_text("def late():\n    from .attacks import base\n")
    monkeypatch.setattr("test_layers.PACKAGE", package)
    monkeypatch.setattr("test_layers.ROOT", tmp_path)
    assert len(upward_imports(offender)) > 0


def test_plugins_and_leaderboard_use_public_names_only():
    homes = [
        LEADERBOARD,
        *(p.parent for p in (ROOT / "plugins").rglob("__init__.py") if "tests" not in p.parts),
    ]
    for home in homes:
        for path in modules_of(home):
            private = [
                name
                for name in imported_modules(path, home)
                if name.startswith("art_spiking.") and any(part.startswith("_") for part in name.split("."))
            ]
            assert private == [], f"{path.relative_to(ROOT)} imports private names"
