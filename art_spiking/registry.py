# SPDX-License-Identifier: MIT
"""Finds plugins and lists what they register; nothing here is global, every call looks afresh."""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import inspect
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pluggy

from art_spiking import hookspecs
from art_spiking.errors import ArtSpikingError, PluginError, UnknownName
from art_spiking.hookspecs import GROUP, KINDS

ALLOW_LIST = "ART_SPIKING_PLUGINS"
"""Environment variable: the distributions whose plugins may load, comma-separated; unset means all."""

_BUILTIN_MODULE = "art_spiking.builtin"
_DISTRIBUTION = "art-spiking"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


class PluginWarning(UserWarning):
    """A plugin, or one thing it offers, was left out; the host goes on without it."""


@dataclass(frozen=True)
class Entry:
    """One registered thing; `load` imports it."""

    name: str
    kind: str
    target: str | Callable[..., Any]
    provider: str
    summary: str = ""

    def load(self) -> Any:
        """The object behind the target.

        Raises:
            PluginError: the target cannot be imported; the message names the provider.
        """
        if not isinstance(self.target, str):
            return self.target
        module_name, _, attribute = self.target.partition(":")
        try:
            found: Any = importlib.import_module(module_name)
            for part in attribute.split("."):
                found = getattr(found, part)
        except ArtSpikingError:
            raise  # a missing optional package already says how to get it
        except Exception as error:
            raise PluginError(
                f"cannot load {self.kind} '{self.name}' of {self.provider}",
                asked=self.target,
                found=_one_line(error),
                remedy="update or uninstall that package",
            ) from error
        return found


@dataclass(frozen=True)
class Catalogue(Mapping[str, Entry]):
    """The registered things of one kind, by name.

    `conflicts` holds the names that two providers claim: such a name belongs to neither, and asking for it
    raises.
    """

    kind: str
    entries: Mapping[str, Entry]
    conflicts: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, kind: str, targets: Mapping[str, Any], provider: str = "this program") -> Catalogue:
        """A catalogue of given targets, for programs and tests that need no plugins."""
        return cls(kind, {name: Entry(name, kind, target, provider) for name, target in targets.items()})

    def __getitem__(self, name: str) -> Entry:
        """The entry of that name.

        Raises:
            UnknownName: nobody registered it; near names are suggested.
            PluginError: two providers registered it.
        """
        if name in self.conflicts:
            raise _conflict(self.kind, self.conflicts[name])
        try:
            return self.entries[name]
        except KeyError:
            raise unknown_name(self.kind, name, self.entries) from None

    def get(self, name: str, default: Any = None) -> Any:
        """The entry of that name, or the default; a name in conflict still raises."""
        return self[name] if name in self.entries or name in self.conflicts else default

    def __contains__(self, name: object) -> bool:
        """Whether the name has exactly one provider."""
        return name in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


class PluginManager(pluggy.PluginManager):
    """pluggy's manager that also remembers which distribution a plugin came from."""

    def __init__(self) -> None:
        super().__init__(GROUP)
        self.add_hookspecs(hookspecs)
        self._providers: dict[int, str] = {}

    def add(self, plugin: object, provider: str) -> bool:
        """Registers a plugin, or warns what is wrong with it and leaves it out; True when registered."""
        try:
            self._check_hooks(plugin)
            name = self.register(plugin, f"{provider} ({self.get_canonical_name(plugin)})")
        except Exception as error:
            reason = error.what if isinstance(error, PluginError) else _one_line(error)
            _warn(f"ignoring the plugin of {provider}: {reason}; update or uninstall that package")
            return False
        if name is None:
            return False
        self._providers[id(plugin)] = provider
        return True

    def provider_of(self, plugin: object) -> str:
        """The "distribution version" that a plugin came from."""
        return self._providers.get(id(plugin)) or self.get_name(plugin) or repr(plugin)

    def _check_hooks(self, plugin: object) -> None:
        """Refuses what pluggy would ignore silently: misspelt hooks, and functions never marked.

        pluggy's `check_pending` tells of marked, misspelt hooks only, and of the first one only.
        """
        known = [f"{GROUP}_register_{kind}" for kind in KINDS]
        for name in dir(plugin):
            options = self.parse_hookimpl_opts(plugin, name)
            if options is not None:
                hook = options.get("specname") or name
                if hook not in known:
                    raise PluginError(f"it implements {hook}, which is no hook{_suggestion(hook, known)}")
            elif name.startswith(f"{GROUP}_") and inspect.isroutine(getattr(plugin, name, None)):
                raise PluginError(f"its {name} is not marked with @hookimpl")


def plugin_manager() -> PluginManager:
    """A new plugin manager with the built-ins and every allowed installed plugin.

    The environment variable ART_SPIKING_PLUGINS lists the distributions that may load ("a,b"); unset means
    all, empty means none but the built-ins. A plugin that is not allowed is not imported. One that cannot be
    loaded, or whose hooks are wrong, is left out with a `PluginWarning` that names its distribution.
    """
    manager = PluginManager()
    manager.add(importlib.import_module(_BUILTIN_MODULE), _provider(_DISTRIBUTION))
    allowed = _allowed()
    installed: set[str] = set()
    for distribution in _distributions():
        points = [point for point in distribution.entry_points if point.group == GROUP]
        name = _normalised(distribution.metadata["Name"])
        if not points or name in installed:
            continue
        installed.add(name)
        if name == _DISTRIBUTION or (allowed is not None and name not in allowed):
            continue
        for point in points:
            _load_point(manager, point, f"{distribution.metadata['Name']} {distribution.version}")
    for name in sorted((allowed or set()) - installed - {_DISTRIBUTION}):
        _warn(f"{ALLOW_LIST} names '{name}', and no such plugin is installed")
    return manager


def catalogue(kind: str, manager: PluginManager | None = None) -> Catalogue:
    """Everything registered of one kind, each with its provider.

    Args:
        kind: one of `hookspecs.KINDS`.
        manager: the plugins to ask; by default a new `plugin_manager()`.

    Raises:
        UnknownName: no such kind.
    """
    if kind not in KINDS:
        raise unknown_name("kind of plugin", kind, KINDS)
    manager = plugin_manager() if manager is None else manager
    offers: dict[str, list[Entry]] = {}
    hook_name = f"{GROUP}_register_{kind}"
    plugins = manager.get_plugins()
    builtin_first = sorted(plugins, key=lambda plugin: (not _is_builtin(plugin), manager.provider_of(plugin)))
    for plugin in builtin_first:
        # One plugin at a time, so that each thing offered is known to come from it.
        hook = manager.subset_hook_caller(hook_name, [other for other in plugins if other is not plugin])
        provider = manager.provider_of(plugin)
        own: list[Entry] = []
        try:
            hook(register=_register(kind, provider, own))
        except Exception as error:
            reason = str(error) if isinstance(error, PluginError) else _one_line(error)
            _warn(f"ignoring the {kind} of {provider}: {reason}")
            continue
        for entry in own:
            offers.setdefault(entry.name, []).append(entry)
    single = {name: found[0] for name, found in offers.items() if len(found) == 1}
    conflicts = {name: tuple(found) for name, found in offers.items() if len(found) > 1}
    for found in conflicts.values():
        _warn(str(_conflict(kind, found)))
    return Catalogue(kind, single, conflicts)


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownName:
    """The error for a name that is not among the known ones; near names are suggested."""
    known = sorted(known)
    singular = kind.removesuffix("s")
    remedy = _suggestion(name, known).removeprefix("; ") or None
    return UnknownName(f"unknown {singular} '{name}'", accepted=", ".join(known) or "none", remedy=remedy)


def _register(kind: str, provider: str, own: list[Entry]) -> Callable[..., None]:
    def register(name: str, target: str | Callable[..., Any], summary: str = "") -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise PluginError(
                f"a name in {kind} is not valid",
                found=repr(name),
                accepted="lower-case letters, digits and hyphens",
            )
        if isinstance(target, str) and not re.fullmatch(r"[\w.]+:[\w.-]+", target):
            raise PluginError(
                f"the target of '{name}' is not valid", found=repr(target), accepted="'module:attribute'"
            )
        own.append(Entry(name, kind, target, provider, " ".join(summary.split())))

    return register


def _load_point(manager: PluginManager, point: importlib.metadata.EntryPoint, provider: str) -> None:
    try:
        plugin = point.load()
    except (Exception, SystemExit) as error:
        _warn(
            f"ignoring the plugin of {provider}: cannot import {point.value} ({_one_line(error)}); "
            "update or uninstall that package"
        )
        return
    manager.add(plugin, provider)


def _conflict(kind: str, found: Iterable[Entry]) -> PluginError:
    found = tuple(found)
    providers = sorted({entry.provider for entry in found})
    who = " and ".join(providers) if len(providers) > 1 else f"{providers[0]}, {len(found)} times"
    return PluginError(
        f"the name '{found[0].name}' in {kind} is registered by {who}",
        accepted="one provider per name",
        remedy=f"uninstall one of them, or list those you want in {ALLOW_LIST}",
    )


def _allowed() -> set[str] | None:
    listed = os.environ.get(ALLOW_LIST)
    if listed is None:
        return None
    return {_normalised(name) for name in listed.split(",") if name.strip()}


def _distributions() -> Iterator[importlib.metadata.Distribution]:
    for distribution in importlib.metadata.distributions():
        if distribution.metadata is not None and distribution.metadata["Name"]:
            yield distribution


def _provider(distribution: str) -> str:
    try:
        return f"{distribution} {importlib.metadata.version(distribution)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{distribution} (not installed)"


def _is_builtin(plugin: object) -> bool:
    return getattr(plugin, "__name__", None) == _BUILTIN_MODULE


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).strip().lower()


def _suggestion(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.65)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _warn(message: str) -> None:
    warnings.warn(message, PluginWarning, stacklevel=3)
