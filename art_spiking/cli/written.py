# SPDX-License-Identifier: MIT
"""Threat models and parameters as one writes them on a command line."""

from __future__ import annotations

import math
import re
from typing import Any

from art_spiking.errors import InvalidInput

_EXAMPLE = "such as event-edits:max_edits=50,delete=false"
_KIND = re.compile(r"[a-z0-9-]+")
_KEY = re.compile(r"[a-z_][a-z0-9_]*")
_ALL_OF = "all-of"


def parse_threat(text: str) -> dict[str, Any]:
    """The form of a threat model, as suites hold it.

    "event-edits:max_edits=50,delete=false"; several joined by & are one of kind "all-of". Whether the kind
    exists and takes these parameters is not looked at.

    Raises:
        InvalidInput: text of another form.
    """
    members = [_parse_member(part.strip(), text) for part in text.split("&")]
    return members[0] if len(members) == 1 else {"kind": _ALL_OF, "members": members}


def parse_parameters(option: str, text: str) -> dict[str, Any]:
    """Parameters from key=value pairs with commas between; empty text is none.

    A value is true, false, a number, or else text.

    Raises:
        InvalidInput: something else than key=value, or a key twice.
    """
    found: dict[str, Any] = {}
    for part in text.split(",") if text.strip() else ():
        key, separator, value = (piece.strip() for piece in part.partition("="))
        if not separator or not value or not _KEY.fullmatch(key) or key in found:
            raise InvalidInput(
                f"{option} does not parse",
                asked=text,
                found=f"{key} twice" if key in found else repr(part.strip()),
                accepted="key=value with commas between, each key once",
            )
        found[key] = _value(value)
    return found


def _parse_member(part: str, text: str) -> dict[str, Any]:
    kind, separator, rest = (piece.strip() for piece in part.partition(":"))
    if not _KIND.fullmatch(kind) or bool(separator) != bool(rest):
        raise InvalidInput(
            "--threat does not parse",
            asked=text,
            found=repr(part),
            accepted="KIND:key=value,...; several joined by &",
            remedy=_EXAMPLE,
        )
    return {"kind": kind, **_without_kind(parse_parameters("--threat", rest), text)}


def _without_kind(parameters: dict[str, Any], text: str) -> dict[str, Any]:
    if "kind" in parameters:
        raise InvalidInput("--threat does not parse", asked=text, found="kind=", remedy=_EXAMPLE)
    return parameters


def _value(text: str) -> bool | int | float | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for number in (int, float):
        try:
            value = number(text)
        except ValueError:
            continue
        # What is no number of JSON stays text, which whoever takes the value refuses by its name.
        return value if math.isfinite(value) else text
    return text
