# SPDX-License-Identifier: MIT
"""Convolution and pooling of frames on the CPU with a leaner backward pass than torch's own.

Forward they are torch's. Backward they differ from it by rounding at most; neither keeps its input when only
the gradient by the input is wanted, which is half of what a spiking network would otherwise hold in memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

Pair = tuple[int, int]


class Windows(NamedTuple):
    """Windows that tile a frame, each of which puts out one number.

    Attributes:
        sides: Rows and columns; (1, 1) for no pooling.
        silent: Whether a window whose sum is zero has a gradient of zero, as LPPool2d(norm_type=1) has.
        mean: Whether the mean is put out, not the sum; the number of places is then a power of two, so that
            it is the sum times a number to the last bit.
    """

    sides: Pair = (1, 1)
    silent: bool = False
    mean: bool = False

    @property
    def share(self) -> float:
        """What a sum is multiplied by."""
        return 1 / (self.sides[0] * self.sides[1]) if self.mean else 1

    @property
    def is_exact(self) -> bool:
        """Whether that multiplication rounds nothing."""
        return not self.mean or (self.sides[0] * self.sides[1]).bit_count() == 1


def out_sides(sides: Pair, kernel: Pair, stride: Pair, padding: Pair) -> Pair:
    """Rows and columns of what a convolution without dilation puts out; below one where it does not fit."""
    height, width = (
        (side + 2 * p - k) // s + 1 for side, k, s, p in zip(sides, kernel, stride, padding, strict=True)
    )
    return height, width


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, *, stride: Pair, padding: Pair) -> Tensor:
    """torch.nn.functional.conv2d without groups and dilation; the gradient by x is computed by a convolution.

    torch's own gradient by the input of a strided convolution with few channels takes longer than all else in
    a small event network: this one takes half of that for the first layer of the community N-MNIST network.

    Args:
        x: Frames (M, C, H, W).
        weight: Kernel (O, C, K_h, K_w).
        bias: (O,), or None.
        stride: Steps of the window.
        padding: Zeros on each side.
    """
    result: Tensor = _Conv2d.apply(x, weight, bias, stride, padding)  # type: ignore[no-untyped-call]
    return result


def can_pool(shape: torch.Size, kernel: Pair, stride: Pair, padding: Pair) -> bool:
    """Whether `sum_pool2d` serves frames (M, C, H, W): windows that tile the frame."""
    return kernel == stride and padding == (0, 0) and shape[2] % kernel[0] == 0 and shape[3] % kernel[1] == 0


def sum_pool2d(x: Tensor, kernel: Pair, *, silent: bool) -> Tensor:
    """Sums over windows that tile the frame.

    Args:
        x: Frames (M, C, H, W), for which `can_pool` holds.
        kernel: Sides of the window.
        silent: Whether a window whose sum is zero has a gradient of zero, as LPPool2d(norm_type=1) has.
    """
    result: Tensor = _SumPool2d.apply(x, kernel, silent)  # type: ignore[no-untyped-call]
    return result


class _Conv2d(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair
    ) -> Tensor:
        ctx.save_for_backward(x if weight.requires_grad else None, weight)
        ctx.shape, ctx.stride, ctx.padding = x.shape, stride, padding
        return functional.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        (by_y,) = gradients
        by_x = by_weight = by_bias = None
        if ctx.needs_input_grad[0]:
            by_x = input_gradient(by_y, weight, ctx.shape, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            _, by_weight, _ = torch.ops.aten.convolution_backward(
                by_y, x, weight, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1, (False, True, False)
            )
        if ctx.needs_input_grad[2]:
            by_bias = by_y.sum((0, 2, 3))
        return by_x, by_weight, by_bias, None, None


def input_gradient(by_y: Tensor, weight: Tensor, shape: torch.Size, stride: Pair, padding: Pair) -> Tensor:
    r"""dL/dx (M, C, H, W) from dL/dy.

    In one axis, with x padded by p: y[o] = sum_k w[k] x[s o + k - p]. With k = r + s m, 0 <= r < s, hence

        dx[s q + r - p] = sum_m w[r + s m] dy[q - m]

    which for each phase r is a correlation of dy, padded by M - 1, with the phase's taps in reverse order.
    One convolution at stride 1 gives all s_h * s_w phases as channels, which are then interleaved (the
    "sub-pixel" form of a transposed convolution, Shi et al., 2016).
    """
    frames, channels, height, width = shape
    (s_h, s_w), (p_h, p_w) = stride, padding
    outputs, _, k_h, k_w = weight.shape
    if stride == (1, 1) and p_h < k_h and p_w < k_w:
        taps = weight.flip(2, 3).transpose(0, 1)
        return functional.conv2d(by_y, _laid_out(taps), padding=(k_h - 1 - p_h, k_w - 1 - p_w))
    m_h, m_w = -(-k_h // s_h), -(-k_w // s_w)
    taps = functional.pad(weight, (0, s_w * m_w - k_w, 0, s_h * m_h - k_h))
    taps = taps.reshape(outputs, channels, m_h, s_h, m_w, s_w).flip(2, 4).permute(1, 3, 5, 0, 2, 4)
    taps = taps.reshape(channels * s_h * s_w, outputs, m_h, m_w)
    phases = functional.conv2d(by_y, _laid_out(taps), padding=(m_h - 1, m_w - 1))
    q_h, q_w = phases.shape[2:]
    # The first reshape only splits an axis, whatever the layout; the second copies.
    dense = phases.reshape(frames, channels, s_h, s_w, q_h, q_w).permute(0, 1, 4, 2, 5, 3)
    dense = dense.reshape(frames, channels, q_h * s_h, q_w * s_w)
    # The windows may not reach the last rows and columns: those get zeros.
    missing = (0, max(0, width + p_w - q_w * s_w), 0, max(0, height + p_h - q_h * s_h))
    if any(missing):
        dense = functional.pad(dense, missing)
    return dense[:, :, p_h : p_h + height, p_w : p_w + width]


def _laid_out(taps: Tensor) -> Tensor:
    """Channels-last, so that the result of a convolution has the layout of its input."""
    return taps.contiguous(memory_format=torch.channels_last)


class _SumPool2d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Pair, silent: bool) -> Tensor:
        total = functional.avg_pool2d(x, kernel, divisor_override=1)
        ctx.kernel = kernel
        ctx.save_for_backward(total if silent else None)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (by_total,) = gradients
        (total,) = ctx.saved_tensors
        if total is not None:
            by_total = by_total.masked_fill(total == 0, 0)
        height, width = by_total.shape[2] * ctx.kernel[0], by_total.shape[3] * ctx.kernel[1]
        return functional.interpolate(by_total, size=(height, width), mode="nearest"), None, None
