# SPDX-License-Identifier: MIT
"""Gradients where a module of torch gives none: draws, comparisons, rounding, softmax, own spikes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode

from art_spiking.surrogates import Surrogate

_SIGNS = {"gt": 1, "ge": 1, "lt": -1, "le": -1}
_COMPARISONS = {
    function: sign
    for name, sign in _SIGNS.items()
    for function in (getattr(torch, name), getattr(Tensor, name), getattr(Tensor, f"__{name}__"))
}
_ROUNDINGS = {
    function
    for name in ("round", "floor", "ceil", "trunc", "fix")
    for function in (getattr(torch, name), getattr(Tensor, name))
}
_SIGN_FUNCTIONS = {torch.sign, Tensor.sign, torch.sgn, Tensor.sgn}
_HEAVISIDES = {torch.heaviside, Tensor.heaviside}
_DRAWS = {torch.bernoulli, Tensor.bernoulli}
_SOFTMAXES = {torch.softmax, Tensor.softmax, torch.nn.functional.softmax}
_CUTS = {torch.detach, Tensor.detach}
_CASTS = {Tensor.float, Tensor.double, Tensor.half, Tensor.to, Tensor.type, Tensor.type_as}
_READS = {Tensor.__float__, Tensor.__int__, Tensor.__bool__, Tensor.item, Tensor.tolist, Tensor.numpy}
_NOTS = {torch.logical_not, Tensor.logical_not, torch.bitwise_not, Tensor.bitwise_not, Tensor.__invert__}
_OURS = "art_spiking."


class _Step(torch.autograd.Function):
    """Forward the value that the model computed; backward the derivative of a spike at `u`."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, value: Tensor, surrogate: Surrogate) -> Tensor:
        """The value."""
        ctx.save_for_backward(u)
        ctx.surrogate = surrogate
        return value.to(u.dtype).clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of `u`, summed over axes that it was broadcast along."""
        (u,) = ctx.saved_tensors
        return gradients[0] * ctx.surrogate.derivative(u), None, None


class StraightThrough(TorchFunctionMode):
    """Gives torch's own functions a gradient where they have none; but for draws their values stay.

    Backward differentiable approximation (Athalye, Carlini and Wagner, ICML 2018) without a hand-made model:
    a rounding passes the gradient on; a draw of Bernoulli becomes its mean; a comparison is a spike; a
    softmax passes it on to its logits, since it may be saturated. What happens outside torch's Python
    functions is not seen.
    """

    def __init__(self, surrogate: Surrogate, *, through_cuts: bool) -> None:
        """Takes the derivative of a comparison, and whether `detach` is looked through too."""
        super().__init__()
        self._surrogate, self._through_cuts = surrogate, through_cuts
        # Comparisons are remembered with their margins until the mode ends: their ids stay theirs.
        self._compared: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """See torch's `TorchFunctionMode`."""
        kwargs = kwargs or {}
        if not torch.is_grad_enabled():
            return func(*args, **kwargs)
        if any(id(argument) in self._compared for argument in args):
            return self._of_compared(func, args, kwargs)
        first = args[0] if args else None
        if not isinstance(first, Tensor) or not first.requires_grad:
            value = func(*args, **kwargs)
            return self._remember(value, args, _COMPARISONS[func]) if func in _COMPARISONS else value
        if self._through_cuts and func in _CUTS:
            return first
        if func in _READS:
            return func(first.detach(), *args[1:], **kwargs)
        if func in _HEAVISIDES:
            with torch.no_grad():
                value = func(*args, **kwargs)
            return _Step.apply(first, value, self._surrogate)  # type: ignore[no-untyped-call]
        value = func(*args, **kwargs)
        if func in _COMPARISONS:
            return self._remember(value, args, _COMPARISONS[func])
        if not isinstance(value, Tensor):
            return value
        if func in _SIGN_FUNCTIONS:
            return 2 * _Step.apply(first, (value + 1) / 2, self._surrogate) - 1  # type: ignore[no-untyped-call]
        if func in _DRAWS and value.shape == first.shape:
            # Its mean: between no event and one, where attacks search, draws would only add noise.
            return first.clone()
        if func in _ROUNDINGS or func in _SOFTMAXES:
            return first + (value - first).detach()
        return value

    def _remember(self, value: Tensor, args: tuple[Any, ...], sign: int) -> Tensor:
        if any(isinstance(argument, Tensor) and argument.requires_grad for argument in args[:2]):
            margin = sign * (args[0] - args[1])
            self._compared[id(value)] = value, margin
        return value

    def _of_compared(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A function of what a comparison returned: casts and products become spikes, others stay."""
        known = self._compared.get(id(args[0]))
        if func in _CASTS and known is not None:
            cast = func(*args, **kwargs)
            if not (isinstance(cast, Tensor) and cast.is_floating_point()):
                if isinstance(cast, Tensor):
                    self._compared[id(cast)] = cast, known[1]
                return cast
            return self._spike(cast, known[1])
        if func in _NOTS and known is not None:
            result = func(*args, **kwargs)
            self._compared[id(result)] = result, -known[1]
            return result
        if func in (torch.where, Tensor.where) and len(args) == 3 and known is not None:
            spike = self._spike(*known)
            return spike * args[1] + (1 - spike) * args[2]
        spiked = [
            self._spike(*self._compared[id(argument)]) if id(argument) in self._compared else argument
            for argument in args
        ]
        result = func(*args, **kwargs)
        if not (isinstance(result, Tensor) and result.is_floating_point()):
            return result
        return func(*spiked, **kwargs)

    def _spike(self, value: Tensor, margin: Tensor) -> Tensor:
        spike: Tensor = _Step.apply(margin, value, self._surrogate)  # type: ignore[no-untyped-call]
        return spike


@contextmanager
def straight_through(surrogate: Surrogate, *, through_cuts: bool = False) -> Iterator[None]:
    """Inside the block, torch's functions without a gradient get one; see `StraightThrough`."""
    with StraightThrough(surrogate, through_cuts=through_cuts):
        yield


def replace_own_spikes(result: Tensor, surrogate: Surrogate) -> int:
    """Gives every own autograd function that looks like a spike another derivative, in one graph.

    It looks like one if it is written in Python, has one input that takes a gradient, and kept one tensor
    that can be the potential over the threshold. Hooks of the graph do it; the function is not changed.

    Args:
        result: what the graph ends in.
        surrogate: the derivative.

    Returns:
        How many there were.
    """
    found = 0
    for node in _nodes(result):
        if not isinstance(node, BackwardCFunction) or _is_ours(node):
            continue
        potential = _potential(node)
        if potential is not None:
            node.register_hook(_with_derivative(surrogate.derivative(potential)))
            found += 1
    return found


def _is_ours(node: Any) -> bool:
    """Whether it belongs to this package, whose scans of a whole layer are no spikes."""
    return str(getattr(type(node)._forward_cls, "__module__", "")).startswith(_OURS)


def _nodes(result: Tensor) -> Iterator[Any]:
    waiting, seen = [result.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting.extend(following for following, _ in node.next_functions)


def _potential(node: Any) -> Tensor | None:
    """The one tensor among those kept that takes more than the values of spikes; None if there is not one."""
    if sum(following is not None for following, _ in node.next_functions) != 1:
        return None
    kept = [t for t in node.saved_tensors if isinstance(t, Tensor) and t.is_floating_point() and t.ndim]
    graded = [t for t in kept if not bool(((t == 0) | (t == 1)).all())]
    return graded[0].detach() if len(graded) == 1 else None


def _with_derivative(derivative: Tensor) -> Callable[[Any, Any], Any]:
    def hook(inputs: tuple[Tensor | None, ...], outputs: tuple[Tensor | None, ...]) -> Any:
        given = outputs[0]
        if given is None or given.shape != derivative.shape:
            return None
        return tuple(
            None if gradient is None else given * derivative if gradient.shape == given.shape else gradient
            for gradient in inputs
        )

    return hook
