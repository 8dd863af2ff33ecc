# SPDX-License-Identifier: MIT
"""The order of a layer's features in memory, which a scan keeps."""

from __future__ import annotations

from torch import Tensor

RESETS = ("none", "subtract", "value", "subtract-later", "blank-later")
"""What `neurons.reset_kind` returns, by the number that compiled kernels know it by."""


def memory_order(current: Tensor) -> tuple[int, ...]:
    """The order of feature axes in memory, as a permutation for (N, T, *F); empty if they are in order."""
    if current.dim() < 4 or current.is_contiguous():
        return ()
    axes = (*range(3, current.dim()), 2)
    return axes if current.permute(0, 1, *axes).is_contiguous() else ()


def in_features_order(ordered: Tensor, axes: tuple[int, ...]) -> Tensor:
    """A tensor whose axes were permuted by `memory_order`, seen as (N, T, *F) again."""
    return ordered.permute(0, 1, len(axes) + 1, *range(2, len(axes) + 1)) if axes else ordered
