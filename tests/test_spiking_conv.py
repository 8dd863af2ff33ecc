# SPDX-License-Identifier: MIT
"""Event-driven convolution with its neurons and pooling: against dense layers and the reference scan."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_samples import SEMANTICS, SURROGATE, neuron_of
from torch import Tensor
from torch.nn import functional

from art_spiking.kernels import fused, reference_scan
from art_spiking.kernels.dense import PLACES, margin_room, packed_taps, serves
from art_spiking.kernels.dense import by_frame as by_wide_frame
from art_spiking.kernels.events import Window, add_frame, margins, packed, reach, sums_size
from art_spiking.kernels.frames import Windows, sum_pool2d
from art_spiking.kernels.spiking_conv import spiking_conv2d
from art_spiking.kernels.strided import by_frames, packed_phases
from art_spiking.neurons import Coefficients, NeuronSemantics, coefficients
from art_spiking.surrogates import Atan, Surrogate

Pair = tuple[int, int]
NO_POOLING = Windows()

PLAIN = NeuronSemantics(reset="subtract", v_min=-1.0, fires="ge")
LAYOUTS = {
    "planar": lambda x: x,
    "channels-last": lambda x: x.movedim(2, -1).contiguous().movedim(-1, 2),
    "time-first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "strided": lambda x: torch.stack([x, x], -1)[..., 0],
}


def random_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sparse_input(*shape: int, seed: int = 0, share: float = 0.2) -> Tensor:
    """Mostly zeros; counts, and numbers that are none."""
    generator = random_generator(seed)
    values = torch.randint(-1, 4, shape, generator=generator).double() * 0.75
    return values * (torch.rand(shape, generator=generator) < share)


def by_layers(
    x: Tensor,
    kernel: tuple[Tensor, Tensor | None, Pair, Pair],
    c: Coefficients,
    semantics: NeuronSemantics,
    surrogate: Surrogate,
    *,
    pool: Windows = NO_POOLING,
) -> Tensor:
    frames = functional.conv2d(x.flatten(0, 1), *kernel)
    spikes, _ = reference_scan(frames.unflatten(0, x.shape[:2]), c, semantics, surrogate)
    if pool.sides == (1, 1):
        return spikes
    frames = spikes.flatten(0, 1)
    if pool.mean:
        return functional.avg_pool2d(frames, pool.sides).unflatten(0, x.shape[:2])
    return sum_pool2d(frames, pool.sides, silent=pool.silent).unflatten(0, x.shape[:2])


def compare(x: Tensor, kernel, c, semantics, surrogate, **options) -> None:
    """Output and all gradients, in float64, equal those of the layers one by one."""
    results = []
    for run in (by_layers, spiking_conv2d):
        leaves = [None if t is None else t.detach().clone().requires_grad_() for t in (x, *kernel[:2])]
        leaves[0] = x.detach().requires_grad_()
        output = run(leaves[0], (*leaves[1:], *kernel[2:]), c, semantics, surrogate, **options)
        direction = torch.randn(output.shape, generator=random_generator(9), dtype=output.dtype)
        wanted = [leaf for leaf in leaves if leaf is not None]
        results.append((output, *torch.autograd.grad((output * direction).sum(), wanted)))
    (expected, *gradients), (found, *ours) = results
    assert torch.equal(found, expected)
    for a, b in zip(ours, gradients, strict=True):
        assert a.shape == b.shape
        scale = max(1.0, float(b.abs().max())) if b.numel() else 1.0
        assert torch.allclose(a, b, rtol=0, atol=1e-9 * scale)


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["IF", "LIF", "CubaLIF", "Threshold"]),
    semantics=SEMANTICS,
    surrogate=SURROGATE,
    channels=st.sampled_from([1, 2, 3, 16, 20]),
    outputs=st.sampled_from([1, 3, 16, 20, 32]),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    sides=st.tuples(st.integers(1, 4), st.integers(1, 12)),
    pool=st.sampled_from([(1, 1), (2, 2), (1, 3), (2, 1)]),
    layout=st.sampled_from(sorted(LAYOUTS)),
    flags=st.tuples(st.booleans(), st.sampled_from(["sum", "silent", "mean"]), st.booleans()),
    seed=st.integers(0, 2**31),
)
def test_equals_the_layers_one_by_one(
    kind, semantics, surrogate, channels, outputs, kernel, stride, padding, sides, pool, layout, flags, seed
):
    uniform, pools, has_bias = flags
    windows = Windows(pool, pools == "silent" and pool != (1, 1), pools == "mean")
    out = [side * side_pool for side, side_pool in zip(sides, pool, strict=True)]
    height, width = ((o - 1) * s + k - 2 * p for o, s, k, p in zip(out, stride, kernel, padding, strict=True))
    if height < 1 or width < 1:
        return
    generator = random_generator(seed)
    x = LAYOUTS[layout](sparse_input(2, 5, channels, height, width, seed=seed))
    weight = torch.randn(outputs, channels, *kernel, generator=generator, dtype=torch.float64)
    bias = torch.randn(outputs, generator=generator, dtype=torch.float64) / 4 if has_bias else None
    c = coefficients(neuron_of(kind, (1,) if uniform else (outputs, *out), generator), semantics, 1000)
    compare(
        x,
        (weight, bias, stride, padding),
        c,
        semantics,
        surrogate,
        pool=windows if windows.is_exact else Windows(pool),
    )


def some_layer(outputs: int, sides: Pair) -> Coefficients:
    return coefficients(neuron_of("LIF", (outputs, *sides), random_generator(3)), PLAIN, 1000)


def some_kernel(outputs: int, channels: int, dtype: torch.dtype = torch.float64):
    generator = random_generator(4)
    weight = torch.randn(outputs, channels, 3, 3, generator=generator, dtype=torch.float64)
    bias = torch.randn(outputs, generator=generator, dtype=torch.float64)
    return weight.to(dtype), bias.to(dtype), (1, 1), (1, 1)


@pytest.mark.parametrize("shape", [(0, 4), (1, 1), (1, 4), (3, 1)], ids=str)
def test_few_samples_and_steps(shape: Pair):
    x = sparse_input(*shape, 3, 4, 6)
    compare(x, some_kernel(5, 3), some_layer(5, (4, 6)), PLAIN, Atan(), pool=Windows((2, 2)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("samples", [1, 5])
def test_threads_and_tiles_change_no_bit(monkeypatch, dtype, samples: int):
    monkeypatch.setattr(fused, "_WORTH_A_THREAD", 1)
    x = sparse_input(samples, 7, 3, 12, 6).to(dtype).requires_grad_()
    c = some_layer(20, (12, 6)).map(lambda t: t.to(dtype))
    found = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        output = spiking_conv2d(x, some_kernel(20, 3, dtype), c, PLAIN, Atan(), pool=Windows((2, 2)))
        found.append((output, *torch.autograd.grad(output.sum(), x)))
    assert 0 < found[0][0].mean() < 4
    for output, gradient in found[1:]:
        assert torch.equal(output, found[0][0])
        assert torch.equal(gradient, found[0][1])


def test_a_sample_does_not_see_its_batch():
    x = sparse_input(5, 7, 3, 4, 6).float()
    kernel, c = some_kernel(5, 3, torch.float32), some_layer(5, (4, 6)).map(lambda t: t.float())
    whole = spiking_conv2d(x, kernel, c, PLAIN, Atan())
    assert torch.equal(spiking_conv2d(x[2:3], kernel, c, PLAIN, Atan()), whole[2:3])


def test_terms_are_added_in_the_order_of_row_column_channel():
    """Bit by bit, in float32: the order that oneDNN's direct convolution has too."""
    generator = random_generator(5)
    frame = (torch.rand(5, 7, 16, generator=generator) < 0.3).float().numpy()
    weight = torch.randn(16, 16, 3, 3, generator=generator).numpy()
    window = Window(16, (5, 7), (3, 3), (1, 1), (1, 1), 16, (5, 7), False)
    out = np.zeros(sums_size(window, 16, 5), np.float32)
    add_frame(
        frame.reshape(-1),
        window,
        packed(weight, (1, 1)),
        16,
        reach(window, 16),
        np.empty(560, np.float32),
        np.empty(560, np.int64),
        np.empty(5, np.int64),
        (0, 5),
        out,
    )
    expected = np.zeros((5, 7, 16), np.float32)
    around = np.pad(frame, ((1, 1), (1, 1), (0, 0)))
    for k in range(3):
        for j in range(3):
            for c in range(16):
                expected += around[k : k + 5, j : j + 7, c : c + 1] * weight[:, c, k, j]
    rows, columns, pitch = margins(window)
    within = out.reshape(-1, pitch, 16)[rows : rows + 5, columns : columns + 7]
    assert np.array_equal(within, expected)


def test_what_is_not_a_number_stays_in_its_reach():
    x = sparse_input(2, 6, 3, 4, 6)
    kernel, c = some_kernel(5, 3), some_layer(5, (4, 6))
    clean = spiking_conv2d(x, kernel, c, PLAIN, Atan())
    x[0, 2, 1, 1, 1] = float("nan")
    found = spiking_conv2d(x, kernel, c, PLAIN, Atan())
    assert found[0, 2:, :, :3, :3].sum() == 0
    assert torch.equal(found[1], clean[1])
    assert torch.equal(found[0, :2], clean[0, :2])
    assert torch.equal(found[0, :, :, 3:], clean[0, :, :, 3:])
    assert torch.equal(found[0, :, :, :, 3:], clean[0, :, :, :, 3:])


def test_nothing_but_the_input_is_kept():
    x = sparse_input(2, 6, 3, 4, 6).requires_grad_()
    kernel, c = some_kernel(5, 3), some_layer(5, (4, 6))
    for silent, count in ((False, 2), (True, 3)):
        result = spiking_conv2d(x, kernel, c, PLAIN, Atan(), pool=Windows((2, 2), silent))
        saved = [tensor for tensor in result.grad_fn.saved_tensors if tensor is not None]
        assert len(saved) == count  # input, weight, and a small output that tells silent windows
        assert saved[0] is x or torch.equal(saved[0], x)


def test_gradients_in_float32_are_those_of_float64():
    x = sparse_input(2, 6, 3, 8, 6)
    semantics = dataclasses.replace(PLAIN, v_min=None)
    gradients = []
    for dtype in (torch.float32, torch.float64):
        leaf = x.to(dtype).requires_grad_()
        c = some_layer(16, (8, 6)).map(lambda t, dtype=dtype: t.to(dtype))
        output = spiking_conv2d(leaf, some_kernel(16, 3, dtype), c, semantics, Atan())
        gradients.append(torch.autograd.grad(output.sum(), leaf)[0].double())
    assert torch.allclose(*gradients, rtol=0, atol=1e-5 * float(gradients[1].abs().max()))


@settings(max_examples=80, deadline=None)
@given(
    channels=st.integers(1, 3),
    outputs=st.sampled_from([1, 3, 16, 20, 32]),
    sides=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 2**31),
)
def test_the_gradient_by_few_channels_equals_torch(
    channels, outputs, sides, kernel, stride, padding, dtype, seed
):
    out = tuple(
        (side + 2 * p - k) // s + 1 for side, p, k, s in zip(sides, padding, kernel, stride, strict=True)
    )
    if min(out) < 1:
        return
    generator = random_generator(seed)
    weight = torch.randn(outputs, channels, *kernel, generator=generator, dtype=torch.float64)
    by_y = torch.randn(3, outputs, *out, generator=generator, dtype=torch.float64)
    x = torch.zeros(3, channels, *sides, dtype=torch.float64, requires_grad=True)
    expected = torch.autograd.grad(functional.conv2d(x, weight, None, stride, padding), x, by_y)[0]
    window = Window(channels, sides, kernel, stride, padding, outputs, out, True)
    found = torch.full((3, x[0].numel()), float("nan"), dtype=dtype)
    weights = packed_phases(weight.to(dtype).numpy(), stride)
    rows = by_y.to(dtype).permute(0, 2, 3, 1).flatten(1).contiguous().numpy()
    for span in ((0, 2), (2, 3)):
        by_frames(rows, found.numpy(), window, weights, span)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    difference = (found.view(x.shape).double() - expected).abs().max()
    assert difference <= tolerance * max(1.0, float(expected.abs().max()))


@settings(max_examples=60, deadline=None)
@given(
    channels=st.sampled_from([16, 32]),
    outputs=st.integers(1, 20),
    sides=st.tuples(st.integers(1, 12), st.integers(PLACES, 21)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    padding=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 2**31),
)
def test_the_gradient_of_small_kernels_equals_torch(channels, outputs, sides, kernel, padding, dtype, seed):
    out = tuple(side + 2 * p - k + 1 for side, p, k in zip(sides, padding, kernel, strict=True))
    window = Window(channels, sides, kernel, (1, 1), padding, outputs, out, False)
    if min(out) < 1 or not serves(window):
        return
    generator = random_generator(seed)
    weight = torch.randn(outputs, channels, *kernel, generator=generator, dtype=torch.float64)
    by_y = torch.randn(2, outputs, *out, generator=generator, dtype=torch.float64)
    x = torch.zeros(2, channels, *sides, dtype=torch.float64, requires_grad=True)
    expected = torch.autograd.grad(functional.conv2d(x, weight, None, 1, padding), x, by_y)[0]
    taps = packed_taps(weight.to(dtype).numpy())
    wide = margin_room(window, taps)
    found = torch.full((2, *sides, channels), float("nan"), dtype=dtype)
    for row, frame in zip(by_y.to(dtype).permute(0, 2, 3, 1).flatten(1), found.flatten(1), strict=True):
        by_wide_frame(row.contiguous().numpy(), frame.numpy(), window, taps, wide)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    difference = (found.permute(0, 3, 1, 2).double() - expected).abs().max()
    assert difference <= tolerance * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("channels", [2, 16])
@pytest.mark.parametrize("keep", [False, True])
def test_the_ways_to_a_gradient_agree(channels, keep, monkeypatch):
    """Kept currents or not, the convolution's gradient at once or after all neurons': the same numbers."""
    x = sparse_input(5, 7, channels, 8, 9)
    kernel, c = some_kernel(16, channels), some_layer(16, (8, 9))
    found = []
    for whole in (False, True):
        monkeypatch.setattr(fused, "_WHOLE_SAMPLE_BYTES", 1 << 24 if whole else 0)
        leaf = x.clone().requires_grad_()
        if channels == 16:
            leaf = x.permute(0, 1, 3, 4, 2).contiguous().requires_grad_()
        inner = leaf.permute(0, 1, 4, 2, 3) if channels == 16 else leaf
        output = spiking_conv2d(inner, kernel, c, PLAIN, Atan(), keep=keep)
        assert (output.grad_fn.saved_tensors[3] is not None) == keep
        found.append((output.detach(), torch.autograd.grad(output.cos().sum(), leaf)[0]))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.allclose(found[0][1], found[1][1], rtol=1e-5, atol=1e-6)
