# SPDX-License-Identifier: MIT
"""The time scan of a neuron layer, forward and backward: a readable reference and a fused kernel."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from art_spiking.errors import InvalidInput
from art_spiking.kernels.fused import fused_scan
from art_spiking.kernels.reference import reference_scan
from art_spiking.kernels.triton_scan import has_triton, triton_scan
from art_spiking.neurons import Coefficients, NeuronSemantics
from art_spiking.surrogates import Surrogate

Backend = Literal["auto", "fused", "reference"]

__all__ = ["Backend", "fused_scan", "reference_scan", "scan", "triton_scan"]


def scan(
    current: Tensor,
    c: Coefficients,
    semantics: NeuronSemantics,
    surrogate: Surrogate,
    *,
    membrane: bool = False,
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor | None]:
    """Runs a layer of neurons over all time steps, from a state of zeros.

    Args:
        current: Input (N, T, *F), float32 or float64, with any strides; sizes may be zero.
        c: The layer's coefficients in the input's dtype; tensors of shape (*F) or of one element.
        semantics: What the neuron's parameters leave open.
        surrogate: The derivative of the spike in the backward pass.
        membrane: Whether the potentials of a neuron that fires are wanted as well.
        backend: "auto" takes the device's fused kernel where it can run: float32 or float64, on the CPU or,
            where Triton is installed, on CUDA; a surrogate whose formula it has; neurons that are not in
            fixed point.

    Returns:
        The layer's output (N, T, *F): spikes, or potentials if the neuron never fires; and the potentials
        before the reset (N, T, *F), or None if they were not asked for. Both differentiable by the input.

    Raises:
        InvalidInput: The shapes do not fit, or the fused kernel was asked for and cannot run.
    """
    if current.dim() < 3:
        raise InvalidInput(
            "a scan needs batch, time and features",
            found=f"shape {tuple(current.shape)}",
            accepted="(N, T, *F)",
        )
    features = tuple(current.shape[2:])
    for name, value in c.tensors().items():
        if value.numel() != 1 and tuple(value.shape) != features:
            raise InvalidInput(
                f"a layer's {name} does not fit its input",
                found=f"shape {tuple(value.shape)}",
                accepted=f"one element or {features}",
            )
        if value.dtype != current.dtype:
            raise InvalidInput(
                f"a layer's {name} is not of its input's type", found=value.dtype, accepted=current.dtype
            )
    device = current.device.type
    can_fuse = (
        c.grid is None
        and (device == "cpu" or (device == "cuda" and has_triton()))
        and current.dtype in (torch.float32, torch.float64)
        and surrogate.kernel_code is not None
    )
    if backend == "fused" and not can_fuse:
        raise InvalidInput(
            "the fused kernel cannot run this",
            found=f"{current.dtype} on {current.device}, surrogate '{surrogate.name}'",
            accepted="float32 or float64, a surrogate of art_spiking.surrogates, no fixed point, Triton",
            remedy="use backend 'auto'",
        )
    fused = triton_scan if device == "cuda" else fused_scan
    run = fused if can_fuse and backend != "reference" else reference_scan
    return run(current, c, semantics, surrogate, membrane=membrane)
