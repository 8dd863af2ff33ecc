# SPDX-License-Identifier: MIT
"""A recurrent group of layers, stepped through time as one unit in plain torch, for autograd."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from art_spiking.graphs import Group
from art_spiking.layers import DelayLayer, FrameLayer, NeuronLayer
from art_spiking.neurons import State, step
from art_spiking.node_types import Shape, has_state, holds_back
from art_spiking.surrogates import Surrogate

AnyLayer = FrameLayer | NeuronLayer | DelayLayer


def scan_group(
    group: Group,
    layers: Mapping[str, AnyLayer],
    inside: Mapping[str, Sequence[str]],
    entering: Mapping[str, Tensor],
    *,
    shapes: Mapping[str, Shape],
    wanted: Collection[str],
    membrane_of: str | None = None,
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Runs a recurrent group over all time steps, from a state of zeros.

    Along a late edge comes what its source put out at the step before. Before the first step every neuron and
    every delay was silent, and the layers between them put out what they make of that: a layer's bias, say.
    (So do the recurrent neurons of snnTorch; nirtorch takes zeros for these layers as well.)

    Args:
        group: The nodes, in order, and which edges are late.
        layers: Layer by node name.
        inside: The nodes of the group that feed each, added up in this order after what enters.
        entering: What comes from outside the group, added up, (N, T, *F) by node name; one at least.
        shapes: What each node puts out in one time step.
        wanted: Nodes whose outputs are wanted.
        membrane_of: A neuron layer whose potentials before the reset are wanted.

    Returns:
        Outputs (N, T, *F) by name, and the potentials (N, T, *F) or None.
    """
    like = next(iter(entering.values()))
    samples, steps = like.shape[:2]
    silence = {name: like.new_zeros((samples, *shapes[name])) for name in group.nodes}
    neurons = {k: _Neurons(v) for k in group.nodes if isinstance(v := layers[k], NeuronLayer)}
    delays = {k: _Delay(v, silence[k], steps) for k in group.nodes if isinstance(v := layers[k], DelayLayer)}
    wires = _Wires(group, inside, {name: sequence.unbind(1) for name, sequence in entering.items()})
    outputs: dict[str, list[Tensor]] = {name: [] for name in wanted}
    potentials: list[Tensor] = []
    before = _at_rest(group, layers, inside, silence)
    for t in range(steps):
        now = {name: delay.read(t) for name, delay in delays.items() if delay.holds_back}
        for name in group.nodes:
            layer = layers[name]
            if name in neurons:
                now[name] = neurons[name].advance(wires.total(name, t, now, before))
            elif isinstance(layer, FrameLayer):
                now[name] = layer(wires.total(name, t, now, before))
            elif not delays[name].holds_back:
                delays[name].inputs.append(wires.total(name, t, now, before))
                now[name] = delays[name].read(t)
        for name, delay in delays.items():
            if delay.holds_back:
                delay.inputs.append(wires.total(name, t, now, before))
        for name in outputs:
            outputs[name].append(now[name])
        if membrane_of in neurons:
            potentials.append(neurons[membrane_of].potential)
        before = now
    stacked = {name: _stacked(parts, silence[name]) for name, parts in outputs.items()}
    return stacked, _stacked(potentials, silence[membrane_of]) if membrane_of in neurons else None


@dataclass(frozen=True)
class _Wires:
    """What enters the nodes of a group at one step."""

    group: Group
    inside: Mapping[str, Sequence[str]]
    inputs: Mapping[str, Sequence[Tensor]]

    def total(self, name: str, t: int, now: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> Tensor:
        """The sum of what enters a node at step t, from what is put out now and what was before."""
        parts = [self.inputs[name][t]] if name in self.inputs else []
        for source in self.inside[name]:
            parts.append((before if (source, name) in self.group.late else now)[source])
        return _added(parts)


class _Neurons:
    """A neuron layer between two steps."""

    def __init__(self, layer: NeuronLayer) -> None:
        self.layer = layer
        self.coefficients = layer.coefficients
        self.state: State | None = None
        self.potential = torch.zeros(())

    def advance(self, x: Tensor) -> Tensor:
        """The layer's output at the next step."""
        state = State.start(x, self.coefficients) if self.state is None else self.state
        # Every other path has been refused when the network was made.
        surrogate = cast(Surrogate, self.layer.surrogate)
        spikes, self.potential, self.state = step(
            x, state, self.coefficients, self.layer.semantics, surrogate
        )
        return spikes if self.layer.fires else self.potential


class _Delay:
    """A delay and all that it took in so far."""

    def __init__(self, layer: DelayLayer, silence: Tensor, steps: int) -> None:
        self.holds_back = holds_back("Delay", layer.spec.arrays)
        self.silence = silence
        self.steps = layer.steps
        lengths = np.unique(layer.steps.cpu().numpy())
        self.is_uniform = len(lengths) == 1
        self.lengths: list[int] = lengths[lengths < steps].tolist()
        self.inputs: list[Tensor] = []

    def read(self, t: int) -> Tensor:
        """What comes out at step t."""
        out = self.silence
        for length in self.lengths:
            if length <= t:
                past = self.inputs[t - length]
                out = past if self.is_uniform else torch.where(self.steps == length, past, out)
        return out


def _at_rest(
    group: Group,
    layers: Mapping[str, AnyLayer],
    inside: Mapping[str, Sequence[str]],
    silence: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """What the sources of late edges put out before the first step.

    Between such a source and the neurons before it lie only nodes of the group: were there another way in,
    its edge would not lead back.
    """
    rest: dict[str, Tensor] = {}
    waiting = {source for source, _ in group.late}
    while waiting:
        for name in sorted(waiting):
            layer = layers[name]
            stateful = has_state(layer.spec.type, layer.spec.arrays)
            missing = set() if stateful else set(inside[name]) - rest.keys()
            if missing:
                waiting |= missing
                continue
            waiting.discard(name)
            if stateful:
                rest[name] = silence[name]
            elif isinstance(layer, FrameLayer):
                rest[name] = layer(_added([rest[source] for source in inside[name]]))
            else:
                output = layer(_added([rest[source] for source in inside[name]]).unsqueeze(1))
                rest[name] = (output if isinstance(output, Tensor) else output[0]).squeeze(1)
    return rest


def _added(parts: Sequence[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _stacked(parts: list[Tensor], silence: Tensor) -> Tensor:
    return torch.stack(parts, 1) if parts else silence.unsqueeze(1)[:, :0]
