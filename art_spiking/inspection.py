# SPDX-License-Identifier: MIT
"""What a model is made of, layer by layer, and what it does with data: pure functions over a graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from art_spiking import neurons
from art_spiking.connections import FIRING, connections, inputs_of
from art_spiking.errors import InvalidInput
from art_spiking.graphs import GraphSpec, NodeSpec
from art_spiking.metrics import Share, accuracy
from art_spiking.network import SpikingNetwork
from art_spiking.neurons import NeuronSemantics
from art_spiking.node_types import Array, Shape, element_count
from art_spiking.receptive_fields import Field, receptive_fields

_WEIGHTS = ("weight", "bias", "scale")
_TIMES = ("tau_syn", "tau", "tau_mem", "delay")
_FRAMES_AT_ONCE = 2048  # bounds what the activity of all layers takes in memory


@dataclass(frozen=True)
class Range:
    """The least and the greatest value of a parameter over a layer."""

    low: float
    high: float


@dataclass(frozen=True)
class LayerReport:
    """One layer of a graph.

    Attributes:
        name: Of the node.
        type: NIR's name for it.
        output_shape: In one time step.
        parameters: Weights, biases and scales; what neurons hold is not trained and not counted.
        times_us: Time constants, "tau" or "tau_syn" and "tau_mem", and "delay", in µs.
        decay: Share of the membrane potential that is left after a step; None for a layer that does not leak,
            or where semantics or dt_us are not known.
        threshold: Potential at which it fires; None for a layer that does not.
        receptive_field: See `receptive_fields`.
        multiply_adds: See `multiply_adds`.
        inputs: The layers that feed it.
        late_inputs: Those of them whose output arrives one step later, since the edge leads back.
    """

    name: str
    type: str
    output_shape: Shape
    parameters: int
    times_us: Mapping[str, Range]
    decay: Range | None
    threshold: Range | None
    receptive_field: Field
    multiply_adds: int
    inputs: tuple[str, ...]
    late_inputs: tuple[str, ...]


@dataclass(frozen=True)
class GraphReport:
    """The layers of a graph in the order of the computation, Input and Output apart.

    Attributes:
        layers: One report each.
        input_name: Name of the Input.
        input_shape: Of one time step.
        output_shape: Of one time step.
        is_chain: Whether every layer is fed by the one before and by no other.
    """

    layers: tuple[LayerReport, ...]
    input_name: str
    input_shape: Shape
    output_shape: Shape
    is_chain: bool

    @property
    def parameters(self) -> int:
        """Weights, biases and scales of all layers."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Dense multiply-adds of all layers in one step."""
        return sum(layer.multiply_adds for layer in self.layers)


@dataclass(frozen=True)
class Outcome:
    """How a network does on labelled samples.

    Attributes:
        accuracy: Share of the samples whose label has the largest output, added up over time: of spikes their
            count, of potentials their mean.
        output_spikes: Mean per sample, over all steps and classes; None where the Output is not spikes.
    """

    accuracy: Share
    output_spikes: float | None


@dataclass(frozen=True)
class Activity:
    """What the layers of a network do on labelled samples; means per sample.

    Attributes:
        outcome: Accuracy and output spikes.
        spikes: Output spikes over all steps, of every layer that fires, and the events of the Input.
        operations: Synaptic operations over all steps, of every layer with weights; see `connections`.
    """

    outcome: Outcome
    spikes: Mapping[str, float]
    operations: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class SampleCounts:
    """What a network does with each sample, over all time steps.

    Attributes:
        spikes: Output of all layers that fire (N,).
        operations: Synaptic operations of all layers with weights (N,); see `connections`.
    """

    spikes: npt.NDArray[np.int64]
    operations: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Candidate:
    """A semantics that a network may have.

    Attributes:
        name: Of the semantics.
        semantics: The dynamics.
        layer_semantics: Those of single layers that differ, by node name.
    """

    name: str
    semantics: NeuronSemantics
    layer_semantics: Mapping[str, NeuronSemantics] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """A network under one semantics.

    Attributes:
        candidate: What it was run under.
        outcome: How it did; None where it cannot be run so.
        problem: Why it cannot, such as a step that is longer than a time constant.
        activity: Of the layers, if it was asked for.
    """

    candidate: Candidate
    outcome: Outcome | None
    problem: str | None = None
    activity: Activity | None = None


def report(
    graph: GraphSpec,
    *,
    semantics: NeuronSemantics | None = None,
    layer_semantics: Mapping[str, NeuronSemantics] = MappingProxyType({}),
    dt_us: float | None = None,
) -> GraphReport:
    """What a graph is made of.

    Args:
        graph: Any graph; nothing is run.
        semantics: Gives the decays, together with dt_us.
        layer_semantics: Of single layers that differ.
        dt_us: Length of a time step in µs.

    Raises:
        InvalidInput: dt_us is longer than a time constant that the semantics would have to step over.
    """
    shapes, order, fields = graph.shapes(), graph.order(), receptive_fields(graph)
    late = {edge for group in graph.groups() for edge in group.late}
    layers = []
    for name in order[1:-1]:
        node = graph.nodes[name]
        times = {
            key: _range(1e6 * node.arrays[key].astype(np.float64)) for key in _TIMES if key in node.arrays
        }
        fires = node.arrays.get("threshold" if node.type == "Threshold" else "v_threshold")
        inputs = inputs_of(graph, name)
        layers.append(
            LayerReport(
                name=name,
                type=node.type,
                output_shape=shapes[name],
                parameters=sum(node.arrays[key].size for key in _WEIGHTS if key in node.arrays),
                times_us=times,
                decay=_decay(node, layer_semantics.get(name, semantics), dt_us),
                threshold=None if fires is None else _range(fires),
                receptive_field=fields[name],
                multiply_adds=multiply_adds(node, shapes[name]),
                inputs=inputs,
                late_inputs=tuple(source for source in inputs if (source, name) in late),
            )
        )
    return GraphReport(
        layers=tuple(layers),
        input_name=order[0],
        input_shape=shapes[order[0]],
        output_shape=shapes[order[-1]],
        is_chain=set(graph.edges) == set(pairwise(order)),
    )


def multiply_adds(node: NodeSpec, output_shape: Shape) -> int:
    """The multiply-adds of a node in one time step if nothing is skipped.

    One for each weight and output that it acts on, where a convolution's kernel meets the padding as well;
    none for biases, pooling (which only adds) and neurons.
    """
    if node.type in ("Conv1d", "Conv2d"):
        return element_count(output_shape) * element_count(node.arrays["weight"].shape[1:])
    if node.type in ("Affine", "Linear"):
        return node.arrays["weight"].size
    return element_count(output_shape) if node.type == "Scale" else 0


def measure(
    network: SpikingNetwork,
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.int64],
    *,
    advance: Callable[[int], object] = lambda samples: None,
) -> Activity:
    """Runs the network on labelled samples and counts what every layer does.

    Args:
        network: Any network with neurons, on the CPU.
        x: Spike tensors (N, T, *input_shape).
        y: Labels (N,).
        advance: Called with the number of samples that were done, from time to time.

    Raises:
        InvalidInput: The samples or labels do not fit the network.
        InvalidModel: The network has no neurons.
    """
    graph = network.to_graph()
    ways = connections(graph)
    start, feeding = graph.order()[0], inputs_of(graph, graph.order()[-1])
    counted = {start, *(name for name, node in graph.nodes.items() if node.type in FIRING)}
    totals: dict[str, npt.NDArray[np.float64]] = {}
    logits = []
    for part in _parts(network, x, y):
        with torch.no_grad():
            outputs = network.activity(part)
            known = len(feeding) == 1 and feeding[0] in outputs
            logits.append(_summed(outputs[feeding[0]] if known else network(part)))
        outputs[start] = part
        for name in counted:
            totals[name] = totals.get(name, 0.0) + _summed(outputs[name]).sum(0)
        advance(len(part))
    operations = {}
    for name, sources in ways.items():
        if sources is None:
            operations[name] = float(x.shape[1] * multiply_adds(graph.nodes[name], graph.shapes()[name]))
        else:
            operations[name] = float(sum((totals[k] * v).sum() for k, v in sources.items())) / len(x)
    spikes = {name: float(totals[name].sum()) / len(x) for name in graph.order() if name in counted}
    return Activity(_outcome(graph, np.concatenate(logits), y), spikes, operations)


def sample_counts(network: SpikingNetwork, x: Tensor, *, batch: int | None = None) -> SampleCounts:
    """Runs the network on samples and counts what it does with each.

    Args:
        network: Any network with neurons.
        x: Spike tensors (N, T, *input_shape), on its device.
        batch: Samples per pass; by default as many as memory is likely to hold.

    Raises:
        InvalidInput: The samples do not fit the network.
        InvalidModel: The network has no neurons.
    """
    graph = network.to_graph()
    ways = connections(graph)
    start = graph.order()[0]
    firing = [name for name, node in graph.nodes.items() if node.type in FIRING]
    dense = sum(multiply_adds(graph.nodes[k], graph.shapes()[k]) for k, v in ways.items() if v is None)
    sources = [pair for way in ways.values() for pair in (way or {}).items()]
    spikes, operations = [], []
    most = max(1, _FRAMES_AT_ONCE // max(1, x.shape[1]))
    for part in torch.split(x, min(batch or most, most)):
        with torch.no_grad():
            outputs = network.activity(part)
        # One layer after the other, and each let go of: together they take several times the input's memory.
        sums = {start: _summed(part), **{k: _summed(outputs.pop(k)) for k in firing}}
        counted = [sums[name].reshape(len(part), -1).sum(1) for name in firing]
        taken = [(sums[name] * fan_out).reshape(len(part), -1).sum(1) for name, fan_out in sources]
        spikes.append(sum(counted, np.zeros(len(part))))
        operations.append(sum(taken, np.full(len(part), float(dense * x.shape[1]))))
    return SampleCounts(*(np.rint(np.concatenate(all_)).astype(np.int64) for all_ in (spikes, operations)))


def outcome(
    network: SpikingNetwork,
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.int64],
    *,
    advance: Callable[[int], object] = lambda samples: None,
) -> Outcome:
    """Runs the network on labelled samples; arguments and errors as of `measure`."""
    logits = []
    for part in _parts(network, x, y):
        with torch.no_grad():
            logits.append(_summed(network(part)))
        advance(len(part))
    return _outcome(network.to_graph(), np.concatenate(logits), y)


def try_semantics(
    graph: GraphSpec,
    candidate: Candidate,
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.int64],
    *,
    dt_us: float | None = None,
    advance: Callable[[int], object] = lambda samples: None,
) -> Trial:
    """The outcome of a graph under one semantics, or why it cannot be run under it.

    Args:
        graph: The network's graph.
        candidate: The dynamics.
        x: As of `measure`.
        y: As of `measure`.
        dt_us: Length of a time step in µs.
        advance: As of `measure`.

    Raises:
        InvalidInput: The samples or labels do not fit the network.
    """
    try:
        network = SpikingNetwork.from_graph(
            graph,
            semantics=candidate.semantics,
            layer_semantics=candidate.layer_semantics,
            dt_us=dt_us,
        )
    except InvalidInput as error:
        advance(len(x))
        return Trial(candidate, None, problem=str(error))
    return Trial(candidate, outcome(network, x, y, advance=advance))


def _parts(network: SpikingNetwork, x: npt.NDArray[np.float32], y: npt.NDArray[np.int64]) -> Iterator[Tensor]:
    """The samples in batches, once they were found to fit."""
    if len(x) == 0 or x.shape[2:] != network.input_shape or len(x) != len(y):
        raise InvalidInput(
            "the samples do not fit the network",
            found=f"{x.shape}, {len(y)} labels",
            accepted=f"(N, T, {', '.join(map(str, network.input_shape))}) and N labels, N >= 1",
        )
    outputs = element_count(network.output_shape)
    if int(y.max()) >= outputs:
        raise InvalidInput(
            "the network has fewer outputs than the data has classes",
            found=f"{outputs} outputs, label {int(y.max())}",
        )
    size = max(1, _FRAMES_AT_ONCE // max(1, x.shape[1]))
    for first in range(0, len(x), size):
        yield torch.as_tensor(x[first : first + size])


def _summed(outputs: Tensor) -> npt.NDArray[np.float64]:
    """(N, T, *F) added up over time, (N, *F), without rounding."""
    total: npt.NDArray[np.float64] = outputs.sum(1, dtype=torch.float64).cpu().numpy()
    return total


def _outcome(graph: GraphSpec, logits: npt.NDArray[np.float64], y: npt.NDArray[np.int64]) -> Outcome:
    flat = logits.reshape(len(logits), -1)
    fires = all(graph.nodes[name].type in FIRING for name in inputs_of(graph, graph.order()[-1]))
    return Outcome(accuracy(y, flat.argmax(1)), float(flat.sum(1).mean()) if fires else None)


def _decay(node: NodeSpec, semantics: NeuronSemantics | None, dt_us: float | None) -> Range | None:
    if semantics is None or dt_us is None or not {"tau", "tau_mem"} & set(node.arrays):
        return None
    arrays = {key: torch.tensor(value) for key, value in node.arrays.items()}
    return _range(neurons.coefficients(getattr(neurons, node.type)(**arrays), semantics, dt_us).decay.numpy())


def _range(values: Array) -> Range:
    """To the seven digits that float32 holds, so that 0.02 s is 20000 µs."""
    low, high = (float(f"{float(v):.7g}") for v in (values.min(), values.max()))
    if not math.isfinite(low + high):
        raise InvalidInput("a parameter is not finite", found=f"{low} to {high}")
    return Range(low, high)
