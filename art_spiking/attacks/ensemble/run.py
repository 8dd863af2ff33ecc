# SPDX-License-Identifier: MIT
"""One run of an ensemble over a set: who attacks which samples, what is kept, what it took."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from art_spiking.attacks.ensemble.allowance import Allowance, Plan, Prices, plan
from art_spiking.attacks.ensemble.members import Member
from art_spiking.attacks.ensemble.outcomes import LeftOut, MemberOutcome
from art_spiking.errors import InvalidModel
from art_spiking.estimators.draws import DECISION_DRAWS, is_random

if TYPE_CHECKING:
    from art_spiking.attacks.base import EventAttack
    from art_spiking.attacks.ensemble.auto import AutoSpike

GRADIENT_DRAWS, PREDICTION_DRAWS = 4, 8
"""Draws of a random model that the members average, of a gradient and of a prediction."""

SURE = 0.8
"""From this share of its draws on a sample of a random model counts as fooled and leaves."""

TRIES = 3
"""How often a member with gradients attacks what is left of a random model: each time by other draws."""

_FEW = 4
_NO_GRADIENT = "no gradient leads from the logits to the input"
_BLACK_BOX = "the model is a black box, so only members without gradients attack it"


class EnsembleRun:
    """The state of one run.

    Attributes:
        result: (N, ...), for each sample what fooled the model, or the last attempt.
        left_out: what was not done, and why.
    """

    def __init__(self, auto: AutoSpike, clean: Tensor, labels: Tensor, *, allowance: Allowance) -> None:
        """Scores the clean samples; those that are fooled already are left alone."""
        self._auto, self._clean, self._labels = auto, clean, labels
        self._allowance = allowance
        self._random = is_random(auto.estimator, clean[:_FEW])
        self._start = self._share(clean, labels) > 0.5
        self._best = torch.zeros(len(clean))
        self._open = ~self._start
        self._exhaustive = auto.exhaustive or auto.fewest
        self._table: list[Tensor] = []
        self._costs: list[tuple[str, int, int, int, float]] = []
        self._spent = torch.full((len(clean),), torch.iinfo(torch.int64).max)
        self._prices: Prices | None = None
        self.result = clean.clone()
        self.left_out: list[LeftOut] = []
        if not auto.differentiable:
            missing = LeftOut("gradients", _BLACK_BOX, self._places(self._open), timed=False)
            self.left_out.append(missing)

    def all(self) -> None:
        """Lets every member attack, in order."""
        waiting = list(self._auto.ensemble())
        while waiting:
            planned = self._planned(waiting)
            member, waiting = waiting[0], waiting[1:]
            self._run(member, member if planned is None else planned.members[0])

    def outcomes(self) -> tuple[MemberOutcome, ...]:
        """What each member did."""
        exhaustive = self._auto.exhaustive and self._exhaustive
        found = []
        for place, (cost, fooled) in enumerate(zip(self._costs, self._table, strict=True)):
            name, tried, forwards, backwards, seconds = cost
            others = [other for k, other in enumerate(self._table) if k != place]
            alone = int((fooled & ~torch.stack(others).any(0)).sum()) if exhaustive and others else None
            found.append(MemberOutcome(name, tried, int(fooled.sum()), alone, forwards, backwards, seconds))
        return tuple(found)

    def _planned(self, waiting: Sequence[Member]) -> Plan | None:
        """What can be done in the time that is left; None where there is no limit."""
        if not self._allowance.limited or not bool(self._open.any()):
            return None
        if self._prices is None:
            self._prices = self._measured()
        found = plan(
            waiting,
            int(self._open.sum()),
            everyone=int((~self._start).sum()),
            exhaustive=self._exhaustive,
            prices=self._prices,
            left=self._allowance.left,
        )
        if self._exhaustive and not found.exhaustive:
            asked = "fewest" if self._auto.fewest else "exhaustive"
            why = f"{waiting[0].name} and later ones attack only what is left: {self._time(waiting)}"
            self.left_out.append(LeftOut(asked, why, self._places(~self._open & ~self._start)))
        self._exhaustive = found.exhaustive
        return found

    def _run(self, member: Member, planned: Member | None) -> None:
        rows = torch.nonzero(~self._start if self._exhaustive else self._open)[:, 0]
        fooled = torch.zeros_like(self._start)
        begin = self._allowance.elapsed
        tried = 0
        with self._auto.estimator.counting() as counted:
            if not len(rows):
                pass
            elif planned is None:
                self.left_out.append(LeftOut(member.name, self._time([member]), self._rows(rows)))
            else:
                if planned is not member:
                    why = f"{member.queries} queries cut to {planned.queries}: {self._time([member])}"
                    self.left_out.append(LeftOut(member.name, why, self._rows(rows)))
                tried = self._attack(planned, rows, fooled)
                if tried == len(rows):  # else a gradient or the time is missing, now as then
                    for _ in range(self._tries(member) - 1):
                        self._attack(planned, rows[self._open[rows]], fooled)
        self._table.append(fooled)
        seconds = self._allowance.elapsed - begin
        self._costs.append((member.name, tried, counted.forwards, counted.backwards, seconds))

    def _attack(self, member: Member, rows: Tensor, fooled: Tensor) -> int:
        """Attacks some samples, in parts between which the time is looked at; returns how many."""
        attack = self._auto.member_attack(member, random=self._random)
        tried = 0
        while tried < len(rows):
            if attack is None:
                self.left_out.append(LeftOut(member.name, _NO_GRADIENT, self._rows(rows), timed=False))
                break
            if self._allowance.left <= 0:
                self.left_out.append(LeftOut(member.name, "time was up", self._rows(rows[tried:])))
                break
            size = self._allowance.samples_at_once(self._prices, member, len(rows))
            part = rows[tried : tried + size]
            try:
                self._attack_part(attack, part, fooled)
            except InvalidModel:
                attack = None
                continue
            tried += len(part)
        return tried

    def _tries(self, member: Member) -> int:
        return TRIES if self._random and member.repeats else 1

    def _attack_part(self, attack: EventAttack[Any], rows: Tensor, fooled: Tensor) -> None:
        clean, labels = self._clean[rows], self._labels[rows]
        found = torch.from_numpy(attack.generate(clean.cpu().numpy(), labels.cpu().numpy())).to(clean)
        share = self._share(found, labels)
        won = share >= (SURE if self._random else 1.0)
        fooled[rows] |= share > 0.5
        if self._auto.fewest:
            cost = torch.from_numpy(self._auto.threat.cost(found, clean).edits)
            better = won & (cost < self._spent[rows])
            self._spent[rows[better]] = cost[better]
            better |= ~won & self._open[rows]
        else:
            # A sample that nothing fools keeps the last of its best attempts.
            better = self._open[rows] & (share >= self._best[rows])
        self._best[rows[better]] = share[better]
        self.result[rows[better]] = found[better]
        self._open[rows[won]] = False

    def _share(self, x: Tensor, labels: Tensor) -> Tensor:
        """In which share of passes each sample is what the attacker wants: one pass, or a random model's."""
        auto, passes = self._auto, DECISION_DRAWS if self._random else 1
        classes = [auto.estimator.predict_torch(x, auto.batch_size).argmax(1) for _ in range(passes)]
        return torch.stack([auto.fooled(found, labels).cpu() for found in classes]).float().mean(0)

    def _measured(self) -> Prices:
        """Times one forward pass and one gradient of a few samples, after one of each to warm up."""
        model, rows = self._auto.estimator, slice(0, self._auto.batch_size)
        x, y = self._clean[rows], self._labels[rows]
        forward = gradient = 0.0
        for _ in range(2):
            begin = self._allowance.elapsed
            model.predict_torch(x, len(x))
            middle = self._allowance.elapsed
            if self._auto.differentiable:
                with suppress(InvalidModel):  # a twin may have a gradient where the model has none
                    model.input_gradient(x, y)
            forward, gradient = middle - begin, self._allowance.elapsed - middle
        draws = (PREDICTION_DRAWS, GRADIENT_DRAWS) if self._random else (1, 1)
        tries = TRIES if self._random else 1
        return Prices(draws[0] * forward / len(x), draws[1] * gradient / len(x), tries)

    def _time(self, members: Sequence[Member]) -> str:
        samples = int((~self._start if self._exhaustive else self._open).sum())
        wanted = 0.0 if self._prices is None else sum(self._prices.of(member, samples) for member in members)
        return f"up to {wanted:.0f} s wanted, {max(0.0, self._allowance.left):.0f} s left"

    def _places(self, mask: Tensor) -> tuple[int, ...]:
        return self._rows(torch.nonzero(mask)[:, 0])

    @staticmethod
    def _rows(rows: Tensor) -> tuple[int, ...]:
        return tuple(int(row) for row in rows)
