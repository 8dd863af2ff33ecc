# SPDX-License-Identifier: MIT
"""EventSquare: a query attack that asks for logits alone and edits blocks of space and time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from art_spiking.attacks.edits.space import budgets_of, is_plain
from art_spiking.attacks.queries.blocks import block_sides, editable_cells, grid_of
from art_spiking.attacks.queries.search import QueryAttack, share_at
from art_spiking.attacks.seeds import sample_keys
from art_spiking.threats import EventThreat

_ANCHORS, _RANKS = 0, 1
_SLOT_BITS = 32


class EventSquare(QueryAttack):
    """Random search over blocks of edits, for models that give logits and no gradients.

    The budget is spent on blocks of neighbouring cells: two by two pixels of one polarity over a sixth of the
    recording, smaller where the budget buys fewer than five. A query draws some blocks anew and is kept if
    the true class does not gain; the share that is drawn anew shrinks as queries are used up. Blocks insert
    events; where the threat allows deletions alone they delete. What is drawn for a sample depends on the
    seed and on its own events alone, not on the samples beside it.

    The scheme is that of the Square Attack (Andriushchenko et al., ECCV 2020) and Sparse-RS (Croce et al.,
    AAAI 2022) for images. What differs: the budget counts events, every query is a valid recording, and
    blocks extend over time, because neurons sum what comes close in time (measured on the community N-MNIST
    network with 200 edits and 1,000 queries: blocks fool 95 % of samples, single cells 40 %).
    """

    def run(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """See `EventAttack.run`."""
        search = _BlockSearch(self.threat, x, seed=generator.initial_seed())
        blocks = search.draw(torch.arange(len(x)), 0)
        result = search.edited(torch.arange(len(x)), blocks)
        lead, fooled = (told.cpu() for told in self.lead(result, y))
        open_ = torch.nonzero(~fooled)[:, 0]
        asked = np.ones(len(x), np.int64)
        for query in range(1, self.queries):
            if not len(open_):
                break
            share = share_at(query, self.queries)
            tried = search.redrawn(open_, blocks[open_], share, query)
            candidate = search.edited(open_, tried)
            found, fooled = (told.cpu() for told in self.lead(candidate, y[open_]))
            asked[open_] += 1
            kept = fooled | (found >= lead[open_])
            rows = open_[kept]
            blocks[rows], result[rows], lead[rows] = tried[kept], candidate[kept], found[kept]
            open_ = open_[~fooled]
        self.count(asked)
        return result


class _Draws:
    """Random numbers by address: sample, query, slot; one stream per sample, whatever stands beside it.

    SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) read at any place, rather than in order. A sample's key is
    a digest of the seed and of its own events.
    """

    def __init__(self, x: Tensor, seed: int) -> None:
        self._keys = sample_keys(x, seed)

    def at(self, rows: Tensor, query: int, purpose: int, slots: int) -> npt.NDArray[np.uint64]:
        """Uniform numbers of 64 bits, (rows, slots)."""
        first = (2 * query + purpose) << _SLOT_BITS
        place = np.arange(first + 1, first + 1 + slots, dtype=np.uint64)
        state = self._keys[rows.numpy()][:, None] + place * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: npt.NDArray[np.uint64] = state ^ (state >> np.uint64(31))
        return mixed


class _BlockSearch:
    """Blocks of edits of a batch: drawn, drawn anew in part, and made into valid recordings.

    Blocks are int64 (N, slots, cells): indices of cells in a sample; -1 where a budget buys fewer blocks, or
    smaller ones. Nothing of a sample's blocks depends on the other samples but such padding.
    """

    def __init__(self, threat: EventThreat, x: Tensor, *, seed: int) -> None:
        self._threat, self._x = threat, x
        self._sign, self._editable = editable_cells(threat, x)
        self._grid = grid_of(x)
        budgets = budgets_of(threat, x).cpu()
        self._sides = block_sides(x, budgets)
        axes = torch.meshgrid(*(torch.arange(int(side.max())) for side in self._sides), indexing="ij")
        self._offsets = [axis.flatten() for axis in axes]
        within = [offset < side[:, None] for offset, side in zip(self._offsets, self._sides, strict=True)]
        self._within = within[0] & within[1] & within[2]
        self._slots = (budgets // self._within.sum(1)).clamp(max=self._editable.shape[1])
        self._draws = _Draws(x, seed)
        # Anchors are drawn with replacement from the cells that may be edited: one list after the other.
        cells = [np.flatnonzero(sample).astype(np.int32) for sample in self._editable.cpu().numpy()]
        lengths = np.array([len(found) for found in cells])
        self._first = np.cumsum(lengths) - lengths
        self._choices = np.maximum(lengths, 1).astype(np.uint64)
        # A sample without any such cell reads the one behind its list; what is asked there is not allowed.
        self._cells = np.concatenate([*cells, np.zeros(1, np.int32)])

    def draw(self, rows: Tensor, query: int) -> Tensor:
        """New blocks for all slots of some samples."""
        slots = max(1, int(self._slots.max()))
        number = self._draws.at(rows, query, _ANCHORS, slots) % self._choices[rows.numpy()][:, None]
        place = self._first[rows.numpy()][:, None] + number.astype(np.int64)
        anchors = torch.from_numpy(self._cells[place].astype(np.int64))
        steps, channels, height, width = self._grid
        duration, tall, wide = (side[rows][:, None] for side in self._sides)
        t = torch.minimum(anchors // (channels * height * width), steps - duration)
        channel = anchors // (height * width) % channels
        row = torch.minimum(anchors // width % height, height - tall)
        column = torch.minimum(anchors % width, width - wide)
        placed = [
            place[..., None] + offset for place, offset in zip((t, row, column), self._offsets, strict=True)
        ]
        cells = ((placed[0] * channels + channel[..., None]) * height + placed[1]) * width + placed[2]
        used = torch.arange(slots) < self._slots[rows][:, None]
        return cells.masked_fill(~(used[..., None] & self._within[rows][:, None]), -1)

    def redrawn(self, rows: Tensor, blocks: Tensor, share: float, query: int) -> Tensor:
        """The blocks with a share of them, at least one, drawn anew."""
        # 53 bits are a float64 without rounding; slots that a budget does not buy come last.
        number = self._draws.at(rows, query, _RANKS, blocks.shape[1]) >> np.uint64(11)
        rank = torch.from_numpy(number.astype(np.float64)).masked_fill(blocks[..., 0] < 0, float("inf"))
        count = (self._slots[rows] * share).long().clamp(min=1)
        chosen = rank.argsort(1).argsort(1) < count[:, None]
        return torch.where(chosen[..., None], self.draw(rows, query), blocks)

    def edited(self, rows: Tensor, blocks: Tensor) -> Tensor:
        """The samples with their blocks, as the threat allows."""
        clean = self._x[rows]
        cells = blocks.flatten(1).to(clean.device)
        asked = torch.zeros_like(clean).flatten(1)
        asked = torch.cat([asked, asked[:, :1]], 1).scatter_(1, cells % (asked.shape[1] + 1), 1.0)[:, :-1]
        wanted = clean + (asked * self._editable[rows] * self._sign[rows]).view(clean.shape)
        return wanted if is_plain(self._threat) else self._threat.project(wanted, clean)
