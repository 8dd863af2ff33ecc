# SPDX-License-Identifier: MIT
"""lava-dl's neurons in fixed point, against its published equations in Python's own whole numbers."""

import math
import pickle

import pytest
import torch
from graph_samples import around
from hypothesis import given, settings
from hypothesis import strategies as st

from art_spiking.errors import InvalidInput
from art_spiking.graphs import GraphSpec, NodeSpec
from art_spiking.kernels import scan
from art_spiking.network import SpikingNetwork
from art_spiking.neurons import IF, LI, LIF, PRESETS, CubaLIF, NeuronSemantics, coefficients
from art_spiking.semantics_text import parse_semantics
from art_spiking.surrogates import Atan

DT_US = 1000.0
SLAYER = PRESETS["slayer"]
STATES = 64 * 64  # whole numbers per unit of input at scale 64


def towards_zero(number: int) -> int:
    """A right shift by 12 bits that rounds towards zero."""
    return number >> 12 if number >= 0 else -((-number) >> 12)


def cuba(inputs, *, current_decay: int, voltage_decay: int, threshold: int, bias: int = 0):
    """u[t] = (1 - a_u) u[t-1] + x[t]; v[t] = (1 - a_v) v[t-1] + u[t] + bias; s[t] = v[t] > th; v[t] = 0.

    Decays are of 4096, the rest is counted in 1 / STATES.
    """
    u = v = 0
    spikes, potentials = [], []
    for x in inputs:
        u = towards_zero(u * (4096 - current_decay)) + x
        v = towards_zero(v * (4096 - voltage_decay)) + u + bias
        spikes.append(int(v > threshold))
        potentials.append(v)
        v = 0 if v > threshold else v
    return spikes, potentials


def t(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


def as_exported(*, q_syn: float, q_mem: float, threshold: float, v_leak: float = 0.0) -> CubaLIF:
    """A CubaLIF whose gains are 1, as snnTorch, SpikingJelly and Spyx write it."""
    step = DT_US * 1e-6
    return CubaLIF(
        t(step / q_syn), t(step / q_mem), t(1 / q_mem), t(v_leak / q_mem * q_mem), t(threshold), t(0.0),
        t(1 / q_syn),
    )  # fmt: skip


def ours(neuron, inputs, semantics=SLAYER, dtype=torch.float32):
    c = coefficients(neuron, semantics, DT_US).map(lambda value: value.to(dtype))
    current = torch.tensor(inputs, dtype=dtype).view(1, -1, 1)
    spikes, potentials = scan(current, c, semantics, Atan(), membrane=True)
    return spikes.flatten().tolist(), potentials.flatten().tolist()


# Worked out by hand. u keeps 1 - 1024/4096 = 3/4 of itself, v 1 - 512/4096 = 7/8; the threshold is 1 = 4096.
#   x        100     0      0      0    4000   4000     0   -4001     0
#   u        100    75     56     42    4031   7023  5267   -51   -38
#   v        100   162    197    214    4218*  7023* 5267*  -51   -82
# 3/4 of 75 is 56.25, of -51 is -38.25: towards zero 56 and -38. 7/8 of 162 is 141.75: 141, not 142.
BY_HAND = (
    [100, 0, 0, 0, 4000, 4000, 0, -4001, 0],
    [0, 0, 0, 0, 1, 1, 1, 0, 0],
    [100, 162, 197, 214, 4218, 7023, 5267, -51, -82],
)


def test_a_trace_worked_out_by_hand():
    inputs, spikes, potentials = BY_HAND
    whole = cuba(inputs, current_decay=1024, voltage_decay=512, threshold=4096)
    assert whole == (spikes, potentials)
    neuron = as_exported(q_syn=1024 / 4096, q_mem=512 / 4096, threshold=1.0)
    found, at = ours(neuron, [x / STATES for x in inputs])
    assert found == spikes
    assert [v * STATES for v in at] == potentials


def test_real_numbers_would_do_something_else():
    inputs, _, potentials = BY_HAND
    neuron = as_exported(q_syn=1024 / 4096, q_mem=512 / 4096, threshold=1.0)
    _, real = ours(neuron, [x / STATES for x in inputs], NeuronSemantics())
    assert [v * STATES for v in real][:4] != potentials[:4]


@given(
    inputs=st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=40),
    current_decay=st.integers(1, 4096),
    voltage_decay=st.integers(1, 4096),
    weight_steps=st.integers(1, 256),
    scale=st.sampled_from([1, 64, 1024]),
)
@settings(max_examples=150, deadline=None)
def test_every_state_is_that_of_the_whole_numbers(inputs, current_decay, voltage_decay, weight_steps, scale):
    states = 64 * scale
    whole = cuba(
        [math.trunc(x * states) for x in inputs],
        current_decay=current_decay,
        voltage_decay=voltage_decay,
        threshold=weight_steps * 64,
    )
    neuron = as_exported(
        q_syn=current_decay / 4096, q_mem=voltage_decay / 4096, threshold=weight_steps / scale
    )
    semantics = parse_semantics(f"slayer,scale={scale}")
    for dtype in (torch.float32, torch.float64):
        spikes, potentials = ours(neuron, inputs, semantics, dtype)
        assert ([int(s) for s in spikes], [int(v * states) for v in potentials]) == whole


def test_thresholds_and_biases_are_cut_and_gains_go_into_the_threshold():
    """As the NIR paper takes CubaLIF to lava-dl; 0.3 * 64 = 19.2 becomes 19 / 64."""
    step = DT_US * 1e-6
    neuron = CubaLIF(t(2 * step), t(4 * step), t(2.0), t(0.1), t(0.3), t(0.0), t(1.0))
    c = coefficients(neuron, SLAYER, DT_US)
    assert c.threshold.item() == int(0.3 / (0.5 * 0.5) * 64) / 64
    assert c.offset.item() == int(0.1 * 0.25 / 0.25 * STATES) / STATES
    assert (c.gain.item(), c.synapse_gain.item()) == (1, 1)
    assert (c.decay.item(), c.synapse_decay.item()) == (0.75, 0.5)
    exact = coefficients(as_exported(q_syn=1 / 3, q_mem=1 / 7, threshold=0.75), SLAYER, DT_US)
    assert exact.threshold.item() == 0.75  # 1/3 * 3 * 1/7 * 7 is a rounding below 1
    assert exact.decay.item() == 1 - round(4096 / 7) / 4096


def test_integrate_and_fire_is_a_neuron_without_decay_and_synapse():
    """NIR's examples give lava-dl current_decay 1 and voltage_decay 0."""
    inputs = [0.4, 0.33, 0.3, -0.7, 0.9, 2.0, 0.1]
    whole = cuba(
        [math.trunc(x * STATES) for x in inputs], current_decay=4096, voltage_decay=0, threshold=4096
    )
    spikes, potentials = ours(IF(t(1.0), t(1.0), t(0.0)), inputs)
    assert ([int(s) for s in spikes], [round(v * STATES) for v in potentials]) == whole
    assert sum(spikes) == 2


def test_a_leaky_integrator_puts_out_its_state():
    step = DT_US * 1e-6
    inputs = [1.0, 0.0, 0.0, -2.0, 0.0]
    _, whole = cuba(
        [math.trunc(x * STATES) for x in inputs], current_decay=4096, voltage_decay=1000, threshold=10**9
    )
    tau = 4096 / 1000 * step
    c = coefficients(LI(t(tau), t(tau / step), t(0.0)), SLAYER, DT_US)
    output, _ = scan(torch.tensor(inputs).double().view(1, -1, 1), c, SLAYER, Atan())
    assert [v * STATES for v in output.flatten().tolist()] == whole


@pytest.mark.parametrize(
    ("neuron", "said"),
    [
        (IF(t(-1.0), t(1.0), t(0.0)), "cannot be brought to fixed point; found: gains from -1"),
        (IF(t(1.0), t(1.0), t(-0.5)), "v_reset from -0.5"),
        (IF(t(1.0), t(0.01), t(0.0)), "a threshold is lost in fixed point; found: 0.01"),
        (
            LI(torch.tensor([4e-3, 8e-3]), torch.ones(2), torch.zeros(2)),
            "gains from 0.125 to 0.25.*one for all where potentials are put out",
        ),
    ],
)
def test_what_has_no_fixed_point_is_said(neuron, said):
    with pytest.raises(InvalidInput, match=said):
        coefficients(neuron, SLAYER, DT_US)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("slayer,scale=48", "scale does not fit; found: 48; accepted: a power of two up to 65536"),
        ("slayer,scale=many", "scale does not fit; found: 'many'"),
        ("slayer,scale=none", "scale does not fit; found: None"),
        ("nir,scale=64", "accepted: none, unless integration=fixed-point"),
        ("slayer,spikes=several", "fire once a step and know no lower clamp"),
        ("slayer,v_min=-1", "fire once a step and know no lower clamp"),
        ("slayer,spike_delay=2", "spike_delay does not fit; found: 2; accepted: 0, 1"),
    ],
)
def test_semantics_that_do_not_fit(text, said):
    with pytest.raises(InvalidInput, match=said):
        parse_semantics(text)


def test_a_scale_is_a_whole_number():
    for scale in (64.0, True):
        with pytest.raises(InvalidInput, match="scale does not fit"):
            NeuronSemantics(integration="fixed-point", scale=scale)


def test_semantics_stated_before_keep_their_form():
    """What a record, a digest or a graph.json of before says has no field more."""
    assert set(PRESETS["sinabs"].to_dict()) == {
        "reset", "spikes", "v_min", "fires", "integration", "pool_gradient",
    }  # fmt: skip
    assert SLAYER.to_dict()["scale"] == 64
    assert parse_semantics("slayer,integration=euler,scale=none").spike_delay == 1
    assert pickle.loads(pickle.dumps(SLAYER)) == SLAYER


def two_layers() -> GraphSpec:
    """A weight, neurons with a synapse, a weight, neurons."""
    neurons = {
        "tau_syn": [2e-3], "tau_mem": [4e-3], "r": [4.0], "v_leak": [0.0], "v_threshold": [0.25],
        "v_reset": [0.0], "w_in": [2.0],
    }  # fmt: skip
    return GraphSpec(
        {
            "input": NodeSpec("Input", {"shape": (1,)}),
            "a": NodeSpec("Linear", {}, {"weight": [[0.5]]}),
            "b": NodeSpec("CubaLIF", {}, neurons),
            "c": NodeSpec("Linear", {}, {"weight": [[0.75]]}),
            "d": NodeSpec("CubaLIF", {}, neurons),
            "output": NodeSpec("Output", {"shape": (1,)}),
        },
        (("input", "a"), ("a", "b"), ("b", "c"), ("c", "d"), ("d", "output")),
    )


def test_spikes_arrive_one_step_later_at_every_layer_and_at_the_output():
    x = [1, 0, 1, 1, 0, 0, 0, 1, 0, 0]
    parameters = {"current_decay": 2048, "voltage_decay": 1024, "threshold": 1024}
    first, _ = cuba([v * STATES // 2 for v in x], **parameters)
    second, potentials = cuba([v * STATES * 3 // 4 for v in [0, *first[:-1]]], **parameters)
    network = SpikingNetwork(two_layers(), semantics="slayer", dt_us=1000)
    current = torch.tensor(x).float().view(1, -1, 1)
    with torch.no_grad():
        assert network(current).flatten().tolist() == [0, *second[:-1]]
        assert (network.membrane(current).flatten() * STATES).tolist() == potentials
        assert {k: v.flatten().tolist() for k, v in network.activity(current).items()} == {
            "b": first,
            "d": second,
        }
        at_once = network.with_semantics(parse_semantics("slayer,spike_delay=0"))
        now, _ = cuba([v * STATES * 3 // 4 for v in first], **parameters)
        assert at_once(current).flatten().tolist() == now
        assert torch.equal(at_once.with_semantics("slayer")(current), network(current))
    assert sum(second) > 2


def test_a_recurrent_layer_hears_itself_one_step_later_not_two():
    """As lava-dl's recurrent block, whose output alone is shifted."""
    graph = GraphSpec(
        {
            "input": NodeSpec("Input", {"shape": (1,)}),
            "n": NodeSpec("IF", {}, {"r": [1.0], "v_threshold": [1.0], "v_reset": [0.0]}),
            "w": NodeSpec("Linear", {}, {"weight": [[1.5]]}),
            "output": NodeSpec("Output", {"shape": (1,)}),
        },
        (("input", "n"), ("n", "w"), ("w", "n"), ("n", "output")),
    )
    network = SpikingNetwork(graph, semantics="slayer")
    x = [0.6, 0.6, 0.0, -1.6, 0.0, 0.0, 0.0]
    v, spike, expected = 0.0, 0, []
    for value in x:
        v = v + value + 1.5 * spike
        spike = int(v > 1)
        v = 0.0 if spike else v
        expected.append(spike)
    assert expected == [0, 1, 1, 0, 0, 0, 0]
    found = network(torch.tensor(x).view(1, -1, 1)).flatten().tolist()
    assert found == [0, *expected[:-1]]


def test_the_graph_and_its_digest_know_no_delays(tmp_path):
    network = SpikingNetwork(two_layers(), semantics="slayer", dt_us=1000)
    assert network.to_graph() == two_layers()
    assert network.digest() != SpikingNetwork(two_layers(), semantics="nir", dt_us=1000).digest()
    network.to_nir(tmp_path / "slayer.nir")
    again = SpikingNetwork.from_nir(tmp_path / "slayer.nir")
    assert again.semantics == SLAYER
    x = (torch.rand(2, 12, 1, generator=torch.Generator().manual_seed(0)) < 0.5).float()
    assert torch.equal(again(x), network(x))


def test_gradients_flow_as_if_nothing_were_cut():
    """Below the threshold the gradient is that of the real-valued neuron with the same decays."""
    network = SpikingNetwork(two_layers(), semantics="slayer", dt_us=1000)
    x = torch.full((1, 6, 1), 0.01, requires_grad=True)
    (ours_,) = torch.autograd.grad(network.membrane(x).sum(), x)
    real = network.with_semantics(NeuronSemantics(fires="gt", spike_delay=1))
    (theirs,) = torch.autograd.grad(real.membrane(x).sum(), x)
    assert ours_.abs().sum() > 0
    assert torch.allclose(ours_, theirs, rtol=0.05)


def test_an_integrator_with_a_synapse_runs_in_a_network():
    node = {"tau_syn": [2e-3], "tau_mem": [4e-3], "r": [4.0], "v_leak": [0.0], "w_in": [2.0]}
    network = SpikingNetwork(around(NodeSpec("CubaLI", {}, node), (1,), (1,)), semantics="slayer", dt_us=1000)
    inputs = [1.0, 0.0, -0.3]
    _, whole = cuba(
        [math.trunc(x * STATES) for x in inputs], current_decay=2048, voltage_decay=1024, threshold=10**9
    )
    with torch.no_grad():
        output = network(torch.tensor(inputs).view(1, -1, 1)).flatten()
    assert (output * STATES).tolist() == whole  # potentials are no spikes, and are not held back


def test_a_lif_takes_no_synapse():
    step = DT_US * 1e-6
    inputs = [0.5, 0.7, 0.0, 0.2]
    whole = cuba(
        [math.trunc(x * STATES) for x in inputs], current_decay=4096, voltage_decay=1024, threshold=4096
    )
    spikes, potentials = ours(LIF(t(4 * step), t(4.0), t(0.0), t(1.0), t(0.0)), inputs)
    assert ([int(s) for s in spikes], [round(v * STATES) for v in potentials]) == whole
