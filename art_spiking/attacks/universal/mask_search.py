# SPDX-License-Identifier: MIT
"""The search for one mask by gradients, over movements and filters that the attacker does not know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from art_spiking.attacks.objectives import Objective
from art_spiking.attacks.universal.attack import shuffled
from art_spiking.attacks.universal.filters_in_loop import Differentiable
from art_spiking.attacks.universal.mask_space import MaskSpace
from art_spiking.attacks.universal.movements import Movements
from art_spiking.attacks.universal.perturbations import Perturbation

_MOMENTUM = 0.8
_LEAST_RATE = 0.08


class MaskSearch:
    """A soft mask on its way, as `UniversalAttack.race` runs it.

    Attributes:
        label: by what it is differentiated, as plain data.
    """

    def __init__(
        self,
        views: Sequence[Differentiable],
        space: MaskSpace,
        objective: Objective,
        *,
        max_shift: int,
        max_translation: int,
        batch_size: int,
        label: Mapping[str, Any],
    ) -> None:
        """Starts from the empty mask.

        Args:
            views: the model as the attacker differentiates it; batches take several in turn.
            space: the masks to choose from.
            objective: to ascend.
            max_shift: most steps by which each sample's mask is turned in time.
            max_translation: most pixels by which it is moved over the sensor.
            batch_size: samples of a gradient.
            label: by what it is differentiated, as plain data.
        """
        self.label = label
        self._views, self._space, self._objective = views, space, objective
        self._reach = {"max_shift": max_shift, "max_translation": max_translation}
        self._batch_size = batch_size
        self._soft = torch.zeros_like(space.cost)
        self._velocity = torch.zeros_like(space.cost)
        self._steps = 0

    def epoch(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Perturbation:
        """See `Search.epoch`."""
        for part in shuffled(len(x), self._batch_size, generator):
            gain = self._gain(x[part], y[part], Movements.drawn(len(part), generator, **self._reach))
            self._velocity = _MOMENTUM * self._velocity + gain / gain.norm().clamp(min=1e-30)
            rate = max(2 / (self._steps + 2), _LEAST_RATE)
            self._soft = self._soft + rate * (self._space.best(self._velocity) - self._soft)
            self._steps += 1
        return self._space.perturbation(self._soft, **self._reach)

    def _gain(self, x: Tensor, y: Tensor, moves: Movements) -> Tensor:
        """What one more event in, or from, each cell of the mask is worth to a batch: (2, T, C, H, W)."""
        insertable, deletable = (mask.to(x.dtype) for mask in self._space.threat.allowed(x))
        insert, delete = self._soft if moves.none else moves.of(self._soft).unbind(1)
        edited = x + insert * insertable - delete * deletable
        view = self._views[self._steps % len(self._views)]
        gradient, _ = view.input_gradient(edited, y, objective=self._objective)
        if moves.none:
            return torch.stack([(gradient * insertable).sum(0), -(gradient * deletable).sum(0)])
        return moves.back(torch.stack([gradient * insertable, -gradient * deletable], 1)).sum(0)
