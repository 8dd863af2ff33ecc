# SPDX-License-Identifier: MIT
"""Neuron semantics as one writes them on a command line or in a file's metadata."""

from __future__ import annotations

from typing import Any

from art_spiking.errors import InvalidInput
from art_spiking.neurons import NeuronSemantics


def parse_semantics(text: str) -> NeuronSemantics:
    """Semantics from a preset's name, key=value pairs, or a preset and the pairs that differ from it.

    "sinabs", "reset=subtract,spikes=one" (the rest as in the preset "nir"), "sinabs,spikes=one,v_min=none".

    Raises:
        UnknownName: There is no such preset.
        InvalidInput: An unknown key, a key twice, or a value that does not fit.
    """
    parts = [part.strip() for part in text.split(",")]
    preset = parts.pop(0) if "=" not in parts[0] else "nir"
    base = NeuronSemantics.preset(preset).to_dict()
    changes: dict[str, Any] = {}
    for part in parts:
        key, separator, value = (piece.strip() for piece in part.partition("="))
        if not separator or key not in base or key in changes:
            raise InvalidInput(
                "semantics are a preset and key=value pairs, each key once",
                asked=text,
                found=repr(part),
                accepted=", ".join(base),
                remedy="such as sinabs,spikes=one",
            )
        changes[key] = _clamp(value) if key == "v_min" else value
    return NeuronSemantics.from_dict(base | changes)


def _clamp(text: str) -> float | str | None:
    """A lower clamp as written; text that is no number is left for the semantics to refuse."""
    if text.lower() == "none":
        return None
    try:
        return float(text)
    except ValueError:
        return text
