# SPDX-License-Identifier: MIT
"""Checks of the options that attacks take: what does not fit is refused with what would."""

from __future__ import annotations

import numpy as np

from art_spiking.errors import InvalidInput


def check_whole(name: str, value: object, *, least: int = 1, most: int | None = None) -> None:
    """Raises InvalidInput unless `value` is a whole number from `least` to `most`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):  # type: ignore[operator]
        accepted = f"a whole number of at least {least}" + ("" if most is None else f" and at most {most}")
        raise InvalidInput(f"{name} does not fit", asked=repr(value), accepted=accepted)


def check_flag(name: str, value: object) -> None:
    """Raises InvalidInput unless `value` is True or False."""
    if not isinstance(value, bool):
        raise InvalidInput(f"{name} does not fit", asked=repr(value), accepted="True or False")


def check_share(name: str, value: object, *, most: float = 1.0) -> None:
    """Raises InvalidInput unless `value` is a finite number above 0 and at most `most`."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= most or value == float("inf"):  # type: ignore[operator]
        accepted = "a finite number above 0" if most == float("inf") else f"a number in (0, {most:g}]"
        raise InvalidInput(f"{name} does not fit", asked=repr(value), accepted=accepted)
