# SPDX-License-Identifier: MIT
"""Ranks models by their per-sample worst case over all cases of a suite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from art_spiking.metrics import Share, accuracy, mean_of_most, share_of, worst_case
from art_spiking.records import Activity, Flag, Footprint, Record
from art_spiking.suites import Suite
from art_spiking_leaderboard.claims import Claim

RANK_RULE = (
    "A model's rank is one more than the number of models whose 95% interval lies entirely above its own. "
    "Models whose intervals overlap therefore share a rank, unless a third model is clearly better than only "
    "one of them. Within a rank, the order is that of the worst case, then of the mean over cases."
)


@dataclass(frozen=True)
class Entrant:
    """A submission with the records that its current files have in one suite.

    `withdrawn` says why it was withdrawn; None if it was not. `claims` are accepted ones on these records.
    """

    name: str
    data: str
    claimed_clean: float
    records: Mapping[str, Record]
    withdrawn: str | None = None
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True)
class Load:
    """What a model's neurons do, on average over samples: spikes of all layers, synaptic operations."""

    spikes: float
    operations: float


@dataclass(frozen=True)
class Row:
    """One line of a ranking table.

    `reasons` says why a model has no rank; it is empty exactly when `rank` and `robust` are there. One
    of them is `claim_problem`, if the claimed clean accuracy was not found. `control` is the worst case over
    the random controls, counted as `robust` is. `mean` is the mean accuracy over the cases: it changes no
    rank, and tells models apart whose worst case is the same. `claims` are those that count in `robust`.
    `load` is what the neurons do without an attack, `worst_load` under attack: per sample the most over all
    cases. They and the footprint change no rank, and are None where nobody could count.
    """

    name: str
    data: str
    records: Mapping[str, Record]
    clean: Share | None = None
    robust: Share | None = None
    control: Share | None = None
    mean: float | None = None
    rank: int | None = None
    reasons: tuple[str, ...] = ()
    claim_problem: str | None = None
    claims: tuple[Claim, ...] = ()
    load: Load | None = None
    worst_load: Load | None = None
    footprint: Footprint | None = None

    @property
    def flags(self) -> list[tuple[str, Flag]]:
        """(case name, flag) of every record, in the order of the cases."""
        return [(case, flag) for case, record in self.records.items() for flag in record.flags]


def rank(entrants: Iterable[Entrant], suite: Suite) -> list[Row]:
    """The rows of one table: ranked models, best first, then those without a rank, by name.

    The entrants must be of one data set. Records of cases that the suite does not have are left out.
    """
    rows = [_row(entrant, suite) for entrant in entrants]
    rows = _same_samples(rows)
    complete = [row for row in rows if not row.reasons]
    ranked = [replace(row, rank=_rank_of(row, complete)) for row in complete]
    ranked.sort(key=lambda row: (row.rank, -_value(row.robust), -(row.mean or 0.0), row.name))
    waiting = sorted((row for row in rows if row.reasons), key=lambda row: row.name)
    return ranked + waiting


def _claim_problem(claimed: float, clean: Share) -> str | None:
    """What is wrong with a claimed clean accuracy, or None when it lies in the measured interval."""
    if clean.low <= claimed <= clean.high:
        return None
    return (
        f"claims a clean accuracy of {claimed:.3f}; measured {clean.value:.3f} on {clean.total} samples "
        f"(95% interval {clean.low:.3f} to {clean.high:.3f})"
    )


def _row(entrant: Entrant, suite: Suite) -> Row:
    records = {case.name: entrant.records[case.name] for case in suite.cases if case.name in entrant.records}
    reasons: tuple[str, ...] = () if entrant.withdrawn is None else (f"withdrawn: {entrant.withdrawn}",)
    reasons += _missing(records, suite)
    row = Row(entrant.name, entrant.data, records, reasons=reasons)
    if not records:
        return row
    first = next(iter(records.values()))
    clean = accuracy(first.labels, first.clean)
    mismatch = _claim_problem(entrant.claimed_clean, clean)
    if len({(record.labels, record.clean) for record in records.values()}) > 1:
        reasons += ("its clean predictions differ between cases",)
    if mismatch is not None:
        reasons += (mismatch,)
    row = replace(row, clean=clean, claim_problem=mismatch, reasons=reasons, **_loads(records, suite))
    controls = [record.control for record in records.values() if record.control]
    control = share_of(worst_case(first.labels, first.clean, controls)) if controls else None
    if reasons:
        return replace(row, control=control)
    attacked = [record.adversarial for record in records.values()]
    by_result = {record.key(): record for record in records.values()}
    claims = tuple(claim for claim in entrant.claims if claim.result in by_result)
    lowered = [claim.lowered(by_result[claim.result]) for claim in claims]
    robust = share_of(worst_case(first.labels, first.clean, [*attacked, *lowered]))
    mean = fmean(accuracy(first.labels, classes).value for classes in attacked)
    return replace(row, control=control, robust=robust, mean=mean, claims=claims)


def _loads(records: Mapping[str, Record], suite: Suite) -> dict[str, Any]:
    """Fields of a row: the load without an attack and under the worst, and the footprint."""
    clean = [record.clean_activity for record in records.values() if record.clean_activity is not None]
    attacked = [record.activity for record in records.values() if record.activity is not None]
    whole = len(attacked) == len(suite.cases)
    return {
        "load": load_of(clean[:1]) if clean else None,
        "worst_load": load_of(attacked) if whole else None,
        "footprint": next((record.footprint for record in records.values() if record.footprint), None),
    }


def load_of(activities: Sequence[Activity]) -> Load:
    """The load of one activity, or per sample the most of several."""
    spikes = mean_of_most([activity.spikes for activity in activities])
    return Load(spikes, mean_of_most([activity.operations for activity in activities]))


def _missing(records: Mapping[str, Record], suite: Suite) -> tuple[str, ...]:
    absent = [case.name for case in suite.cases if case.name not in records]
    reasons = [f"not yet evaluated: {_listed(absent)}"] if absent else []
    for name, record in records.items():
        if record.status == "error" and record.failure is not None:
            reasons.append(f"{name} failed: {record.failure.type}: {record.failure.message}")
        elif record.status == "invalid":
            reasons.append(f"{name} has no number: {'; '.join(flag.text for flag in record.flags)}")
    return tuple(reasons)


def _same_samples(rows: Sequence[Row]) -> list[Row]:
    """Takes out of the ranking those scored on other samples than most are."""
    labels = {row.name: next(iter(row.records.values())).labels for row in rows if row.records}
    if not labels:
        return list(rows)
    usual = Counter(labels.values()).most_common(1)[0][0]
    return [
        row
        if labels.get(row.name, usual) == usual
        else replace(
            row, robust=None, mean=None, reasons=(*row.reasons, "was scored on other samples than the rest")
        )
        for row in rows
    ]


def _rank_of(row: Row, rows: Sequence[Row]) -> int:
    high = 1.0 if row.robust is None else row.robust.high
    return 1 + sum(other.robust is not None and other.robust.low > high for other in rows)


def _value(share: Share | None) -> float:
    return 0.0 if share is None else share.value


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
