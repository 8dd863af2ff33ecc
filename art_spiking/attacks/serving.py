# SPDX-License-Identifier: MIT
"""Which registered attacks serve a threat model or a model: what errors list when one does not fit."""

from __future__ import annotations

import warnings
from typing import Any

from art_spiking.registry import catalogue
from art_spiking.threats import ThreatModel


def serving_attacks(threat: ThreatModel | None = None, *, without_gradients: bool = False) -> list[str]:
    """Returns the attacks that fit, sorted, each as "registered-name (ClassName)".

    Registered factories that are no attack classes, and those that cannot be imported, are left out: this is
    asked when something does not fit already, and must not fail itself.

    Args:
        threat: what they are to serve; None for any.
        without_gradients: only those that ask the model for its answers alone.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        entries = sorted(catalogue("attacks").values(), key=lambda entry: entry.name)
        return [
            f"{entry.name} ({kind.__name__})"
            for entry in entries
            if (kind := _loaded(entry)) is not None
            and (threat is None or _serves(kind, threat))
            and not (without_gradients and kind.gradients)
        ]


def serving_text(threat: ThreatModel | None = None, *, without_gradients: bool = False) -> str:
    """The attacks of `serving_attacks`, or "none that is installed"."""
    return ", ".join(serving_attacks(threat, without_gradients=without_gradients)) or "none that is installed"


def _serves(kind: Any, threat: ThreatModel) -> bool:
    """What the attack says; one that is no EventAttack names the kinds alone."""
    asked = getattr(kind, "serves", None)
    return bool(asked(threat)) if callable(asked) else isinstance(threat, kind.threats)


def _loaded(entry: Any) -> Any:
    """The class behind an entry; None where it does not say what it serves."""
    try:
        kind = entry.load()
    except Exception:
        return None
    says = isinstance(kind, type) and hasattr(kind, "threats") and hasattr(kind, "gradients")
    return kind if says else None
