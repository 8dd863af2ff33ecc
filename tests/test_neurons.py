# SPDX-License-Identifier: MIT
"""Neurons: coefficients, the step by hand, presets, and snnTorch's own neurons step by step."""

import dataclasses
import math
import pickle

import numpy as np
import pytest
import snntorch
import torch

from art_spiking.errors import InvalidInput, UnknownName
from art_spiking.kernels import reference_scan, scan
from art_spiking.network import SpikingNetwork
from art_spiking.neurons import (
    IF,
    LI,
    LIF,
    PRESETS,
    CubaLI,
    CubaLIF,
    I,
    NeuronSemantics,
    State,
    Threshold,
    coefficients,
    step,
)
from art_spiking.semantics_text import parse_semantics
from art_spiking.surrogates import Atan

DT_US = 1000.0


def one(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


def if_neuron(threshold: float = 1.0, reset: float = 0.0) -> IF:
    return IF(one(1.0), one(threshold), one(reset))


def run(neuron, semantics: NeuronSemantics, inputs: list[float]) -> tuple[list[float], list[float]]:
    """Spikes and potentials of one neuron."""
    current = torch.tensor(inputs, dtype=torch.float64).view(1, -1, 1)
    c = coefficients(neuron, semantics, DT_US)
    spikes, potentials = scan(current, c, semantics, Atan(), membrane=True)
    return spikes.flatten().tolist(), potentials.flatten().tolist()


class TestSemantics:
    @pytest.mark.parametrize("name", PRESETS)
    def test_presets_survive_data_and_pickle(self, name: str):
        semantics = NeuronSemantics.preset(name)
        assert NeuronSemantics.from_dict(semantics.to_dict()) == semantics
        assert parse_semantics(semantics.to_text()) == semantics
        assert pickle.loads(pickle.dumps(semantics)) == semantics

    def test_there_is_a_preset_for_each_framework(self):
        assert set(PRESETS) == {"nir", "sinabs", "snntorch", "norse", "spikingjelly", "slayer"}

    def test_unknown_preset(self):
        with pytest.raises(UnknownName, match="asked: 'lava'; accepted: nir, sinabs"):
            NeuronSemantics.preset("lava")

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("reset", "soft"),
            ("spikes", 2),
            ("fires", ">"),
            ("integration", "zoh"),
            ("pool_gradient", None),
            ("v_min", 0.5),
            ("v_min", float("nan")),
            ("v_min", True),
        ],
    )
    def test_refuses_what_it_does_not_know(self, field: str, value):
        with pytest.raises(InvalidInput, match=f"semantics' {field}"):
            NeuronSemantics(**{field: value})

    def test_a_missing_field_is_not_filled_in(self):
        data = PRESETS["sinabs"].to_dict()
        del data["fires"]
        with pytest.raises(InvalidInput, match="stated in full"):
            NeuronSemantics.from_dict(data)


class TestStepByHand:
    def test_subtract_keeps_what_is_above_the_threshold(self):
        semantics = NeuronSemantics(reset="subtract", fires="ge")
        spikes, potentials = run(if_neuron(), semantics, [0.75, 0.75, 2.0, 0.0, -5.0])
        assert spikes == [0, 1, 1, 1, 0]
        assert potentials == [0.75, 1.5, 2.5, 1.5, -4.5]

    def test_value_goes_to_the_neurons_own(self):
        semantics = NeuronSemantics(reset="value", fires="ge")
        spikes, potentials = run(if_neuron(reset=-0.5), semantics, [1.25, 1.0, 0.5])
        assert spikes == [1, 0, 1]
        assert potentials == [1.25, 0.5, 1.0]

    def test_none_never_resets(self):
        spikes, _ = run(if_neuron(), NeuronSemantics(reset="none"), [1.5, 0.0, -1.0, 0.0])
        assert spikes == [1, 1, 0, 0]

    def test_several_fires_as_often_as_the_threshold_fits(self):
        semantics = NeuronSemantics(reset="subtract", spikes="several", fires="ge")
        spikes, potentials = run(if_neuron(0.5), semantics, [1.75, 0.25, -3.0, 2.0])
        assert spikes == [3, 1, 0, 0]
        assert potentials == [1.75, 0.5, -3.0, -1.0]

    def test_the_clamp_comes_before_the_comparison(self):
        semantics = NeuronSemantics(reset="subtract", v_min=-1.0, fires="ge")
        spikes, potentials = run(if_neuron(), semantics, [-3.0, 1.5, 0.5])
        assert potentials == [-1.0, 0.5, 1.0]
        assert spikes == [0, 0, 1]

    @pytest.mark.parametrize(("spikes", "equal_twice"), [("one", 1), ("several", 2)])
    def test_equal_to_the_threshold_fires_or_not(self, spikes, equal_twice: int):
        semantics = NeuronSemantics(reset="none", spikes=spikes, fires="ge")
        assert run(if_neuron(), semantics, [1.0, 1.0])[0] == [1, equal_twice]
        semantics = dataclasses.replace(semantics, fires="gt")
        assert run(if_neuron(), semantics, [1.0, 1.0])[0] == [0, 1]

    def test_a_delayed_reset_waits_for_the_leak(self):
        lif = LIF(one(2e-3), one(2.0), one(0.0), one(1.0), one(0.0))
        now = NeuronSemantics(reset="subtract", fires="gt")
        later = dataclasses.replace(now, integration="delayed-reset")
        assert run(lif, now, [3.0, 0.0])[1] == [3.0, 1.0]  # (3 - 1) / 2
        assert run(lif, later, [3.0, 0.0])[1] == [3.0, 0.5]  # 3 / 2 - 1

    def test_lif_decays_to_rest(self):
        lif = LIF(one(10e-3), one(1.0), one(0.5), one(9.0), one(0.0))
        _, potentials = run(lif, NeuronSemantics(), [0.0, 0.0])
        assert potentials == pytest.approx([0.05, 0.095])

    def test_a_threshold_node_forgets(self):
        node = Threshold(one(1.0))
        semantics = NeuronSemantics(reset="subtract", spikes="several", v_min=-1.0, fires="gt")
        assert run(node, semantics, [1.5, 0.5, 1.0, 7.0])[0] == [1, 0, 0, 1]

    def test_li_puts_out_its_potential(self):
        li = LI(one(2e-3), one(1.0), one(0.0))
        output, potentials = run(li, NeuronSemantics(), [1.0, 0.0, 4.0])
        assert output == potentials == [0.5, 0.25, 2.125]

    def test_an_integrator_only_adds_up(self):
        output, potentials = run(I(one(2.0)), PRESETS["sinabs"], [1.0, 0.0, -4.0, 0.5])
        assert output == potentials == [2.0, 2.0, -6.0, -5.0]

    def test_a_current_based_integrator_filters_twice(self):
        neuron = CubaLI(one(2e-3), one(4e-3), one(4.0), one(0.5), one(2.0))
        output, potentials = run(neuron, NeuronSemantics(v_min=-1.0), [1.0, 0.0, -4.0])
        # i = 1, 0.5, -3.75; v = v * 3/4 + i + 1/8.
        assert output == potentials == [1.125, 1.46875, -2.5234375]

    def test_the_state_says_all_there_is(self):
        c = coefficients(if_neuron(), NeuronSemantics(reset="subtract"))
        x = torch.tensor([[1.5]], dtype=torch.float64)
        spikes, potential, state = step(x, State.start(x, c), c, NeuronSemantics(reset="subtract"), Atan())
        assert (spikes.item(), potential.item()) == (1, 1.5)
        assert (state.potential.item(), state.current, state.spikes.item()) == (0.5, None, 1)


class TestCoefficients:
    LIF = LIF(one(5e-3), one(2.0), one(0.3), one(1.0), one(0.0))

    @pytest.mark.parametrize("integration", ["euler", "delayed-reset"])
    def test_euler(self, integration):
        c = coefficients(self.LIF, NeuronSemantics(integration=integration), 1000)
        assert [c.decay.item(), c.gain.item(), c.offset.item()] == pytest.approx([0.8, 0.4, 0.06])

    def test_exponential_follows_the_exact_solution(self):
        # tau dv/dt = (0.3 - v) + 2 * 1.5, from 0, at t = 3 dt.
        _, potentials = run(self.LIF, NeuronSemantics(reset="none", integration="exponential"), [1.5] * 3)
        assert potentials == pytest.approx([3.3 * (1 - math.exp(-k / 5)) for k in (1, 2, 3)])

    def test_euler_comes_close_to_the_exact_solution_in_small_steps(self):
        c = coefficients(self.LIF, NeuronSemantics(), 1)
        current = torch.full((1, 5000, 1), 1.5, dtype=torch.float64)
        _, potentials = scan(current, c, NeuronSemantics(reset="none"), Atan(), membrane=True)
        assert potentials[0, -1, 0].item() == pytest.approx(3.3 * (1 - math.exp(-1)), rel=1e-3)

    def test_impulse_adds_the_input_unscaled(self):
        c = coefficients(self.LIF, NeuronSemantics(integration="impulse"), 1000)
        assert [c.decay.item(), c.gain.item()] == pytest.approx([math.exp(-0.2), 2.0])

    def test_a_leaky_neuron_needs_dt(self):
        with pytest.raises(InvalidInput, match=r"asked: dt_us=None.*pass dt_us"):
            coefficients(self.LIF, NeuronSemantics())

    @pytest.mark.parametrize("dt_us", [0, -1, float("nan"), float("inf")])
    def test_dt_is_above_zero(self, dt_us: float):
        with pytest.raises(InvalidInput, match="length of a step"):
            coefficients(self.LIF, NeuronSemantics(), dt_us)

    def test_euler_does_not_step_over_a_time_constant(self):
        with pytest.raises(InvalidInput, match=r"a time constant of 5000 µs.*integration 'exponential'"):
            coefficients(self.LIF, NeuronSemantics(), 5001)
        coefficients(self.LIF, NeuronSemantics(integration="exponential"), 5001)


def snntorch_trace(neuron, inputs: torch.Tensor, states: int) -> torch.Tensor:
    """Spikes (N, T, F) of an snnTorch neuron stepped by its own loop."""
    state = [torch.zeros_like(inputs[:, 0]) for _ in range(states)]
    spikes = []
    for x in inputs.unbind(1):
        fired, *state = neuron(x, *state)
        spikes.append(fired)
    return torch.stack(spikes, 1)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("kind", ["Leaky", "Synaptic", "Leaky-IF"])
@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_preset_equals_snntorch(reset: str, kind: str, backend):
    """Identical spikes, and the same input gradient under the same surrogate, over several layers' worth."""
    semantics = PRESETS["snntorch"]
    if reset == "zero":
        semantics = dataclasses.replace(semantics, reset="value")
    # Time constants for which 1 - dt / tau, in float32, is the number that snnTorch is given.
    tau, tau_syn, dt_us = 4e-3, 2e-3, 500.0
    beta, alpha = 1 - 0.5e-3 / tau, 1 - 0.5e-3 / tau_syn
    spike_grad = snntorch.surrogate.atan(alpha=2.0)
    if kind == "Leaky":
        neuron = LIF(one(tau), one(tau / 0.5e-3), one(0), one(1.0), one(0))
        theirs, states = snntorch.Leaky(beta, reset_mechanism=reset, spike_grad=spike_grad), 1
    elif kind == "Leaky-IF":
        neuron = if_neuron()
        theirs, states = snntorch.Leaky(1.0, reset_mechanism=reset, spike_grad=spike_grad), 1
    else:
        neuron = CubaLIF(
            one(tau_syn), one(tau), one(tau / 0.5e-3), one(0), one(1.0), one(0), one(tau_syn / 0.5e-3)
        )
        theirs, states = snntorch.Synaptic(alpha, beta, reset_mechanism=reset, spike_grad=spike_grad), 2
    c = coefficients(neuron, semantics, dt_us).map(lambda tensor: tensor.float())
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(8, 60, 50, generator=generator) * 0.6 + 0.1
    direction = torch.randn(8, 60, 50, generator=generator)

    ours_in, theirs_in = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    ours, _ = scan(ours_in, c, semantics, Atan(2.0), backend=backend)
    expected = snntorch_trace(theirs, theirs_in, states)
    assert 0.02 < expected.mean() < 0.9
    assert torch.equal(ours, expected)
    (gradient,) = torch.autograd.grad((ours * direction).sum(), ours_in)
    (expected_gradient,) = torch.autograd.grad((expected * direction).sum(), theirs_in)
    assert torch.allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-5)


def test_the_reset_before_the_leak_is_another_neuron():
    """The control of the test above: with the reset at once, spikes differ from snnTorch's."""
    neuron = LIF(one(4e-3), one(8.0), one(0), one(1.0), one(0))
    semantics = dataclasses.replace(PRESETS["snntorch"], integration="euler")
    c = coefficients(neuron, semantics, 500.0).map(lambda tensor: tensor.float())
    inputs = torch.randn(8, 60, 50, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.1
    ours, _ = reference_scan(inputs, c, semantics, Atan())
    assert not torch.equal(ours, snntorch_trace(snntorch.Leaky(0.875), inputs, 1))


# What one neuron of the framework's own code does with INPUTS: its spikes, and its potential after each step.
# Recorded once from norse 1.1.0 (LIFBox, LIBox), sinabs 3.1.3 (IAF, LIF, min_v_mem -1, norm_input off) and
# spikingjelly 2.0.0 (LIFNode, IFNode, CUBALIFNode), as their NIR imports set them up: threshold 1, reset to 0
# or by subtraction, time constants of 4 steps for the membrane and 2 for the synapse.
INPUTS = [0.5, 1.5, -1.0, 2.5, 0.25, -3.0, 1.0, 4.0, 0.0, 1.75, 0.5, 2.0]
MEMBRANE = {"tau": 4e-3, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
SYNAPSE = {"tau_syn": 2e-3, "tau_mem": 4e-3, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0}
# fmt: off
RECORDED = [
    ("norse", LIF, {"r": 2.0, **MEMBRANE},
     [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1],
     [0.25, 0.9375, 0.203125, 0, 0.125, -1.40625, -0.554688, 0, 0, 0.875, 0.90625, 0]),
    ("norse", CubaLIF, {"r": 3.0, "w_in": 2.0, **SYNAPSE},
     [0, 1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 1],
     [0.375, 0, -0.09375, 0, 0, -1.699219, -1.374023, 0, 0, 0, 0, 0]),
    ("sinabs", IF, {"r": 1.0, "v_threshold": 1.0, "v_reset": 0.0},
     [0, 2, 0, 1, 0, 0, 0, 4, 0, 1, 1, 2],
     [0.5, 0, -1, 0.5, 0.75, -1, 0, 0, 0, 0.75, 0.25, 0.25]),
    ("sinabs", LIF, {"r": 1.0, **MEMBRANE},
     [0, 1, 0, 2, 0, 0, 0, 4, 0, 1, 1, 2],
     [0.5, 0.8894, -0.307334, 0.260648, 0.452993, -1, 0.221199, 0.17227, 0.134164, 0.854487, 0.165475,
      0.128872]),
    ("sinabs", CubaLIF, {"r": 1.0, "w_in": 1.0, **SYNAPSE},
     [0, 1, 0, 1, 1, 0, 0, 1, 2, 2, 1, 2],
     [0.303265, 0.329919, 0.313795, 0.795194, 0.711544, -0.60296, -0.564878, 0.928397, 0.159498, 0.056904,
      0.519816, 0.51283]),
    ("spikingjelly", IF, {"r": 1.0, "v_threshold": 1.0, "v_reset": 0.0},
     [0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 1],
     [0.5, 0, -1, 0, 0.25, -2.75, -1.75, 0, 0, 0, 0.5, 0]),
    ("spikingjelly", LIF, {"r": 2.0, **MEMBRANE},
     [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1],
     [0.25, 0.9375, 0.203125, 0, 0.125, -1.40625, -0.554688, 0, 0, 0.875, 0.90625, 0]),
    ("spikingjelly", CubaLIF, {"r": 4.0, "w_in": 2.0, **SYNAPSE},
     [0, 1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 1],
     [0.5, 0, -0.125, 0, 0, -2.265625, -1.832031, 0, 0, 0, 0, 0]),
]
# fmt: on


@pytest.mark.parametrize(
    ("preset", "kind", "values", "spikes", "potentials"),
    RECORDED,
    ids=[f"{preset}-{kind.__name__}" for preset, kind, *_ in RECORDED],
)
def test_preset_equals_what_the_framework_did(preset: str, kind, values, spikes, potentials):
    semantics = PRESETS[preset]
    c = coefficients(kind(**{name: one(value) for name, value in values.items()}), semantics, DT_US)
    state = State.start(torch.zeros(1, 1, dtype=torch.float64), c)
    fired, after = [], []
    for value in INPUTS:
        out, _, state = step(torch.tensor([[value]], dtype=torch.float64), state, c, semantics, Atan())
        fired.append(out.item())
        after.append(state.potential.item())
    assert fired == spikes
    assert after == pytest.approx(potentials, abs=1e-6)


@pytest.mark.data
def test_exponential_follows_the_exact_trace_beside_nirs_examples(shared_data):
    """Its columns: input spikes, potential after the reset, output spikes; one LIF neuron at 0.1 ms."""
    trace = torch.from_numpy(np.loadtxt(shared_data / "nir" / "lif_exact.csv", delimiter=","))
    semantics = NeuronSemantics(reset="value", integration="exponential")
    network = SpikingNetwork.from_nir(shared_data / "nir" / "lif_norse.nir", semantics=semantics, dt_us=100)
    x = trace[:, 0].float().view(1, -1, 1)
    with torch.no_grad():
        spikes, potentials = network(x).flatten(), network.membrane(x).flatten()
    assert spikes.sum() == 4
    assert torch.equal(spikes.double(), trace[:, 2])
    # The exact neuron fires, and charges again, within the step: so equal only up to the first spike.
    first = int(trace[:, 2].argmax())
    assert torch.allclose(potentials[:first].double(), trace[:first, 1], atol=1e-7)


@pytest.mark.data
@pytest.mark.parametrize("integration", ["euler", "exponential"])
@pytest.mark.parametrize(("finer", "tolerance"), [(1, 7e-3), (10, 5e-3), (100, 3e-4)])
def test_finer_steps_approach_the_whole_exact_trace(shared_data, tmp_path, integration, finer, tolerance):
    """With steps of 1 µs also what the neuron charges in the rest of the 100 µs in which it fired."""
    trace = torch.from_numpy(np.loadtxt(shared_data / "nir" / "lif_exact.csv", delimiter=","))
    stated = SpikingNetwork.from_nir(
        shared_data / "nir" / "lif_norse.nir",
        semantics=NeuronSemantics(integration=integration),
        dt_us=100 / finer,
    )
    stated.to_nir(tmp_path / "stated.nir")
    network = SpikingNetwork.from_nir(tmp_path / "stated.nir").double()
    x = trace[:, 0].repeat_interleave(finer).view(1, -1, 1)
    with torch.no_grad():
        spikes, before = network(x).flatten(), network.membrane(x).flatten()
    assert torch.equal(spikes.view(-1, finer).sum(1), trace[:, 2])
    after = torch.where(spikes > 0, 0.0, before).view(-1, finer)[:, -1]
    assert (after - trace[:, 1]).abs().max() < tolerance
