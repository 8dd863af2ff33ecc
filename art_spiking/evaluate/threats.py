# SPDX-License-Identifier: MIT
"""Threat models as suites write them, built from whatever provider registered their kind."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from art_spiking.registry import Catalogue
from art_spiking.threats import AllOf, ThreatModel, threat_from_dict


def build_threat(form: Mapping[str, Any], threats: Catalogue, *, dt_us: int) -> ThreatModel:
    """A threat model from a case's form; `dt_us` is filled in where a kind takes it.

    Args:
        form: "kind" and its parameters; for "all-of" the list "members" of such forms.
        threats: where kinds are looked up.
        dt_us: the width of the data's time step, in µs.

    Raises:
        UnknownName: nobody registered a kind; near names are suggested.
        InvalidInput: parameters that the kind does not take, or values that do not fit.
    """
    factories: dict[str, Callable[..., ThreatModel]] = {}
    for kind in set(kinds_in(form)):
        factory = threats[kind].load()
        takes_step = "dt_us" in inspect.signature(factory).parameters
        factories[kind] = _with_step(factory, dt_us) if takes_step else factory
    return threat_from_dict(form, factories)


def kinds_in(form: Mapping[str, Any]) -> Iterator[str]:
    """The registered kinds that a form names, those of a conjunction's members included."""
    kind, members = form.get("kind"), form.get("members")
    if kind != AllOf.kind:
        if isinstance(kind, str):
            yield kind
    elif isinstance(members, list | tuple):
        for member in members:
            if isinstance(member, Mapping):
                yield from kinds_in(member)


def _with_step(factory: Callable[..., ThreatModel], dt_us: int) -> Callable[..., ThreatModel]:
    """The factory with another default for `dt_us`; its signature stays to be read."""
    return functools.partial(factory, dt_us=dt_us)
