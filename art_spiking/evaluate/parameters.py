# SPDX-License-Identifier: MIT
"""The parameters that a case gives its attack: does the attack take them?"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from art_spiking.errors import InvalidInput

_HOST_GIVES = ("estimator", "threat", "seed", "targeted")
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def check_parameters(attack: str, factory: Callable[..., Any], parameters: Mapping[str, Any]) -> None:
    """Checks that an attack takes the parameters of a case, before it is built.

    Args:
        attack: its registered name, for the message.
        factory: what makes it; one that takes any keyword, or tells no signature, is let through.
        parameters: as the case gives them, with `targeted` where it has a target.

    Raises:
        InvalidInput: a name that the attack does not take; near names are suggested.
    """
    try:
        taken = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in taken):
        return
    named = [parameter.name for parameter in taken if parameter.kind in _NAMED]
    unknown = [name for name in parameters if name not in named]
    if not unknown:
        return
    if unknown == ["targeted"]:
        raise InvalidInput(
            f"the attack '{attack}' cannot be targeted",
            remedy="leave the case's target out, or name an attack that takes one",
        )
    accepted = [name for name in named if name not in _HOST_GIVES]
    near = [match for name in unknown for match in get_close_matches(name, accepted, n=1)]
    raise InvalidInput(
        f"the attack '{attack}' takes no such parameter",
        asked=", ".join(name for name in unknown if name != "targeted"),
        accepted=", ".join(accepted) or "none",
        remedy=f"did you mean {', '.join(near)}?" if near else None,
    )
