# SPDX-License-Identifier: MIT
"""Where on the sensor a network looks: where a patch may pay, before any patch is fitted."""

from __future__ import annotations

import torch
from torch import Tensor

from art_spiking.attacks.objectives import Objective
from art_spiking.estimators import SpikingClassifier
from art_spiking.network import SpikingNetwork
from art_spiking.receptive_fields import receptive_fields


def attention(
    view: SpikingClassifier, x: Tensor, y: Tensor, objective: Objective, *, batch_size: int
) -> Tensor:
    """Returns how much a network's objective depends on each pixel, (H, W).

    The mean over samples of the gradient's magnitude, summed over steps and polarities.
    """
    total = torch.zeros(x.shape[3:], device=x.device)
    for a, b in zip(torch.split(x, batch_size), torch.split(y, batch_size), strict=True):
        gradient, _ = view.input_gradient(a, b, objective=objective)
        total += gradient.abs().sum((0, 1, 2))
    return total / len(x)


def first_field(network: SpikingNetwork | None) -> int:
    """Returns the side in pixels of the first receptive field wider than a pixel; 1 if there is none."""
    if network is None:
        return 1
    fields = receptive_fields(network.to_graph()).values()
    sides = [max(field) for field in fields if isinstance(field, tuple) and len(field) == 2]
    return min((side for side in sides if side > 1), default=1)


def attended_places(attention: Tensor, side: int, field: int, *, most: int) -> list[tuple[int, int]]:
    """Returns up to `most` (top, left) of a patch where a network looks most, the best first.

    A patch moves every value whose field it touches, so magnitudes are summed over the window grown by
    field - 1 pixels, and beyond the sensor there is nothing to move. Places lie at least half a side apart.

    Args:
        attention: (H, W) of `attention`.
        side: of the patch.
        field: pixels along an axis from which one value of the first layer comes.
        most: places.
    """
    grown = side + field - 1
    before = (field - 1) // 2
    padded = torch.nn.functional.pad(attention, (before, field - 1 - before) * 2)
    sums = torch.nn.functional.avg_pool2d(padded[None].double(), grown, 1)[0] * grown**2
    found: list[tuple[int, int]] = []
    while len(found) < most and bool((sums >= 0).any()):
        best = int(sums.argmax())
        top, left = best // sums.shape[1], best % sums.shape[1]
        found.append((top, left))
        near = max(1, side // 2)
        sums[max(0, top - near) : top + near + 1, max(0, left - near) : left + near + 1] = -1
    return found
