# SPDX-License-Identifier: MIT
"""A spike with a chosen derivative, put for a while in the place of a framework's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from art_spiking.errors import InvalidInput
from art_spiking.surrogates import Surrogate


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, surrogate: Surrogate, fires: str) -> Tensor:
        ctx.save_for_backward(u)
        ctx.surrogate = surrogate
        return (u >= 0 if fires == "ge" else u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (u,) = ctx.saved_tensors
        return gradients[0] * ctx.surrogate.derivative(u), None, None


@dataclass(frozen=True)
class SurrogateSpike:
    """A callable from u = potential - threshold, of any shape, to spikes 0 or 1 of the same type.

    Attributes:
        surrogate: d spike / d u in the backward pass; its `through_reset` is the neuron's business.
        fires: Whether u = 0 fires ("ge") or not ("gt").
    """

    surrogate: Surrogate
    fires: Literal["ge", "gt"] = "gt"

    def __call__(self, u: Tensor) -> Tensor:
        """The spikes of u."""
        spikes: Tensor = _Spike.apply(u, self.surrogate, self.fires)  # type: ignore[no-untyped-call]
        return spikes


def check_step(spike: Callable[[Tensor], Tensor], fires: Literal["ge", "gt"], layer: str) -> None:
    """Checks that a framework's spike function is a step at 0, for which a `SurrogateSpike` can stand.

    Raises:
        InvalidInput: It returns other numbers, such as several spikes or random ones.
    """
    u = torch.linspace(-4, 4, 65)
    with torch.no_grad():
        found = spike(u)
    if not torch.equal(found.to(u.dtype), (u >= 0 if fires == "ge" else u > 0).to(u.dtype)):
        raise InvalidInput(
            f"the surrogate of layer '{layer}' cannot be exchanged without changing its spikes",
            found=f"{spike!r:.80}, which is no step from 0 to 1",
            accepted="a spike function that only differs in its derivative",
        )


_ABSENT = object()


@contextmanager
def replaced(modules: Iterable[nn.Module], attribute: str, value: Any) -> Iterator[None]:
    """Gives every module another `attribute` inside a `with` block; what was there comes back, always.

    A submodule is replaced as well as a plain attribute or a method, and none is registered anew.
    """
    before: list[tuple[dict[str, Any], Any]] = []
    try:
        for module in modules:
            submodules: dict[str, Any] = module._modules
            home = submodules if attribute in submodules else module.__dict__
            before.append((home, home.get(attribute, _ABSENT)))
            home[attribute] = value
        yield
    finally:
        for home, own in before:
            if own is _ABSENT:
                del home[attribute]
            else:
                home[attribute] = own
