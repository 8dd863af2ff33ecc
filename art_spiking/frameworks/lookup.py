# SPDX-License-Identifier: MIT
"""Finds the adapter of a framework, and says how to install what is missing."""

from __future__ import annotations

import importlib.metadata
import re
import sys
import warnings
from collections.abc import Mapping
from types import MappingProxyType

from torch import nn

from art_spiking.errors import InvalidModel, MissingDependency, PluginError
from art_spiking.frameworks.adapters import FrameworkAdapter
from art_spiking.registry import catalogue


class FrameworkWarning(UserWarning):
    """Something about a framework that may make results differ from its own."""


PLUGINS: Mapping[str, str] = MappingProxyType(
    {
        "spikingjelly": "art-spiking-spikingjelly",
        "norse": "art-spiking-norse",
        "sinabs": "art-spiking-sinabs",
    }
)
"""The distributions that bring further frameworks, by the frameworks' import names."""


def framework_adapter(framework: str | FrameworkAdapter | None, model: nn.Module) -> FrameworkAdapter:
    """Returns the adapter that is named, or the one that recognises the model.

    Args:
        framework: A registered name, an adapter (returned as it is), or None.
        model: What the adapter will be used on; where the framework is named, it may have no neurons of it.

    Raises:
        UnknownName: Nobody registered that name.
        InvalidModel: No registered framework recognises the model.
        MissingDependency: The framework is not installed, or the plugin for it; the remedy is the pip line.

    Warns:
        FrameworkWarning: The installed version is newer than any that was tested.
    """
    if isinstance(framework, FrameworkAdapter):
        return framework
    if not isinstance(model, nn.Module):
        raise InvalidModel(
            "a framework's model is a torch module", found=type(model).__name__, accepted="nn.Module"
        )
    registered = catalogue("frameworks")
    if framework is not None:
        if framework in PLUGINS and framework not in registered:
            raise _plugin_needed(framework)
        adapter = _adapter(registered[framework].load(), framework)
        check_installed(adapter)
        return adapter
    roots = {type(module).__module__.partition(".")[0] for module in model.modules()}
    for name, entry in registered.items():
        adapter = _adapter(entry.load(), name)
        # A model of a framework that was never imported does not exist.
        if adapter.package in sys.modules and adapter.recognises(model):
            check_installed(adapter)
            return adapter
    for root in sorted(roots & set(PLUGINS)):
        if root not in registered:
            raise _plugin_needed(root)
    raise InvalidModel(
        "no framework recognises the model",
        found=f"modules of {', '.join(sorted(roots))}",
        accepted=f"a model with neurons of {', '.join(registered) or 'no framework'}",
        remedy="name its framework, or pass a module that art-spiking can call, (N, T, ...) to (N, T, K), to "
        "SpikingClassifier; Rockpool, lava-dl and BindsNET models come in as NIR files",
    )


def check_installed(adapter: FrameworkAdapter) -> None:
    """Checks that an adapter's framework is installed, and warns if it is newer than what was tested.

    Raises:
        MissingDependency: It is not installed; the remedy is the pip line.
    """
    try:
        found = importlib.metadata.version(adapter.distribution)
    except importlib.metadata.PackageNotFoundError:
        raise MissingDependency(
            f"{adapter.distribution} is not installed",
            asked=f"framework '{adapter.name}'",
            remedy=f"pip install {adapter.install}",
        ) from None
    if _minor(found) > _minor(adapter.tested):
        warnings.warn(
            f"{adapter.distribution} {found} is newer than any version that its adapter was tested with, "
            f"{adapter.tested} being the last; compare its results with the framework's own, or "
            f"pip install {adapter.install}",
            FrameworkWarning,
            stacklevel=3,
        )


def _minor(version: str) -> tuple[int, ...]:
    numbers = [int(number) for number in re.findall(r"\d+", version)[:2]]
    return (*numbers, 0)[:2]


def _adapter(factory: object, name: str) -> FrameworkAdapter:
    adapter = factory() if callable(factory) else factory
    if not isinstance(adapter, FrameworkAdapter):
        raise PluginError(
            f"the target of framework '{name}' is no adapter",
            found=type(adapter).__name__,
            accepted="a class derived from art_spiking.frameworks.FrameworkAdapter",
            remedy="update or uninstall that package",
        )
    return adapter


def _plugin_needed(framework: str) -> MissingDependency:
    return MissingDependency(
        f"models of {framework} need a plugin",
        asked=f"framework '{framework}'",
        remedy=f"pip install {PLUGINS[framework]}",
    )
