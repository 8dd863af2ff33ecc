# SPDX-License-Identifier: MIT
"""The fused time scan on the CPU as a torch operation: layouts, threads, the call of the compiled loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from art_spiking.kernels import loops
from art_spiking.kernels.events import Window
from art_spiking.kernels.layout import PARAMETERS, Choices, in_features_order, memory_order
from art_spiking.kernels.threads import run_shares
from art_spiking.neurons import Coefficients, NeuronSemantics
from art_spiking.surrogates import Surrogate

Array = NDArray[Any]

# Elements that one thread should have to do at least: below, waking another costs more than it saves.
_WORTH_A_THREAD = 1 << 15
# Elements of a scan that take as long as one of a layer that follows a convolution.
_CONVOLUTION = 8
# How much more work it is in parts of samples, which all threads share (3.2 for one sample of 31 steps).
_WORTH_WAITING = 3
# Potentials of a whole sample that a tile may hold where that saves storing what flows to them.
_WHOLE_SAMPLE_BYTES = 1 << 24
# Tiles that a thread should have, so that all are done at about the same time.
_TILES_A_THREAD = 4


_NO_WINDOW = Window(1, (1, 1), (1, 1), (1, 1), (0, 0), 1, (1, 1), True)


class Plan(NamedTuple):
    """What a compiled loop needs beside the arrays of a call; see `loops.forward`."""

    parameters: tuple[Array, ...]
    numbers: Array
    flags: tuple[int, ...]
    weights: Array
    window: Window = _NO_WINDOW
    pool: tuple[int, int] = (1, 1)

    @property
    def features(self) -> int:
        """Neurons of a layer that follows a convolution; 0 for another."""
        window = self.window
        return 0 if window is _NO_WINDOW else window.out_channels * window.out_sides[0] * window.out_sides[1]

    @property
    def pooled_sides(self) -> tuple[int, int]:
        """Rows and columns of what the windows of a layer that follows a convolution put out."""
        (height, width), (rows, columns) = self.window.out_sides, self.pool
        return height // rows, width // columns


def fused_scan(
    current: Tensor,
    c: Coefficients,
    semantics: NeuronSemantics,
    surrogate: Surrogate,
    *,
    membrane: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """`neurons.step` over the time axis in one compiled pass, with a backward pass derived by hand.

    See `kernels.scan` for the arguments. Forward, nothing but the output is written; the input is kept, and
    the backward pass computes the potentials again tile by tile, where they stay in the cache.

    Two layouts run without a copy: (*F) contiguous, and channels-last, in which case the outputs are
    channels-last too.
    """
    axes = memory_order(current)
    ordered = current.permute(0, 1, *axes) if axes else current
    rows = ordered.flatten(2)
    plan = make_plan(c, semantics, surrogate, axes, current.shape[2:])
    output, potential = _FusedScan.apply(  # type: ignore[no-untyped-call]
        rows, plan, c.fires, membrane and c.fires
    )
    first = in_features_order(output.view(ordered.shape), axes)
    if not membrane:
        return first, None
    return first, in_features_order(potential.view(ordered.shape), axes) if c.fires else first


def make_plan(
    c: Coefficients,
    semantics: NeuronSemantics,
    surrogate: Surrogate,
    axes: tuple[int, ...],
    features: torch.Size,
) -> Plan:
    """What the loops need of a layer whose features (*F) lie in memory in the order of `axes`."""
    tensors = c.tensors()
    dtype = c.decay.dtype
    kind = np.float32 if dtype == torch.float32 else np.float64

    def flat(name: str) -> Array:
        value = tensors.get(name)
        if value is None:
            return np.zeros(1, kind)
        value = value.detach()
        if value.numel() > 1 and axes:
            value = value.reshape(features).permute(*(axis - 2 for axis in axes))
        return np.ascontiguousarray(value.reshape(-1).numpy())

    threshold = flat("threshold")
    choices = Choices.of(c, semantics)
    least = np.nextafter(threshold, np.array(np.inf, kind)) if choices.strict else threshold
    parameters = (*(flat(name) for name in PARAMETERS), threshold, least)
    alike = all(parameter.size == 1 for parameter in parameters)
    numbers = np.array([choices.low, *surrogate.kernel_constants, 1], kind)
    flags = (
        choices.synapse,
        choices.several,
        choices.strict,
        choices.reset,
        surrogate.through_reset,
        surrogate.kernel_code or 0,
        alike,
    )
    no_bias = np.zeros(1, kind)
    return Plan((*parameters, no_bias), numbers, tuple(int(flag) for flag in flags), np.zeros(0, kind))


class _FusedScan(torch.autograd.Function):
    """Output and, if asked, potential of a scan over rows (N, T, F)."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, plan: Plan, fires: bool, membrane: bool) -> tuple[Tensor, Tensor]:
        rows = rows.contiguous()
        output = torch.empty_like(rows)
        potential = torch.empty_like(rows) if membrane else rows.new_empty((0, 0, 0))
        # A neuron that never fires puts out its potential.
        spikes, potentials = (output, potential) if fires else (rows.new_empty((0, 0, 0)), output)
        nothing = np.zeros((0, 0, 0), rows.numpy().dtype)
        run_loop(loops.forward, rows, plan, (spikes.numpy(), potentials.numpy(), nothing))
        ctx.save_for_backward(rows)
        ctx.plan, ctx.fires, ctx.membrane = plan, fires, membrane
        ctx.set_materialize_grads(False)
        return output, potential

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None, None]:
        (rows,) = ctx.saved_tensors
        by_output, by_potential = gradients
        by_spikes, by_potential = (
            (by_output, by_potential if ctx.membrane else None) if ctx.fires else (None, by_output)
        )
        if by_spikes is None and by_potential is None:
            return None, None, None, None
        nothing = np.zeros((0, 0, 0), rows.numpy().dtype)

        def array(gradient: Tensor | None) -> Array:
            return nothing if gradient is None else gradient.detach().contiguous().numpy()

        result = torch.empty_like(rows)
        arrays = (array(by_spikes), array(by_potential), result.numpy(), nothing)
        run_loop(loops.backward, rows, ctx.plan, arrays, (no_weights(rows),))
        return result, None, None, None


def no_weights(x: Tensor) -> Array:
    """What a loop is given in place of weights that it has no use for."""
    return np.zeros(0, x.numpy().dtype)


def thread_count(elements: int) -> int:
    """How many threads to share work on some elements among."""
    return torch.get_num_threads() if elements >= 2 * _WORTH_A_THREAD else 1


def takes_samples_whole(plan: Plan, samples: int, steps: int, item_bytes: int) -> bool:
    """Whether tiles may be whole samples: few threads wait for others, and potentials are not too many."""
    threads = torch.get_num_threads()
    rounds = -(-samples // threads)
    return (
        rounds * threads <= _WORTH_WAITING * samples
        and steps * plan.features * item_bytes <= _WHOLE_SAMPLE_BYTES
    )


def _tile_features(plan: Plan, samples: int, steps: int, features: int, item_bytes: int) -> int:
    """How many features a tile takes: all, or fewer, so that threads have tiles and tiles fit a cache."""
    if not plan.features:
        return loops.tile_width(steps, features, item_bytes)
    line = plan.window.out_channels * plan.window.out_sides[1] * plan.pool[0]
    width = loops.tile_width(steps, features, item_bytes, line)
    while samples * -(-features // width) < _TILES_A_THREAD * torch.get_num_threads() and width > line:
        width = -(-width // line // 2) * line
    return width


def run_loop(
    loop: Callable[..., None],
    rows: Tensor,
    plan: Plan,
    arrays: tuple[Array, ...],
    more_weights: tuple[Array, ...] = (),
    *,
    whole: bool = False,
) -> None:
    """Calls a compiled loop on shares of the tiles (sample x block of features), one share per thread.

    A tile is a whole sample where that is asked for.
    """
    samples, steps, features = rows.shape
    features = plan.features or features
    if samples * steps * features == 0:
        return
    width = features if whole else _tile_features(plan, samples, steps, features, rows.element_size())
    tiles = samples * -(-features // width)
    threads = thread_count(samples * steps * features * (_CONVOLUTION if plan.weights.size else 1))
    source = rows.detach().numpy()
    lanes = plan.window.lanes

    def share(k: int) -> None:
        span = (tiles * k // threads, tiles * (k + 1) // threads, width)
        loop(
            source,
            *arrays,
            plan.parameters,
            plan.numbers,
            plan.flags,
            plan.window,
            plan.weights,
            *more_weights,
            lanes,
            plan.pool,
            span,
        )

    run_shares(share, threads)
