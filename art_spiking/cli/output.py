# SPDX-License-Identifier: MIT
"""Records as people read them: one table, its flags in words, and the same as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from art_spiking.metrics import (
    EditSummary,
    Share,
    accuracy,
    attack_success,
    fooled,
    share_of,
    summarise_edits,
    target_rate,
    worst_case,
)
from art_spiking.records import Flag, Record

_HEAD = ("case", "accuracy [95 %]", "control", "added", "removed", "moved", "% own", "fwd", "bwd")
_NOTE = (
    "accuracy: share of all test samples still right, with its 95 % Wilson interval; control: the same after "
    "random edits of equal budget. added, removed, moved: events, median over the samples that the attack "
    "fooled; % own: added and removed, of the sample's own events. fwd, bwd: samples passed forward and back "
    "through the model, per sample that the attack worked on."
)


def table(records: Sequence[Record], *, width: int = 96) -> str:
    """The result of one evaluation as text: who, the table, the worst case, flags and failures in words."""
    rows = [_HEAD, *(_row(record) for record in records)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [_wrapped(line, width) for line in _heading(records[0])]
    lines.append("")
    for number, row in enumerate(rows):
        cells = [
            row[0].ljust(widths[0]),
            *(text.rjust(w) for text, w in zip(row[1:], widths[1:], strict=True)),
        ]
        lines.append("  ".join(cells).rstrip())
        if number == 0:
            lines.append("  ".join("-" * w for w in widths))
    lines += ["", *_closing(records, width), "", _wrapped(_NOTE, width)]
    return "\n".join(lines)


def summary(records: Sequence[Record]) -> dict[str, Any]:
    """The numbers of the table, and the records they come from, as plain data."""
    first = records[0]
    worst = _worst(records)
    return {
        "model": first.model.model_dump(mode="json"),
        "data": first.test.model_dump(mode="json"),
        "suite": first.suite.model_dump(mode="json"),
        "clean_accuracy": _share_dict(accuracy(first.labels, first.clean)),
        "worst_case_accuracy": None if worst is None else _share_dict(worst),
        "cases": [_case_dict(record) for record in records],
        "records": [record.model_dump(mode="json") for record in records],
    }


def brief(record: Record) -> str:
    """One line on a finished case, for progress."""
    seconds = f"{record.wall_seconds:.0f} s"
    if record.status != "ok":
        return f"{record.case.name}: {record.status}"
    return (
        f"{record.case.name}: accuracy {accuracy(record.labels, record.adversarial).value:.2f} in {seconds}"
    )


def _heading(record: Record) -> list[str]:
    semantics = ", ".join(f"{name} {value}" for name, value in record.model.semantics.items())
    grid = record.test.grid
    kind = "binary frames" if grid["binary"] else "event counts"
    clean = accuracy(record.labels, record.clean)
    lines = [
        f"model      {record.model.name} ({record.model.digest[:19]}), readout {record.model.readout}",
        f"semantics  {semantics or 'as the module defines them'}",
        f"data       {record.test.name}, {record.test.samples} test, {record.craft.samples} craft samples, "
        f"{grid['steps']} steps of {grid['dt_us']} µs, {kind}",
        f"suite      {record.suite.name} {record.suite.version} ({record.suite.digest[:19]})",
        f"clean      accuracy {_share_text(clean)}",
    ]
    if record.model.defences:
        lines.insert(1, f"defences   {', '.join(record.model.defences)}")
    return lines


def _row(record: Record) -> tuple[str, ...]:
    if record.status != "ok":
        return (record.case.name, record.status, *["-"] * (len(_HEAD) - 2))
    edits = _edits(record)
    control = f"{accuracy(record.labels, record.control).value:.2f}" if record.control else "-"
    spent = ["-"] * 4
    if edits is not None:
        percent = "-" if edits.percent is None else f"{edits.percent:.1f}"
        spent = [f"{edits.added:g}", f"{edits.removed:g}", f"{edits.moved:g}", percent]
    queries = (_number(record.forwards), _number(record.backwards))
    return (
        record.case.name,
        _share_text(accuracy(record.labels, record.adversarial)),
        control,
        *spent,
        *queries,
    )


def _closing(records: Sequence[Record], width: int) -> list[str]:
    worst = _worst(records)
    scored = sum(record.status == "ok" for record in records)
    lines = []
    if worst is not None:
        lines.append(f"worst case over {_count(scored, 'attack')}, per sample: {_share_text(worst)}")
    for record in records:
        if record.case.target is not None and record.status == "ok":
            reached = target_rate(record.labels, record.adversarial, record.case.target)
            lines.append(f"{record.case.name} reached class {record.case.target}: {_share_text(reached)}")
    lines += [_wrapped(line, width, hang=5) for record in records for line in _chosen(record)]
    if scored < len(records):
        lines.append(f"{_count(len(records) - scored, 'case')} of {len(records)} gave no number")
    for flag, names in _flags(records):
        where = "every case" if len(names) == len(records) and len(records) > 1 else ", ".join(names)
        lines.append(_wrapped(f"flag {flag.code}, {where}: {flag.text}", width, hang=5))
    for text, names in _failures(records).items():
        lines.append(_wrapped(f"error in {', '.join(names)}: {text}", width, hang=6))
    if not any(record.flags for record in records):
        lines.append("no flags")
    return lines


def _chosen(record: Record) -> list[str]:
    """Which gradient path the attack chose on the craft split, if it did."""
    from art_spiking.gradient_paths import path_text

    stated: Any = record.chosen
    try:
        best, tried = stated["ranking"][0], _count(len(stated["ranking"]), "gradient path")
        samples = _count(stated["samples"], "craft sample")
        path, share = path_text(best["path"]), f"{best['fooled']:.2f}"
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return []  # nothing, or a plugin's own form
    return [f"{record.case.name} chose of {tried}, on {samples}: {path}, which fooled {share}"]


def _flags(records: Sequence[Record]) -> list[tuple[Flag, list[str]]]:
    """Each flag once, with the cases that carry it."""
    found: list[tuple[Flag, list[str]]] = []
    for record in records:
        for flag in record.flags:
            for known, names in found:
                if known == flag:
                    names.append(record.case.name)
                    break
            else:
                found.append((flag, [record.case.name]))
    return found


def _failures(records: Sequence[Record]) -> dict[str, list[str]]:
    """Each error once, with the cases that it ended."""
    found: dict[str, list[str]] = {}
    for record in records:
        if record.failure is not None:
            text = f"{record.failure.type}: {record.failure.message}"
            found.setdefault(text, []).append(record.case.name)
    return found


def _worst(records: Sequence[Record]) -> Share | None:
    scored = [record for record in records if record.status == "ok"]
    if not scored:
        return None
    predictions = [record.adversarial for record in scored]
    return share_of(worst_case(scored[0].labels, scored[0].clean, predictions))


def _edits(record: Record) -> EditSummary | None:
    mask = fooled(record.labels, record.clean, record.adversarial)
    cost = record.cost
    return summarise_edits(cost.added, cost.removed, cost.moved, cost.own, over=mask)


def _case_dict(record: Record) -> dict[str, Any]:
    """One row of the table; the keys are the same for a case without a number, whose values are null."""
    found: dict[str, Any] = {
        "case": record.case.name,
        "status": record.status,
        "robust_accuracy": None,
        "control_accuracy": None,
        "attack_success": None,
        "median_edits": None,
        "forwards_per_sample": record.forwards,
        "backwards_per_sample": record.backwards,
        "wall_seconds": record.wall_seconds,
        "flags": [flag.model_dump(mode="json") for flag in record.flags],
        "error": None if record.failure is None else f"{record.failure.type}: {record.failure.message}",
    }
    if record.status != "ok":
        return found
    found["robust_accuracy"] = _share_dict(accuracy(record.labels, record.adversarial))
    if record.control:
        found["control_accuracy"] = _share_dict(accuracy(record.labels, record.control))
    if any(a == b for a, b in zip(record.labels, record.clean, strict=True)):
        found["attack_success"] = _share_dict(attack_success(record.labels, record.clean, record.adversarial))
    edits = _edits(record)
    if edits is not None:
        found["median_edits"] = vars(edits)
    return found


def _share_dict(share: Share) -> dict[str, float]:
    return {
        "value": share.value,
        "low": share.low,
        "high": share.high,
        "count": share.count,
        "total": share.total,
    }


def _share_text(share: Share) -> str:
    return f"{share.value:.2f} [{share.low:.2f}, {share.high:.2f}]"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _wrapped(text: str, width: int, *, hang: int = 11) -> str:
    """The text in lines of at most `width` columns, without breaking names at their hyphens."""
    indent = " " * hang if text != _NOTE else ""
    return textwrap.fill(text, width, subsequent_indent=indent, break_on_hyphens=False)
