# SPDX-License-Identifier: MIT
"""Neurons, semantics, surrogates and layouts to try kernels with, and how two kernels are compared."""

import dataclasses
from collections.abc import Callable

import torch
from hypothesis import strategies as st
from torch import Tensor

from art_spiking.neurons import (
    IF,
    LI,
    LIF,
    Coefficients,
    CubaLI,
    CubaLIF,
    I,
    Neuron,
    NeuronSemantics,
    Threshold,
    coefficients,
)
from art_spiking.surrogates import (
    Atan,
    FastSigmoid,
    Gaussian,
    Rectangle,
    Sigmoid,
    StraightThrough,
    Surrogate,
    Triangle,
)

SEMANTICS = st.builds(
    NeuronSemantics,
    reset=st.sampled_from(["subtract", "value", "none"]),
    spikes=st.sampled_from(["one", "several"]),
    v_min=st.sampled_from([None, -0.4]),
    fires=st.sampled_from(["ge", "gt"]),
    integration=st.sampled_from(["euler", "exponential", "impulse", "delayed-reset"]),
)
SURROGATE = st.builds(
    lambda kind, through: dataclasses.replace(kind, through_reset=through),
    st.sampled_from(
        [
            Atan(),
            FastSigmoid(5.0),
            Triangle(0.7),
            Rectangle(0.8),
            StraightThrough(),
            Gaussian(0.4),
            Sigmoid(6.0),
        ]
    ),
    st.booleans(),
)
Kernel = Callable[..., tuple[Tensor, Tensor | None]]
KINDS = ["IF", "LIF", "CubaLIF", "LI", "CubaLI", "I", "Threshold"]


def neuron_of(kind: str, shape: tuple[int, ...], generator: torch.Generator) -> Neuron:
    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)

    spike = between(0.3, 1), between(-0.2, 0.2)
    if kind == "IF":
        return IF(between(0.5, 1.5), *spike)
    if kind == "LIF":
        return LIF(between(2e-3, 8e-3), between(1, 3), between(-0.1, 0.1), *spike)
    if kind == "CubaLIF":
        taus = between(2e-3, 8e-3), between(2e-3, 8e-3)
        return CubaLIF(*taus, between(1, 3), between(-0.1, 0.1), *spike, between(0.5, 2))
    if kind == "CubaLI":
        taus = between(2e-3, 8e-3), between(2e-3, 8e-3)
        return CubaLI(*taus, between(1, 3), between(-0.1, 0.1), between(0.5, 2))
    if kind == "I":
        return I(between(0.5, 1.5))
    if kind == "LI":
        return LI(between(2e-3, 8e-3), between(1, 3), between(-0.1, 0.1))
    return Threshold(between(0.3, 1))


def compare(
    kernels: list[Kernel],
    current: Tensor,
    c: Coefficients,
    semantics: NeuronSemantics,
    surrogate: Surrogate,
    *,
    tolerance: float,
) -> None:
    """Outputs and potentials are the same bit for bit, gradients up to rounding, each by both outputs."""
    generator = torch.Generator().manual_seed(1)
    results = []
    for kernel in kernels:
        # detach keeps the strides, so that both see the layout under test.
        x = current.detach().requires_grad_()
        outputs = kernel(x, c, semantics, surrogate, membrane=True)
        results.append((x, outputs))
    (x_reference, reference), (x_fused, ours) = results
    for expected, found in zip(reference, ours, strict=True):
        assert found.shape == expected.shape == current.shape
        assert found.dtype == expected.dtype == current.dtype
        assert torch.equal(found, expected)
    by_output, by_potential = (
        torch.randn(current.shape, generator=generator, dtype=torch.float64).to(current) for _ in range(2)
    )
    for weights in ((1, 0), (0, 1), (1, 1)):
        gradients = []
        for x, (output, potential) in ((x_reference, reference), (x_fused, ours)):
            parts = [
                w * (o * g).sum()
                for w, o, g in zip(weights, (output, potential), (by_output, by_potential), strict=True)
                if w
            ]
            total = parts[0] if len(parts) == 1 else parts[0] + parts[1]
            (gradient,) = (
                torch.autograd.grad(total, x, retain_graph=True, allow_unused=True)
                if total.requires_grad
                else (None,)
            )
            gradients.append(torch.zeros_like(current) if gradient is None else gradient)
        scale = max(1.0, float(gradients[0].abs().max())) if current.numel() else 1.0
        assert torch.allclose(gradients[0], gradients[1], rtol=0, atol=tolerance * scale)


PLAIN = NeuronSemantics(reset="subtract", v_min=-1.0, fires="ge")
GENERATOR_SEED = 3


def some_layer(shape: tuple[int, ...]) -> Coefficients:
    generator = torch.Generator().manual_seed(GENERATOR_SEED)
    return coefficients(neuron_of("LIF", shape, generator), PLAIN, 1000)


def some_input(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(GENERATOR_SEED)
    return 2 * torch.randn(shape, generator=generator, dtype=torch.float64)


LAYOUTS = {
    "contiguous": lambda x: x,
    "channels-last": lambda x: x.movedim(2, -1).contiguous().movedim(-1, 2),
    "time-first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "transposed": lambda x: x.transpose(3, 4).contiguous().transpose(3, 4),
    "strided": lambda x: torch.stack([x, x], -1)[..., 0],
    "expanded": lambda x: x[:1].expand(2, -1, -1, -1, -1),
}
