# SPDX-License-Identifier: MIT
"""The whole plugin API: a plugin implements any of these hooks, marked with `hookimpl`.

A plugin is a module named by an entry point of the group `art_spiking`:

    [project.entry-points.art_spiking]
    mine = "my_package.plugin"

Each hook receives a `register` function and calls it once per thing it offers. A target written as
"module:attribute" is imported only when it is used, so `art-spiking --help` stays fast; a suite's target may
also be "package:file.toml", a file beside the package's modules.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import pluggy

GROUP = "art_spiking"
"""The entry-point group, and the project name that pluggy's markers carry."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


class Register(Protocol):
    """What a hook calls to offer one named thing."""

    def __call__(self, name: str, target: str | Callable[..., Any], summary: str = "") -> None:
        """Offers `target` under `name` (lower-case words joined by hyphens); `summary` is one line."""


@hookspec
def art_spiking_register_attacks(register: Register) -> None:
    """Offers attacks: `factory(estimator, threat, *, seed, **parameters) -> EventAttack`."""


@hookspec
def art_spiking_register_threats(register: Register) -> None:
    """Offers threat models: `factory(**parameters) -> ThreatModel`; `dt_us` is filled in where accepted."""


@hookspec
def art_spiking_register_defences(register: Register) -> None:
    """Offers defences: `factory(**parameters)` returning an ART preprocessor or postprocessor."""


@hookspec
def art_spiking_register_datasets(register: Register) -> None:
    """Offers data sets: `factory(split, *, steps, dt_us, binary, data_dir, limit) -> EventData`."""


@hookspec
def art_spiking_register_suites(register: Register) -> None:
    """Offers suites: a `Suite`, a function that returns one, or "package:file.toml"."""


@hookspec
def art_spiking_register_frameworks(register: Register) -> None:
    """Offers spiking frameworks: `factory() -> FrameworkAdapter`; importing it imports no framework."""


@hookspec
def art_spiking_register_commands(register: Register) -> None:
    """Offers commands of the `art-spiking` program: each a `click.Command` or `click.Group`."""


KINDS = ("attacks", "threats", "defences", "datasets", "suites", "frameworks", "commands")
"""What can be registered; the hook of a kind is `art_spiking_register_<kind>`."""
