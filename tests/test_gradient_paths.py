# SPDX-License-Identifier: MIT
"""Gradient paths: each against its rule written out in numpy, spikes untouched, samples independent."""

import copy
import dataclasses
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import snntorch
import spiking_stand_ins
import torch
from torch import Tensor

from art_spiking.building import Conv, Dense, Flat, Neurons, SumPool
from art_spiking.datasets import load_data
from art_spiking.errors import InvalidInput, UnknownName
from art_spiking.estimators import SpikingClassifier
from art_spiking.frameworks import FrameworkNetwork
from art_spiking.gradient_paths import (
    PATHS,
    AdaptiveSharpness,
    GradientPath,
    Hart,
    LayerPath,
    Mixture,
    Pooled,
    PotentialWidth,
    RateGradient,
    ThroughRate,
    known,
    path_from_dict,
    path_named,
    path_text,
    scan_by,
)
from art_spiking.graphs import GraphSpec, NodeSpec
from art_spiking.kernels import scan
from art_spiking.layers import NeuronLayer
from art_spiking.network import SpikingNetwork
from art_spiking.neurons import IF, LIF, CubaLIF, NeuronSemantics, Threshold, coefficients
from art_spiking.surrogates import SURROGATES, Atan, Sigmoid, Surrogate, Triangle

EXAMPLES = [
    RateGradient(0.3),
    ThroughRate(),
    Hart(Atan(3.0), 0.7),
    PotentialWidth(least=0.05),
    PotentialWidth(through_reset=True),
    AdaptiveSharpness(0.6, 1.0, 0.8),
    AdaptiveSharpness(through_reset=True),
    Mixture((Atan(1.0), RateGradient(), PotentialWidth()), (1.0, 2.0, 0.5)),
    Mixture((Atan(1.0), Hart()), over="layers"),
    Mixture((Triangle(2.0), Atan(5.0), AdaptiveSharpness()), over="steps"),
    Pooled(Hart(), "lp"),
    Pooled(Mixture(), "average"),
]
SEMANTICS = {
    "subtract": NeuronSemantics(reset="subtract", v_min=-1.0, fires="ge"),
    "value": NeuronSemantics(pool_gradient="lp"),
    "several": NeuronSemantics.preset("sinabs"),
    "delayed": NeuronSemantics.preset("snntorch"),
    "fixed point": NeuronSemantics.preset("slayer"),
}
SHAPE = (2, 8, 8)
PLAN = [
    Conv(4, 3, stride=2, padding=1, gain=3.0),
    Neurons("IF"),
    SumPool(2),
    Conv(3, 2, gain=3.0),
    Neurons("LIF", tau_us=4000, r=6.0),
    Flat(),
    Dense(5, gain=4.0),
    Neurons("CubaLIF", tau_us=4000, tau_syn_us=2000, r=14.0),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network_of(semantics: str = "subtract", plan=None) -> SpikingNetwork:
    return SpikingNetwork.sequential(
        SHAPE, plan or PLAN, semantics=SEMANTICS[semantics], dt_us=1000, generator=generator()
    ).double()


def events(samples: int = 5, steps: int = 9, seed: int = 1) -> Tensor:
    return (torch.rand(samples, steps, *SHAPE, generator=generator(seed)) < 0.3).double()


def gradient_of(network: torch.nn.Module, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    output = network(x)
    direction = torch.randn(output.shape[2:], generator=generator(3), dtype=x.dtype)
    (gradient,) = torch.autograd.grad((output * direction).sum(), x)
    return gradient


@pytest.mark.parametrize("path", EXAMPLES, ids=repr)
class TestEveryPath:
    def test_survives_a_round_trip_as_data(self, path: GradientPath):
        assert path_from_dict(path.to_dict()) == path

    def test_survives_pickling_and_copying_and_is_hashable(self, path: GradientPath):
        assert len({path, pickle.loads(pickle.dumps(path)), copy.deepcopy(path)}) == 1

    @pytest.mark.parametrize("semantics", list(SEMANTICS))
    def test_never_changes_a_spike_or_a_potential(self, path: GradientPath, semantics: str):
        network = network_of(semantics)
        view = network.with_surrogate(path)
        x = events().requires_grad_()
        expected = network(x)
        assert expected.sum() > 0
        assert torch.equal(view(x), expected)
        assert torch.equal(view.membrane(x), network.membrane(x))
        for name, spikes in network.activity(x).items():
            assert torch.equal(view.activity(x)[name], spikes)
        assert view.digest() == network.digest()

    @pytest.mark.parametrize("semantics", list(SEMANTICS))
    def test_a_sample_does_not_feel_its_batch(self, path: GradientPath, semantics: str):
        view = network_of(semantics).with_surrogate(path)
        x = events()
        together = gradient_of(view, x)
        assert together.abs().sum() > 0
        for sample in range(len(x)):
            alone = gradient_of(view, x[sample : sample + 1])[0]
            assert torch.allclose(together[sample], alone, rtol=1e-9, atol=1e-12)

    def test_differs_from_others(self, path: GradientPath):
        x = events()
        assert not torch.allclose(
            gradient_of(network_of().with_surrogate(path), x), gradient_of(network_of(), x), rtol=1e-3
        )

    def test_a_network_with_it_can_be_pickled_and_copied(self, path: GradientPath):
        view = network_of().with_surrogate(path)
        x = events(2)
        expected = gradient_of(view, x)
        for twin in (pickle.loads(pickle.dumps(view)), copy.deepcopy(view)):
            assert twin.surrogate == path
            assert torch.equal(gradient_of(twin, x), expected)

    def test_the_potential_of_a_readout_passes_a_gradient(self, path: GradientPath):
        view = network_of().with_surrogate(path)
        assert gradient_of(view.membrane, events()).abs().sum() > 0

    def test_no_step_and_no_sample_are_no_error(self, path: GradientPath):
        view = network_of().with_surrogate(path)
        for shape in ((2, 0, *SHAPE), (0, 3, *SHAPE)):
            assert view(torch.zeros(shape).requires_grad_()).shape[:2] == shape[:2]


@pytest.mark.data
def test_spikes_of_a_community_model_stay_as_they_are(shared_data: Path):
    """In float32, on recordings, whichever way the layers are run."""
    network = SpikingNetwork.from_nir(shared_data / "nir" / "cnn_sinabs.nir", semantics=SEMANTICS["subtract"])
    data = load_data("nmnist", "test", steps=31, dt_us=10_000, data_dir=shared_data / "nmnist-1100", limit=3)
    x = torch.from_numpy(data.x)
    expected = network(x)
    assert expected.sum() > 0
    for path in EXAMPLES:
        view = network.with_surrogate(path)
        assert torch.equal(view(x.clone().requires_grad_()), expected), path
        assert gradient_of(view, x[:1]).abs().sum() > 0, path


def test_every_path_has_an_example():
    assert {type(path) for path in EXAMPLES} == set(PATHS.values()) - set(SURROGATES.values())


# -- the rules, written out ----------------------------------------------------------------------------------

FEATURES, STEPS = 6, 14


def layer_of(kind: str, semantics: NeuronSemantics):
    """Coefficients of six neurons that differ, and a current (3, 14, 6) that makes them fire at times."""
    g = generator(5)

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(FEATURES, generator=g, dtype=torch.float64)

    spike = between(0.6, 1.2), between(-0.1, 0.1)
    neuron = {
        "IF": lambda: IF(between(0.8, 1.2), *spike),
        "LIF": lambda: LIF(between(3e-3, 8e-3), between(3, 5), between(-0.1, 0.1), *spike),
        "CubaLIF": lambda: CubaLIF(
            between(3e-3, 8e-3), between(2e-3, 5e-3), between(4, 8), between(0, 0.1), *spike, between(1, 2)
        ),
        "Threshold": lambda: Threshold(between(0.3, 0.6)),
    }[kind]()
    current = torch.randn(3, STEPS, FEATURES, generator=g, dtype=torch.float64) * 0.6 + 0.35
    return current, coefficients(neuron, semantics, 1000.0)


def backward_of(path: GradientPath, current: Tensor, c, semantics, by_spikes: Tensor) -> np.ndarray:
    current = current.clone().requires_grad_()
    spikes, _ = scan_by(path, current, c, semantics)
    assert spikes.sum() > 0
    (gradient,) = torch.autograd.grad(spikes, current, by_spikes)
    return gradient.numpy()


def incoming(seed: int = 9) -> Tensor:
    return torch.randn(3, STEPS, FEATURES, generator=generator(seed), dtype=torch.float64)


def spread_to(values: Tensor) -> np.ndarray:
    return np.broadcast_to(values.numpy(), (FEATURES,))


def simulated(current: Tensor, c, reset: str, low: float) -> tuple[np.ndarray, np.ndarray]:
    """Potentials before the reset, and spikes, of neurons without a synapse that fire at u >= threshold."""
    decay, gain, offset = (spread_to(t) for t in (c.decay, c.gain, c.offset))
    threshold, v_reset = spread_to(c.threshold), spread_to(c.v_reset)
    x, v = current.numpy(), np.zeros((len(current), FEATURES))
    potentials, spikes = np.zeros(x.shape), np.zeros(x.shape)
    for t in range(STEPS):
        u = np.maximum(decay * v + gain * x[:, t] + offset, low)
        s = (u >= threshold).astype(float)
        v = np.where(s > 0, v_reset, u) if reset == "value" else u - (reset == "subtract") * threshold * s
        potentials[:, t], spikes[:, t] = u, s
    return potentials, spikes


def through_time(h: np.ndarray, u: np.ndarray, s: np.ndarray, by_spikes: Tensor, c, reset: str, low: float):
    """Back-propagation through time with a known h, the reset's spikes being constants."""
    decay, gain = spread_to(c.decay), spread_to(c.gain)
    g, carried = by_spikes.numpy(), np.zeros(u[:, 0].shape)
    result = np.zeros(u.shape)
    for t in reversed(range(STEPS)):
        kept = (1 - s[:, t]) if reset == "value" else 1.0
        carried = np.where(u[:, t] > low, h[:, t] * g[:, t] + decay * kept * carried, 0.0)
        result[:, t] = gain * carried
    return result


RESETS = {
    "subtract": NeuronSemantics(reset="subtract", v_min=-0.3, fires="ge"),
    "value": NeuronSemantics(reset="value", v_min=-0.3, fires="ge"),
    "none": NeuronSemantics(reset="none", v_min=-0.3, fires="ge"),
}


def arctan_derivative(d: np.ndarray, alpha) -> np.ndarray:
    return alpha / 2 / (1 + (np.pi / 2 * alpha * d) ** 2)


def pdsg_derivative(u: np.ndarray, threshold: np.ndarray, least: float) -> np.ndarray:
    h = np.zeros(u.shape)
    for sample in range(len(u)):
        for t in range(STEPS):
            sigma = np.maximum(np.std(u[sample, : t + 1]), least * threshold)
            z = (u[sample, t] - (threshold + sigma / 2)) / sigma
            h[sample, t] = np.exp(-0.5 * z**2) / (sigma * np.sqrt(2 * np.pi))
    return h


def assg_derivative(u: np.ndarray, threshold: np.ndarray, path: AdaptiveSharpness) -> np.ndarray:
    omega = 2 * math.tan(math.pi * path.area / 2) / math.pi
    h = np.zeros(u.shape)
    for sample in range(len(u)):
        for neuron in range(FEATURES):
            mean, deviation = abs(u[sample, 0, neuron] - threshold[neuron]), 0.0
            for t in range(STEPS):
                d = u[sample, t, neuron] - threshold[neuron]
                mean = path.keep * mean + (1 - path.keep) * abs(d)
                deviation = path.keep * deviation + (1 - path.keep) * abs(abs(d) - mean)
                h[sample, t, neuron] = arctan_derivative(d, omega / (mean + path.spread * deviation + 1e-4))
    return h


@pytest.mark.parametrize("kind", ["IF", "LIF", "Threshold"])
@pytest.mark.parametrize("reset", list(RESETS))
class TestRulesThroughTime:
    def case(self, kind: str, reset: str):
        semantics = RESETS[reset]
        current, c = layer_of(kind, semantics)
        stateless = kind == "Threshold"
        rule = ("none" if stateless else reset, -np.inf if stateless else -0.3)
        u, s = simulated(current, c, *rule)
        return current, c, semantics, u, s, rule

    def test_pdsg(self, kind: str, reset: str):
        current, c, semantics, u, s, rule = self.case(kind, reset)
        h = pdsg_derivative(u, spread_to(c.threshold), 0.05)
        expected = through_time(h, u, s, incoming(), c, *rule)
        found = backward_of(PotentialWidth(least=0.05), current, c, semantics, incoming())
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)

    def test_assg(self, kind: str, reset: str):
        current, c, semantics, u, s, rule = self.case(kind, reset)
        path = AdaptiveSharpness(0.7, 1.2, 0.85)
        h = assg_derivative(u, spread_to(c.threshold), path)
        expected = through_time(h, u, s, incoming(), c, *rule)
        found = backward_of(path, current, c, semantics, incoming())
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)

    def test_hart(self, kind: str, reset: str):
        current, c, semantics, u, s, rule = self.case(kind, reset)
        width = 1.5
        h = np.maximum(0, width - np.abs(u - spread_to(c.threshold))) / width**2
        temporal = through_time(h, u, s, incoming(), c, *rule)
        for share in (0.0, 0.5, 1.0):
            expected = (1 - share) * temporal + share * temporal.mean(1, keepdims=True)
            found = backward_of(Hart(Triangle(width), share), current, c, semantics, incoming())
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)

    def test_a_mixture_over_steps_and_a_weighted_sum(self, kind: str, reset: str):
        current, c, semantics, u, s, rule = self.case(kind, reset)
        d = u - spread_to(c.threshold)
        wide, narrow = arctan_derivative(d, 1.0), arctan_derivative(d, 4.0)
        turns = np.where((np.arange(STEPS) % 2 == 0)[None, :, None], wide, narrow)
        for path, h in (
            (Mixture((Atan(1.0), Atan(4.0)), over="steps"), turns),
            (Mixture((Atan(1.0), Atan(4.0)), (3.0, 1.0)), 0.75 * wide + 0.25 * narrow),
            (Mixture((Atan(1.0), Atan(4.0))), 0.5 * wide + 0.5 * narrow),
        ):
            expected = through_time(h, u, s, incoming(), c, *rule)
            found = backward_of(path, current, c, semantics, incoming())
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def mean_drive(current: Tensor, c) -> np.ndarray:
    """The mean over the steps of what arrives at the membranes, in thresholds, (N, F)."""
    x = current.numpy()
    if c.synapse_decay is not None:
        level, arrived = np.zeros(x[:, 0].shape), []
        for t in range(x.shape[1]):
            level = spread_to(c.synapse_decay) * level + spread_to(c.synapse_gain) * x[:, t]
            arrived.append(level)
        x = np.stack(arrived, 1)
    return (spread_to(c.gain) * x.mean(1) + spread_to(c.offset)) / spread_to(c.threshold)


def rga_rate(z: np.ndarray, decay: np.ndarray, gamma: float) -> np.ndarray:
    """The rate whose slope RGA takes."""
    kink = 1 - decay
    steep = (1 - gamma + gamma * decay) / (1 + decay)
    return gamma * np.clip(z, 0, kink) + steep * (np.clip(z, kink, 2) - kink)


def differences(function, current: Tensor, step: float = 1e-6) -> np.ndarray:
    """The gradient of a function of currents by central differences."""
    result = np.zeros(current.shape)
    for index in np.ndindex(*current.shape):
        up, down = current.clone(), current.clone()
        up[index] += step
        down[index] -= step
        result[index] = (function(up) - function(down)) / (2 * step)
    return result


@pytest.mark.parametrize("kind", ["IF", "LIF", "CubaLIF", "Threshold"])
class TestRulesThroughRates:
    def test_rga_is_the_derivative_of_its_rate(self, kind: str):
        semantics = RESETS["subtract"]
        current, c = layer_of(kind, semantics)
        weight = incoming().sum(1).numpy()

        def output(x: Tensor) -> float:
            return float((weight * rga_rate(mean_drive(x, c), spread_to(c.decay), 0.25)).sum())

        found = backward_of(RateGradient(0.25), current, c, semantics, incoming())
        np.testing.assert_allclose(found, differences(output, current), rtol=1e-6, atol=1e-8)

    def test_bptr_is_the_derivative_of_the_drive_where_a_neuron_fires(self, kind: str):
        semantics = RESETS["value"]
        current, c = layer_of(kind, semantics)
        current[0, :, :3] = -1.0  # these never fire
        fired = scan(current, c, semantics, Atan())[0].sum(1).numpy() > 0
        assert fired.any()
        assert not fired.all()
        weight = incoming().sum(1).numpy() * fired

        def output(x: Tensor) -> float:
            return float((weight * mean_drive(x, c)).sum())

        found = backward_of(ThroughRate(), current, c, semantics, incoming())
        np.testing.assert_allclose(found, differences(output, current), rtol=1e-6, atol=1e-8)


def test_rga_of_neurons_that_fire_several_times_has_no_upper_end():
    semantics = NeuronSemantics(reset="subtract", spikes="several", fires="ge")
    current, c = layer_of("IF", semantics)
    loud = current.abs() + 5
    assert (backward_of(RateGradient(), loud, c, semantics, torch.ones_like(loud)) > 0).all()
    once = NeuronSemantics(reset="subtract", fires="ge")
    assert (backward_of(RateGradient(), loud, c, once, torch.ones_like(loud)) == 0).all()


def test_rga_through_a_network_is_the_derivative_of_the_network_of_rates():
    """Each layer's rate is linearised where the spiking network is, so its drives move from there."""
    semantics = NeuronSemantics(reset="subtract", fires="ge")
    plan = [Flat(), Dense(6, gain=3.0), Neurons("LIF", tau_us=4000, r=5.0), Dense(4, gain=4.0), Neurons()]
    network = SpikingNetwork.sequential(
        (1, 2, 2), plan, semantics=semantics, dt_us=1000, generator=generator()
    ).double()
    x = (torch.rand(1, 7, 1, 2, 2, generator=generator(2)) < 0.5).double()
    first, lif, second, fires = (network.layers[k] for k in range(1, 5))
    rates = network.activity(x)["2"].mean(1)
    at = {}

    def rate(layer: NeuronLayer, current: Tensor) -> Tensor:
        c = layer.coefficients
        z = ((c.gain * current + c.offset) / c.threshold).detach().numpy()
        return torch.from_numpy(rga_rate(z, c.decay.detach().numpy(), 0.2))

    def outputs(x: Tensor) -> float:
        hidden = rate(lif, first(x.flatten(2)).mean(1))
        start = at.setdefault("hidden", hidden)
        return float(rate(fires, second(rates + hidden - start)).sum()) * x.shape[1]

    outputs(x)
    view = network.with_surrogate(RateGradient())
    leaf = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(view(leaf).sum(), leaf)
    assert found.abs().sum() > 0
    np.testing.assert_allclose(found.numpy(), differences(outputs, x), rtol=1e-6, atol=1e-8)


def test_bptt_is_the_derivative_of_the_smoothed_network():
    """Without a reset the potentials of the smoothed network are those of the spiking one."""
    semantics = NeuronSemantics(reset="none", fires="ge")
    current, c = layer_of("LIF", semantics)
    weight = incoming().numpy()

    def output(x: Tensor) -> float:
        u, _ = simulated(x, c, "none", -np.inf)
        return float((weight / (1 + np.exp(-3.0 * (u - spread_to(c.threshold))))).sum())

    found = backward_of(Sigmoid(3.0), current, c, semantics, incoming())
    np.testing.assert_allclose(found, differences(output, current), rtol=1e-6, atol=1e-8)


# -- widths that follow the potentials -----------------------------------------------------------------------


def test_pdsg_spreads_over_the_positions_of_a_channel():
    """On images sigma is one number for each sample, step and channel; the last step has no step after it."""
    g = generator(4)
    current = torch.randn(2, 5, 3, 4, 4, generator=g, dtype=torch.float64) * 0.5 + 0.3
    semantics = RESETS["none"]
    c = coefficients(IF(*(torch.tensor(v, dtype=torch.float64) for v in (1.0, 1.0, 0.0))), semantics)
    leaf = current.clone().requires_grad_()
    spikes, potential = scan_by(PotentialWidth(), leaf, c, semantics, membrane=True)
    u = potential.detach().numpy()
    h = np.zeros(u.shape)
    for sample, t, channel in np.ndindex(2, 5, 3):
        sigma = max(np.std(u[sample, : t + 1, channel]), 0.01)
        z = (u[sample, t, channel] - 1 - sigma / 2) / sigma
        h[sample, t, channel] = np.exp(-0.5 * z**2) / (sigma * np.sqrt(2 * np.pi))
    (found,) = torch.autograd.grad(spikes[:, -1].sum(), leaf)
    np.testing.assert_allclose(found[:, -1].numpy(), h[:, -1] * (u[:, -1] > -0.3), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("path", [PotentialWidth(), AdaptiveSharpness()], ids=repr)
def test_another_scale_of_weights_and_threshold_scales_the_width(path: LayerPath):
    """Ten times the potentials and the threshold: a tenth of the derivative. A fixed one knows neither."""
    semantics = NeuronSemantics(reset="subtract", fires="ge")
    current, _ = layer_of("IF", semantics)

    def ratio(of: GradientPath) -> float:
        sizes = []
        for scale in (1.0, 10.0):
            numbers = (1.0, scale, 0.0)
            c = coefficients(IF(*(torch.tensor(v, dtype=torch.float64) for v in numbers)), semantics)
            sizes.append(scale * np.abs(backward_of(of, scale * current, c, semantics, incoming())).mean())
        return sizes[1] / sizes[0]

    assert ratio(path) == pytest.approx(1.0, rel=2e-3)
    assert ratio(Atan(2.0)) > 2


@pytest.mark.parametrize("kind", [PotentialWidth, AdaptiveSharpness])
def test_through_the_reset_is_what_a_surrogate_of_known_values_gives(kind):
    """At the very first step both widths are that of a fixed surrogate: two steps by hand."""
    semantics = NeuronSemantics(reset="subtract", fires="ge")
    c = coefficients(IF(*(torch.tensor([v], dtype=torch.float64) for v in (1.0, 1.0, 0.0))), semantics)
    current = torch.tensor([[[1.3], [0.9]]], dtype=torch.float64).requires_grad_()
    gradients = {}
    for through in (False, True):
        spikes, _ = scan_by(kind(through_reset=through), current, c, semantics)
        (gradients[through],) = torch.autograd.grad(spikes[0, 1, 0], current)
    h_last = gradients[False][0, 1, 0]
    assert h_last > 0
    assert gradients[False][0, 0, 0] == h_last  # du2/dx1 = 1
    spikes, _ = scan_by(kind(), current, c, semantics)
    (by_first,) = torch.autograd.grad(spikes[0, 0, 0], current)
    h_first = by_first[0, 0, 0]
    assert gradients[True][0, 0, 0] == pytest.approx(float(h_last * (1 - h_first)), rel=1e-9)


ALL_SEMANTICS = [
    NeuronSemantics(reset, spikes, v_min, "ge", integration)
    for reset in ("subtract", "value", "none")
    for spikes in ("one", "several")
    for v_min in (None, -0.3)
    for integration in ("euler", "impulse", "delayed-reset")
]


@pytest.mark.parametrize("through_reset", [False, True])
@pytest.mark.parametrize("kind", ["IF", "LIF", "CubaLIF", "Threshold"])
def test_the_backward_pass_by_hand_is_that_of_autograd(kind: str, through_reset: bool):
    for semantics in ALL_SEMANTICS:
        current, c = layer_of(kind, semantics)
        with torch.no_grad():
            spikes, u = scan(current, c, semantics, Atan(), membrane=True)
        run = known.Run(current, spikes, u, c, semantics)
        h = torch.rand(u.shape, generator=generator(7), dtype=u.dtype)
        for by_u in (None, incoming(11)):
            given = (run, h, incoming(), by_u)
            found = known.gradient(*given, through_reset=through_reset)
            expected = known._by_autograd(*given, through_reset=through_reset)
            assert expected.abs().sum() > 0
            assert torch.allclose(found, expected, rtol=1e-10, atol=1e-12), semantics


# -- paths made of paths -------------------------------------------------------------------------------------


def test_layers_take_the_paths_of_a_mixture_in_turn():
    paths = (Atan(1.0), Hart(Atan(4.0)))
    view = network_of().with_surrogate(Mixture(paths, over="layers"))
    found = [layer.surrogate for layer in view.layers if isinstance(layer, NeuronLayer)]
    assert found == [paths[0], paths[1], paths[0]]
    same = network_of()
    for layer, path in zip((m for m in same.layers if isinstance(m, NeuronLayer)), found, strict=True):
        layer.surrogate = path
    x = events()
    assert torch.equal(gradient_of(view, x), gradient_of(same, x))


@pytest.mark.parametrize("pooling", ["average", "lp"])
@pytest.mark.parametrize("own", ["average", "lp"])
def test_pooled_gives_the_gradient_of_the_other_semantics(pooling: str, own: str):
    network = network_of()
    network = network.with_semantics(dataclasses.replace(network.semantics, pool_gradient=own))
    wanted = network.with_semantics(dataclasses.replace(network.semantics, pool_gradient=pooling))
    view = network.with_surrogate(Pooled(Atan(3.0), pooling))
    x = events()
    assert torch.equal(gradient_of(view, x), gradient_of(wanted.with_surrogate(Atan(3.0)), x))
    assert view.semantics == network.semantics
    inside = network.with_surrogate(Hart(Pooled(Atan(3.0), pooling), share=0.0))
    assert torch.allclose(gradient_of(inside, x), gradient_of(view, x))


def test_layers_of_plain_surrogates_keep_the_fused_kernel():
    for path in (Pooled(Atan(3.0)), Mixture((Atan(), Triangle()), over="layers")):
        view = network_of().with_surrogate(path)
        assert all(isinstance(m.surrogate, Surrogate) for m in view.layers if isinstance(m, NeuronLayer))


# -- what cannot be ------------------------------------------------------------------------------------------


def recurrent() -> SpikingNetwork:
    def dense(rows: int, columns: int) -> NodeSpec:
        return NodeSpec("Linear", {}, {"weight": np.eye(rows, columns, dtype=np.float32)})

    ones = np.ones(3, np.float32)
    fires = NodeSpec("IF", {}, {"r": ones, "v_threshold": ones, "v_reset": 0 * ones})
    nodes = {
        "input": NodeSpec("Input", {"shape": (3,)}, {}),
        "a": dense(3, 3),
        "n": fires,
        "back": dense(3, 3),
        "output": NodeSpec("Output", {"shape": (3,)}, {}),
    }
    edges = [("input", "a"), ("a", "n"), ("n", "back"), ("back", "n"), ("n", "output")]
    return SpikingNetwork(GraphSpec(nodes, tuple(edges), {}))


def test_recurrent_layers_take_surrogates_alone():
    network = recurrent()
    for path in (RateGradient(), Hart(), PotentialWidth(), Mixture()):
        with pytest.raises(InvalidInput, match=r"node 'n'.*recurrent layers are stepped together.*Surrogate"):
            network.with_surrogate(path)
    x = torch.ones(1, 3, 3)
    for path in (Pooled(Triangle(2.0)), Mixture((Triangle(2.0), Atan()), over="layers")):
        expected = gradient_of(network.with_surrogate(Triangle(2.0)), x)
        assert torch.equal(gradient_of(network.with_surrogate(path), x), expected)


def test_a_frameworks_own_code_takes_surrogates_alone():
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), snntorch.Leaky(0.9, init_hidden=True))
    network = FrameworkNetwork(model)
    assert network.with_surrogate(Atan(3.0)).surrogate == Atan(3.0)
    with pytest.raises(InvalidInput, match=r"no other gradient path.*SpikingNetwork"):
        network.with_surrogate(RateGradient())


def test_a_module_without_an_exchangeable_surrogate_is_refused():
    classifier = SpikingClassifier(spiking_stand_ins.TinyNetwork(), input_shape=spiking_stand_ins.SHAPE)
    with pytest.raises(InvalidInput, match="cannot be exchanged"):
        classifier.with_surrogate(Hart())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RateGradient(-0.1), "gamma of gradient path 'rga'"),
        (lambda: RateGradient(True), "gamma of gradient path 'rga'"),
        (lambda: Hart(share=1.5), "share of gradient path 'hart'"),
        (lambda: Hart("atan"), "path of gradient path 'hart'"),
        (lambda: PotentialWidth(0), "least of gradient path 'pdsg'"),
        (lambda: PotentialWidth(through_reset=1), "through_reset"),
        (lambda: AdaptiveSharpness(1.0), "area of gradient path 'assg'"),
        (lambda: AdaptiveSharpness(spread=float("nan")), "spread of gradient path 'assg'"),
        (lambda: AdaptiveSharpness(keep=1.0), "keep of gradient path 'assg'"),
        (lambda: Mixture((Atan(),)), "needs paths"),
        (lambda: Mixture((Atan(), 3)), "paths of gradient path 'mixture'"),
        (lambda: Mixture(weights=(1.0,)), "weights of a mixture"),
        (lambda: Mixture(weights=(0.0, 0.0, 0.0)), "weights of a mixture"),
        (lambda: Mixture(weights=(1.0, 1.0, 1.0), over="layers"), "weights belong to a sum"),
        (lambda: Mixture(over="time"), "sum, layers, steps"),
        (lambda: Pooled(pooling="max"), "average, lp"),
        (lambda: Pooled(None), "path of gradient path 'pooled'"),
        (lambda: path_from_dict({"name": "rga", "slope": 1.0}), "found: slope; accepted: gamma"),
        (lambda: path_from_dict({"name": "hart", "path": 3}), "path of gradient path 'hart'"),
    ],
)
def test_values_that_do_not_fit_are_named(make, message: str):
    with pytest.raises(InvalidInput, match=message):
        make()


def test_names_and_nested_names_are_read():
    assert path_named("assg") == AdaptiveSharpness()
    assert path_from_dict({"name": "mixture", "paths": ["rga", {"name": "atan", "alpha": 3.0}]}) == Mixture(
        (RateGradient(), Atan(3.0))
    )
    assert path_from_dict({"name": "hart", "path": "atan"}) == Hart(Atan())
    for wrong in ({"name": "rgb"}, {}, {"name": "hart", "path": "rgb"}):
        with pytest.raises(UnknownName, match="rga"):
            path_from_dict(wrong)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (ThroughRate(), "bptr"),
        (Atan(3.0, through_reset=True), "atan(through_reset=True, alpha=3)"),
        (Hart(), "hart(path=triangle(width=1), share=0.5)"),
        (
            Mixture((RateGradient(), Atan()), over="steps"),
            "mixture(paths=[rga(gamma=0.2), atan(alpha=2)], over=steps)",
        ),
    ],
)
def test_a_path_on_one_line(path: GradientPath, text: str):
    assert path_text(path.to_dict()) == text


def test_a_near_name_is_suggested():
    with pytest.raises(UnknownName, match="did you mean pdsg"):
        path_named("pdgs")


def test_neurons_that_never_fire_keep_their_true_gradient():
    plan = [Flat(), Dense(4), Neurons("LI", tau_us=5000)]
    network = network_of(plan=plan)
    x = events()
    expected = gradient_of(network, x)
    for path in EXAMPLES:
        assert torch.equal(gradient_of(network.with_surrogate(path), x), expected)
