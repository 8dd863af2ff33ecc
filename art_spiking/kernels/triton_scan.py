# SPDX-License-Identifier: MIT
"""The fused time scan on CUDA as a torch operation: layouts, constants, the launch of the Triton programs."""

from __future__ import annotations

import functools
import importlib.util
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from art_spiking.kernels.layout import PARAMETERS, RESETS, Choices, in_features_order, memory_order
from art_spiking.kernels.reference import reference_scan
from art_spiking.neurons import Coefficients, NeuronSemantics
from art_spiking.surrogates import Surrogate

_BLOCK = 256
"""Neurons of a program; with four warps every thread has two, whose loads do not wait for each other."""


class _Plan(NamedTuple):
    """What a launch needs beside the arrays of a call."""

    table: Tensor
    numbers: Tensor
    flags: dict[str, Any]
    through: bool
    code: int


@functools.lru_cache(maxsize=1)
def has_triton() -> bool:
    """Whether Triton is installed; torch's CUDA builds bring it along."""
    return importlib.util.find_spec("triton") is not None


def triton_scan(
    current: Tensor,
    c: Coefficients,
    semantics: NeuronSemantics,
    surrogate: Surrogate,
    *,
    membrane: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """`neurons.step` over the time axis in one program per block of neurons, forward and backward.

    See `kernels.scan` for the arguments. Forward, nothing but the output is written; the input is kept, and
    the backward pass computes the potentials again.
    """
    if not current.numel():
        return reference_scan(current, c, semantics, surrogate, membrane=membrane)
    axes = memory_order(current)
    ordered = current.permute(0, 1, *axes) if axes else current
    plan = _plan(c, semantics, surrogate, axes, current.shape[2:])
    output, potential = _TritonScan.apply(  # type: ignore[no-untyped-call]
        ordered.flatten(2), plan, c.fires, membrane and c.fires
    )
    first = in_features_order(output.view(ordered.shape), axes)
    if not membrane:
        return first, None
    return first, in_features_order(potential.view(ordered.shape), axes) if c.fires else first


def _plan(
    c: Coefficients,
    semantics: NeuronSemantics,
    surrogate: Surrogate,
    axes: tuple[int, ...],
    features: torch.Size,
) -> _Plan:
    tensors = {name: value.detach() for name, value in c.tensors().items()}
    wide = any(value.numel() > 1 for value in tensors.values())
    threshold = tensors["threshold"]
    choices = Choices.of(c, semantics)
    beyond = torch.full_like(threshold, torch.inf)
    least = torch.nextafter(threshold, beyond) if choices.strict else threshold

    def row(value: Tensor | None) -> Tensor:
        if value is None:
            value = torch.zeros_like(threshold.reshape(-1)[:1])
        if not wide:
            return value.reshape(1)
        if value.numel() == 1:
            return value.reshape(1).expand(features.numel())
        value = value.reshape(features)
        return (value.permute(*(axis - 2 for axis in axes)) if axes else value).reshape(-1)

    table = torch.stack([row(tensors.get(name)) for name in PARAMETERS] + [row(threshold), row(least)])
    flags = {
        "WIDE": wide,
        "SYNAPSE": choices.synapse,
        "SEVERAL": choices.several,
        "STRICT": choices.strict,
        "RESET": choices.reset,
        "BLOCK": _BLOCK,
    }
    numbers = table.new_tensor([choices.low, *surrogate.kernel_constants])
    return _Plan(table, numbers, flags, surrogate.through_reset, surrogate.kernel_code or 0)


def _forward(
    rows: Tensor, plan: _Plan, spikes: Tensor | None, potentials: Tensor | None, candidates: Tensor | None
) -> None:
    """Writes those of the outputs that are tensors."""
    from art_spiking.kernels import triton_loops

    samples, steps, features = rows.shape
    # A program needs a pointer even where it writes nothing.
    arrays = (rows if array is None else array for array in (spikes, potentials, candidates))
    wanted = {
        "SPIKES": spikes is not None,
        "POTENTIALS": potentials is not None,
        "CANDIDATES": candidates is not None,
    }
    neurons = samples * features
    triton_loops.forward[(-(-neurons // _BLOCK),)](
        *(rows, *arrays, plan.table, plan.numbers, neurons, steps, features),
        **plan.flags,
        **wanted,
        enable_fp_fusion=False,
    )


class _TritonScan(torch.autograd.Function):
    """Output and, if asked, potential of a scan over rows (N, T, F)."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, plan: _Plan, fires: bool, membrane: bool) -> tuple[Tensor, Tensor]:
        rows = rows.contiguous()
        output = torch.empty_like(rows)
        potential = torch.empty_like(rows) if membrane else rows.new_empty((0, 0, 0))
        ctx.save_for_backward(rows)
        ctx.plan, ctx.fires, ctx.membrane = plan, fires, membrane
        ctx.set_materialize_grads(False)
        with _on(rows):
            # A neuron that never fires puts out its potential.
            if fires:
                _forward(rows, plan, output, potential if membrane else None, None)
            else:
                _forward(rows, plan, None, output, None)
        return output, potential

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None, None]:
        from art_spiking.kernels import triton_loops

        (rows,) = ctx.saved_tensors
        by_output, by_potential = gradients
        by_spikes, by_potential = (
            (by_output, by_potential if ctx.membrane else None) if ctx.fires else (None, by_output)
        )
        if by_spikes is None and by_potential is None:
            return None, None, None, None
        result = torch.empty_like(rows)
        plan = ctx.plan
        blanks = plan.through and RESETS[plan.flags["RESET"]] == "blank-later"
        potentials = torch.empty_like(rows)
        candidates = torch.empty_like(rows) if blanks else None
        samples, steps, features = rows.shape
        by = [rows if g is None else g.detach().contiguous() for g in (by_spikes, by_potential)]
        arrays = (potentials, potentials if candidates is None else candidates, *by, result)
        neurons = samples * features
        with _on(rows):
            _forward(rows, plan, None, potentials, candidates)
            triton_loops.backward[(-(-neurons // _BLOCK),)](
                *(*arrays, plan.table, plan.numbers, neurons, steps, features),
                **plan.flags,
                THROUGH=plan.through,
                CODE=plan.code,
                BY_SPIKES=by_spikes is not None,
                BY_POTENTIALS=by_potential is not None,
                enable_fp_fusion=False,
            )
        return result, None, None, None


def _on(rows: Tensor) -> Any:
    """Triton launches on the current device, which need not be that of the tensors."""
    return torch.cuda.device_of(rows)  # type: ignore[no-untyped-call]
