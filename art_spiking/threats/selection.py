# SPDX-License-Identifier: MIT
"""Which of the requested edits stay: the strongest, and those that keep their distance in time."""

from __future__ import annotations

import torch
from torch import Tensor

_ENTRIES_AT_ONCE = 2**25


def keep_strongest(strength: Tensor, units: Tensor, limit: Tensor) -> Tensor:
    """Keeps at most `limit` units of every row, the strongest first.

    The j-th unit of a cell (from 0) has strength `strength - j`; equal strengths go by level, then by index,
    so that the result is the same everywhere.

    Args:
        strength: (R, M) float32, finite.
        units: (R, M) whole numbers >= 0 asked for.
        limit: (R,) whole numbers >= 0.

    Returns:
        (R, M) whole numbers, at most `units`; a row within its limit is unchanged.
    """
    over = units.sum(1, dtype=torch.float64) > limit
    if not bool(over.any()):
        return units
    rows = over.nonzero().squeeze(1)
    result = units.clone()
    levels = int(min(units[rows].max().item(), max(limit[rows].max().item(), 1)))
    for part in torch.split(rows, max(1, _ENTRIES_AT_ONCE // (units.shape[1] * levels))):
        result[part] = _strongest(strength[part], units[part], limit[part].long(), levels)
    return result


def _strongest(strength: Tensor, units: Tensor, limit: Tensor, levels: int) -> Tensor:
    level = torch.arange(levels, device=units.device, dtype=strength.dtype).view(1, -1, 1)
    asked = level < units.unsqueeze(1)
    value = torch.where(asked, strength.unsqueeze(1) - level, -torch.inf).flatten(1)
    # One place more than the limit shows whether the last place is contested.
    places = min(int(limit.max()) + 1, value.shape[1])
    ranked = value.topk(places).values
    last = (limit - 1).clamp(0, places - 1).unsqueeze(1)
    threshold = torch.where(limit.unsqueeze(1) > 0, ranked.gather(1, last), torch.inf)
    kept = value >= threshold
    contested = (ranked.gather(1, limit.clamp(max=places - 1).unsqueeze(1)) == threshold) & (
        last + 1 < places
    )
    if bool(contested.any()):
        tied = value == threshold
        room = limit.unsqueeze(1) - (ranked > threshold).sum(1, keepdim=True)
        kept &= ~tied | (tied.cumsum(1) <= room)
    kept = kept.view(len(units), levels, -1)
    return (kept[:, 0] if levels == 1 else kept.sum(1)).to(units.dtype)


def keep_within_step(strength: Tensor, added: Tensor, present: Tensor, capacity: int) -> Tensor:
    """Keeps insertions while a pixel's events in one step, of all polarities, number at most `capacity`.

    Args:
        strength: (N, T, C, P) float32.
        added: (N, T, C, P) units to insert.
        present: (N, T, P) events already there.
        capacity: events that fit in one step.

    Returns:
        (N, T, C, P) units that stay.
    """
    room = (capacity - present).clamp(min=0)
    crowded = added.sum(2) > room
    if not bool(crowded.any()):
        return added
    sample, step, pixel = crowded.nonzero(as_tuple=True)
    result = added.clone()
    result[sample, step, :, pixel] = keep_strongest(
        strength[sample, step, :, pixel], added[sample, step, :, pixel], room[sample, step, pixel]
    )
    return result


def keep_apart(strength: Tensor, added: Tensor, present: Tensor, radius: int) -> Tensor:
    """Keeps insertions that are the only event of their pixel within `radius` steps, the strongest first.

    In each round every candidate that is the strongest within its radius is taken and blocks the others
    there; that gives what taking one candidate at a time would give. Equal strengths: the earlier step, then
    the lower channel.

    Args:
        strength: (N, T, C, P) float32, above 0 where units are asked for.
        added: (N, T, C, P) units to insert.
        present: (N, T, P) events already there.
        radius: steps on either side that must be empty, as well as the step itself.

    Returns:
        (N, T, C, P) units that stay: 0 or 1.
    """
    steps, channels = added.shape[1:3]
    radius = min(radius, steps - 1)
    free = window_max((present > 0).to(torch.int8), radius) == 0
    order = torch.arange(steps * channels, device=added.device).view(1, steps, channels, 1)
    # The bits of positive floats are ordered as the floats are: one whole number ranks strength, then index.
    key = (strength.contiguous().view(torch.int32).to(torch.int64) << 32) - order
    key = torch.where((added > 0) & free.unsqueeze(2), key, -1)
    best, channel = key.max(2)
    chosen = torch.zeros_like(free)
    while bool((best >= 0).any()):
        winner = (best >= 0) & (best == window_max(best, radius))
        chosen |= winner
        best = torch.where(window_max(winner.to(torch.int8), radius) > 0, -1, best)
    here = torch.arange(channels, device=added.device).view(1, 1, -1, 1) == channel.unsqueeze(2)
    return (here & chosen.unsqueeze(2)).to(added.dtype)


def window_max(values: Tensor, radius: int) -> Tensor:
    """The maximum over 2 * radius + 1 steps around each step of axis 1, beyond the ends -1."""
    if radius < 1:
        return values
    shape = list(values.shape)
    shape[1] = radius
    edge = values.new_full(shape, -1)
    result, span = torch.cat([edge, values, edge], 1), 1
    width = 2 * radius + 1
    while span < width:
        shift = min(span, width - span)
        result = torch.maximum(result[:, :-shift], result[:, shift:])
        span += shift
    return result
