# SPDX-License-Identifier: MIT
"""Proofs on probes: a fused network puts out what the framework's own model does."""

from __future__ import annotations

from torch import Tensor

from art_spiking.errors import InvalidInput
from art_spiking.frameworks.adapters import Inexpressible
from art_spiking.frameworks.running import FrameworkNetwork
from art_spiking.network import SpikingNetwork

# How far potentials may lie apart, relative to the largest: sums of floats in another order, no more.
_SAME_POTENTIAL = 1e-5

INTEGRATORS = ("I", "LI", "CubaLI")
"""The types of nodes that put out their potential."""


def prove_spikes(network: SpikingNetwork, stepwise: FrameworkNetwork, probe: Tensor) -> None:
    """Compares the spikes of all layers that fire in both networks on the probes.

    Raises:
        Inexpressible: A layer's spikes differ, or it has none; the first one is named.
    """
    own = stepwise.activity(probe)
    fused = network.activity(probe)
    nodes = network.to_graph().nodes
    for name, theirs in own.items():
        ours = fused.get(name)
        if ours is None or ours.shape != theirs.shape:
            found = "nothing" if ours is None else tuple(ours.shape)
            raise Inexpressible(f"layer '{name}' puts out {tuple(theirs.shape)}, the fused network {found}")
        if nodes[name].type in INTEGRATORS:
            continue
        differs = ours != theirs
        if bool(differs.any()):
            sample, step = (int(k) for k in differs.nonzero()[0][:2])
            raise Inexpressible(
                f"layer '{name}' differs in {int(differs.sum())} of {differs.numel()} spikes on the probes, "
                f"first at sample {sample}, step {step}"
            )
        if not bool(theirs.any()):
            raise Inexpressible(
                f"layer '{name}' stays silent on the probes, which proves nothing of the layers after it; "
                "pass a probe on which it fires"
            )


def prove_output(network: SpikingNetwork, stepwise: FrameworkNetwork, probe: Tensor) -> None:
    """Compares what the two networks put out.

    Raises:
        Inexpressible: It differs.
    """
    output, ours = stepwise(probe), network(probe)
    if output.shape != ours.shape and output.dim() == 2:
        ours = ours.sum(dim=1)  # the model counts the spikes itself
    if output.shape != ours.shape or not bool((output == ours).all()):
        raise Inexpressible(
            "the model's output is not the spikes of its last layer, nor their sum over time: "
            f"{tuple(output.shape)}, where the fused network puts out {tuple(network(probe).shape)}; "
            "if it is the potential of a layer that never resets, say output='membrane'"
        )


def prove_potentials(network: SpikingNetwork, stepwise: FrameworkNetwork, probe: Tensor) -> None:
    """Compares the potentials of the last layer.

    Raises:
        Inexpressible: They differ, or the model does not return them.
    """
    try:
        theirs = stepwise.membrane(probe)
    except InvalidInput:
        theirs = stepwise(probe)  # potentials alone, or spikes alone, which differ
    ours = network(probe)
    if theirs.shape != ours.shape:
        raise Inexpressible(
            f"the model returns {tuple(theirs.shape)}, and the potentials of its last layer are "
            f"{tuple(ours.shape)}"
        )
    scale = float(theirs.abs().max())
    apart = float((ours - theirs).abs().max())
    if not scale > 0 or not apart <= _SAME_POTENTIAL * scale:
        raise Inexpressible(
            f"what the model returns differs by {apart:.3g} from the potentials of its last layer without "
            f"spikes, which go up to {scale:.3g}"
        )
