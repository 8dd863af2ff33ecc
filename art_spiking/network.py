# SPDX-License-Identifier: MIT
"""A spiking network, run layer by layer over all time steps; nothing is kept between calls."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from art_spiking.building import LayerPlan, plan_graph
from art_spiking.errors import InvalidInput, InvalidModel
from art_spiking.graphs import GraphSpec
from art_spiking.layer_semantics import resolved, warn_if_open
from art_spiking.layers import NEURON_TYPES, NeuronLayer, Pooling, make_layer
from art_spiking.neurons import NeuronSemantics
from art_spiking.nir_graphs import graph_from_nir, read_nir, write_nir
from art_spiking.recurrence import AnyLayer
from art_spiking.running import Schedule, walk
from art_spiking.semantics_text import model_semantics_text, parse_model_semantics
from art_spiking.spike_delays import FIRES, with_spike_delays
from art_spiking.surrogates import Atan, GradientPath, Surrogate
from art_spiking.time_steps import check_step, stated_step

if TYPE_CHECKING:
    import nir

# Frames in flight: a share of the batch is run at a time, so that its layers come from the cache, and from
# memory that is used again. Measured with the community N-MNIST network at 310 steps: 256 to 2048 frames take
# about the same time, all 4960 at once 1.4 times as much; fewer shares wait less for busy threads.
_FRAMES_AT_ONCE = 2048
# Blocks that feed each other store nothing in between; fewer shares take .91 of the time at 310 steps.
_FRAMES_AT_ONCE_CHAINED = 1 << 13
# A recurrent group takes its steps again for every share.
_FRAMES_AT_ONCE_STEPPED = 1 << 15

_AXES = {1: "F", 2: "C, L", 3: "C, H, W"}


class SpikingNetwork(nn.Module):
    """The layers of a graph, under stated neuron semantics.

    A layer that is fed by several takes their sum. The layers of a cycle are stepped through time together,
    and along the edges that lead back comes what was put out a step before; see `graph_order.groups`.

    Weights are parameters, which `requires_grad` as any module's; neuron parameters are not trained. All is
    float32 unless the module is moved to another type; inputs are cast to it.

    Attributes:
        semantics: What the graph leaves open; part of the model's identity.
        layer_semantics: The same for single layers that differ, by node name; empty in most models.
        surrogate: The derivative of the spike in the backward pass, or another gradient path.
        dt_us: Length of a time step in µs, or None if nothing needs it and none was stated.
        input_shape: Shape of the input in one step, such as (C, H, W).
        output_shape: Shape of the output in one step, such as (K,).
        node_names: Names of the layers in the order of the computation; where spikes are delayed, with a
            Delay behind each layer that fires.
    """

    def __init__(
        self,
        graph: GraphSpec,
        *,
        semantics: NeuronSemantics | str = "nir",
        layer_semantics: Mapping[str, NeuronSemantics | str] | None = None,
        dt_us: float | None = None,
        surrogate: GradientPath | None = None,
    ) -> None:
        """Makes the layers of a graph.

        Args:
            graph: The network's nodes, edges and arrays.
            semantics: What the graph leaves open, or the name of a preset.
            layer_semantics: Of single layers that differ from the rest, by node name.
            dt_us: Length of a time step in µs; neurons with a time constant and delays need it.
            surrogate: The derivative of the spike, or another gradient path; by default `Atan()`.

        Raises:
            UnknownName: There is no such preset, or no such layer.
            InvalidInput: dt_us is needed and missing, or too long for the semantics; or a layer that no
                semantics says anything of; or a gradient path that recurrent layers cannot have.
        """
        super().__init__()
        self.surrogate = Atan() if surrogate is None else surrogate
        self.dt_us = dt_us
        self._graph = graph
        self._take(semantics, layer_semantics or {})
        self.layers = nn.ModuleList(self._make_layer(name) for name in self.node_names)

    @classmethod
    def from_graph(
        cls,
        graph: GraphSpec,
        *,
        semantics: NeuronSemantics | str = "nir",
        layer_semantics: Mapping[str, NeuronSemantics | str] | None = None,
        dt_us: float | None = None,
    ) -> SpikingNetwork:
        """The network of a graph; see the constructor."""
        return cls(graph, semantics=semantics, layer_semantics=layer_semantics, dt_us=dt_us)

    @classmethod
    def from_nir(
        cls,
        source: str | os.PathLike[str] | nir.NIRGraph,
        *,
        semantics: NeuronSemantics | str | None = None,
        layer_semantics: Mapping[str, NeuronSemantics | str] | None = None,
        dt_us: float | None = None,
    ) -> SpikingNetwork:
        """The network of a `.nir` file, or of a graph of the nir package.

        What is not given here is taken from the graph's metadata, where `to_nir` has stated it.

        Args:
            source: Path of a file, which is read without being trusted, or a graph.
            semantics: What the graph leaves open, or the name of a preset; "nir" if nothing states another.
            layer_semantics: Of single layers that differ; with neither this nor `semantics`, the metadata's.
            dt_us: Length of a time step in µs; neurons with a time constant and delays need it.

        Raises:
            InvalidModel: The file is not safe to read or damaged, or the graph is not one that can be run.
            UnknownName: There is no such preset.
            InvalidInput: The metadata's semantics or dt_us cannot be used.

        Warns:
            SemanticsNotStated: Neither `semantics` nor the metadata states any, and the graph leaves it open.
            DifferentTimeStep: The model has time constants, and was made for steps of another length.
        """
        graph = read_nir(source) if isinstance(source, str | os.PathLike) else graph_from_nir(source)
        if semantics is None:
            if "semantics" not in graph.metadata:
                warn_if_open(graph)
            semantics, stated = parse_model_semantics(str(graph.metadata.get("semantics", "nir")))
            layer_semantics = stated if layer_semantics is None else layer_semantics
        if dt_us is None:
            dt_us = _stated_step(graph)
        else:
            check_step(graph, dt_us, stated_us=stated_step(graph))
        return cls(graph, semantics=semantics, layer_semantics=layer_semantics, dt_us=dt_us)

    @classmethod
    def sequential(
        cls,
        input_shape: tuple[int, ...],
        layers: Sequence[LayerPlan],
        *,
        semantics: NeuronSemantics | str = "nir",
        dt_us: float | None = None,
        generator: torch.Generator,
    ) -> SpikingNetwork:
        """A new network with random weights, to be trained.

        Args:
            input_shape: Shape of the input in one step, such as (2, 34, 34).
            layers: Plans from `art_spiking.building`, first layer first.
            semantics: What the neurons do in discrete time, or the name of a preset.
            dt_us: Length of a time step in µs; neurons with a time constant need it.
            generator: Draws the weights.

        Raises:
            InvalidModel: Layers that do not fit on each other.
        """
        return cls(plan_graph(input_shape, layers, generator), semantics=semantics, dt_us=dt_us)

    def forward(self, x: Tensor) -> Tensor:
        """What enters the Output (N, T, *output_shape), for spikes x (N, T, *input_shape).

        Spikes where the last neurons fire, the membrane potential where they are leaky integrators.

        Raises:
            InvalidInput: x has other axes.
        """
        return _cat([self._output(part) for part in self._parts(x)])

    def membrane(self, x: Tensor) -> Tensor:
        """Potential of the last neuron layer before its reset, (N, T, *shape), for x as in `forward`.

        Raises:
            InvalidInput: x has other axes.
            InvalidModel: The network has no neurons, or several layers of them lead to the Output.
        """
        last = self._schedule.last_of(self._neuron_names())
        if len(last) != 1:
            raise InvalidModel(
                "the potential of the last neurons is that of one layer",
                found=", ".join(last),
                accepted="a graph in which all ways to the Output lead through one neuron layer",
                remedy="use a readout of the output, such as spike-count",
            )
        parts = []
        layers = self._layers()
        for part in self._parts(x):
            for name, _, potential in walk(self._schedule, layers, part, membrane_of=last[0], only=()):
                if name == last[0]:
                    parts.append(cast(Tensor, potential))
                    break
        return _cat(parts)

    def activity(self, x: Tensor) -> dict[str, Tensor]:
        """Outputs of every neuron layer, (N, T, *shape) by node name, for x as in `forward`.

        Raises:
            InvalidInput: x has other axes.
        """
        parts: dict[str, list[Tensor]] = {name: [] for name in self._neuron_names()}
        for part in self._parts(x):
            for name, output, _ in walk(self._schedule, self._layers(), part):
                if name in parts:
                    parts[name].append(output)
        return {name: _cat(outputs) for name, outputs in parts.items()}

    def with_surrogate(self, surrogate: GradientPath) -> SpikingNetwork:
        """The same network, sharing its weights, with another derivative of the spike or gradient path.

        Raises:
            InvalidInput: A path that sees all time steps at once, and layers that are stepped together.
        """
        return self._view(self.semantics, self.layer_semantics, surrogate)

    def with_semantics(
        self,
        semantics: NeuronSemantics | str,
        layer_semantics: Mapping[str, NeuronSemantics | str] | None = None,
    ) -> SpikingNetwork:
        """Another network over the same weights, whose neurons or pooling gradients behave differently.

        Args:
            semantics: Of all layers that are not named.
            layer_semantics: Of single layers; what they had before is not kept.
        """
        return self._view(semantics, layer_semantics or {}, self.surrogate)

    def to_graph(self) -> GraphSpec:
        """The graph with the weights as they are now."""
        nodes = dict(self._graph.nodes)
        for name, layer in self._layers().items():
            if name in nodes:  # a delay of spikes is none of the graph's
                nodes[name] = layer.node()
        return GraphSpec(nodes, self._graph.edges, self._graph.metadata)

    def to_nir(self, path: str | os.PathLike[str], *, check: bool = True) -> None:
        """Writes a `.nir` file with the weights as they are now; semantics and dt_us go into its metadata.

        `from_nir` makes the same network of it. Where the graph leaves out what NIR writes out, such as the
        shape at a convolution, or has one value for a whole layer, the file's digest is another than ours.

        Args:
            path: The file, which is replaced if it is there.
            check: Whether to refuse a graph that the nir package cannot read back, as most frameworks would.

        Raises:
            InvalidModel: nir cannot read it back.
            CannotWrite: A full disk, or no permission.
        """
        graph = self.to_graph()
        text = model_semantics_text(self.semantics, self.layer_semantics)
        stated: dict[str, str | int | float] = {**graph.metadata, "semantics": text}
        if self.dt_us is not None:
            stated["dt_us"] = self.dt_us
        write_nir(GraphSpec(graph.nodes, graph.edges, stated), path, check=check)

    def digest(self) -> str:
        """The model's identity, "sha256:...", from graph, weights, semantics and dt_us; not the surrogate."""
        stated: dict[str, Any] = {
            "graph": self.to_graph().digest(),
            "semantics": self.semantics.to_dict(),
            "dt_us": self.dt_us,
        }
        if self.layer_semantics:
            stated["layer_semantics"] = {k: v.to_dict() for k, v in self.layer_semantics.items()}
        text = json.dumps(stated, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def extra_repr(self) -> str:
        """What is not said by the layers."""
        own = f", layer_semantics={self.layer_semantics}" if self.layer_semantics else ""
        return f"semantics={self.semantics}{own}, dt_us={self.dt_us}, surrogate={self.surrogate}"

    def _take(
        self, semantics: NeuronSemantics | str, layer_semantics: Mapping[str, NeuronSemantics | str]
    ) -> None:
        """Sets the semantics, and what is run when under them."""
        self.semantics, self.layer_semantics = resolved(self._graph, semantics, layer_semantics)
        held_back = [
            name
            for name, node in self._graph.nodes.items()
            if node.type in FIRES and self._semantics_of(name).spike_delay
        ]
        # Without any time constant no length of a step is stated: the delay is one step, however long.
        self._runs = with_spike_delays(self._graph, held_back, self.dt_us or 1.0)
        self._schedule = Schedule.of(self._runs)
        self.node_names = self._schedule.names
        self.input_shape = self._schedule.shapes[self._schedule.start]
        self.output_shape = self._schedule.shapes[self._schedule.end]

    def _semantics_of(self, name: str) -> NeuronSemantics:
        return self.layer_semantics.get(name, self.semantics)

    def _path_of(self, name: str) -> GradientPath:
        """The gradient path of a layer; a layer of neurons has its own place in it."""
        kinds = [self._runs.nodes[node].type for node in self.node_names]
        place = self.node_names.index(name)
        if kinds[place] not in NEURON_TYPES:
            return self.surrogate
        path = self.surrogate.for_layer(sum(kind in NEURON_TYPES for kind in kinds[:place]))
        stepped = any(name in group.nodes for group in self._schedule.groups if group.is_recurrent)
        if stepped and not isinstance(path, Surrogate):
            raise InvalidInput(
                f"gradient path '{path.name}' needs all time steps of a layer at once, "
                "and recurrent layers are stepped together",
                accepted="a Surrogate",
                remedy="use a surrogate, such as Atan(), for this network",
            )
        return path

    def _make_layer(self, name: str) -> AnyLayer:
        node = self._runs.nodes[name]
        dt_us = self.dt_us if name in self._graph.nodes else self.dt_us or 1.0
        try:
            return make_layer(node, self._semantics_of(name), self._path_of(name), dt_us)
        except InvalidInput as error:
            raise InvalidInput(
                f"node '{name}' ({node.type}): {error.what}",
                asked=error.asked,
                found=error.found,
                accepted=error.accepted,
                remedy=error.remedy,
            ) from error

    def _view(
        self,
        semantics: NeuronSemantics | str,
        layer_semantics: Mapping[str, NeuronSemantics | str],
        surrogate: GradientPath,
    ) -> SpikingNetwork:
        view = SpikingNetwork.__new__(SpikingNetwork)
        nn.Module.__init__(view)
        view.surrogate, view.dt_us, view._graph = surrogate, self.dt_us, self._graph
        view._take(semantics, layer_semantics)
        like, shared = self._like(), self._layers()
        view.layers = nn.ModuleList(
            view._make_layer(name).to(like.device, like.dtype)
            if isinstance(shared.get(name), NeuronLayer | Pooling | None)
            else shared[name]
            for name in view.node_names
        )
        view.train(self.training)
        return view

    def _layers(self) -> dict[str, AnyLayer]:
        return {k: cast(AnyLayer, layer) for k, layer in zip(self.node_names, self.layers, strict=True)}

    def _output(self, x: Tensor) -> Tensor:
        last = x
        for _, output, _ in walk(self._schedule, self._layers(), x, only=()):
            last = output
        return last

    def _neuron_names(self) -> list[str]:
        names = [name for name, layer in self._layers().items() if isinstance(layer, NeuronLayer)]
        if not names:
            raise InvalidModel(
                "the network has no neurons",
                found=", ".join(self.node_names) or "no nodes",
                accepted="IF, LIF, ...",
            )
        return names

    def _like(self) -> Tensor:
        """A tensor of the module's type and device."""
        held = chain(self.parameters(), self.buffers())
        return next((t for t in held if t.is_floating_point()), torch.zeros(()))

    def _parts(self, x: Tensor) -> Iterator[Tensor]:
        """The input, checked and cast, in shares of few enough frames; one empty share if there are none."""
        axes = ", ".join(("N", "T", _AXES.get(len(self.input_shape), "*F")))
        expected = f"({axes}) = (N, T, {', '.join(map(str, self.input_shape))})"
        if not isinstance(x, Tensor):
            raise InvalidInput(
                "the network takes a tensor",
                found=type(x).__name__,
                accepted=expected,
                remedy="use torch.as_tensor",
            )
        if tuple(x.shape[2:]) != self.input_shape or x.dim() < 3:
            raise InvalidInput("the input does not fit the network", found=tuple(x.shape), accepted=expected)
        x = x.to(self._like().dtype)
        frames = _FRAMES_AT_ONCE
        if any(group.is_recurrent for group in self._schedule.groups):
            frames = _FRAMES_AT_ONCE_STEPPED
        elif any(block.next for block in self._schedule.blocks.values()):
            frames = _FRAMES_AT_ONCE_CHAINED
        size = max(1, frames // max(1, x.shape[1]))
        yield from torch.split(x, size) if len(x) > size else (x,)


def _stated_step(graph: GraphSpec) -> float | None:
    """The metadata's dt_us, if there is one."""
    written = graph.metadata.get("dt_us")
    stated = stated_step(graph)
    if written is not None and stated is None:
        raise InvalidInput(
            "the metadata's dt_us cannot be used",
            found=repr(written),
            accepted="µs, above 0",
            remedy="pass dt_us",
        )
    return stated


def _cat(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
