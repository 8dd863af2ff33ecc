# SPDX-License-Identifier: MIT
"""Turns a framework's model into a fused SpikingNetwork, if its spikes are shown to be the same."""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from collections import Counter
from collections.abc import Collection
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from art_spiking.errors import InvalidInput, InvalidModel
from art_spiking.frameworks.adapters import FrameworkAdapter, Inexpressible, Layout, NeuronPlan
from art_spiking.frameworks.chains import TracedLayer, follow
from art_spiking.frameworks.lookup import FrameworkWarning
from art_spiking.frameworks.proofs import INTEGRATORS, prove_output, prove_potentials, prove_spikes
from art_spiking.frameworks.running import FrameworkNetwork
from art_spiking.frameworks.translation import merged_axes, node_of
from art_spiking.graphs import GraphSpec, NodeSpec
from art_spiking.network import SpikingNetwork
from art_spiking.semantics import NeuronSemantics, PoolGradient


class NotCompiled(FrameworkWarning):
    """The model runs stepwise, by its framework's own code; the message names the layer and the reason."""


def compile_network(
    model: nn.Module,
    framework: str | FrameworkAdapter | None = None,
    *,
    probe: Tensor | NDArray[Any],
    layout: Layout | None = None,
    dt_us: float = 1000.0,
    output: Literal["spikes", "membrane"] = "spikes",
) -> SpikingNetwork | FrameworkNetwork:
    """Returns a fused network with the model's weights, if it puts out the same spikes on the probes.

    The layers are followed through one step of the model, in evaluation mode; they must be a chain of
    convolutions, full connections, average and sum poolings, flattening, batch normalisation, neurons and
    integrators that graphs have. A layer whose spikes come back to it one step later is stepped together with
    its feedback, the others are fused. Layers whose semantics are not those of most are stated in
    `layer_semantics`. The network made of them is compared with the framework's own run, spike by spike and
    layer by layer, on the probes; a layer that stays silent on them proves nothing. The weights are copied;
    the model is left as it was.

    Args:
        model: The framework's model.
        framework: As in `FrameworkNetwork`.
        probe: Recordings (N, T, *F) that make every layer fire; the proof is worth what they are.
        layout: As in `FrameworkNetwork`.
        dt_us: Length of a step in µs, by which the time constants of the graph are written. The frameworks
            know decays per step alone: the spikes do not depend on it.
        output: What is read of the last layer. "membrane" makes neurons that never reset there (in snnTorch
            reset_mechanism="none") a leaky integrator, LI or CubaLI: the network puts out its potentials and
            no spikes of it, for the readouts of the membrane. The model must return these potentials, beside
            the spikes or alone; they are compared up to a relative 1e-5, since sums may be rounded otherwise.
            A last layer of the framework that never fires is read so in any case.

    Returns:
        A SpikingNetwork with the surrogate of the model's neurons, or, where there is none, the
        FrameworkNetwork that runs the model itself.

    Raises:
        InvalidModel: No framework recognises the model, or it does not run on the probes.
        InvalidInput: The probes do not fit, or there is no such output.

    Warns:
        NotCompiled: What keeps it from being a SpikingNetwork.
        FrameworkWarning: The gradient differs from the framework's, in what the message says; where the
            neurons' surrogate has no counterpart here, the network uses `Atan()`.
    """
    if isinstance(probe, np.ndarray) and probe.dtype.kind in "fiub":
        probe = torch.from_numpy(np.array(probe, np.float32))
    if not isinstance(probe, Tensor) or probe.dim() < 3 or 0 in probe.shape:
        raise InvalidInput(
            "the probe does not fit",
            found=tuple(probe.shape) if isinstance(probe, Tensor) else type(probe).__name__,
            accepted="recordings (N, T, C, H, W) or (N, T, F), one or more",
        )
    if output not in ("spikes", "membrane"):
        raise InvalidInput("no such output", asked=repr(output), accepted="spikes, membrane")
    stepwise = FrameworkNetwork(model, framework, layout=layout)
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            network, remarks = _fused(stepwise, probe, dt_us, integrates=output == "membrane")
            prove_spikes(network, stepwise, probe)
            if _ends_in_potentials(network):
                prove_potentials(network, stepwise, probe)
            else:
                prove_output(network, stepwise, probe)
    except Inexpressible as error:
        warnings.warn(
            f"the model is not compiled and runs stepwise by {stepwise.adapter.name}: {error}",
            NotCompiled,
            stacklevel=2,
        )
        return stepwise
    finally:
        for module, mode in training.items():
            module.training = mode
    for remark in remarks:
        warnings.warn(remark, FrameworkWarning, stacklevel=2)
    surrogate = stepwise.surrogate
    if surrogate is None:
        warnings.warn(
            f"the surrogates of the model's neurons have no counterpart, or differ; the network uses "
            f"{network.surrogate}: with_surrogate chooses another",
            FrameworkWarning,
            stacklevel=2,
        )
        return network
    return network.with_surrogate(surrogate)


def _fused(
    stepwise: FrameworkNetwork, probe: Tensor, dt_us: float, *, integrates: bool
) -> tuple[SpikingNetwork, list[str]]:
    """The network of the model's chain, and the plans' remarks on its gradient.

    Args:
        stepwise: The model.
        probe: As in `compile_network`.
        dt_us: Likewise.
        integrates: Whether the last layer becomes a leaky integrator, which has no semantics of its own.

    Raises:
        Inexpressible: There is none.
    """
    layers = follow(stepwise, probe)
    # The layers keep their names, by which the proof finds them.
    own_names = {layer.name for layer in layers}
    nodes = {_free(own_names, "input"): NodeSpec("Input", {"shape": tuple(probe.shape[2:])})}
    plans: dict[str, NeuronPlan] = {}
    sums_by_power = False
    for layer in layers:
        name = f"layer '{layer.name}'"
        try:
            if layer.reshaped_from is not None:
                nodes[_free(own_names | set(nodes), f"{layer.name}-reshape")] = merged_axes(
                    layer.reshaped_from, layer.shape
                )
            node = _node(stepwise, layer, dt_us, plans)
        except Inexpressible as error:
            raise Inexpressible(f"{name} {error.what}") from error
        weights = plans[layer.name].weights if layer.name in plans else None
        if weights is not None:
            nodes[_free(own_names | set(nodes), f"{layer.name}-input")] = weights
        if node is not None:
            nodes[layer.name] = node
        sums_by_power = sums_by_power or isinstance(layer.module, nn.LPPool2d)
    if integrates:
        last = layers[-1].name
        nodes[last] = _integrator(last, plans)
    fired = [name for name in plans if nodes[name].type not in INTEGRATORS]
    common, of_layers = _stated(plans, fired, "lp" if sums_by_power else "average")
    nodes[_free(nodes, "output")] = NodeSpec("Output", {"shape": layers[-1].output})
    edges = list(itertools.pairwise(nodes))
    for name, plan in plans.items():
        if plan.feedback is not None:
            back = _free(own_names | set(nodes), f"{name}-feedback")
            nodes[back] = plan.feedback
            edges += [(name, back), (back, name)]
    try:
        graph = GraphSpec(nodes, tuple(edges))
        network = SpikingNetwork(graph, semantics=common, layer_semantics=of_layers, dt_us=dt_us)
    except (InvalidModel, InvalidInput) as error:
        raise Inexpressible(str(error)) from error
    like = next((t for t in stepwise.parameters() if t.is_floating_point()), torch.zeros(()))
    remarks: dict[str, str] = {}
    for name, plan in plans.items():
        if plan.remark:
            remarks.setdefault(plan.remark, f"layer '{name}' {plan.remark}")
    return network.to(like.device, like.dtype), list(remarks.values())


def _node(
    stepwise: FrameworkNetwork, layer: TracedLayer, dt_us: float, plans: dict[str, NeuronPlan]
) -> NodeSpec | None:
    """The node of one layer; the plans of those with a state are noted by the layer's name."""
    if stepwise.adapter.units(stepwise.model).get(layer.name) is not layer.module:
        transparent = stepwise.adapter.transparent(layer.module)
        return None if transparent else node_of(layer.module, layer.shape, layer.output)
    plans[layer.name] = stepwise.adapter.plan(layer.module, layer.shape, dt_us)
    return plans[layer.name].node


def _integrator(name: str, plans: dict[str, NeuronPlan]) -> NodeSpec:
    """The node of the model's last layer, if that never resets, without its spikes if it has any.

    Raises:
        Inexpressible: It is no layer of neurons, it resets, or its spikes come back to it.
    """
    plan = plans.get(name)
    if plan is None:
        raise Inexpressible(f"the model's last layer, '{name}', holds no neurons whose potential is read")
    if plan.node.type in INTEGRATORS:
        return plan.node
    if plan.semantics.reset != "none" or plan.feedback is not None:
        why = "resets" if plan.feedback is None else "is given its own spikes"
        raise Inexpressible(f"layer '{name}' {why}, so that its potential is not that of an integrator")
    kind = {"IF": "I", "LIF": "LI", "CubaLIF": "CubaLI"}[plan.node.type]
    kept = {key: value for key, value in plan.node.arrays.items() if key not in ("v_threshold", "v_reset")}
    return NodeSpec(kind, {}, kept)


def _ends_in_potentials(network: SpikingNetwork) -> bool:
    """Whether what enters the Output comes from an integrator."""
    graph = network.to_graph()
    last = [graph.nodes[a].type for a, b in graph.edges if graph.nodes[b].type == "Output"]
    return all(kind in INTEGRATORS for kind in last)


def _stated(
    plans: dict[str, NeuronPlan], fired: Collection[str], pooling: PoolGradient
) -> tuple[NeuronSemantics, dict[str, NeuronSemantics]]:
    """The semantics of most layers that fire, and each one's own; what never fires has no reset to differ in.

    Raises:
        Inexpressible: There are no neurons.
    """
    if not plans:
        raise Inexpressible("the model's chain holds no neurons")
    own = {name: dataclasses.replace(plan.semantics, pool_gradient=pooling) for name, plan in plans.items()}
    ((common, _),) = Counter(own[name] for name in (fired or plans)).most_common(1)
    for name in own.keys() - set(fired):
        own[name] = dataclasses.replace(common, integration=own[name].integration)
    return common, own


def _free(taken: Collection[str], name: str) -> str:
    """A name that is not taken, the given one if possible."""
    return next(one for one in (name, *(f"{name}-{k}" for k in range(2, len(taken) + 3))) if one not in taken)
