# SPDX-License-Identifier: MIT
"""Threat models from their plain form, as suites and records hold them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from art_spiking.errors import InvalidInput, UnknownName
from art_spiking.threats.base import EventThreat, ThreatModel
from art_spiking.threats.edits import EventEdits
from art_spiking.threats.linf import Linf
from art_spiking.threats.objects import ObjectRegion
from art_spiking.threats.retiming import Retiming
from art_spiking.threats.rules import AllOf, PatchRegion, PixelRate

_OWN: dict[str, Callable[..., ThreatModel]] = {
    threat.kind: threat for threat in (EventEdits, PixelRate, PatchRegion, ObjectRegion, Retiming, Linf)
}


def threat_from_dict(
    form: Mapping[str, Any], kinds: Mapping[str, Callable[..., ThreatModel]] | None = None
) -> ThreatModel:
    """Builds the threat model that `to_dict` described.

    Args:
        form: "kind" and the threat model's parameters; for "all-of" the list "members" of such forms.
        kinds: factories by kind, beside the ones of art-spiking itself.

    Raises:
        UnknownName: no such kind.
        InvalidInput: no "kind", an unknown or missing parameter, or a value that does not fit.
    """
    parameters = dict(form)
    kind = parameters.pop("kind", None)
    if kind == AllOf.kind:
        return _conjunction(parameters, kinds)
    known = _OWN | dict(kinds or {})
    if not isinstance(kind, str):
        raise InvalidInput(
            'a threat model needs a "kind"', found=dict(form), accepted=", ".join([*known, AllOf.kind])
        )
    if kind not in known:
        raise UnknownName("no such threat model", asked=kind, accepted=", ".join([*known, AllOf.kind]))
    try:
        inspect.signature(known[kind]).bind(**parameters)
    except TypeError as error:
        raise InvalidInput(
            f"the parameters of the threat model {kind!r} do not fit",
            asked=", ".join(parameters) or "none",
            found=str(error),
            accepted=", ".join(inspect.signature(known[kind]).parameters),
        ) from error
    return known[kind](**parameters)


def _conjunction(
    parameters: dict[str, Any], kinds: Mapping[str, Callable[..., ThreatModel]] | None
) -> ThreatModel:
    members = parameters.pop("members", None)
    if (
        not isinstance(members, list | tuple)
        or parameters
        or not all(isinstance(m, Mapping) for m in members)
    ):
        raise InvalidInput(
            'a threat model of kind "all-of" has a list "members" of threat models and nothing else',
            found={"members": members, **parameters},
        )
    built = [threat_from_dict(member, kinds) for member in members]
    events = tuple(threat for threat in built if isinstance(threat, EventThreat))
    if len(events) < len(built):
        raise InvalidInput("only threat models of whole events can be joined", found=built)
    return AllOf(events)
