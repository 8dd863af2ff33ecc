# SPDX-License-Identifier: MIT
"""How often a model was asked: samples that went forward and samples that came back as gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass
class QueryCounter:
    """Running totals of one model, kept in its module so that no attack can go round them.

    ART's AutoPGD builds a classifier of its own around `estimator.model`; the totals move all the same.
    Views of a classifier (other surrogate or readout, folded) count into the same totals, copies do not.

    Attributes:
        forwards: samples passed forward.
        backwards: samples whose gradient was computed, once per backward pass: the gradients of K classes
            of one sample count K.
    """

    forwards: int = 0
    backwards: int = 0

    def count_forward(self, samples: int) -> None:
        """Adds `samples` forwards."""
        self.forwards += samples

    def watch(self, output: torch.Tensor) -> None:
        """Counts every later backward pass through `output` (N, ...) as N backwards."""
        if output.requires_grad:
            output.register_hook(self._count_backward)  # type: ignore[no-untyped-call]

    def _count_backward(self, gradient: torch.Tensor) -> None:
        self.backwards += gradient.shape[0]


class QueryWindow:
    """What a counter gained since the window was opened; it stands still once the window is closed."""

    def __init__(self, counter: QueryCounter) -> None:
        """Opens a window on `counter`."""
        self._counter = counter
        self._start = (counter.forwards, counter.backwards)
        self._end: tuple[int, int] | None = None

    def close(self) -> None:
        """Stops counting."""
        self._end = (self._counter.forwards, self._counter.backwards)

    @property
    def forwards(self) -> int:
        """Samples passed forward while the window was open."""
        now = self._counter.forwards if self._end is None else self._end[0]
        return now - self._start[0]

    @property
    def backwards(self) -> int:
        """Samples whose gradient was computed while the window was open."""
        now = self._counter.backwards if self._end is None else self._end[1]
        return now - self._start[1]

    def __repr__(self) -> str:
        return f"QueryWindow(forwards={self.forwards}, backwards={self.backwards})"
