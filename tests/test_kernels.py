# SPDX-License-Identifier: MIT
"""The fused scan against the reference, forward and backward, and frame operations against torch's own."""

import dataclasses
import multiprocessing
import threading
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_samples import KINDS, LAYOUTS, PLAIN, SEMANTICS, SURROGATE, neuron_of, some_input, some_layer
from kernel_samples import compare as compare_kernels
from torch import Tensor
from torch.nn import functional

from art_spiking.errors import InvalidInput
from art_spiking.kernels import fused, loops, reference_scan, scan, threads
from art_spiking.kernels.delays import delay
from art_spiking.kernels.frames import can_pool, conv2d, sum_pool2d
from art_spiking.neurons import (
    coefficients,
)
from art_spiking.surrogates import (
    Atan,
    Surrogate,
)


def compare(current, c, semantics, surrogate, *, tolerance):
    kernels = [partial(scan, backend=backend) for backend in ("reference", "fused")]
    compare_kernels(kernels, current, c, semantics, surrogate, tolerance=tolerance)


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    semantics=SEMANTICS,
    surrogate=SURROGATE,
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 5)),
    uniform=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_fused_equals_reference(kind, semantics, surrogate, sizes, uniform, seed):
    generator = torch.Generator().manual_seed(seed)
    neuron = neuron_of(kind, (1,) if uniform else sizes[2:], generator)
    c = coefficients(neuron, semantics, 1000)
    current = 2 * torch.randn(sizes, generator=generator, dtype=torch.float64)
    compare(current, c, semantics, surrogate, tolerance=1e-9)


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(KINDS), semantics=SEMANTICS, seed=st.integers(0, 2**31))
def test_spikes_are_the_same_in_float32(kind, semantics, seed):
    """Rounding is the same too: no fused multiply-add, the same order of operations."""
    generator = torch.Generator().manual_seed(seed)
    c = coefficients(neuron_of(kind, (70,), generator), semantics, 1000).map(lambda t: t.float())
    current = 2 * torch.randn((2, 30, 70), generator=generator)
    compare(current, c, semantics, Atan(), tolerance=1e-3)


@pytest.mark.parametrize("shape", [(0, 4, 5), (2, 0, 5), (2, 4, 0), (1, 1, 1), (1, 4, 5), (3, 1, 5)], ids=str)
def test_sizes_of_zero_and_one(shape):
    compare(some_input(*shape), some_layer(shape[2:]), PLAIN, Atan(), tolerance=1e-9)


@pytest.mark.parametrize("rearranged", LAYOUTS.values(), ids=LAYOUTS)
def test_any_strides(rearranged):
    """With parameters that differ from neuron to neuron, so that a wrong order shows."""
    current = rearranged(some_input(2, 5, 3, 4, 6))
    compare(current, some_layer((3, 4, 6)), PLAIN, Atan(), tolerance=1e-9)


def test_channels_last_stays_so():
    current = some_input(2, 5, 3, 4, 6).movedim(2, -1).contiguous().movedim(-1, 2)
    output, _ = scan(current, some_layer((3, 4, 6)), PLAIN, Atan())
    assert output.movedim(2, -1).is_contiguous()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_tiles_and_threads(monkeypatch, count: int):
    """More features than a tile holds, with a rest, shared among threads."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: count)
    monkeypatch.setattr(fused, "_WORTH_A_THREAD", 1)
    monkeypatch.setattr(loops, "tile_width", lambda steps, features, item_bytes: 7)
    compare(some_input(3, 6, 30), some_layer((30,)), PLAIN, Atan(), tolerance=1e-9)


@pytest.mark.parametrize(
    ("steps", "features", "expected"),
    [(31, 10, 10), (31, 4096, 4096), (310, 4096, 4096), (1000, 4096, 2096), (50_000, 4096, 128), (0, 0, 1)],
)
def test_tiles_stay_small(steps: int, features: int, expected: int):
    assert loops.tile_width(steps, features, 4) == expected


def test_tiles_hold_whole_rows_of_places():
    assert loops.tile_width(1000, 4096, 4, 256) == 2048
    assert loops.tile_width(50_000, 4096, 4, 256) == 256
    assert loops.tile_width(31, 512, 4, 128) == 512


@pytest.mark.parametrize("openmp", [True, False])
class TestRunShares:
    @pytest.fixture(autouse=True)
    def _helpers(self, monkeypatch, openmp: bool) -> None:
        if not openmp:
            monkeypatch.setattr(threads, "_team", lambda: None)
        elif threads._team() is None:
            pytest.skip("this torch brings no GNU OpenMP")

    @pytest.mark.parametrize("count", [1, 2, 3])
    def test_every_share_is_done_once_before_it_returns(self, count: int):
        done = []
        threads.run_shares(done.append, count)
        assert sorted(done) == list(range(count))

    def test_shares_run_at_the_same_time(self):
        meeting = threading.Barrier(2, timeout=60)
        threads.run_shares(lambda k: meeting.wait(), 2)

    @pytest.mark.parametrize("failing", [0, 1])
    def test_an_error_comes_out(self, failing: int):
        def share(k: int) -> None:
            if k == failing:
                raise KeyboardInterrupt("share")

        with pytest.raises(KeyboardInterrupt, match="share"):
            threads.run_shares(share, 2)


def test_calls_from_several_threads_at_once(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(fused, "_WORTH_A_THREAD", 1)
    current, c = some_input(4, 20, 300), some_layer((300,))
    expected, _ = reference_scan(current, c, PLAIN, Atan())
    same = []

    def call() -> None:
        same.append(torch.equal(scan(current, c, PLAIN, Atan(), backend="fused")[0], expected))

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert same == [True] * 4


def _scan_in_child(queue) -> None:
    current = some_input(2, 8, 40)
    output, _ = scan(current, some_layer((40,)), PLAIN, Atan(), backend="fused")
    queue.put(float(output.sum()))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_makes_its_own_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(fused, "_WORTH_A_THREAD", 1)
    output, _ = scan(some_input(2, 8, 40), some_layer((40,)), PLAIN, Atan(), backend="fused")
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_scan_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == float(output.sum())
    child.join(60)
    assert child.exitcode == 0


@pytest.mark.parametrize("v_min", [None, -1.0])
@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_what_is_not_a_number_stays_and_stays_where_it_is(v_min, backend):
    semantics = dataclasses.replace(PLAIN, v_min=v_min)
    current = some_input(2, 6, 5)
    clean, expected = scan(current, some_layer((5,)), semantics, Atan(), membrane=True, backend=backend)
    current[0, 2, 3] = float("nan")
    spikes, potentials = scan(current, some_layer((5,)), semantics, Atan(), membrane=True, backend=backend)
    assert expected is not None
    assert potentials is not None
    assert potentials[0, 2:, 3].isnan().all()
    assert potentials.isnan().sum() == 4
    assert spikes[0, 2:, 3].tolist() == [0.0] * 4
    kept = ~potentials.isnan()
    assert torch.equal(potentials[kept], expected[kept])
    assert torch.equal(spikes[kept], clean[kept])


def test_the_input_is_not_written():
    current = some_input(2, 6, 5)
    kept = current.clone()
    x = current.requires_grad_()
    output, _ = scan(x, some_layer((5,)), PLAIN, Atan(), backend="fused")
    output.sum().backward()
    assert torch.equal(current, kept)


def test_the_gradient_can_be_taken_twice():
    x = some_input(2, 6, 5).requires_grad_()
    output, _ = scan(x, some_layer((5,)), PLAIN, Atan(), backend="fused")
    first, second = (torch.autograd.grad(output.sum(), x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


@dataclass(frozen=True)
class Cosine(Surrogate):
    """A surrogate that the fused kernel has no formula for."""

    name: ClassVar[str] = "cosine"

    def derivative(self, u: Tensor) -> Tensor:
        return u.clamp(-1.5, 1.5).cos()


def test_a_surrogate_of_ones_own_runs_on_the_reference():
    x = some_input(2, 6, 5).requires_grad_()
    output, _ = scan(x, some_layer((5,)), PLAIN, Cosine())
    expected, _ = scan(x, some_layer((5,)), PLAIN, Atan())
    assert torch.equal(output, expected)
    (gradient,) = torch.autograd.grad(output.sum(), x)
    assert gradient.abs().sum() > 0


def test_the_fused_kernel_says_what_it_cannot_run():
    with pytest.raises(InvalidInput, match=r"surrogate 'cosine'.*backend 'auto'"):
        scan(some_input(1, 1, 1), some_layer((1,)), PLAIN, Cosine(), backend="fused")


def test_parameters_of_another_shape_are_named():
    with pytest.raises(
        InvalidInput, match=r"layer's decay .*found: shape \(4,\); accepted: one element or \(5,\)"
    ):
        scan(some_input(1, 2, 5), some_layer((4,)), PLAIN, Atan())


def test_parameters_of_another_type_are_named():
    with pytest.raises(InvalidInput, match=r"decay is not of its input's type"):
        scan(some_input(1, 2, 5).float(), some_layer((5,)), PLAIN, Atan())


def test_an_input_without_time_is_refused():
    with pytest.raises(InvalidInput, match=r"accepted: \(N, T, \*F\)"):
        scan(some_input(2, 5), some_layer((5,)), PLAIN, Atan())


class TestDelay:
    @pytest.mark.parametrize("steps", [[0], [2], [7], [9], [0, 1, 2, 3, 7, 100], [1 << 40]], ids=str)
    def test_every_value_comes_later(self, steps: list[int]):
        x = torch.randn(2, 7, 6, generator=torch.Generator().manual_seed(0), requires_grad=True)
        found = delay(x, torch.tensor(steps))
        expected = torch.zeros_like(x)
        with torch.no_grad():
            for k in range(6):
                late = steps[k] if len(steps) > 1 else steps[0]
                for t in range(late, 7):
                    expected[:, t, k] = x[:, t - late, k]
        assert torch.equal(found, expected)
        (gradient,) = torch.autograd.grad(found.sum(), x)
        counts = torch.tensor([max(0, 7 - late) for late in (steps if len(steps) > 1 else steps * 6)])
        assert torch.equal(gradient.sum(1), counts.float().expand(2, 6))

    @pytest.mark.parametrize("shape", [(0, 4, 3), (2, 0, 3), (2, 1, 3)], ids=str)
    def test_few_or_none(self, shape):
        for steps in (torch.tensor([1]), torch.tensor([0, 1, 2])):
            assert delay(torch.ones(shape), steps).shape == shape

    def test_values_of_several_axes(self):
        x = torch.arange(24.0).reshape(1, 3, 2, 4)
        steps = torch.tensor([[0, 0, 0, 0], [2, 1, 0, 5]])
        found = delay(x, steps)
        assert torch.equal(found[0, :, 0], x[0, :, 0])
        assert found[0, 2, 1].tolist() == [x[0, 0, 1, 0], x[0, 1, 1, 1], x[0, 2, 1, 2], 0]


class TestFrames:
    @settings(max_examples=150, deadline=None)
    @given(
        stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
        kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
        padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
        extra=st.tuples(st.integers(0, 8), st.integers(0, 8)),
        channels_last=st.booleans(),
        seed=st.integers(0, 2**31),
    )
    def test_convolution_equals_torch(self, stride, kernel, padding, extra, channels_last, seed):
        generator = torch.Generator().manual_seed(seed)
        height, width = (max(1, k - 2 * p) + e for k, p, e in zip(kernel, padding, extra, strict=True))

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        x = draw(2, 3, height, width)
        if channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        tensors = [t.requires_grad_() for t in (x, draw(4, 3, *kernel), draw(4))]
        ours = conv2d(*tensors, stride=stride, padding=padding)
        expected = functional.conv2d(*tensors, stride, padding)
        assert torch.equal(ours, expected)
        direction = draw(*expected.shape)
        for found, wanted in zip(
            torch.autograd.grad((ours * direction).sum(), tensors),
            torch.autograd.grad((expected * direction).sum(), tensors),
            strict=True,
        ):
            assert torch.allclose(found, wanted, atol=1e-10)

    def test_frozen_weights_take_no_gradient_and_keep_no_input(self):
        x, weight = some_input(2, 3, 6, 6).requires_grad_(), some_input(4, 3, 3, 3)
        result = conv2d(x, weight, None, stride=(2, 2), padding=(1, 1))
        assert all(saved is None or saved is not x for saved in result.grad_fn.saved_tensors)
        result.sum().backward()
        assert x.grad is not None
        assert weight.grad is None

    @pytest.mark.parametrize("channels_last", [False, True])
    def test_pooling_equals_torch(self, channels_last: bool):
        x = (some_input(2, 3, 6, 4) > 1.2).double()
        if channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        x.requires_grad_()
        assert can_pool(x.shape, (3, 2), (3, 2), (0, 0))
        direction = some_input(2, 3, 2, 2)
        average = 6 * functional.avg_pool2d(x, (3, 2))
        # LPPool2d takes the absolute value and the root of sums: for norm 1, the sum itself.
        lp = functional.lp_pool2d(x, 1, (3, 2))
        for silent, expected in ((False, average), (True, lp)):
            ours = sum_pool2d(x, (3, 2), silent=silent)
            assert torch.allclose(ours, expected)
            assert 0 < (ours == 0).sum() < ours.numel()
            (gradient,) = torch.autograd.grad((ours * direction).sum(), x)
            (wanted,) = torch.autograd.grad((expected * direction).sum(), x)
            assert torch.allclose(gradient, wanted)

    def test_other_windows_are_left_to_torch(self):
        shape = torch.Size((1, 1, 6, 5))
        assert not can_pool(shape, (2, 2), (2, 2), (0, 0))
        assert not can_pool(shape, (3, 5), (2, 5), (0, 0))
        assert not can_pool(shape, (3, 5), (3, 5), (1, 0))
