# SPDX-License-Identifier: MIT
"""Sinabs' layers as nodes of a graph, with the semantics under which they are the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from art_spiking.frameworks import Inexpressible, NeuronPlan, layer_node, node_value
from art_spiking.graphs import NodeSpec
from art_spiking.node_types import Array
from art_spiking.semantics import NeuronSemantics

# A time constant in steps so long that a step's decay is lost in float64.
_ENDLESS = 2.0**60
_CLAMPED = (
    "has a lower bound of the potential (min_v_mem): below it Sinabs' spikes still have their surrogate's "
    "gradient, those of the fused network none; and Sinabs' bound rounds the potentials, which over hundreds "
    "of steps may move a spike"
)


def plan_of(layer: nn.Module, shape: tuple[int, ...], dt_us: float) -> NeuronPlan:
    """The node of IAF, LIF or ExpLeak, and the feedback of IAFRecurrent and LIFRecurrent.

    A LIF of decay a has an impulse's step, v[t] = a v[t-1] + r x[t], r = 1 - a where `norm_input`. Sinabs
    clamps the potential after the reset, a network before: the same, as long as no reset goes below. The
    gradients differ there, as the plan remarks. To a recurrent layer comes x[t] + W s[t-1], at first x alone.

    Raises:
        Inexpressible: Another layer, or an option that no node has.
    """
    from sinabs import layers

    options: Any = layer
    recurrent = type(layer) in (layers.IAFRecurrent, layers.LIFRecurrent)
    integrates = type(layer) in (layers.ExpLeak, layers.ExpLeakSqueeze)
    plain = type(layer) in (layers.IAF, layers.LIF, layers.IAFSqueeze, layers.LIFSqueeze)
    if not (plain or recurrent or integrates):
        raise Inexpressible(f"is {type(layer).__name__}, a neuron that graphs do not have")
    if integrates and options.min_v_mem is not None:
        raise Inexpressible("is an integrator with a lower bound of the potential (min_v_mem)")
    step = dt_us * 1e-6
    decay = node_value(options.alpha_mem_calculated, shape)
    values: dict[str, Array] = {"r": 1 - decay if options.norm_input else np.ones(1)}
    if not integrates:
        values |= {"v_threshold": node_value(options.spike_threshold, shape), "v_reset": np.zeros(1)}
    synapse = options.alpha_syn_calculated
    leaks = integrates or synapse is not None or bool((decay < 1).any())
    if leaks:
        values["v_leak"] = np.zeros(1)
        values["tau" if synapse is None else "tau_mem"] = step * _steps(decay)
    if synapse is not None:
        values |= {"w_in": np.ones(1), "tau_syn": step * _steps(node_value(synapse, shape))}
    arrays = {name: np.broadcast_to(value, shape).copy() for name, value in values.items()}
    if integrates:
        return NeuronPlan(NodeSpec("LI", {}, arrays), NeuronSemantics(reset="none", integration="impulse"))
    kind = "CubaLIF" if synapse is not None else "LIF" if leaks else "IF"
    semantics = _semantics(options)
    remark = "" if semantics.v_min is None else _CLAMPED
    feedback = _feedback(options.rec_connect, shape) if recurrent else None
    return NeuronPlan(NodeSpec(kind, {}, arrays), semantics, remark, feedback)


def _feedback(connection: nn.Module, shape: tuple[int, ...]) -> NodeSpec:
    """The node of `rec_connect`: one layer, whose bias would also arrive before the first spike."""
    inner = connection[0] if isinstance(connection, nn.Sequential) and len(connection) == 1 else connection
    try:
        node = layer_node(inner, shape, shape)
    except Inexpressible as error:
        raise Inexpressible(f"is fed back by rec_connect, which {error.what}") from error
    if node is None:
        return NodeSpec("Scale", {}, {"scale": np.ones(shape)})
    if "bias" in node.arrays and bool(node.arrays["bias"].any()):
        raise Inexpressible(
            "is fed back with a bias, which Sinabs leaves out in the first step and a network does not"
        )
    return node


def _semantics(layer: Any) -> NeuronSemantics:
    from sinabs.activation import MembraneReset, MembraneSubtract, MultiSpike, SingleSpike

    kinds: list[tuple[Any, Any]] = [(MultiSpike, "several"), (SingleSpike, "one")]
    spikes = next((word for kind, word in kinds if layer.spike_fn is kind), None)
    if spikes is None:
        raise Inexpressible(f"fires by {layer.spike_fn}, neither SingleSpike nor MultiSpike")
    reset: Any = {MembraneSubtract: "subtract", MembraneReset: "value"}.get(type(layer.reset_fn))
    if reset is None:
        raise Inexpressible(f"resets by {layer.reset_fn}, neither MembraneSubtract nor MembraneReset")
    if getattr(layer.reset_fn, "subtract_value", None) is not None:
        raise Inexpressible("takes another value than its threshold off the potential (subtract_value)")
    if getattr(layer.reset_fn, "reset_value", 0) != 0:
        raise Inexpressible("adds its reset_value at every step, spike or no spike")
    low = layer.min_v_mem
    if low is not None and not bool(((low == low.flatten()[0]) & (low <= 0)).all()):
        raise Inexpressible("has several lower bounds of the potential, or one above 0")
    v_min = None if low is None else float(low.flatten()[0])
    return NeuronSemantics(reset=reset, spikes=spikes, v_min=v_min, fires="ge", integration="impulse")


def _steps(decay: Array) -> Array:
    """Time constant in steps of a decay per step."""
    with np.errstate(divide="ignore"):
        steps: Array = np.minimum(-1 / np.log(decay), _ENDLESS)
    return np.where(decay < 1, steps, _ENDLESS)
