# SPDX-License-Identifier: MIT
"""What a model's logits were before they were squashed, and on a scale that objectives take."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_PLACES = (torch, Tensor, torch.nn.functional, torch.special)
_SINGLE = "sigmoid tanh atan erf log log1p exp expm1 sqrt relu softplus logsigmoid softsign round floor ceil"


def _named(*names: str) -> set[Any]:
    return {getattr(place, name) for place in _PLACES for name in names if hasattr(place, name)}


_OVER_CLASSES = _named("softmax", "log_softmax")
_RISING = _named(*_SINGLE.split())
_LEAST_RANGE, _MOST_RANGE = 16.0, 32.0


class Squashing(TorchFunctionMode):
    """Remembers what goes into functions that keep the order of classes, but may round it away.

    A softmax of large scores is 0 and 1: all classes but one tie, and nothing tells an attack which of them
    is next, or how near. Entered after other modes it sees what these return.
    """

    def __init__(self) -> None:
        """Remembers nothing yet."""
        super().__init__()
        self._pairs: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """See torch's `TorchFunctionMode`."""
        kwargs = kwargs or {}
        value = func(*args, **kwargs)
        if func in _RISING or func in _OVER_CLASSES:
            before = args[0] if args else kwargs.get("input")
            axis = args[1] if len(args) > 1 else kwargs.get("dim")
            whole = func in _RISING or axis in (1, -1, None)
            if whole and isinstance(before, Tensor) and isinstance(value, Tensor) and value.ndim == 2:
                self._pairs.append((before, value))
        return value

    def undone(self, logits: Tensor) -> Tensor:
        """What such functions alone made these logits (N, K) of, last taken off first; else the logits."""
        with torch.no_grad():
            for before, after in reversed(self._pairs):
                if after is logits or (
                    after.shape == before.shape == logits.shape and torch.equal(after.to(logits), logits)
                ):
                    logits = before
        return logits


def tempered(logits: Tensor) -> Tensor:
    """Divides each row of logits (N, K) by a constant, where they do not range as spike counts do.

    The temperature of soft objectives is one spike. Of classes thousands of it apart only one pulls, or none;
    of classes that are all within it, each pulls alike. Rows that range over 16 to 32, as the counts of some
    dozen time steps do, stay. The constants take no gradient, and no row depends on another.
    """
    with torch.no_grad():
        span = logits.amax(1, keepdim=True) - logits.amin(1, keepdim=True)
        factor = span.clamp(_LEAST_RANGE, _MOST_RANGE) / span
        factor = torch.where(torch.isfinite(factor), factor, 1.0)
    return logits * factor
