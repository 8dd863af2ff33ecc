# SPDX-License-Identifier: MIT
"""EventSquare: a query attack that asks for logits alone and edits blocks of space and time."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from art_spiking.attacks.base import EventAttack, check_flag, check_whole
from art_spiking.attacks.edit_space import budgets_of, is_plain
from art_spiking.attacks.objectives import gap
from art_spiking.estimators import SpikingClassifier
from art_spiking.threats import EventThreat

_SCHEDULE = ((0.02, 0.5), (0.1, 0.25), (0.25, 0.12), (0.5, 0.06), (1.0, 0.03))
"""Up to a share of the queries: the share of blocks that are drawn anew."""

_SIDE = 2
_DURATION = 6
_LEAST_BLOCKS = 5


class EventSquare(EventAttack):
    """Random search over blocks of edits, for models that give logits and no gradients.

    The budget is spent on blocks of neighbouring cells: two by two pixels of one polarity over a sixth of the
    recording, smaller where the budget buys fewer than five. A query draws some blocks anew and is kept if
    the true class does not gain; the share that is drawn anew shrinks as queries are used up. Blocks insert
    events; where the threat allows deletions alone they delete.

    The scheme is that of the Square Attack (Andriushchenko et al., ECCV 2020) and Sparse-RS (Croce et al.,
    AAAI 2022) for images. What differs: the budget counts events, every query is a valid recording, and
    blocks extend over time, because neurons sum what comes close in time (measured on the community N-MNIST
    network with 200 edits and 1,000 queries: blocks fool all samples, single cells two in five).
    """

    attack_params: ClassVar[list[str]] = [*EventAttack.attack_params, "queries"]

    def __init__(
        self,
        estimator: SpikingClassifier,
        threat: EventThreat,
        *,
        queries: int = 1000,
        targeted: bool = False,
        seed: int = 0,
        batch_size: int = 50,
    ) -> None:
        """Takes the hyper-parameters.

        Args:
            estimator: the model under attack; only its logits are used.
            threat: what may be changed; EventEdits, alone or joined with others.
            queries: most forward passes per sample.
            targeted: whether `y` holds classes to reach.
            seed: the same seed gives the same result.
            batch_size: samples attacked at once.

        Raises:
            InvalidInput: an option that does not fit.
        """
        super().__init__(estimator, threat, seed=seed, batch_size=batch_size)
        self.queries = queries
        self.targeted = targeted
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        if not hasattr(self, "queries"):
            return
        check_whole("queries", self.queries)
        check_flag("targeted", self.targeted)

    def run(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """See `EventAttack.run`."""
        search = _BlockSearch(self.threat, x)
        blocks = search.draw(torch.arange(len(x)), generator)
        result = search.edited(torch.arange(len(x)), blocks)
        lead, fooled = self._lead(result, y)
        open_ = torch.nonzero(~fooled)[:, 0]
        for query in range(1, self.queries):
            if not len(open_):
                break
            share = next(share for until, share in _SCHEDULE if query <= until * self.queries)
            tried = search.redrawn(open_, blocks[open_], share, generator)
            candidate = search.edited(open_, tried)
            found, fooled = self._lead(candidate, y[open_])
            kept = fooled | (found >= lead[open_])
            rows = open_[kept]
            blocks[rows], result[rows], lead[rows] = tried[kept], candidate[kept], found[kept]
            open_ = open_[~fooled]
        return result

    def _lead(self, x_adv: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """How far each sample is towards what the attacker wants, and whether it is there."""
        logits = self.estimator.predict_torch(x_adv, self.batch_size)
        lead = gap(logits, y) * (-1 if self.targeted else 1)
        return lead.cpu(), self.fooled(logits.argmax(1), y).cpu()


class _BlockSearch:
    """Blocks of edits of a batch: drawn, drawn anew in part, and made into valid recordings.

    Blocks are int64 (N, slots, cells): indices of cells in a sample; -1 where a budget buys fewer blocks.
    """

    def __init__(self, threat: EventThreat, x: Tensor) -> None:
        self._threat, self._x = threat, x
        insertable, deletable = threat.allowed(x)
        inserts = bool(insertable.any())
        self._sign = 1 if inserts else -1
        self._editable = (insertable if inserts else deletable).flatten(1)
        self._grid = tuple(x.shape[1:]) if x.ndim == 5 else (x.shape[1], 1, 1, x.shape[2])
        budgets = budgets_of(threat, x).cpu()
        sides = self._sides(int(budgets.max()))
        axes = torch.meshgrid(*(torch.arange(side) for side in sides), indexing="ij")
        self._offsets = [axis.flatten() for axis in axes]
        self._slots = (budgets // len(self._offsets[0])).clamp(max=self._editable.shape[1])
        # Anchors are drawn with replacement from the cells that may be edited.
        self._weights = self._editable.cpu().to(torch.float32)
        self._weights[self._weights.sum(1) == 0] = 1.0

    def _sides(self, budget: int) -> tuple[int, int, int]:
        """Steps, rows and columns of a block."""
        steps, _, height, width = self._grid
        most = max(1, budget // _LEAST_BLOCKS)
        duration = min(max(1, round(steps / _DURATION)), most)
        columns = min(_SIDE, width, max(1, most // duration)) if self._x.ndim == 5 else 1
        return duration, min(_SIDE, height, max(1, most // (duration * columns))), columns

    def draw(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """New blocks for all slots of some samples."""
        slots = max(1, int(self._slots.max()))
        anchors = torch.multinomial(self._weights[rows], slots, replacement=True, generator=generator)
        steps, channels, height, width = self._grid
        sides = [int(offset.max()) + 1 for offset in self._offsets]
        t = (anchors // (channels * height * width)).clamp(max=steps - sides[0])
        channel = anchors // (height * width) % channels
        row = (anchors // width % height).clamp(max=height - sides[1])
        column = (anchors % width).clamp(max=width - sides[2])
        placed = [
            place[..., None] + offset for place, offset in zip((t, row, column), self._offsets, strict=True)
        ]
        cells = ((placed[0] * channels + channel[..., None]) * height + placed[1]) * width + placed[2]
        unused = torch.arange(slots) >= self._slots[rows][:, None]
        return cells.masked_fill(unused[..., None], -1)

    def redrawn(self, rows: Tensor, blocks: Tensor, share: float, generator: torch.Generator) -> Tensor:
        """The blocks with a share of them, at least one, drawn anew."""
        rank = torch.rand(blocks.shape[:2], generator=generator)
        rank = rank.masked_fill(blocks[..., 0] < 0, 2.0).argsort(1).argsort(1)
        count = (self._slots[rows] * share).long().clamp(min=1)
        return torch.where((rank < count[:, None])[..., None], self.draw(rows, generator), blocks)

    def edited(self, rows: Tensor, blocks: Tensor) -> Tensor:
        """The samples with their blocks, as the threat allows."""
        clean = self._x[rows]
        cells = blocks.flatten(1).to(clean.device)
        asked = torch.zeros_like(clean).flatten(1)
        asked = torch.cat([asked, asked[:, :1]], 1).scatter_(1, cells % (asked.shape[1] + 1), 1.0)[:, :-1]
        wanted = clean + (asked * self._editable[rows] * self._sign).view(clean.shape)
        return wanted if is_plain(self._threat) else self._threat.project(wanted, clean)
