# SPDX-License-Identifier: MIT
"""Several convolutions, each with its neurons and sum pooling, as one torch operation on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from art_spiking.kernels import chain_loops, dense
from art_spiking.kernels.fused import Plan, takes_samples_whole, thread_count
from art_spiking.kernels.spiking_conv import in_rows, new_frames, packed_gradient, serves_at_once
from art_spiking.kernels.threads import run_shares

# Multiply-adds for one neuron and step, if all inputs were events, from which their sum is kept.
_DEAR = 200


class Link(NamedTuple):
    """A block of a chain."""

    plan: Plan
    taps: np.ndarray[Any, Any]

    @property
    def keeps(self) -> bool:
        """Whether the currents are kept for the backward pass, because forming them again would cost more."""
        window = self.plan.window
        taps = window.kernel[0] * window.kernel[1] / (window.stride[0] * window.stride[1])
        inputs = window.channels * window.sides[0] * window.sides[1]
        return inputs * taps * window.lanes / self.plan.features > _DEAR


def links_of(plans: Sequence[Plan], weights: Sequence[Tensor], shape: torch.Size) -> list[Link]:
    """The first of some blocks, as many as can be run on an input (N, T, C, H, W) as one operation."""
    links: list[Link] = []
    item = weights[0].element_size()
    for plan, weight in zip(plans, weights, strict=True):
        serves = dense.serves(plan.window) if links else serves_at_once(plan.window)
        if not serves or not takes_samples_whole(plan, shape[0], shape[1], item):
            break
        links.append(Link(plan, packed_gradient(weight, plan.window)))
    return links


def spiking_chain(x: Tensor, links: Sequence[Link]) -> Tensor:
    """`spiking_conv2d` of one block after the other; the gradient is by x alone.

    Between blocks nothing is stored, so that of the memory of a backward pass there is little but the input.
    All blocks follow events, whatever share of their inputs differs from zero.

    Args:
        x: Input (N, T, C, H, W), float32 or float64 on the CPU.
        links: Blocks from `links_of`.

    Returns:
        Spikes of the last block, or their sums, (N, T, O, H'', W''), channels-last.
    """
    result: Tensor = _SpikingChain.apply(x, tuple(links))  # type: ignore[no-untyped-call]
    return result


class _SpikingChain(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, links: tuple[Link, ...]) -> Tensor:
        last = links[-1].plan
        rows = in_rows(x, planar=links[0].plan.window.planar)
        output = x.new_empty((*x.shape[:2], *last.pooled_sides, last.window.out_channels))
        keeps = ctx.needs_input_grad[0]
        kept = [
            x.new_empty((*x.shape[:2], link.plan.features) if keeps and link.keeps else (0, 0, 0))
            for link in links
        ]
        arrays = (rows.detach().numpy(), output.flatten(2).numpy(), tuple(each.numpy() for each in kept))
        _run(chain_loops.forward, links, arrays, rows.shape)
        ctx.save_for_backward(x, *kept)
        ctx.links = links
        return output.permute(0, 1, 4, 2, 3)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None]:
        x, *kept = ctx.saved_tensors
        links: tuple[Link, ...] = ctx.links
        window = links[0].plan.window
        rows = in_rows(x, planar=window.planar)
        by_output = in_rows(gradients[0], planar=False)
        by_x, by_frames = new_frames(x, window)
        arrays = (
            rows.detach().numpy(),
            by_output.numpy(),
            by_frames,
            tuple(each.numpy() for each in kept),
        )
        _run(chain_loops.backward, links, arrays, rows.shape, tuple(link.taps for link in links))
        return by_x, None


def _run(
    loop: Callable[..., None],
    links: tuple[Link, ...],
    arrays: tuple[Any, ...],
    shape: torch.Size,
    *taps: Any,
) -> None:
    """Calls a compiled loop on shares of the samples, one share per thread."""
    samples = shape[0]
    plans = [link.plan for link in links]
    given = (
        tuple(plan.parameters for plan in plans),
        tuple(plan.numbers for plan in plans),
        tuple(plan.flags for plan in plans),
        tuple(plan.window for plan in plans),
        tuple(plan.weights for plan in plans),
        *taps,
        tuple(plan.window.lanes for plan in plans),
        tuple(plan.pool for plan in plans),
    )
    threads = min(thread_count(shape.numel()), samples)

    def share(k: int) -> None:
        loop(*arrays, *given, (samples * k // threads, samples * (k + 1) // threads))

    run_shares(share, threads)
