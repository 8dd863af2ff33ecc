# SPDX-License-Identifier: MIT
"""Checks of threat models' fields, one clear error each."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from art_spiking.errors import InvalidInput


def check_whole(name: str, value: object) -> int:
    """The value as an int of 1 or more.

    Raises:
        InvalidInput: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InvalidInput(f"{name} does not fit", asked=repr(value), accepted="a whole number of 1 or more")
    return int(value)


def check_positive(name: str, value: object, *, most: float = math.inf) -> float:
    """The value as a finite float above 0 and at most `most`.

    Raises:
        InvalidInput: it is none.
    """
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not 0 < float(value) <= most or math.isinf(float(value)):  # type: ignore[arg-type]
        upper = "" if math.isinf(most) else f" and at most {most:g}"
        raise InvalidInput(f"{name} does not fit", asked=repr(value), accepted=f"a number above 0{upper}")
    return float(value)  # type: ignore[arg-type]


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Checks that the value is one of the choices.

    Raises:
        InvalidInput: it is not.
    """
    if value not in choices:
        raise InvalidInput(f"{name} does not fit", asked=repr(value), accepted=", ".join(map(repr, choices)))


def check_flags(insert: object, delete: object) -> None:
    """Checks the two flags of what may be done with events.

    Raises:
        InvalidInput: one is no bool, or both are False.
    """
    if not isinstance(insert, bool) or not isinstance(delete, bool):
        raise InvalidInput(
            "insert and delete do not fit",
            asked=f"insert={insert!r}, delete={delete!r}",
            accepted="True or False",
        )
    if not insert and not delete:
        raise InvalidInput(
            "the threat model allows no edit at all",
            asked="insert=False, delete=False",
            remedy="allow one of the two",
        )
