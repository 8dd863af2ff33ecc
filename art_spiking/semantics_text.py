# SPDX-License-Identifier: MIT
"""Neuron semantics, those of whole models too, as one writes them on a command line or in a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from art_spiking.errors import InvalidInput
from art_spiking.semantics import NeuronSemantics

_NUMBERS: Mapping[str, type[int] | type[float]] = MappingProxyType(
    {"v_min": float, "scale": int, "spike_delay": int}
)


def parse_model_semantics(text: str) -> tuple[NeuronSemantics, dict[str, NeuronSemantics]]:
    """The semantics of a model, and those of single layers that differ, by the layers' names.

    After the model's own come the layers' after a semicolon each: "snntorch;out:reset=none" (the rest as in
    the model), "sinabs;conv1:norse;conv2:norse,fires=ge".

    Raises:
        UnknownName: There is no such preset.
        InvalidInput: What `parse_semantics` refuses, or a part without a layer's name, or a layer twice.
    """
    first, *parts = text.split(";")
    whole = parse_semantics(first)
    layers: dict[str, NeuronSemantics] = {}
    for part in parts:
        name, colon, own = part.strip().rpartition(":")  # semantics hold no colon; a name may
        if not colon or not name or name in layers:
            raise InvalidInput(
                "after a semicolon come a layer's name and its semantics, each layer once",
                asked=text,
                found=repr(part),
                remedy="such as snntorch;out:reset=none",
            )
        layers[name] = parse_semantics(own, base=whole)
    return whole, layers


def model_semantics_text(semantics: NeuronSemantics, layers: Mapping[str, NeuronSemantics]) -> str:
    """What `parse_model_semantics` reads.

    Raises:
        InvalidInput: A layer's name holds a semicolon or begins or ends with a space.
    """
    for name in layers:
        if ";" in name or name != name.strip():
            raise InvalidInput(
                "the semantics of a layer of that name cannot be written as text",
                found=repr(name),
                accepted="a name without semicolons, and without spaces at its ends",
            )
    return ";".join([semantics.to_text(), *(f"{k}:{layers[k].to_text()}" for k in sorted(layers))])


def parse_semantics(text: str, *, base: NeuronSemantics | None = None) -> NeuronSemantics:
    """Semantics from a preset's name, key=value pairs, or a preset and the pairs that differ from it.

    "sinabs", "reset=subtract,spikes=one" (the rest as in `base`), "sinabs,spikes=one,v_min=none".

    Args:
        text: As above.
        base: What pairs without a preset differ from; by default the preset "nir".

    Raises:
        UnknownName: There is no such preset.
        InvalidInput: An unknown key, a key twice, or a value that does not fit.
    """
    parts = [part.strip() for part in text.split(",")]
    if "=" not in parts[0] or base is None:
        base = NeuronSemantics.preset(parts.pop(0) if "=" not in parts[0] else "nir")
    known = dataclasses.asdict(base)
    changes: dict[str, Any] = {}
    for part in parts:
        key, separator, value = (piece.strip() for piece in part.partition("="))
        if not separator or key not in known or key in changes:
            raise InvalidInput(
                "semantics are a preset and key=value pairs, each key once",
                asked=text,
                found=repr(part),
                accepted=", ".join(known),
                remedy="such as sinabs,spikes=one",
            )
        changes[key] = _number(value, _NUMBERS[key]) if key in _NUMBERS else value
    return NeuronSemantics.from_dict(known | changes)


def _number(text: str, kind: type[int] | type[float]) -> float | str | None:
    """A number as written, or None; other text is left for the semantics to refuse."""
    if text.lower() == "none":
        return None
    try:
        return kind(text)
    except ValueError:
        return text
