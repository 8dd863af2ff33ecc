# SPDX-License-Identifier: MIT
"""results.json and results.csv: everything on the page, for programs and spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from art_spiking.metrics import Share
from art_spiking_leaderboard.manifest import Manifest
from art_spiking_leaderboard.origins import commit_counts
from art_spiking_leaderboard.ranking import RANK_RULE, Load
from art_spiking_leaderboard.site.curves import areas
from art_spiking_leaderboard.site.transfers import transfer_numbers
from art_spiking_leaderboard.site.views import Board, CaseView, case_view

RESULTS_VERSION = 1
_COLUMNS = (
    "suite",
    "suite_version",
    "data",
    "model",
    "title",
    "rank",
    "worst_case",
    "worst_case_low",
    "worst_case_high",
    "mean_over_cases",
    "areas_under_edits",
    "accepted_claims",
    "division",
    "parameters",
    "weight_bytes",
    "clean_spikes",
    "clean_synaptic_operations",
    "worst_spikes",
    "worst_synaptic_operations",
    "case",
    "status",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "control",
    "clean",
    "samples",
    "events_added",
    "events_removed",
    "events_moved",
    "percent_of_own",
    "spikes",
    "synaptic_operations",
    "forwards",
    "backwards",
    "seconds",
    "flags",
)


def results(boards: Sequence[Board], manifests: Mapping[str, Manifest]) -> dict[str, Any]:
    """Plain data for results.json; accuracies are shares in [0, 1] with their 95 % Wilson interval."""
    return {
        "results_version": RESULTS_VERSION,
        "rank_rule": RANK_RULE,
        "boards": [
            {
                "suite": board.suite.model_dump(mode="json"),
                "suite_digest": board.suite.digest(),
                "data": board.data,
                "transfer": transfer_numbers(board.transfer),
                "models": [
                    {
                        "manifest": manifests[row.name].model_dump(mode="json"),
                        "rank": row.rank,
                        "reasons_not_ranked": list(row.reasons),
                        "worst_case": _share(row.robust),
                        "mean_over_cases": row.mean,
                        "areas_under_edits": dict(areas(row, board.suite)),
                        "accepted_claims": [
                            {"case": claim.form.case, "samples": len(claim.form.samples), "date": claim.date}
                            for claim in row.claims
                        ],
                        "footprint": None if row.footprint is None else row.footprint.model_dump(),
                        "clean_load": _load(row.load),
                        "worst_load": _load(row.worst_load),
                        "clean": _share(row.clean),
                        "worst_control": _share(row.control),
                        "commits": dict(commit_counts(row.records.values())),
                        "cases": [
                            _case(case_view(case, row.records.get(case.name))) for case in board.suite.cases
                        ],
                    }
                    for row in board.rows
                ],
            }
            for board in boards
        ],
    }


def results_csv(boards: Sequence[Board], manifests: Mapping[str, Manifest]) -> str:
    """One line per model and case."""
    out = io.StringIO()
    writer = csv.DictWriter(out, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for board in boards:
        for row in board.rows:
            under = "; ".join(
                f"{case} {area:.4f}" for case, area in areas(row, board.suite).items() if area is not None
            )
            for case in board.suite.cases:
                view = case_view(case, row.records.get(case.name))
                values = {
                    "suite": board.suite.name,
                    "suite_version": board.suite.version,
                    "data": board.data,
                    "model": row.name,
                    "title": manifests[row.name].title,
                    "rank": row.rank,
                    **_columns("worst_case", row.robust),
                    "mean_over_cases": row.mean,
                    "areas_under_edits": under,
                    "accepted_claims": len(row.claims),
                    "division": manifests[row.name].division,
                    "parameters": row.footprint.parameters if row.footprint else None,
                    "weight_bytes": row.footprint.bytes if row.footprint else None,
                    **_load_columns("clean_", row.load),
                    **_load_columns("worst_", row.worst_load),
                    "case": case.name,
                    "status": view.status,
                    **_columns("accuracy", view.robust),
                    "control": view.control.value if view.control else None,
                    "clean": view.clean.value if view.clean else None,
                    "samples": view.robust.total if view.robust else None,
                    "events_added": view.added,
                    "events_removed": view.removed,
                    "events_moved": view.moved,
                    "percent_of_own": view.percent,
                    **_load_columns("", view.load),
                    "forwards": view.forwards,
                    "backwards": view.backwards,
                    "seconds": view.seconds,
                    "flags": "; ".join(flag.title for flag in view.flags),
                }
                writer.writerow({key: _inert(value) for key, value in values.items()})
    return out.getvalue()


def _inert(value: object) -> object:
    """A text that a spreadsheet would run as a formula is made to start with an apostrophe."""
    if isinstance(value, str) and value[:1] in set("=+-@\t\r"):
        return "'" + value
    return value


def _columns(name: str, share: Share | None) -> dict[str, float | None]:
    if share is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: share.value, f"{name}_low": share.low, f"{name}_high": share.high}


def _load(load: Load | None) -> dict[str, float] | None:
    """Means per sample; null where nobody could count."""
    if load is None:
        return None
    return {"spikes": load.spikes, "synaptic_operations": load.operations}


def _load_columns(name: str, load: Load | None) -> dict[str, float | None]:
    return {
        f"{name}spikes": None if load is None else load.spikes,
        f"{name}synaptic_operations": None if load is None else load.operations,
    }


def _share(share: Share | None) -> dict[str, float | int] | None:
    if share is None:
        return None
    return {
        "value": share.value,
        "low": share.low,
        "high": share.high,
        "count": share.count,
        "samples": share.total,
    }


def _case(view: CaseView) -> dict[str, Any]:
    return {
        "name": view.name,
        "words": view.words,
        "status": view.status,
        "error": view.error,
        "accuracy": _share(view.robust),
        "control": _share(view.control),
        "median_events_added": view.added,
        "median_events_removed": view.removed,
        "median_events_moved": view.moved,
        "median_percent_of_own": view.percent,
        "load": _load(view.load),
        "forwards_per_sample": view.forwards,
        "backwards_per_sample": view.backwards,
        "seconds": view.seconds,
        "flags": [{"title": flag.title, "text": flag.meaning} for flag in view.flags],
    }
