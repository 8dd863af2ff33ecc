# SPDX-License-Identifier: MIT
"""Cases divided by samples: which can be, what a shard sees of a setting, and records put together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from art_spiking.errors import ArtSpikingError
from art_spiking.evaluate.settings import Setting, Splits, identify_data
from art_spiking.records import Activity, Costs, EnsembleResult, Flag, MemberResult, Omission, Record
from art_spiking.registry import Catalogue
from art_spiking.suites import Case

_COLUMNS = ("added", "removed", "moved", "own")


def shards_of(case: Case, samples: int, shard: int | None, attacks: Catalogue) -> tuple[range, ...]:
    """The places of the test samples that are attacked together, shard by shard.

    One shard of all, unless the suite states their size and the attack works on every sample by itself. An
    attack that fits one perturbation for all samples would fit it once for each shard, at the same price; a
    limit of minutes is for the case as a whole.

    Args:
        case: what is to be divided.
        samples: in the test split.
        shard: the suite's; None divides nothing.
        attacks: where the attack is looked up. It says `universal = False`; one that says nothing, or that
            nobody provides, is not divided.
    """
    if shard is None or shard >= samples or case.minutes is not None or not _by_itself(case.attack, attacks):
        return (range(samples),)
    return tuple(range(start, min(start + shard, samples)) for start in range(0, samples, shard))


def part_of(setting: Setting, places: range) -> Setting:
    """The setting with the test samples of those places alone; the doubts about the model are left out."""
    part = slice(places.start, places.stop)
    test = setting.splits.test.subset(np.arange(places.start, places.stop))
    return replace(
        setting,
        splits=Splits(craft=setting.splits.craft, test=test),
        test=identify_data(test),
        labels=setting.labels[part],
        clean=setting.clean[part],
        activity=_sliced(setting.activity, part),
        flags=(),
        shard=None,
    )


def put_together(records: Sequence[Record]) -> dict[str, Any]:
    """The fields of a record that come from its shards' records, all of status "ok" and in their order.

    Samples stand side by side, counts add up, means are weighted, and what shards say alike is said once.
    """
    samples = sum(record.test.samples for record in records)

    def mean(field: str) -> float:
        return math.fsum(getattr(record, field) * record.test.samples for record in records) / samples

    controlled = all(record.control for record in records)
    activities = [record.activity for record in records]
    return {
        "adversarial": _joined(record.adversarial for record in records),
        "cost": _costs(record.cost for record in records),
        "control": _joined(record.control for record in records) if controlled else (),
        "control_cost": _costs(record.control_cost for record in records) if controlled else Costs(),
        "activity": _activity([each for each in activities if each]) if all(activities) else None,
        "chosen": _chosen([record.chosen for record in records]),
        "ensemble": _ensemble(records),
        "forwards": mean("forwards"),
        "backwards": mean("backwards"),
        "wall_seconds": math.fsum(record.wall_seconds for record in records),
    }


def flags_of(records: Iterable[Record]) -> tuple[Flag, ...]:
    """The flags of shards, each once."""
    return tuple({(flag.code, flag.text): flag for record in records for flag in record.flags}.values())


def _by_itself(attack: str, attacks: Catalogue) -> bool:
    """Whether an attack says of itself that it works on every sample alone."""
    try:
        factory: Callable[..., Any] = attacks[attack].load()
    except ArtSpikingError:
        return False  # told when the case is run
    return getattr(factory, "universal", None) is False


def _sliced(activity: Activity | None, part: slice) -> Activity | None:
    if activity is None:
        return None
    return Activity(spikes=activity.spikes[part], operations=activity.operations[part])


def _activity(parts: Sequence[Activity]) -> Activity:
    spikes, operations = (_joined(getattr(part, name) for part in parts) for name in ("spikes", "operations"))
    return Activity(spikes=spikes, operations=operations)


def _joined(columns: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(value for column in columns for value in column)


def _costs(parts: Iterable[Costs]) -> Costs:
    several = list(parts)
    return Costs(**{name: _joined(getattr(part, name) for part in several) for name in _COLUMNS})


def _chosen(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What was chosen on the craft split, the same for all; or each shard's choice, if they differ."""
    return parts[0] if all(part == parts[0] for part in parts) else {"shards": list(parts)}


def _ensemble(records: Sequence[Record]) -> EnsembleResult | None:
    """What the members of an ensemble did in all shards; places of samples are those in the whole split."""
    results = [(record.ensemble, record.test.samples) for record in records if record.ensemble is not None]
    if len(results) < len(records):
        return None
    members: dict[str, list[MemberResult]] = {}
    left_out: dict[tuple[str, str, bool], list[int]] = {}
    start = 0
    for result, samples in results:
        for member in result.members:
            members.setdefault(member.name, []).append(member)
        for entry in result.left_out:
            places = left_out.setdefault((entry.what, entry.why, entry.timed), [])
            places += [start + place for place in entry.samples]
        start += samples
    return EnsembleResult(
        version=results[0][0].version,
        members=tuple(_member(several) for several in members.values()),
        left_out=tuple(
            Omission(what=what, why=why, samples=tuple(places), timed=timed)
            for (what, why, timed), places in left_out.items()
        ),
    )


def _member(parts: Sequence[MemberResult]) -> MemberResult:
    alone = [part.alone for part in parts if part.alone is not None]
    counts = {name: sum(getattr(part, name) for part in parts) for name in _COUNTS}
    return MemberResult(
        name=parts[0].name,
        alone=sum(alone) if len(alone) == len(parts) else None,
        seconds=math.fsum(part.seconds for part in parts),
        **counts,
    )


_COUNTS = ("tried", "fooled", "forwards", "backwards")
