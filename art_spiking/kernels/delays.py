# SPDX-License-Identifier: MIT
"""A delay of whole time steps, one for all values or one for each."""

from __future__ import annotations

import torch
from torch import Tensor


def delay(x: Tensor, steps: Tensor) -> Tensor:
    """y[t] = x[t - steps], and zero where that lies before the first step.

    Args:
        x: Values (N, T, *F).
        steps: Delays, int64 and not below 0, of shape (*F) or of one element.
    """
    length = x.shape[1]
    if steps.numel() == 1:
        shift = min(int(steps), length)
        if shift == 0:
            return x
        silence = x.new_zeros((x.shape[0], shift, *x.shape[2:]))
        return torch.cat([silence, x[:, : length - shift]], 1)
    rows = x.flatten(2)
    times = torch.arange(length, device=x.device).unsqueeze(1) - steps.reshape(1, -1)
    taken = rows.gather(1, times.clamp(min=0).expand(len(x), -1, -1))
    return torch.where(times >= 0, taken, taken.new_zeros(())).reshape(x.shape)
