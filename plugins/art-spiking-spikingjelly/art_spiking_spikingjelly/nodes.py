# SPDX-License-Identifier: MIT
"""SpikingJelly's nodes and recurrent containers as nodes of a graph, with their semantics."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from art_spiking.frameworks import Inexpressible, NeuronPlan
from art_spiking.graphs import NodeSpec
from art_spiking.node_types import Array
from art_spiking.semantics import NeuronSemantics


def is_container(module: Any) -> bool:
    """Whether a module brings the spikes of another back to it."""
    from spikingjelly.activation_based import layer

    return isinstance(module, layer.ElementWiseRecurrentContainer | layer.LinearRecurrentContainer)


def is_integrator(module: nn.Module) -> bool:
    """Whether a module is a node that never fires."""
    from spikingjelly.activation_based import neuron

    return isinstance(module, neuron.NonSpikingBaseNode)


def plan_of(layer: nn.Module, shape: tuple[int, ...], dt_us: float) -> NeuronPlan:
    """The node of IFNode, LIFNode, ParametricLIFNode, the first two's Simple and NonSpiking forms.

    With tau in steps, charging is v + (x - v) / tau where `decay_input`, else v - v / tau + x, which a LIF
    does but for the order of additions. A LinearRecurrentContainer takes one product of input and spikes,
    which here are two, and an ElementWiseRecurrentContainer is followed where its function is x + k y: sums
    may differ in their last digit.

    Raises:
        Inexpressible: Another node, or an option that no node of a graph has.
    """
    if is_container(layer):
        return _container(layer, shape, dt_us)
    if is_integrator(layer):
        return _integrator(layer, shape, dt_us)
    return _node(layer, shape, dt_us)


def _node(layer: nn.Module, shape: tuple[int, ...], dt_us: float) -> NeuronPlan:
    from spikingjelly.activation_based import neuron

    options: Any = layer
    integrates = (neuron.IFNode, neuron.SimpleIFNode)
    leaks = (neuron.LIFNode, neuron.SimpleLIFNode, neuron.ParametricLIFNode)
    if type(layer) not in (*integrates, *leaks):
        raise Inexpressible(f"is {type(layer).__name__}, a neuron that graphs do not have")
    if options.v_threshold <= 0:
        raise Inexpressible("has a threshold that is not above 0")
    if options.v_reset:
        raise Inexpressible(f"starts at v_reset = {options.v_reset:g}, where networks start at 0")
    semantics = NeuronSemantics(
        reset="subtract" if options.v_reset is None else "value", fires="ge", integration="euler"
    )
    values = {"v_threshold": options.v_threshold, "v_reset": 0.0, "r": 1.0}
    if type(layer) in leaks:
        steps = _time_constant(options)
        values |= {"tau": steps * dt_us * 1e-6, "v_leak": 0.0, "r": 1.0 if options.decay_input else steps}
    return NeuronPlan(NodeSpec("LIF" if "tau" in values else "IF", {}, _filled(values, shape)), semantics)


def _integrator(layer: Any, shape: tuple[int, ...], dt_us: float) -> NeuronPlan:
    from spikingjelly.activation_based import neuron

    if type(layer) not in (neuron.NonSpikingIFNode, neuron.NonSpikingLIFNode):
        raise Inexpressible(f"is {type(layer).__name__}, an integrator that graphs do not have")
    if layer.decode is not None:
        raise Inexpressible(
            f"decodes its potentials (decode='{layer.decode}'), which a readout of the membrane does here"
        )
    leaks = type(layer) is neuron.NonSpikingLIFNode
    values = {"r": 1.0} | ({"tau": float(layer.tau) * dt_us * 1e-6, "v_leak": 0.0} if leaks else {})
    semantics = NeuronSemantics(reset="none", fires="ge")
    return NeuronPlan(NodeSpec("LI" if leaks else "I", {}, _filled(values, shape)), semantics)


def _container(layer: Any, shape: tuple[int, ...], dt_us: float) -> NeuronPlan:
    from spikingjelly.activation_based.layer import LinearRecurrentContainer

    if not isinstance(layer, LinearRecurrentContainer):
        back = NodeSpec("Scale", {}, {"scale": np.full(shape, _factor(layer.element_wise_function, shape))})
        return dataclasses.replace(_node(layer.sub_module, shape, dt_us), feedback=back)
    weight: Array = layer.rc.weight.detach().cpu().numpy()
    inputs = weight.shape[1] - layer.sub_module_out_features
    plan = _node(layer.sub_module, (*shape[:-1], len(weight)), dt_us)
    into = {"weight": weight[:, :inputs]}
    if layer.rc.bias is not None:
        into["bias"] = layer.rc.bias.detach().cpu().numpy()
    weights = NodeSpec("Affine" if "bias" in into else "Linear", {}, into)
    return dataclasses.replace(plan, weights=weights, feedback=_linear(weight[:, inputs:]))


def _factor(function: Any, shape: tuple[int, ...]) -> float:
    """The k of a function of spikes y and input x that is x + k y."""
    generator = torch.Generator().manual_seed(0)
    y, x = torch.randn(2, 3, *shape, generator=generator)
    try:
        with torch.no_grad():
            found: Tensor = function(y, x)
            factor = float(function(torch.ones_like(y), torch.zeros_like(x)).flatten()[0])
        follows = torch.allclose(found, x + factor * y, atol=1e-6)
    except (RuntimeError, TypeError, ValueError, AttributeError):
        follows = False
    if not follows:
        raise Inexpressible("is fed back by an element_wise_function that is not x + k y")
    return factor


def _linear(weight: Array) -> NodeSpec:
    return NodeSpec("Linear", {}, {"weight": weight})


def _filled(values: dict[str, float], shape: tuple[int, ...]) -> dict[str, Array]:
    return {name: np.full(shape, value) for name, value in values.items()}


def _time_constant(layer: Any) -> float:
    """Time constant in steps; ParametricLIFNode learns its inverse, as the sigmoid of a number."""
    if hasattr(layer, "w"):
        return float(1 / torch.sigmoid(layer.w.detach().double()))
    return float(layer.tau)
