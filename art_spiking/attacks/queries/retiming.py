# SPDX-License-Identifier: MIT
"""RetimingSquare: random search for moves in time, from the model's answers alone."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from art_spiking.attacks.queries.search import QueryAttack, share_at
from art_spiking.attacks.queries.wishes import reached, wishes_for
from art_spiking.attacks.seeds import sample_keys
from art_spiking.threats import Retiming, ThreatModel


class RetimingSquare(QueryAttack[Retiming]):
    """Random search over which pixels' events come earlier and which later; none is added or removed.

    What is searched is what an event in a cell is worth, the same for blocks of pixels; `Retiming.best` turns
    it into the allowed retiming of most worth, so every query keeps every budget. Where the largest shift
    alone is bounded, all pixels move; where the number of moves or the sum of shifts is, as many places as
    the budget pays, and with a bounded sum no event goes farther than two steps. A query draws some blocks
    anew and is kept if the true class does not gain; the share that is drawn anew shrinks as queries are used
    up. What is drawn for a sample depends on the seed and on its own events alone, not on the samples beside
    it.

    The scheme is that of the Square Attack (Andriushchenko et al., ECCV 2020) and Sparse-RS (Croce et al.,
    AAAI 2022) for images, as in `EventSquare`. What differs: a block changes when events come, and not
    whether. Spike retiming (arXiv 2602.03284) names no attack without gradients.

    Black box: asks for logits alone. Budgets in steps or µs, and in events. Serves Retiming.
    """

    threats: ClassVar[tuple[type[ThreatModel], ...]] = (Retiming,)

    def run(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """See `EventAttack.run`; a sample that is not fooled keeps the best attempt."""
        threat = reached(self.threat, x.shape[1])
        keys = sample_keys(x, generator.initial_seed())
        result, lead = x.clone(), torch.full((len(x),), -torch.inf)
        open_ = torch.nonzero(x.flatten(1).any(1).cpu())[:, 0]
        wishes = {
            row: wishes_for(threat, x[row : row + 1], np.random.default_rng(int(keys[row])))
            for row in open_.tolist()
        }
        states = {row: wish.drawn() for row, wish in wishes.items()}
        tried = states
        asked = np.zeros(len(x), np.int64)
        for query in range(1, self.queries + 1):
            if not len(open_):
                break
            gains = np.stack([wishes[row].gain(tried[row]) for row in open_.tolist()])
            clean = x[open_]
            candidate = threat.best(torch.from_numpy(gains).view(clean.shape).to(x), clean)
            found, fooled = (told.cpu() for told in self.lead(candidate, y[open_]))
            asked[open_] += 1
            kept = fooled | (found >= lead[open_])
            rows = open_[kept]
            result[rows], lead[rows] = candidate[kept], found[kept].to(lead)
            states |= {row: tried[row] for row in rows.tolist()}
            open_ = open_[~fooled]
            share = share_at(query, self.queries)
            tried = {row: wishes[row].redrawn(states[row], share) for row in open_.tolist()}
        self.count(asked)
        return result
