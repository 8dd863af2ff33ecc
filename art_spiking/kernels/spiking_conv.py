# SPDX-License-Identifier: MIT
"""Convolution, neurons and sum pooling as one torch operation on the CPU, for inputs that are sparse."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from art_spiking.kernels import dense, loops
from art_spiking.kernels.events import Window, packed
from art_spiking.kernels.frames import Windows, input_gradient, out_sides
from art_spiking.kernels.fused import Plan, make_plan, no_weights, run_loop, takes_samples_whole, thread_count
from art_spiking.kernels.strided import by_frames, has_few_channels, packed_phases
from art_spiking.kernels.threads import run_shares
from art_spiking.neurons import Coefficients, NeuronSemantics
from art_spiking.surrogates import Surrogate

Array = NDArray[Any]
Pair = tuple[int, int]

_CHANNELS_LAST = (3, 4, 2)
_NO_POOLING = Windows()


class Sizes(NamedTuple):
    """What a layer is beside its weights and neurons; see `spiking_conv2d`."""

    stride: Pair
    padding: Pair
    pool: Windows
    keep: bool = False


def spiking_conv2d(
    x: Tensor,
    kernel: tuple[Tensor, Tensor | None, Pair, Pair],
    c: Coefficients,
    semantics: NeuronSemantics,
    surrogate: Surrogate,
    *,
    pool: Windows = _NO_POOLING,
    keep: bool = False,
) -> Tensor:
    """`scan` of a convolution of x over all frames, its spikes summed over windows; see `kernels.scan`.

    Args:
        x: Input (N, T, C, H, W), float32 or float64 on the CPU.
        kernel: Weight (O, C, K, L), bias (O,) or None, stride and padding, as `frames.conv2d` takes them.
        c: The neurons' coefficients, of shape (O, H', W') or of one element; they fire.
        semantics: What the neurons' parameters leave open.
        surrogate: A derivative of the spike that the fused kernels have.
        pool: Windows that tile H' x W'.
        keep: Whether to keep what the convolution gives, rather than compute it again in the backward pass.

    Returns:
        Spikes, or their sums, (N, T, O, H'', W''), channels-last.
    """
    weight, bias, stride, padding = kernel
    sizes = Sizes(stride, padding, pool, keep)
    result: Tensor = _SpikingConv2d.apply(  # type: ignore[no-untyped-call]
        x, weight, bias, sizes, (c, semantics, surrogate)
    )
    return result


def is_planar(x: Tensor) -> bool:
    """Whether frames (N, T, C, H, W) are taken with their channels first: unless channels-last in memory."""
    return x.is_contiguous() or not x.permute(0, 1, *_CHANNELS_LAST).is_contiguous()


def in_rows(x: Tensor, *, planar: bool) -> Tensor:
    """(N, T, F) as a view, or a copy if it has another layout."""
    ordered = x if planar else x.permute(0, 1, *_CHANNELS_LAST)
    return ordered.contiguous().flatten(2)


class _SpikingConv2d(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        sizes: Sizes,
        neurons: tuple[Coefficients, NeuronSemantics, Surrogate],
    ) -> Tensor:
        plan = plan_of(x.shape, is_planar(x), weight, bias, sizes, neurons)
        rows = in_rows(x, planar=plan.window.planar)
        output = torch.empty((*x.shape[:2], *plan.pooled_sides, weight.shape[0]), dtype=x.dtype)
        keeps = sizes.keep and ctx.needs_input_grad[0]
        currents = x.new_empty((*x.shape[:2], plan.features) if keeps else (0, 0, 0))
        nothing = np.zeros((0, 0, 0), output.numpy().dtype)
        run_loop(loops.forward, rows, plan, (output.flatten(2).numpy(), nothing, currents.numpy()))
        output = output.permute(0, 1, 4, 2, 3)
        ctx.save_for_backward(x, weight, output if sizes.pool.silent else None, currents if keeps else None)
        ctx.plan, ctx.sizes = plan, sizes
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, output, currents = ctx.saved_tensors
        (by_output,) = gradients
        sizes: Sizes = ctx.sizes
        if output is not None:
            by_output = by_output.masked_fill(output == 0, 0)
        plan: Plan = ctx.plan
        rows = in_rows(x, planar=plan.window.planar)
        if currents is not None:
            rows, plan = currents, plan._replace(weights=no_weights(x))
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        by_rows = in_rows(by_output, planar=False)
        if needs_x and not (needs_weight or needs_bias):
            at_once = _at_once(rows, by_rows, weight, x, plan)
            if at_once is not None:
                return at_once, None, None, None, None
        by_current = torch.empty((*x.shape[:2], *plan.window.out_sides, weight.shape[0]), dtype=x.dtype)
        nothing = np.zeros((0, 0, 0), by_current.numpy().dtype)
        arrays = (by_rows.numpy(), nothing, by_current.flatten(2).numpy(), nothing)
        run_loop(loops.backward, rows, plan, arrays, (no_weights(x),))
        by_current = by_current.flatten(0, 1).permute(0, 3, 1, 2)
        frames = x.flatten(0, 1)
        by_x = by_weight = by_bias = None
        if needs_x:
            if has_few_channels(plan.window):
                by_x = _few_channels_gradient(by_current, weight, plan.window)
            else:
                by_x = input_gradient(by_current, weight, frames.shape, sizes.stride, sizes.padding)
            by_x = by_x.reshape(x.shape)
        if needs_weight:
            _, by_weight, _ = torch.ops.aten.convolution_backward(
                by_current, frames, weight, None, sizes.stride, sizes.padding, (1, 1), False, (0, 0), 1,
                (False, True, False),
            )  # fmt: skip
        if needs_bias:
            by_bias = by_current.sum((0, 2, 3))
        return by_x, by_weight, by_bias, None, None


def _at_once(rows: Tensor, by_rows: Tensor, weight: Tensor, x: Tensor, plan: Plan) -> Tensor | None:
    """dL/dx (N, T, C, H, W) without storing what flows to the currents; None if that cannot be had.

    Tiles must be whole samples, and the convolution one that compiled loops serve.
    """
    window = plan.window
    if not serves_at_once(window) or not takes_samples_whole(plan, len(x), x.shape[1], x.element_size()):
        return None
    by_x, frames = new_frames(x, window)
    nothing = np.zeros((0, 0, 0), frames.dtype)
    arrays = (by_rows.numpy(), nothing, nothing, frames)
    run_loop(loops.backward, rows, plan, arrays, (packed_gradient(weight, window),), whole=True)
    return by_x


def new_frames(x: Tensor, window: Window) -> tuple[Tensor, Array]:
    """Room for a gradient by x (N, T, C, H, W), and the same (N, T, E) in the order that loops write."""
    planar = window.planar
    lying = (window.channels, *window.sides) if planar else (*window.sides, window.channels)
    made = x.new_empty((*x.shape[:2], *lying))
    return made if planar else made.permute(0, 1, 4, 2, 3), made.flatten(2).numpy()


def serves_at_once(window: Window) -> bool:
    """Whether compiled loops give the gradient by a frame as soon as that by its currents is known."""
    return has_few_channels(window) or dense.serves(window)


def packed_gradient(weight: Tensor, window: Window) -> Array:
    """The weights as those loops take them."""
    held = weight.detach().numpy()
    return packed_phases(held, window.stride) if window.planar else dense.packed_taps(held)


def _few_channels_gradient(by_current: Tensor, weight: Tensor, window: Window) -> Tensor:
    """dL/dx (M, C, H, W) by `strided.by_frames`, shared among threads."""
    by_x = by_current.new_empty((len(by_current), window.channels, *window.sides))
    weights = packed_gradient(weight, window)
    source, target = by_current.permute(0, 2, 3, 1).flatten(1).numpy(), by_x.flatten(1).numpy()
    threads = thread_count(by_current.numel())

    def share(k: int) -> None:
        span = (len(by_x) * k // threads, len(by_x) * (k + 1) // threads)
        by_frames(source, target, window, weights, span)

    run_shares(share, threads)
    return by_x


def plan_of(
    shape: torch.Size,
    planar: bool,
    weight: Tensor,
    bias: Tensor | None,
    sizes: Sizes,
    neurons: tuple[Coefficients, NeuronSemantics, Surrogate],
) -> Plan:
    """What the loops need for an input of a shape (N, T, C, H, W), planar in memory or channels-last."""
    stride, padding, pool = sizes.stride, sizes.padding, sizes.pool
    outputs, channels, *kernel = weight.shape
    sides = shape[3:]
    height, width = out_sides((sides[0], sides[1]), (kernel[0], kernel[1]), stride, padding)
    window = Window(
        channels,
        (sides[0], sides[1]),
        (kernel[0], kernel[1]),
        stride,
        padding,
        outputs,
        (height, width),
        planar,
    )
    plan = make_plan(*neurons, _CHANNELS_LAST, torch.Size((outputs, height, width)))
    parameters = plan.parameters
    if bias is not None:
        parameters = (*parameters[:-1], np.tile(bias.detach().numpy(), height * width))
    weights = packed(weight.detach().numpy(), stride)
    numbers = np.append(plan.numbers[:-1], plan.numbers.dtype.type(pool.share))
    return plan._replace(
        parameters=parameters, numbers=numbers, window=window, weights=weights, pool=pool.sides
    )
