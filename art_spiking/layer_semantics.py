# SPDX-License-Identifier: MIT
"""The semantics of a model whose layers do not all behave alike."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping

from art_spiking.errors import InvalidInput, SemanticsNotStated, UnknownName
from art_spiking.graphs import GraphSpec
from art_spiking.semantics import PRESETS, NeuronSemantics

OPEN = ("IF", "LIF", "CubaLIF", "LI", "CubaLI", "I", "Threshold", "SumPool2d")
"""The types of nodes that a semantics says something of."""


def resolved(
    graph: GraphSpec,
    semantics: NeuronSemantics | str,
    layers: Mapping[str, NeuronSemantics | str],
) -> tuple[NeuronSemantics, dict[str, NeuronSemantics]]:
    """Presets looked up, and of the layers those that differ from the rest, sorted.

    Args:
        graph: The model.
        semantics: Of all layers that are not named, or the name of a preset.
        layers: Of single layers, by node name.

    Raises:
        UnknownName: There is no such preset, or no such layer.
        InvalidInput: A layer that no semantics says anything of.
    """
    whole = _preset(semantics)
    accepted = [name for name, node in graph.nodes.items() if node.type in OPEN]
    for name in layers:
        if name not in graph.nodes:
            near = difflib.get_close_matches(name, accepted, n=1)
            raise UnknownName(
                "semantics are stated for a layer that is not there",
                asked=repr(name),
                accepted=", ".join(accepted[:20]),
                remedy=f"did you mean '{near[0]}'?" if near else None,
            )
        if name not in accepted:
            raise InvalidInput(
                f"semantics say nothing of layer '{name}'",
                found=graph.nodes[name].type,
                accepted=", ".join(accepted[:20]),
            )
    own = {name: _preset(layers[name]) for name in sorted(layers)}
    return whole, {name: value for name, value in own.items() if value != whole}


def warn_if_open(graph: GraphSpec) -> None:
    """Warns where NIR's own semantics are taken for want of others.

    Warns:
        SemanticsNotStated: The graph has a layer that a semantics says something of.
    """
    left_open = next((name for name, node in graph.nodes.items() if node.type in OPEN), None)
    if left_open is not None:
        warnings.warn(
            f"nothing states the semantics of this model, which its graph leaves open (layer '{left_open}', "
            f"{graph.nodes[left_open].type}), and those printed in NIR are taken; under others it is another "
            f"model: pass semantics={', '.join(map(repr, PRESETS))}, or one's own",
            SemanticsNotStated,
            stacklevel=3,
        )


def _preset(semantics: NeuronSemantics | str) -> NeuronSemantics:
    return NeuronSemantics.preset(semantics) if isinstance(semantics, str) else semantics
