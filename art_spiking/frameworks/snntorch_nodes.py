# SPDX-License-Identifier: MIT
"""snnTorch's neurons as nodes of a graph, with the semantics under which the two do the same arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from art_spiking.frameworks.adapters import Inexpressible, NeuronPlan, node_value
from art_spiking.frameworks.translation import node_of
from art_spiking.graphs import NodeSpec
from art_spiking.node_types import Array
from art_spiking.semantics import NeuronSemantics

_RESETS: dict[str, Any] = {"subtract": "subtract", "zero": "value", "none": "none"}
# A time constant so long that a step's share of it is lost in float64: the potential does not decay.
_ENDLESS = 2.0**60


def plan_of(layer: nn.Module, shape: tuple[int, ...], dt_us: float) -> NeuronPlan:
    """The node and semantics of Leaky, Synaptic, Lapicque, LeakyParallel, RLeaky or RSynaptic.

    The last two have a feedback, LeakyParallel weights of its own.

    With decay b and dt the length of a step, Leaky is a LIF with tau = dt / (1 - b) and r = tau / dt, for
    which an Euler step is u[t] = b v[t-1] + x[t]; Synaptic is a CubaLIF likewise. Lapicque's decay and gain
    are computed as snnTorch does, in float32. To a recurrent layer comes x[t] + W s[t-1], where snnTorch adds
    W s[t-1] last: the sums may differ in their last digit.

    Raises:
        Inexpressible: Another neuron, or an option that no node has.
    """
    import snntorch

    options: Any = layer
    kind = type(layer)
    if kind is snntorch.LeakyParallel:
        return _parallel(options, shape, dt_us)
    if kind not in (*_with_synapse(), snntorch.Leaky, snntorch.RLeaky, snntorch.Lapicque):
        raise Inexpressible(f"is {kind.__name__}, a neuron that graphs do not have")
    _refuse_options(options)
    delayed = bool(getattr(options, "reset_delay", True))
    reset = _RESETS[options.reset_mechanism]
    has_synapse = kind in _with_synapse()
    recurrent = kind in (snntorch.RLeaky, snntorch.RSynaptic)
    if reset == "value" and (kind is snntorch.Lapicque or (kind is snntorch.RLeaky and delayed)):
        raise Inexpressible(
            f"is {kind.__name__} with reset to zero, which also loses the input of the step after"
        )
    if has_synapse and recurrent and not delayed:
        raise Inexpressible("is RSynaptic with reset_delay=False, which snnTorch does not carry out")
    if has_synapse and reset == "value" and not delayed:
        raise Inexpressible("resets to zero both at once and one step later (reset_delay=False)")
    if reset == "subtract" and not delayed:
        raise Inexpressible(
            "subtracts its threshold at once, and again one step later where more than that is left over "
            "(reset_delay=False)"
        )
    semantics = NeuronSemantics(reset=reset, fires="gt", integration="delayed-reset" if delayed else "euler")
    step = dt_us * 1e-6
    arrays: dict[str, Array] = {
        "v_threshold": node_value(options.threshold, shape),
        "v_reset": np.zeros(1),
        "v_leak": np.zeros(1),
    }
    decay, gain = _membrane(options)
    if has_synapse:
        synapse = node_value(options.alpha.clamp(0, 1), shape)
        arrays["tau_syn"], arrays["w_in"] = step / _share(synapse), 1 / _share(synapse)
    tau = "tau_mem" if has_synapse else "tau"
    membrane = node_value(decay, shape)
    arrays[tau], arrays["r"] = step / _share(membrane), node_value(gain, shape) / _share(membrane)
    full = {name: np.broadcast_to(value, shape).copy() for name, value in arrays.items()}
    node = NodeSpec("CubaLIF" if has_synapse else "LIF", {}, full)
    return NeuronPlan(node, semantics, feedback=_feedback(options, shape) if recurrent else None)


def _parallel(layer: Any, shape: tuple[int, ...], dt_us: float) -> NeuronPlan:
    """LeakyParallel: full connections, and neurons that never reset and whose potential stays above zero.

    It is torch's RNN with a rectifier, which adds up bias and potential in another order: the sums may differ
    in their last digit.
    """
    if not bool((layer.graded_spikes_factor == 1).all()):
        raise Inexpressible("scales its spikes (graded_spikes_factor is not 1)")
    if not bool((layer.threshold > 0).all()):
        raise Inexpressible("has a threshold that is not above 0")
    recurrent = layer.rnn.weight_hh_l0.detach()
    decay = recurrent.diagonal()
    if not torch.equal(recurrent, decay.diag()):
        raise Inexpressible("connects its neurons' potentials (weight_hh_enable=True)")
    if not bool(((decay >= 0) & (decay <= 1)).all()):
        raise Inexpressible("has decays outside 0 to 1")
    size = (recurrent.shape[0],)
    arrays: dict[str, Array] = {"weight": layer.rnn.weight_ih_l0.detach().cpu().numpy()}
    if layer.rnn.bias:
        arrays["bias"] = (layer.rnn.bias_ih_l0 + layer.rnn.bias_hh_l0).detach().cpu().numpy()
    share = _share(node_value(decay, size))
    neurons: dict[str, Array] = {
        "tau": dt_us * 1e-6 / share,
        "r": 1 / share,
        "v_leak": np.zeros(1),
        "v_threshold": node_value(layer.threshold, size),
        "v_reset": np.zeros(1),
    }
    full = {name: np.broadcast_to(value, size).copy() for name, value in neurons.items()}
    return NeuronPlan(
        NodeSpec("LIF", {}, full),
        NeuronSemantics(reset="none", v_min=0.0, fires="gt"),
        weights=NodeSpec("Affine" if layer.rnn.bias else "Linear", {}, arrays),
    )


def _with_synapse() -> tuple[type[nn.Module], ...]:
    import snntorch

    return snntorch.Synaptic, snntorch.RSynaptic


def _feedback(layer: Any, shape: tuple[int, ...]) -> NodeSpec | None:
    """What RLeaky and RSynaptic call `recurrent`: a full connection, a convolution, or a factor V."""
    if layer.all_to_all:
        return node_of(layer.recurrent, shape, shape)
    scale = np.broadcast_to(node_value(layer.recurrent.V, shape), shape).copy()
    return NodeSpec("Scale", {}, {"scale": scale})


def _refuse_options(layer: Any) -> None:
    if layer.inhibition:
        raise Inexpressible("inhibits all but its strongest neuron (inhibition=True)")
    if layer.state_quant:
        raise Inexpressible("quantises its state (state_quant)")
    if not bool((layer.graded_spikes_factor == 1).all()):
        raise Inexpressible("scales its spikes (graded_spikes_factor is not 1)")
    if not bool((layer.threshold > 0).all()):
        raise Inexpressible("has a threshold that is not above 0")


def _membrane(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Decay and gain of the membrane in one step, in the layer's own type."""
    import snntorch

    if not isinstance(layer, snntorch.Lapicque):
        return layer.beta.clamp(0, 1), torch.ones(())
    product = layer.R * layer.C
    decay = 1 - layer.time_step / product
    if bool((decay < 0).any()):
        raise Inexpressible("has a time step longer than R * C, so that its potential changes sign by itself")
    return decay, torch.as_tensor(layer.R * (1 / product) * layer.time_step)


def _share(decay: Array) -> Array:
    """Dt / tau of a decay per step."""
    share: Array = np.maximum(1 - decay, 1 / _ENDLESS)
    return share
