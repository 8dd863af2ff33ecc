# SPDX-License-Identifier: MIT
"""Norse's neurons and integrators as nodes of a graph, with the semantics under which they are the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from art_spiking.frameworks import Inexpressible, NeuronPlan, node_value
from art_spiking.graphs import NodeSpec
from art_spiking.node_types import Array
from art_spiking.semantics import NeuronSemantics

# The node of every step that Norse's modules run; the steps of LIF and LI with a synapse.
_KINDS = {
    "iaf_feed_forward_step": "IF",
    "lif_box_feed_forward_step": "LIF",
    "lif_feed_forward_step": "CubaLIF",
    "lif_step": "CubaLIF",
    "li_box_feed_forward_step": "LI",
    "li_feed_forward_step": "CubaLI",
    "li_step": "CubaLI",
}
_FIRES = ("IF", "LIF", "CubaLIF")


def is_integrator(module: nn.Module) -> bool:
    """Whether a module is one of Norse's leaky integrators, which never fire."""
    return _KINDS.get(_step_of(module)) in ("LI", "CubaLI")


def plan_of(layer: nn.Module, shape: tuple[int, ...], dt_us: float) -> NeuronPlan:
    """The node of IAF, LIFBox, LIF, LI or LIBox, cells or over time, with weights of their own or without.

    Norse's time constants are in seconds and its dt is the layer's own; the node has the same ratio to the
    network's. A current jumps by the whole input before the potential is charged. A recurrent LIF is fed
    W x[t] + R s[t-1] in one sum, where Norse adds one after the other: the last digit may differ.

    Raises:
        Inexpressible: Another neuron, or a potential that does not start at 0.
    """
    options: Any = layer
    step = _step_of(layer)
    kind = _KINDS.get(step)
    if kind is None:
        raise Inexpressible(f"is {type(layer).__name__}, a neuron that graphs do not have")
    p = options.p
    if kind in _FIRES and bool((torch.as_tensor(p.v_th) <= 0).any()):
        raise Inexpressible("has a threshold that is not above 0")
    start = p.v_reset if kind == "IF" else p.v_leak
    if bool((torch.as_tensor(start) != 0).any()):
        raise Inexpressible(f"starts at a potential of {float(start):g}, where networks start at 0")
    weights, feedback = getattr(options, "input_weights", None), getattr(options, "recurrent_weights", None)
    inner = shape if weights is None else (*shape[:-1], weights.shape[0])
    values: dict[str, Array] = {"r": np.ones(1)}
    if kind in _FIRES:
        values["v_threshold"] = node_value(torch.as_tensor(p.v_th), inner)
        values["v_reset"] = node_value(torch.as_tensor(p.v_reset), inner)
    seconds = dt_us * 1e-6
    synapse = kind.startswith("Cuba")
    if kind != "IF":
        share = node_value(torch.as_tensor(options.dt * p.tau_mem_inv), inner)
        values |= {"tau_mem" if synapse else "tau": seconds / share, "v_leak": np.zeros(1)}
    if synapse:
        share = node_value(torch.as_tensor(options.dt * p.tau_syn_inv), inner)
        values |= {"tau_syn": seconds / share, "w_in": 1 / share}
    arrays = {name: np.broadcast_to(value, inner).copy() for name, value in values.items()}
    semantics = _semantics(p) if kind in _FIRES else NeuronSemantics(reset="none", fires="gt")
    return NeuronPlan(
        NodeSpec(kind, {}, arrays), semantics, feedback=_product(feedback), weights=_product(weights)
    )


def _step_of(module: Any) -> str:
    """The name of the function that a module steps by; LILinearCell does not hold its own."""
    if type(module).__name__ == "LILinearCell" and type(module).__module__.startswith("norse."):
        return "li_step"
    return getattr(getattr(module, "activation", None), "__name__", "")


def _product(weights: Tensor | None) -> NodeSpec | None:
    if weights is None:
        return None
    return NodeSpec("Linear", {}, {"weight": weights.detach().cpu().numpy()})


def _semantics(p: Any) -> NeuronSemantics:
    from norse.torch.functional.reset import reset_subtract, reset_value

    kinds: list[tuple[Any, Any]] = [(reset_value, "value"), (reset_subtract, "subtract")]
    reset = getattr(p, "reset_method", reset_value)
    word = next((word for kind, word in kinds if reset is kind), None)
    if word is None:
        raise Inexpressible(f"resets by {reset!r:.60}, neither reset_value nor reset_subtract")
    return NeuronSemantics(reset=word, fires="gt", integration="euler")
