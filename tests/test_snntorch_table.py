# SPDX-License-Identifier: MIT
"""Every neuron of snnTorch, in every way of writing a model and with every option: wrapped, and compiled.

Wrapped it does what snnTorch's own loop does. Compiled it is a fused network with the same spikes, or the
warning names the layer and the reason, and the model runs stepwise.
"""

import itertools
import warnings

import pytest
import snntorch as snn
import torch
from framework_samples import events, lively
from snntorch import utils
from torch import nn

from art_spiking.estimators import SpikingClassifier
from art_spiking.frameworks import FrameworkNetwork, NotCompiled, compile_network
from art_spiking.network import SpikingNetwork

STEPS, FEATURES, CLASSES = 9, 8, 3
SHAPE = (STEPS, FEATURES)
PROBE = events(8, shape=SHAPE)


def halves(value):
    """A quantisation of states, as snntorch.quant makes them, but without its randomness."""
    return (2 * value).round() / 2


KINDS = {
    "Leaky": lambda **o: snn.Leaky(beta=0.9, **o),
    "Synaptic": lambda **o: snn.Synaptic(alpha=0.7, beta=0.9, **o),
    "Alpha": lambda **o: snn.Alpha(alpha=0.95, beta=0.8, **o),
    "Lapicque": lambda **o: snn.Lapicque(beta=0.9, **o),
    "RLeaky": lambda **o: snn.RLeaky(beta=0.9, linear_features=FEATURES, **o),
    "RLeaky, V": lambda **o: snn.RLeaky(beta=0.9, all_to_all=False, V=0.7, **o),
    "RSynaptic": lambda **o: snn.RSynaptic(alpha=0.7, beta=0.9, linear_features=FEATURES, **o),
    "SLSTM": lambda **o: snn.SLSTM(FEATURES, FEATURES, **{"threshold": 0.05, **o}),
}
LOUD = {"Alpha": 20.0, "Lapicque": 20.0}  # these have gains below one
STATES = {"Leaky": 1, "Synaptic": 2, "Alpha": 3, "Lapicque": 1, "RLeaky": 2, "RSynaptic": 3, "SLSTM": 2}


def states_of(kind):
    return STATES[kind.partition(",")[0]]


def loud(model, kind):
    """Weights large enough for every layer to fire."""
    lively(model)
    with torch.no_grad():
        model.get_parameter("fc1.weight" if hasattr(model, "fc1") else "0.weight").mul_(LOUD.get(kind, 1.0))
    return model


def sequential(kind, **options):
    """nn.Sequential, whose layers keep their states (init_hidden)."""
    last = snn.Leaky(beta=0.8, init_hidden=True, output=True)
    layers = nn.Linear(6, FEATURES), KINDS[kind](init_hidden=True, **options)
    return loud(nn.Sequential(*layers, nn.Linear(FEATURES, CLASSES), last), kind)


class Parts(nn.Module):
    """A weight, the neurons, a weight, Leaky neurons; none of them keeps a state of its own."""

    def __init__(self, kind, **options):
        super().__init__()
        self.count = states_of(kind)
        self.fc1, self.fc2 = nn.Linear(6, FEATURES), nn.Linear(FEATURES, CLASSES)
        self.lif1, self.lif2 = KINDS[kind](**options), snn.Leaky(beta=0.8)

    def step(self, x, *state):
        """Spikes, the first layer's states, and the second's potential."""
        first = self.lif1(self.fc1(x), *state[: self.count])
        # A recurrent layer's spikes are part of its state.
        kept = first if self.count == len(first) else first[1:]
        spikes, potential = self.lif2(self.fc2(first[0]), *state[self.count :])
        return spikes, *kept, potential


class Explicit(Parts):
    """The caller carries the states."""

    def forward(self, x, *state):
        return self.step(x, *state)


class Looping(Parts):
    """snnTorch's tutorials: forward loops over time and returns (spk_rec, mem_rec)."""

    def forward(self, x):
        utils.reset(self)
        state, spk_rec, mem_rec = (), [], []
        for frame in x:
            spikes, *state = self.step(frame, *state)
            spk_rec.append(spikes)
            mem_rec.append(state[-1])
        return torch.stack(spk_rec), torch.stack(mem_rec)


class Keeping(Parts):
    """The model keeps the states in an attribute, and steps."""

    def __init__(self, kind, **options):
        super().__init__(kind, **options)
        self.state = ()

    def forward(self, x):
        spikes, *self.state = self.step(x, *self.state)
        return spikes, self.state[-1]


WAYS = {
    "sequential": (sequential, "step"),
    "explicit": (Explicit, "step-state"),
    "looping": (Looping, "TN"),
    "keeping": (Keeping, "step"),
}


def make(kind, way, **options):
    build, layout = WAYS[way]
    torch.manual_seed(0)  # what lively leaves alone
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Inhibition is an unstable feature")
        model = build(kind, **options)
    return (model if way == "sequential" else loud(model, kind)).eval(), layout


def own_loop(model, way, x):
    """Spikes and potentials (N, T, K) by snnTorch's own means alone."""
    utils.reset(model)
    if way == "looping":
        return tuple(record.transpose(0, 1) for record in model(x.transpose(0, 1)))
    if way == "keeping":
        model.state = ()
    spk_rec, mem_rec, state = [], [], ()
    for frame in x.transpose(0, 1):
        spikes, *rest = model(frame, *state)
        if way == "explicit":
            state = rest
        spk_rec.append(spikes)
        mem_rec.append(rest[-1])
    if way == "keeping":
        model.state = ()
    return torch.stack(spk_rec, 1), torch.stack(mem_rec, 1)


OPTIONS = {
    "subtract": {"reset_mechanism": "subtract"},
    "zero": {"reset_mechanism": "zero"},
    "none": {"reset_mechanism": "none"},
    "zero at once": {"reset_mechanism": "zero", "reset_delay": False},
    "subtract at once": {"reset_mechanism": "subtract", "reset_delay": False},
    "inhibition": {"inhibition": True},
    "learnt": {"learn_beta": True, "learn_threshold": True},
    "graded": {"graded_spikes_factor": 1.5},
    "quantised": {"state_quant": halves},
}
AT_ONCE = {"zero at once", "subtract at once"}
# What snnTorch itself does not offer for a neuron, or, RSynaptic's immediate reset, fails to carry out.
MISSING = {
    "Synaptic": {"graded"},
    "Alpha": {"graded", *AT_ONCE},
    "Lapicque": {"graded", *AT_ONCE},
    "RLeaky": {"graded"},
    "RLeaky, V": {"graded"},
    "RSynaptic": {"graded", *AT_ONCE},
    "SLSTM": {"graded", "learnt", *AT_ONCE},
}
# Why a layer is not compiled; what is not listed compiles.
REFUSED = {
    ("*", "inhibition"): "inhibits all but its strongest neuron",
    ("*", "graded"): "scales its spikes",
    ("*", "quantised"): "quantises its state",
    ("Alpha", "*"): "is Alpha, a neuron that graphs do not have",
    ("SLSTM", "*"): "is SLSTM, a neuron that graphs do not have",
    ("Lapicque", "zero"): "Lapicque with reset to zero, which also loses the input of the step after",
    ("RLeaky", "zero"): "RLeaky with reset to zero, which also loses the input of the step after",
    ("Synaptic", "zero at once"): "resets to zero both at once and one step later",
    ("*", "subtract at once"): "subtracts its threshold at once, and again one step later",
}
TABLE = [
    (kind, option)
    for kind, option in itertools.product(KINDS, OPTIONS)
    if option not in MISSING.get(kind, ())
]


def reason(kind, option):
    name = kind.partition(",")[0]
    keys = (name, "*"), ("*", option), (name, option)
    return next((REFUSED[key] for key in keys if key in REFUSED), None)


def check_wrapped(kind, option, way):
    model, layout = make(kind, way, **OPTIONS[option])
    x = events(5, seed=3, shape=SHAPE)[:, :, :6]
    spikes, potentials = own_loop(model, way, x)
    assert 0 < float((spikes != 0).float().mean()) < 1
    network = FrameworkNetwork(model, layout=layout)
    with torch.no_grad():
        for _ in range(2):
            assert torch.equal(network(x), spikes)
        assert torch.equal(network.membrane(x), potentials)
        alone = torch.cat([network(one[None]) for one in x])
    assert torch.allclose(alone, spikes)
    network.check_samples((STEPS, 6))


@pytest.mark.parametrize(("kind", "option"), TABLE)
def test_wrapped_it_does_what_its_own_loop_does(kind, option):
    check_wrapped(kind, option, "sequential")


@pytest.mark.parametrize("way", ["explicit", "looping", "keeping"])
@pytest.mark.parametrize("kind", KINDS)
def test_in_every_way_of_writing_it(kind, way):
    check_wrapped(kind, "subtract", way)


@pytest.mark.parametrize(("kind", "option"), TABLE)
def test_compiled_its_spikes_are_the_same_or_the_reason_is_told(kind, option):
    model, layout = make(kind, "sequential", **OPTIONS[option])
    x = events(5, seed=3, shape=SHAPE)[:, :, :6]
    spikes, _ = own_loop(model, "sequential", x)
    told = reason(kind, option)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network = compile_network(model, probe=PROBE[:, :, :6], layout=layout)
    said = "; ".join(str(warning.message) for warning in caught if warning.category is NotCompiled)
    assert isinstance(network, SpikingNetwork if told is None else FrameworkNetwork), said
    assert said == "" if told is None else f"layer '1' {told}" in said or f"layer '1' is {told}" in said
    assert torch.equal(network(x), spikes)


@pytest.mark.parametrize("way", ["explicit", "looping", "keeping"])
@pytest.mark.parametrize("kind", ["Leaky", "Synaptic", "Lapicque", "RLeaky", "RSynaptic"])
def test_other_ways_compile_too(kind, way):
    model, layout = make(kind, way)
    x = events(5, seed=3, shape=SHAPE)[:, :, :6]
    spikes, _ = own_loop(model, way, x)
    network = compile_network(model, probe=PROBE[:, :, :6], layout=layout)
    assert isinstance(network, SpikingNetwork)
    assert torch.equal(network(x), spikes)


def test_a_state_that_the_model_keeps_itself_does_not_stay():
    model, layout = make("Leaky", "keeping")
    classifier = SpikingClassifier.wrap(model, input_shape=(STEPS, 6), layout=layout)
    first = events(5, seed=3, shape=SHAPE)[:, :, :6]
    logits = classifier.predict(first.numpy())
    classifier.input_gradient(events(2, seed=4, shape=SHAPE)[:, :, :6], torch.tensor([0, 1]))
    assert (classifier.predict(first.numpy()) == logits).all()
    assert model.state == ()


def parallel(**options):
    """Layers with their own weights, whose potential never falls below zero; they take whole sequences."""
    torch.manual_seed(0)
    layers = (
        snn.LeakyParallel(6, FEATURES, beta=0.9, **options),
        snn.LeakyParallel(FEATURES, CLASSES, beta=0.8, threshold=2.0),
    )
    model = nn.Sequential(*layers)
    with torch.no_grad():
        for layer in layers:
            layer.rnn.weight_ih_l0.mul_(3).add_(0.2)
    return model.eval()


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"learn_beta": True, "learn_threshold": True}])
def test_a_parallel_layer_is_wrapped_and_compiled(options):
    model, x = parallel(**options), events(5, seed=3, shape=SHAPE)[:, :, :6]
    own = model(x.transpose(0, 1)).transpose(0, 1)
    assert 0 < float(own.detach().mean()) < 1
    assert torch.equal(FrameworkNetwork(model)(x), own)
    network = compile_network(model, probe=x)
    assert isinstance(network, SpikingNetwork)
    assert torch.equal(network(x), own)
    leaf = x.clone().requires_grad_(True)
    (theirs,) = torch.autograd.grad(model(leaf.transpose(0, 1)).sum(), leaf)
    leaf = x.clone().requires_grad_(True)
    (ours,) = torch.autograd.grad(network(leaf).sum(), leaf)
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-5


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"graded_spikes_factor": 2.0}, "layer '0' scales its spikes"),
        ({"weight_hh_enable": True}, "layer '0' connects its neurons' potentials"),
        ({"threshold": -1.0}, "layer '0' has a threshold that is not above 0"),
    ],
)
def test_a_parallel_layer_that_is_not_compiled_is_named(options, reason):
    model, x = parallel(**options), events(5, seed=3, shape=SHAPE)[:, :, :6]
    if "weight_hh_enable" in options:
        with torch.no_grad():
            model[0].rnn.weight_hh_l0.add_(0.01)
    with pytest.warns(NotCompiled, match=reason):
        network = compile_network(model, probe=x)
    assert torch.equal(network(x), model(x.transpose(0, 1)).transpose(0, 1))
