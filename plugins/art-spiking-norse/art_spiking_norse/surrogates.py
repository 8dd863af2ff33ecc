# SPDX-License-Identifier: MIT
"""Norse's steps with another derivative of the spike: its own code, under another threshold function."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from torch import Tensor

from art_spiking.errors import InvalidInput
from art_spiking.frameworks import SurrogateSpike
from art_spiking.surrogates import FastSigmoid, Surrogate, Triangle

# Steps whose reset is the whole of what a spike does; Norse cuts the gradient there in `lif_step` alone.
_RESETS_ONLY = ("lif_feed_forward_step", "lif_step", "lif_box_feed_forward_step", "iaf_feed_forward_step")
_CUT = ("lif_step",)


def with_surrogate(step: Any, surrogate: Surrogate, layer: str) -> Callable[..., Any]:
    """A step of Norse whose spikes are the same and have another derivative.

    Norse chooses the derivative by a word, of a fixed list; here its own function runs with another
    `threshold` in its globals, which are copied. `through_reset` is kept by the steps of LIF, LIFBox and IAF;
    others, adaptive ones say, keep their own paths.

    Raises:
        InvalidInput: The step has no threshold function, as the adjoint ones.
    """
    if not isinstance(step, FunctionType) or "threshold" not in step.__code__.co_names:
        raise InvalidInput(
            f"the surrogate of layer '{layer}' cannot be exchanged",
            found=getattr(step, "__name__", type(step).__name__),
            accepted="a step that calls Norse's threshold function; not method 'adjoint'",
        )
    spike = SurrogateSpike(surrogate, fires="gt")
    if step.__name__ not in _RESETS_ONLY:
        return _rebuilt(step, lambda u, method, alpha: spike(u))

    def stepped(*arguments: Any) -> Any:
        above: list[Tensor] = []

        def threshold(u: Tensor, method: str, alpha: Any) -> Tensor:
            above.append(u)
            return spike(u).detach()

        _, state = _rebuilt(step, threshold)(*arguments)
        spikes, p = spike(above[-1]), arguments[-2]
        changed = {"z": spikes} if hasattr(state, "z") else {}
        if surrogate.through_reset:
            jump = -p.v_th if _subtracts(p) else p.v_reset - (above[-1] + p.v_th)
            changed["v"] = state.v + jump.detach() * (spikes - spikes.detach())
        return spikes, state._replace(**changed)

    return stepped


def told_surrogate(layer: Any) -> Surrogate | None:
    """The specification of a layer's own surrogate: "super", and "triangle" of alpha 1; else None.

    Norse's "super" does not use alpha: it is 1 / (1 + |u|)^2.
    """
    if layer.activation.__name__ not in _RESETS_ONLY:
        return None
    through = layer.activation.__name__ not in _CUT
    if layer.p.method == "super":
        return FastSigmoid(slope=1.0, through_reset=through)
    if layer.p.method == "triangle" and float(layer.p.alpha) == 1:
        return Triangle(width=1.0, through_reset=through)
    return None


def _subtracts(p: Any) -> bool:
    from norse.torch.functional.reset import reset_subtract

    return getattr(p, "reset_method", None) is reset_subtract


def _rebuilt(step: FunctionType, threshold: Callable[..., Tensor]) -> Callable[..., Any]:
    names = {**step.__globals__, "threshold": threshold}
    return FunctionType(step.__code__, names, step.__name__, step.__defaults__, step.__closure__)
