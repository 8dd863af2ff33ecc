# SPDX-License-Identifier: MIT
"""The gradient path that adds most to an ensemble on a craft split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from art_spiking.attacks.choosing import CANDIDATES, Choice, Trial, strongest
from art_spiking.attacks.ensemble.allowance import Allowance
from art_spiking.attacks.ensemble.members import CHOSEN_STEPS, TUNING_STEPS, Member
from art_spiking.errors import InvalidInput
from art_spiking.gradient_paths import GradientPath

if TYPE_CHECKING:
    from art_spiking.attacks.base import EventAttack
    from art_spiking.attacks.ensemble.auto import AutoSpike

Array = npt.NDArray[Any]

CRAFT_SAMPLES = 24
_LEAST = 4


def chosen_member(auto: AutoSpike, x: Array, y: Array, allowance: Allowance) -> tuple[Member, Choice] | None:
    """The member with the strongest gradient path on craft samples that the ensemble's first leaves.

    Every path of `choosing.CANDIDATES` that the ensemble lacks is tried for `TUNING_STEPS` steps; the member
    gets `CHOSEN_STEPS`. The searches have no step size to choose: it follows from the budget. Where the first
    member leaves fewer than four of `CRAFT_SAMPLES` samples, all are used.

    Returns:
        The member and how all paths did; None where there is nothing to choose, or no time.
    """
    x, y = x[:CRAFT_SAMPLES], y[:CRAFT_SAMPLES]
    members = auto.ensemble()
    first = members[0]
    known = [member.surrogate for member in members]
    candidates = [path for path in CANDIDATES if path not in known]

    def build(path: GradientPath) -> EventAttack[Any]:
        options: dict[str, Any] = {"steps": TUNING_STEPS, "surrogate": path, "targeted": auto.targeted}
        return first.build(auto.estimator, auto.threat, **options, batch_size=auto.batch_size)

    left = auto.estimator.predict(build(_path(first)).generate(x, y)).argmax(1)
    wanted = np.asarray(y) if np.ndim(y) == 1 else np.argmax(y, 1)
    unfooled = left != wanted if auto.targeted else left == wanted
    if unfooled.sum() >= _LEAST:
        x, y = x[unfooled], y[unfooled]
    trials: list[Trial] = []
    refused: list[GradientPath] = []
    for path in candidates:
        if allowance.left <= 0:
            break
        try:
            trials += strongest(build, x, y, [path]).ranking
        except InvalidInput:
            refused.append(path)  # a network or a framework that cannot take it
    if not trials:
        return None
    trials.sort(key=lambda trial: (-trial.fooled, -trial.lead))
    choice = Choice(tuple(trials), len(x), tuple(refused))
    name = f"chosen on craft: {choice.best.name}"
    return Member(name, first.build, first.parameters | {"steps": CHOSEN_STEPS}, choice.best), choice


def _path(member: Member) -> GradientPath:
    if member.surrogate is None:
        raise InvalidInput("the first member of an ensemble must state its surrogate")
    return member.surrogate
