# SPDX-License-Identifier: MIT
"""Running a graph's layers over all time steps: one layer after the other, recurrent groups step by step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from art_spiking.graphs import GraphSpec, Group
from art_spiking.layers import DelayLayer, FrameLayer, NeuronLayer
from art_spiking.node_types import Shape
from art_spiking.recurrence import AnyLayer, scan_group
from art_spiking.spiking_blocks import (
    Block,
    blocks_of,
    fitting,
    out_shape,
    run_block,
    run_chain,
    suited,
)


@dataclass(frozen=True)
class Schedule:
    """What is run when, worked out once from a graph.

    Attributes:
        start: Name of the Input.
        end: Name of the Output.
        groups: All other nodes in the order of the computation.
        entering: The nodes of other groups that feed each node, in the order in which they are added up.
        inside: The nodes of its own group that feed each node, added up after those.
        shapes: What each node puts out in one time step.
        blocks: Nodes that may be run as one, by the name of the first.
    """

    start: str
    end: str
    groups: tuple[Group, ...]
    entering: dict[str, tuple[str, ...]]
    inside: dict[str, tuple[str, ...]]
    shapes: dict[str, Shape]
    blocks: dict[str, Block]

    @classmethod
    def of(cls, graph: GraphSpec) -> Schedule:
        """The schedule of a graph."""
        first, *groups, last = every = graph.groups()
        home = {name: k for k, group in enumerate(every) for name in group.nodes}
        entering: dict[str, tuple[str, ...]] = dict.fromkeys(home, ())
        inside = dict(entering)
        for a, b in sorted(graph.edges):
            side = inside if home[a] == home[b] else entering
            side[b] = (*side[b], a)
        shapes = dict(graph.shapes())
        return cls(first.nodes[0], last.nodes[0], tuple(groups), entering, inside, shapes, blocks_of(graph))

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes between Input and Output in the order of the computation."""
        return tuple(name for group in self.groups for name in group.nodes)

    def last_of(self, names: Collection[str]) -> list[str]:
        """Those of some nodes from which there is a way to the Output past none of them, sorted."""
        found: set[str] = set()
        seen: set[str] = set()
        waiting = [self.end]
        while waiting:
            name = waiting.pop()
            if name in names:
                found.add(name)
            elif name not in seen:
                seen.add(name)
                waiting += [*self.entering[name], *self.inside[name]]
        return sorted(found)


def walk(
    schedule: Schedule,
    layers: Mapping[str, AnyLayer],
    x: Tensor,
    *,
    membrane_of: str | None = None,
    only: Collection[str] | None = None,
) -> Iterator[tuple[str, Tensor, Tensor | None]]:
    """Runs the layers one after the other; an output is let go of when its last reader has run.

    Args:
        schedule: What is run when.
        layers: Layer by node name.
        x: Input (N, T, *F).
        membrane_of: A neuron layer whose potentials are wanted.
        only: Neuron layers whose outputs are wanted, by default all.

    Yields:
        Name, output (N, T, *F) and, for one layer, the potential (N, T, *F). Of a recurrent group come the
        neurons and what is read outside of it, and of layers that are run as one what leaves the last. The
        Output comes last.
    """
    batch = x.shape[:2]
    held = _Held(schedule, x.flatten(0, 1))
    del x
    done: set[str] = set()
    for group in schedule.groups:
        if done.issuperset(group.nodes):
            continue
        block = _block(schedule, group, layers, held, batch, membrane_of, only)
        if block is not None:
            blocks = _followed(schedule, block, layers, held, batch, membrane_of, only)
            frames = _in_time(held.take(block.convolution), batch)
            chained = run_chain(blocks, layers, frames) if len(blocks) > 1 else None
            output, count = chained or (run_block(block, layers, frames), 1)
            del frames
            for each in blocks[:count]:
                done.update(each.names)
            end = blocks[count - 1].end
            held.put(end, output.flatten(0, 1))
            yield end, output, None
            continue
        run = _stepped if group.is_recurrent else _alone
        yield from run(schedule, group, layers, held, batch, membrane_of)
    yield schedule.end, _in_time(held.take(schedule.end), batch), None


def _block(
    schedule: Schedule,
    group: Group,
    layers: Mapping[str, AnyLayer],
    held: _Held,
    batch: Sequence[int],
    membrane_of: str | None,
    only: Collection[str] | None,
) -> Block | None:
    """The block to be run that starts with a group, if there is one."""
    block = schedule.blocks.get(group.nodes[0])
    if block is None or membrane_of == block.neurons:
        return None
    if only is None or block.neurons in only:
        block = Block(block.convolution, block.neurons)
    return fitting(block, layers, _in_time(held.peek(block.convolution), batch))


def _followed(
    schedule: Schedule,
    first: Block,
    layers: Mapping[str, AnyLayer],
    held: _Held,
    batch: Sequence[int],
    membrane_of: str | None,
    only: Collection[str] | None,
) -> list[Block]:
    """A block and those after it, each of which only the next reads."""
    x = _in_time(held.peek(first.convolution), batch)
    blocks, shape = [first], x.shape
    while only is not None and (name := blocks[-1].next) is not None:
        shape = out_shape(blocks[-1], layers, shape)
        block = schedule.blocks[name]
        fits = suited(block, layers, x, shape) if membrane_of != block.neurons else None
        if fits is None or block.neurons in only:
            break
        blocks.append(fits)
    return blocks


def _alone(
    schedule: Schedule,
    group: Group,
    layers: Mapping[str, AnyLayer],
    held: _Held,
    batch: Sequence[int],
    membrane_of: str | None,
) -> Iterator[tuple[str, Tensor, Tensor | None]]:
    (name,) = group.nodes
    frames, potential = _run(layers[name], held.take(name), batch, name == membrane_of)
    held.put(name, frames)
    yield name, _in_time(frames, batch), potential


def _stepped(
    schedule: Schedule,
    group: Group,
    layers: Mapping[str, AnyLayer],
    held: _Held,
    batch: Sequence[int],
    membrane_of: str | None,
) -> Iterator[tuple[str, Tensor, Tensor | None]]:
    outputs, potential = scan_group(
        group,
        layers,
        schedule.inside,
        {name: _in_time(held.take(name), batch) for name in group.nodes if schedule.entering[name]},
        shapes=schedule.shapes,
        wanted=[k for k in group.nodes if held.readers[k] or isinstance(layers[k], NeuronLayer)],
        membrane_of=membrane_of,
    )
    for name, output in outputs.items():
        held.put(name, output.flatten(0, 1))
    while outputs:
        name = next(iter(outputs))
        yield name, outputs.pop(name), potential if name == membrane_of else None


class _Held:
    """The outputs (N*T, *F) that some group is yet to read."""

    def __init__(self, schedule: Schedule, frames: Tensor) -> None:
        self.entering = schedule.entering
        self.readers = Counter(source for sources in schedule.entering.values() for source in sources)
        self.frames = {schedule.start: frames}

    def put(self, name: str, frames: Tensor) -> None:
        if self.readers[name]:
            self.frames[name] = frames

    def take(self, name: str) -> Tensor:
        """The sum of what enters a node."""
        first, *others = self.entering[name]
        total = self._taken(first)
        for other in others:
            total = total + self._taken(other)
        return total

    def peek(self, name: str) -> Tensor:
        """What enters a node first, which tells shape and, about, density."""
        return self.frames[self.entering[name][0]]

    def _taken(self, name: str) -> Tensor:
        self.readers[name] -= 1
        return self.frames[name] if self.readers[name] else self.frames.pop(name)


def _run(
    layer: AnyLayer, frames: Tensor, batch: Sequence[int], membrane: bool
) -> tuple[Tensor, Tensor | None]:
    """Output (N*T, *F) of a layer, and its potential (N, T, *F) if asked."""
    if isinstance(layer, FrameLayer):
        if frames.dim() == 4:
            # Convolutions are faster so, and every layer keeps it.
            frames = frames.contiguous(memory_format=torch.channels_last)
        return layer(frames), None
    if isinstance(layer, DelayLayer):
        return layer(_in_time(frames, batch)).flatten(0, 1), None
    output, potential = layer(_in_time(frames, batch), membrane=membrane)
    return output.flatten(0, 1), potential


def _in_time(frames: Tensor, batch: Sequence[int]) -> Tensor:
    return frames.reshape(*batch, *frames.shape[1:])
