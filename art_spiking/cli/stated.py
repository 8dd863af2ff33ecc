# SPDX-License-Identifier: MIT
"""Which model a file is: what it states of its semantics, or what was said instead."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from art_spiking.errors import InvalidInput

if TYPE_CHECKING:
    from art_spiking.graphs import GraphSpec
    from art_spiking.semantics import NeuronSemantics


def check_text(semantics: str | None) -> None:
    """Fails where --semantics was given and is empty.

    Raises:
        InvalidInput: It is.
    """
    if semantics is not None and not semantics.strip():
        raise InvalidInput(
            "--semantics is empty",
            accepted="a preset, key=value pairs, or both: sinabs,spikes=one",
            remedy="leave --semantics out for what the file states",
        )


def stated_semantics(
    graph: GraphSpec, asked: str | None, path: Path
) -> tuple[NeuronSemantics, dict[str, NeuronSemantics]]:
    """The semantics of a model and those of single layers, as asked or else as its metadata states.

    Raises:
        UnknownName: There is no such preset.
        InvalidInput: Neither states them, or they do not fit; no one's are taken instead, since the same file
            under another semantics is another model.
    """
    from art_spiking.semantics import PRESETS
    from art_spiking.semantics_text import parse_model_semantics

    stated = graph.metadata.get("semantics") if asked is None else asked
    if stated is None:
        raise InvalidInput(
            f"{path.name} does not state its semantics, without which it is not one model",
            accepted=f"--semantics with {', '.join(PRESETS)} or key=value pairs",
            remedy="`art-spiking inspect` with --data and --semantics all shows what it does under each",
        )
    return parse_model_semantics(str(stated))
