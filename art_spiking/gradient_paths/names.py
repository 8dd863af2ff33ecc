# SPDX-License-Identifier: MIT
"""Every path by name, and the specifications that suites and records hold."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from art_spiking.errors import InvalidInput, UnknownName
from art_spiking.gradient_paths.adaptive import AdaptiveSharpness, PotentialWidth
from art_spiking.gradient_paths.hybrid import Hart
from art_spiking.gradient_paths.mixtures import Mixture, Pooled
from art_spiking.gradient_paths.rate import RateGradient, ThroughRate
from art_spiking.surrogates import SURROGATES, GradientPath

PATHS: Mapping[str, type[GradientPath]] = MappingProxyType(
    {
        **SURROGATES,
        **{
            kind.name: kind
            for kind in (
                RateGradient,
                ThroughRate,
                Hart,
                PotentialWidth,
                AdaptiveSharpness,
                Mixture,
                Pooled,
            )
        },
    }
)
"""The gradient paths, surrogates among them, that `path_from_dict` knows, by name."""


def path_named(name: str) -> GradientPath:
    """The path of that name in `PATHS`, with the defaults of its fields.

    Raises:
        UnknownName: There is none.
    """
    return path_from_dict({"name": name})


def path_from_dict(data: Mapping[str, Any]) -> GradientPath:
    """The path that `GradientPath.to_dict` wrote; paths inside it are dicts or names.

    Raises:
        UnknownName: `name` is none of `PATHS`.
        InvalidInput: A field that the path does not have, or a value that does not fit.
    """
    fields = dict(data)
    name = fields.pop("name", None)
    kind = PATHS.get(name) if isinstance(name, str) else None
    if kind is None:
        near = difflib.get_close_matches(str(name), PATHS, n=1)
        raise UnknownName(
            "no such gradient path",
            asked=repr(name),
            accepted=", ".join(sorted(PATHS)),
            remedy=f"did you mean {near[0]}?" if near else None,
        )
    known = [item.name for item in dataclasses.fields(kind)]
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise InvalidInput(
            f"gradient path '{name}' has no such field", found=", ".join(unknown), accepted=", ".join(known)
        )
    if "path" in fields:
        fields["path"] = _inner(fields["path"])
    if isinstance(fields.get("paths"), list | tuple):
        fields["paths"] = tuple(_inner(path) for path in fields["paths"])
    return kind(**fields)


def path_text(stated: Mapping[str, Any]) -> str:
    """A path's dict on one line, as in "hart(path=triangle(width=1), share=0.5)", without what is not set."""
    told = [
        f"{key}={_value_text(value)}"
        for key, value in stated.items()
        if key != "name" and value is not None and value is not False
    ]
    return f"{stated['name']}({', '.join(told)})" if told else str(stated["name"])


def _value_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return path_text(value)
    if isinstance(value, list):
        return f"[{', '.join(_value_text(item) for item in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _inner(value: Any) -> Any:
    if isinstance(value, str):
        return path_named(value)
    return path_from_dict(value) if isinstance(value, Mapping) else value
