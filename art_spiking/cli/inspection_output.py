# SPDX-License-Identifier: MIT
"""What `art-spiking inspect` found, as tables and as plain data."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from art_spiking.datasets import EventData
    from art_spiking.inspection import GraphReport, LayerReport, Outcome, Range, Trial
    from art_spiking.metrics import Share
    from art_spiking.receptive_fields import Field
    from art_spiking.semantics import NeuronSemantics

AS_STATED = "as stated"
"""The name of what a model states, where that is no preset."""
_LONGEST_NAME, _SHORTEST_NAME = 20, 7
_NARROWEST = 12  # what is left to the names in the last column, though the table gets too wide
_BESIDE_NIR = "beside nir"
_NOTES = {
    "field": "field: pixels of the input that a value is computed from; all behind a full connection.",
    "mult-adds": "mult-adds: dense multiply-adds in one time step.",
    "from": "from: the layers that feed it; * arrives one step later.",
    "syn. operations": "spikes: put out per sample, over all steps; the input's events are not in the total. "
    "syn. operations: spikes coming in times their connections, per sample; for a layer that something else "
    "than spikes feeds, its dense multiply-adds.",
    "semantics": "The semantics that gives what was measured where the model was trained is its own: state "
    "it with --semantics, or once for all with `art-spiking pack`. Rows may agree: not every difference "
    "matters to every model.",
}


@dataclass(frozen=True)
class Inspection:
    """All that was found about a model.

    Attributes:
        name: Of the file or folder.
        digest: Of the graph and its weights.
        semantics: As stated or asked; None where neither.
        dt_us: As stated or asked, in µs; None where neither.
        steps: As stated or asked; None where neither.
        asked: Which of the three the command line gave.
        graph: The layers.
        data: The samples that the model was run on; empty where it was not.
        trials: What it did with them: one with its activity, or one for each of several semantics.
        layer_semantics: As stated or asked of single layers that differ.
    """

    name: str
    digest: str
    semantics: NeuronSemantics | None
    dt_us: int | float | None
    steps: int | None
    asked: tuple[str, ...]
    graph: GraphReport
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    trials: tuple[Trial, ...] = ()
    layer_semantics: Mapping[str, NeuronSemantics] = dataclasses.field(default_factory=dict)

    def is_stated(self, trial: Trial) -> bool:
        """Whether a trial was under what is stated of the model."""
        one = trial.candidate
        return (one.semantics, one.layer_semantics) == (self.semantics, self.layer_semantics)


def described(data: EventData) -> dict[str, Any]:
    """A data set in the words of a report."""
    grid = data.grid
    return {
        "name": data.name,
        "split": data.split,
        "samples": len(data),
        "steps": grid.steps,
        "dt_us": grid.dt_us,
        "binary": grid.binary,
    }


def tables(found: Inspection, *, width: int = 80) -> str:
    """All as text: what is stated, the layers, and what the model did with the data."""
    blocks = [_heading(found, width), _layer_table(found.graph, width)]
    if found.data:
        frames = "binary frames" if found.data["binary"] else "event counts"
        lines = [
            f"data       {found.data['name']}, {found.data['samples']} {found.data['split']} samples, "
            f"{found.data['steps']} steps of {found.data['dt_us']} µs, {frames}"
        ]
        if found.trials[0].activity is None:
            blocks += ["\n".join(lines), _trial_table(found, width)]
        else:
            outcome = found.trials[0].outcome
            lines.append(f"accuracy   {_share(outcome)}")
            lines.append(f"output     {_spikes(outcome)} spikes per sample")
            blocks += ["\n".join(lines), _activity_table(found, width)]
    return "\n\n".join(blocks)


def summary(found: Inspection) -> dict[str, Any]:
    """All as plain data; what is not stated, not defined or not measured is null."""
    graph = found.graph
    trials = [_trial_dict(trial, is_stated=found.is_stated(trial)) for trial in found.trials]
    activity = found.trials[0].activity if found.trials else None
    layers = [
        {
            **dataclasses.asdict(layer),
            "spikes": None if activity is None else activity.spikes.get(layer.name),
            "synaptic_operations": None if activity is None else activity.operations.get(layer.name),
        }
        for layer in graph.layers
    ]
    return {
        "model": found.name,
        "graph_digest": found.digest,
        "semantics": None if found.semantics is None else found.semantics.to_dict(),
        "layer_semantics": {name: own.to_dict() for name, own in found.layer_semantics.items()},
        "dt_us": found.dt_us,
        "steps": found.steps,
        "asked": list(found.asked),
        "input_shape": list(graph.input_shape),
        "output_shape": list(graph.output_shape),
        "layers": layers,
        "totals": {
            "parameters": graph.parameters,
            "multiply_adds": graph.multiply_adds,
            "spikes": None if activity is None else _layer_spikes(found),
            "synaptic_operations": None if activity is None else sum(activity.operations.values()),
        },
        "data": dict(found.data) or None,
        "input_events": None if activity is None else activity.spikes[graph.input_name],
        "trials": trials,
    }


def _heading(found: Inspection, width: int) -> str:
    def tell(key: str, text: str) -> str:
        return f"{text} (asked)" if key in found.asked else text

    semantics, step, steps = "not stated", "not stated", "number of steps not stated"
    if found.semantics is not None:
        pairs = found.semantics.to_dict().items()
        semantics = tell("semantics", ", ".join(f"{key} {value}" for key, value in pairs))
    own = [
        f"           of {name}: {', '.join(f'{k} {v}' for k, v in _differing(found.semantics, one))}"
        for name, one in found.layer_semantics.items()
    ]
    if found.dt_us is not None:
        step = tell("dt_us", f"{found.dt_us:g} µs")
    if found.steps is not None:
        steps = tell("steps", f"{found.steps} steps")
    lines = [
        f"model      {found.name} ({found.digest[:19]})",
        f"semantics  {semantics}",
        *own,
        f"time step  {step}; {steps}",
        f"input      {found.graph.input_shape}",
        f"output     {found.graph.output_shape}",
    ]
    return "\n".join(
        textwrap.fill(line, width, subsequent_indent=" " * 11, break_on_hyphens=False) for line in lines
    )


def _differing(whole: NeuronSemantics | None, own: NeuronSemantics) -> list[tuple[str, Any]]:
    """Where a layer's semantics are not the model's."""
    known = {} if whole is None else whole.to_dict()
    return [(key, value) for key, value in own.to_dict().items() if known.get(key, ...) != value]


def _layer_table(graph: GraphReport, width: int) -> str:
    """The layers, with names as long as the width allows."""
    names = max((len(layer.name) for layer in graph.layers), default=0)
    for longest in range(min(names, _LONGEST_NAME), _SHORTEST_NAME, -1):
        text = _layers(graph, width, longest)
        if all(len(line) <= width for line in text.splitlines()):
            return text
    return _layers(graph, width, _SHORTEST_NAME)


def _layers(graph: GraphReport, width: int, longest: int) -> str:
    head = ["layer", "type", "shape", "parameters", "tau µs", "decay", "threshold", "field", "mult-adds"]
    rows = [[_name(layer.name, longest), *_layer_row(layer)] for layer in graph.layers]
    rows.append(["total", "", "", f"{graph.parameters:,}", "", "", "", "", f"{graph.multiply_adds:,}"])
    if not graph.is_chain:
        head.append("from")
        for row, layer in zip(rows, graph.layers, strict=False):
            late = layer.late_inputs
            names = [f"{_name(k, longest)}{'*' if k in late else ''}" for k in layer.inputs]
            row.append(", ".join(names))
        rows[-1].append("")
    # A column that no layer has anything in is left out.
    used = [k for k, title in enumerate(head) if k < 4 or any(row[k] not in ("", "-") for row in rows)]
    chosen = [[row[k] for k in used] for row in (head, *rows)]
    return _grid(chosen, width, left=("layer", "type", "shape", "from"))


def _layer_row(layer: LayerReport) -> list[str]:
    times = "/".join(_range(value) for key, value in layer.times_us.items() if key != "delay")
    if "delay" in layer.times_us:
        times = f"delay {_range(layer.times_us['delay'])}"
    return [
        layer.type,
        _product(layer.output_shape),
        f"{layer.parameters:,}" if layer.parameters else "-",
        times or "-",
        _range(layer.decay),
        _range(layer.threshold),
        _field(layer.receptive_field),
        f"{layer.multiply_adds:,}" if layer.multiply_adds else "-",
    ]


def _activity_table(found: Inspection, width: int) -> str:
    activity = found.trials[0].activity
    if activity is None:
        return ""
    rows = [["layer", "type", "spikes", "syn. operations"]]
    names = {found.graph.input_name: "Input", **{layer.name: layer.type for layer in found.graph.layers}}
    for name, kind in names.items():
        if name in activity.spikes or name in activity.operations:
            rows.append(
                [
                    _name(name),
                    kind,
                    _number(activity.spikes.get(name)),
                    _number(activity.operations.get(name)),
                ]
            )
    rows.append(["total", "", _number(_layer_spikes(found)), _number(sum(activity.operations.values()))])
    return _grid(rows, width, left=("layer", "type"))


def _layer_spikes(found: Inspection) -> float:
    """Spikes of all layers; the Input's events are not theirs."""
    activity = found.trials[0].activity
    spikes = {} if activity is None else activity.spikes
    return sum(value for name, value in spikes.items() if name != found.graph.input_name)


def _trial_table(found: Inspection, width: int) -> str:
    from art_spiking.semantics import PRESETS

    base = PRESETS["nir"]
    rows = [["semantics", "accuracy [95 %]", "output spikes", _BESIDE_NIR]]
    for trial in found.trials:
        differing = [f"{key} {value}" for key, value in _differing(base, trial.candidate.semantics)]
        differing += [f"layer {layer}" for layer in trial.candidate.layer_semantics]
        name = trial.candidate.name
        name = f"{name} ({AS_STATED})" if found.is_stated(trial) and name != AS_STATED else name
        beside = ", ".join(differing) or "-"
        rows.append([name, _share(trial.outcome), _spikes(trial.outcome), beside])
    problems = [
        textwrap.fill(
            f"{trial.candidate.name}: {trial.problem}", width, subsequent_indent="  ", break_on_hyphens=False
        )
        for trial in found.trials
        if trial.problem is not None
    ]
    return "\n\n".join([_grid(rows, width, left=("semantics", _BESIDE_NIR)), *problems])


def _trial_dict(trial: Trial, *, is_stated: bool) -> dict[str, Any]:
    outcome = trial.outcome
    return {
        "name": trial.candidate.name,
        "semantics": trial.candidate.semantics.to_dict(),
        "is_stated": is_stated,
        "accuracy": None if outcome is None else _share_dict(outcome.accuracy),
        "output_spikes": None if outcome is None else outcome.output_spikes,
        "problem": trial.problem,
    }


def _grid(rows: Sequence[Sequence[str]], width: int, *, left: Sequence[str]) -> str:
    """Rows under a head, numbers to the right, then notes; a last column that is too wide is wrapped."""
    head = rows[0]
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    if head[-1] in ("from", _BESIDE_NIR):
        before = sum(widths[:-1]) + 2 * (len(head) - 1)
        widths[-1] = max(_NARROWEST, min(widths[-1], width - before))
    lines = []
    for number, row in enumerate(rows):
        last = textwrap.wrap(row[-1], widths[-1], break_long_words=False, break_on_hyphens=False) or [""]
        for part, text in enumerate(last):
            cells = [*(row[:-1] if part == 0 else [""] * (len(row) - 1)), text]
            lines.append(
                "  ".join(
                    cell.ljust(w) if title in left else cell.rjust(w)
                    for cell, w, title in zip(cells, widths, head, strict=True)
                ).rstrip()
            )
        if number == 0:
            lines.append("  ".join("-" * w for w in widths))
    note = " ".join(text for title, text in _NOTES.items() if title in head)
    return "\n".join([*lines, "", textwrap.fill(note, width, break_on_hyphens=False)])


def _name(name: str, longest: int = _LONGEST_NAME) -> str:
    """A name that fits; of a longer one the ends."""
    half = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[-half:]}"


def _range(value: Range | None) -> str:
    if value is None:
        return "-"
    low, high = f"{value.low:.4g}", f"{value.high:.4g}"
    if abs(value.high) >= 1e4:
        low, high = f"{value.low:.0f}", f"{value.high:.0f}"
    return low if low == high else f"{low}..{high}"


def _field(field: Field) -> str:
    if field is None:
        return "-"
    return field if isinstance(field, str) else _product(field)


def _product(numbers: Sequence[int]) -> str:
    return "x".join(map(str, numbers))


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"


def _spikes(outcome: Outcome | None) -> str:
    return "-" if outcome is None or outcome.output_spikes is None else f"{outcome.output_spikes:.2f}"


def _share(outcome: Outcome | None) -> str:
    if outcome is None:
        return "-"
    share = outcome.accuracy
    return f"{share.value:.2f} [{share.low:.2f}, {share.high:.2f}]"


def _share_dict(share: Share) -> dict[str, float]:
    return {"value": share.value, **dataclasses.asdict(share)}
