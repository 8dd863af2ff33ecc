# SPDX-License-Identifier: MIT
"""Whether a graph is run at the length of a step that it was made for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from art_spiking.errors import DifferentTimeStep
from art_spiking.graphs import GraphSpec, NodeSpec

_TIMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"LIF": ("tau",), "LI": ("tau",), "CubaLIF": ("tau_syn", "tau_mem"), "CubaLI": ("tau_syn", "tau_mem")}
)
_GAINS: Mapping[str, str] = MappingProxyType({"tau": "r", "tau_mem": "r", "tau_syn": "w_in"})
_SAME = 1e-3  # a length of a step that went through float32 or text is still the same
_LIKE = 0.2  # what parameters suggest is no statement
_NAMED = 5
_RATES = ("IF", "I")
_PER_SECOND = 100.0  # no gain per step that a model was trained with; 1 / dt for steps of 10 ms


def retimed(graph: GraphSpec, written_us: float, used_us: float) -> GraphSpec:
    """The graph with its time constants and delays written for steps of another length, as many steps long.

    For files whose exporter wrote them by a length that is not the width of the bins that the model was
    trained with: snnTorch and SpikingJelly do so, by 0.1 ms unless asked; Norse 1.1 multiplies each time
    constant by its step of 1 ms, which is 1 µs here. An IF or I whose r is 1 / dt, as SpikingJelly writes it,
    gets the r of 1 that it stands for.

    Args:
        graph: Any graph.
        written_us: Length of a step, in µs, by which its time constants were written.
        used_us: Width of the bins, in µs.
    """
    nodes = {}
    for name, node in graph.nodes.items():
        arrays = dict(node.arrays)
        for key, array in node.arrays.items():
            if key in (*_GAINS, "delay"):
                arrays[key] = array.astype(np.float64) * (used_us / written_us)
            elif key == "r" and node.type in _RATES:
                gain = array.astype(np.float64) * written_us * 1e-6
                arrays[key] = np.ones_like(array) if (abs(gain - 1) <= _SAME).all() else array
        nodes[name] = NodeSpec(node.type, node.attributes, arrays)
    stated = {key: value for key, value in graph.metadata.items() if key != "dt_us"}
    return GraphSpec(nodes, graph.edges, stated)


def stated_step(graph: GraphSpec) -> float | None:
    """The length of a step, in µs, that the graph's metadata states; None if none or nothing usable."""
    stated = graph.metadata.get("dt_us")
    return stated if isinstance(stated, int | float) and 0 < stated < float("inf") else None


def suggested_step(graph: GraphSpec) -> float | None:
    """The length of a step, in µs, for which the gains of all leaky neurons are one, or None.

    snnTorch's neurons and SpikingJelly's current-based ones have decays per step, and gains of one. Their
    exporters (snntorch 1.0.0, spikingjelly 2.0.0) write tau = dt / (1 - decay), r = tau / dt and
    w_in = tau_syn / dt by a dt that the file does not state, 0.1 ms unless asked: tau / r gives it back.
    """
    found = []
    for node in graph.nodes.values():
        for key in _TIMES.get(node.type, ()):
            gain, tau = (node.arrays[name].astype(np.float64) for name in (_GAINS[key], key))
            if not (gain > 1 + _SAME).all():  # a gain of one says nothing of a step
                return None
            found.append((1e6 * tau / gain).ravel())
    steps = np.concatenate(found) if found else np.zeros(0)
    return float(steps.mean()) if steps.size and np.ptp(steps) <= _SAME * steps.max() else None


def check_step(graph: GraphSpec, used_us: float | None, *, stated_us: float | None) -> None:
    """Warns where a step of another length makes another network of a graph with time constants.

    Neurons without time constants (IF, I, Threshold) do the same in a step of any length, and nothing is said
    of them: longer steps only bring them more events at once. But an r of 100 or more is told, since
    SpikingJelly writes 1 / dt there, and here it is a gain per step.

    Args:
        graph: The model.
        used_us: Length of the steps that it is run at; None is not known, and nothing is said.
        stated_us: Length that it was made for; where it is None, `suggested_step` is asked.

    Warns:
        DifferentTimeStep: The two differ, and there are time constants; with tau / dt before and after. Or a
            gain is one per second.
    """
    _check_gains(graph)
    suggested = suggested_step(graph) if stated_us is None else None
    before = stated_us or suggested
    if used_us is None or before is None:
        return
    if abs(used_us - before) <= (_LIKE if stated_us is None else _SAME) * before:
        return
    changed = [
        f"'{name}' ({node.type}) {text}"
        for name, node in graph.nodes.items()
        for text in _changes(node, before, used_us)
    ]
    if not changed:
        return
    made = f"the model states steps of {before:g} µs"
    if stated_us is None:
        made = (
            "the model does not state the length of its steps, but has the gains that snnTorch's and "
            f"SpikingJelly's exporters write for steps of {before:.4g} µs"
        )
    more = f", and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
    warnings.warn(
        f"{made}; at {used_us:g} µs it is a different network: {', '.join(changed[:_NAMED])}{more}; "
        f"bin the data at {before:.6g} µs, or, where that is only how the file was written, let `art-spiking "
        f"pack --written-dt-us {before:.6g}` write it anew",
        DifferentTimeStep,
        stacklevel=3,
    )


def _check_gains(graph: GraphSpec) -> None:
    for name, node in graph.nodes.items():
        rate = float(node.arrays["r"].min()) if node.type in _RATES else 0.0
        if rate >= _PER_SECOND:
            warnings.warn(
                f"'{name}' ({node.type}) multiplies its input by r = {rate:g} in every step; if that is "
                "1 / dt, as SpikingJelly writes it, let `art-spiking pack --written-dt-us "
                f"{1e6 / rate:.6g}` write the model anew",
                DifferentTimeStep,
                stacklevel=4,
            )
            return


def _changes(node: NodeSpec, before: float, after: float) -> list[str]:
    """Time constants in steps, before and after."""
    return [
        f"{key}/dt {_steps(node, key, before)} becomes {_steps(node, key, after)}"
        for key in _TIMES.get(node.type, ())
    ]


def _steps(node: NodeSpec, key: str, step_us: float) -> str:
    low, high = (
        f"{float(value) * 1e6 / step_us:.3g}" for value in (node.arrays[key].min(), node.arrays[key].max())
    )
    return low if low == high else f"{low}..{high}"
