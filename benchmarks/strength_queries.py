# SPDX-License-Identifier: MIT
"""The section `queries` of strength.py: success of the attacks without gradients by the number of queries.

One run of 2,000 queries gives an attack's whole curve, as what it asks does not depend on how many it may
ask; EventSquare's schedule does, so it runs once for each number. What the decision-based attacks count are
questions until a sample is fooled within the budget. Moves in time are searched by RetimingSquare, whose
schedule depends on the number too.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from art_spiking.attacks import (
    EventAttack,
    EventGenetic,
    EventGreedy,
    EventHopSkipJump,
    EventSignOPT,
    EventSquare,
    RandomEvents,
    RandomRetiming,
    RetimingSquare,
)
from art_spiking.threats import EventEdits, Retiming

if TYPE_CHECKING:
    from strength import Setting

COUNTS = (100, 300, 1000, 2000)
BUDGETS = (50, 200)
RETIMINGS = (Retiming(1), Retiming(2), Retiming(max_moved=200), Retiming(max_moved=400))
CURVES: dict[str, type[EventGenetic | EventGreedy | EventHopSkipJump | EventSignOPT]] = {
    "EventGenetic (logits)": EventGenetic,
    "EventGreedy (logits)": EventGreedy,
    "EventHopSkipJump (labels)": EventHopSkipJump,
    "EventSignOPT (labels)": EventSignOPT,
}

Row = dict[str, Any]


def queries(setting: Setting, samples: int | None = None) -> Iterator[Row]:
    """Success by queries of each attack, at 50 and 200 edits, beside random edits.

    Args:
        setting: the model and the recordings.
        samples: so many of the recordings; by default all.
    """
    x, y = (array[:samples] for array in setting.right())
    for budget in BUDGETS:
        threat = EventEdits(budget)
        control = RandomEvents(setting.model, threat).generate(x, y)
        by_chance = float(fooled(setting, control, y).mean())
        for name, kind in CURVES.items():
            attack = kind(setting.model, threat, queries=max(COUNTS))
            won, seconds = run(setting, attack, x, y)
            asked = np.asarray(attack.query_counts)
            curve = {f"success at {count}": float((won & (asked <= count)).mean()) for count in COUNTS}
            yield (
                row(name, budget, len(x), by_chance, seconds)
                | curve
                | {"median queries": float(np.median(asked))}
            )
        curve, seconds = {}, 0.0
        for count in COUNTS:
            won, took = run(setting, EventSquare(setting.model, threat, queries=count), x, y)
            curve[f"success at {count}"], seconds = float(won.mean()), seconds + took
        yield row("EventSquare (logits)", budget, len(x), by_chance, seconds) | curve
    yield from moves(setting, x, y)


def moves(setting: Setting, x: np.ndarray, y: np.ndarray) -> Iterator[Row]:
    """Success of RetimingSquare by the number of queries, beside random retiming."""
    for threat in RETIMINGS:
        by_chance = float(fooled(setting, RandomRetiming(setting.model, threat).generate(x, y), y).mean())
        curve, seconds = {}, 0.0
        for count in COUNTS:
            won, took = run(setting, RetimingSquare(setting.model, threat, queries=count), x, y)
            curve[f"success at {count}"], seconds = float(won.mean()), seconds + took
        yield {
            "attack": f"{threat!r}, RetimingSquare (logits)",
            "samples": len(x),
            "random": by_chance,
            "ms a sample": 1e3 * seconds / len(x),
        } | curve


def row(name: str, budget: int, samples: int, by_chance: float, seconds: float) -> Row:
    return {
        "attack": f"{budget} edits, {name}",
        "samples": samples,
        "random": by_chance,
        "ms a sample": 1e3 * seconds / samples,
    }


def run(setting: Setting, attack: EventAttack[Any], x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    start = time.perf_counter()
    x_adv = attack.generate(x, y)
    return fooled(setting, x_adv, y), time.perf_counter() - start


def fooled(setting: Setting, x_adv: np.ndarray, y: np.ndarray) -> np.ndarray:
    return setting.model.predict(x_adv).argmax(1) != y
