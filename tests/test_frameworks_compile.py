# SPDX-License-Identifier: MIT
"""compile_network: a fused network where snnTorch's spikes are matched one by one, else a warning and why."""

import copy
import warnings

import numpy as np
import pytest
import snntorch as snn
import torch
from art.attacks.evasion import ProjectedGradientDescent
from framework_samples import (
    CLASSES,
    SHAPE,
    ExplicitState,
    Looping,
    dense,
    events,
    lively,
    own_state_step,
    sequential,
    stepped,
    whole,
)
from snntorch import surrogate as snn_surrogate
from torch import nn

from art_spiking.attacks import EventGradientAttack
from art_spiking.errors import InvalidInput, InvalidModel
from art_spiking.estimators import SpikingClassifier
from art_spiking.frameworks import FrameworkNetwork, FrameworkWarning, NotCompiled, compile_network
from art_spiking.network import SpikingNetwork
from art_spiking.surrogates import Atan, FastSigmoid
from art_spiking.threats import EventEdits

VECTORS = (5, 6)
PROBE = events(8)


def refused(model, probe=PROBE, **options):
    """The reason that the warning gives, after checks that the model still runs."""
    with pytest.warns(NotCompiled) as caught:
        network = compile_network(model, probe=probe, **options)
    assert isinstance(network, FrameworkNetwork)
    assert torch.isfinite(network(probe)).all()
    return str(caught[0].message)


COMPILED = {
    "Leaky": lambda: sequential(),
    "Leaky to zero": lambda: sequential(reset_mechanism="zero"),
    "Leaky without reset": lambda: sequential(reset_mechanism="none"),
    "Leaky to zero at once": lambda: sequential(reset_mechanism="zero", reset_delay=False),
    "Leaky, learnt": lambda: sequential(learn_beta=True, learn_threshold=True, threshold=1.3),
    "Leaky, one decay per channel": lambda: per_channel(),
    "integrate and fire": lambda: sequential(beta=1.0),
    "no memory": lambda: sequential(beta=0.0),
    "Synaptic": lambda: sequential(snn.Synaptic, 0.7),
    "Synaptic to zero": lambda: sequential(snn.Synaptic, 0.7, reset_mechanism="zero"),
    "Synaptic without decay": lambda: sequential(snn.Synaptic, 1.0, beta=1.0),
    "Lapicque": lambda: sequential(snn.Lapicque, gain=20.0),
    "Lapicque of R and C": lambda: sequential(snn.Lapicque, gain=20.0, beta=False, R=2.0, C=3.0),
    "another surrogate": lambda: sequential(spike_grad=snn_surrogate.fast_sigmoid(slope=4)),
    "a third surrogate": lambda: sequential(spike_grad=snn_surrogate.sigmoid(slope=4)),
}


def per_channel():
    model = sequential()
    model[1] = snn.Leaky(beta=torch.tensor([0.2, 0.5, 0.9, 1.0]).reshape(4, 1, 1), init_hidden=True)
    return model


@pytest.mark.parametrize("name", COMPILED)
def test_spikes_are_equal_bit_by_bit_and_gradients_to_1e_5(name):
    """One line proves it: the framework's own loop and autograd against the fused network."""
    model, x = COMPILED[name](), events(6, seed=3)
    network = compile_network(model, probe=PROBE)
    assert isinstance(network, SpikingNetwork)
    y = torch.arange(6) % CLASSES
    leaf = x.clone().requires_grad_(True)
    own = stepped(model, leaf)
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(own.sum(dim=1), y, reduction="sum"), leaf)
    found, logits = SpikingClassifier(network, input_shape=SHAPE).input_gradient(x, y)
    assert torch.equal(network(x), own)
    assert torch.equal(logits, own.sum(dim=1))
    assert float((found - gradient).norm() / gradient.norm()) < 1e-5
    for surrogate in (Atan(alpha=3.0, through_reset=True), Atan(alpha=3.0)):
        if network.surrogate.through_reset and not surrogate.through_reset:
            continue  # snnTorch does not cut the gradient at an immediate reset
        wrapped = SpikingClassifier.wrap(model, input_shape=SHAPE).with_surrogate(surrogate)
        fused = SpikingClassifier(network, input_shape=SHAPE).with_surrogate(surrogate)
        own, found = (clf.input_gradient(x, y)[0] for clf in (wrapped, fused))
        assert float((found - own).norm() / own.norm()) < 1e-5


def test_probes_may_be_arrays():
    assert isinstance(compile_network(sequential(), probe=PROBE.numpy()), SpikingNetwork)
    with pytest.raises(InvalidInput, match="the probe does not fit; found: list"):
        compile_network(sequential(), probe=[1.0])


@pytest.mark.parametrize(
    ("model", "layout", "own_loop"),
    [(Looping, "TN", whole), (ExplicitState, "step-state", own_state_step)],
)
def test_modules_with_a_forward_of_their_own_are_followed(model, layout, own_loop):
    network = compile_network(model(), probe=PROBE, layout=layout)
    assert isinstance(network, SpikingNetwork)
    assert list(network.activity(PROBE)) == ["lif1", "lif2"]
    assert network.surrogate == (FastSigmoid(slope=5.0) if model is Looping else Atan())
    x = events(5, seed=4)
    assert torch.equal(network(x), own_loop(model(), x))


def test_all_kinds_of_linear_layers_are_taken_over():
    def pooled(pool):
        torch.manual_seed(0)
        norm = nn.BatchNorm2d(4)
        norm.running_mean.uniform_(-0.1, 0.1)
        norm.running_var.uniform_(0.5, 2.0)
        inner = nn.Sequential(nn.Conv2d(2, 4, 3, padding="same", bias=False), norm, nn.Dropout2d(0.5))
        leaky = {"beta": 0.9, "init_hidden": True}
        model = nn.Sequential(
            inner, snn.Leaky(**leaky), pool, nn.Identity(), nn.Flatten(1), nn.Linear(64, 3, bias=False),
            snn.Leaky(**leaky),
        )  # fmt: skip
        lively(model)
        nn.init.uniform_(norm.weight, 0.7, 1.5)
        nn.init.uniform_(norm.bias, -0.2, 0.2)
        return model

    x = events(5, seed=5)
    for pool in (
        nn.AvgPool2d(2),
        nn.LPPool2d(1, 2),
        nn.AvgPool2d(2, divisor_override=1),
        nn.AvgPool2d(3, 2, 1),
    ):
        model = pooled(pool)
        network = compile_network(model, probe=PROBE)
        assert isinstance(network, SpikingNetwork)
        assert torch.equal(network(x), stepped(model, x))
        assert network.semantics.pool_gradient == ("lp" if isinstance(pool, nn.LPPool2d) else "average")


def test_the_model_is_left_as_it_was():
    model = sequential()
    model.train()
    model[3].eval()
    before = copy.deepcopy(model.state_dict())
    network = compile_network(model, probe=PROBE)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [module.training for module in model] == [True, True, True, False, True, True]
    assert all(layer.mem.numel() == 0 for layer in (model[1], model[5]))
    with torch.no_grad():
        network.layers[0].weight.zero_()
    assert bool(model[0].weight.any())


def test_time_constants_are_written_by_dt_and_change_no_spike():
    model, x = sequential(), events(3)
    slow, fast = (compile_network(model, probe=PROBE, dt_us=dt) for dt in (10_000.0, 50.0))
    assert torch.equal(slow(x), fast(x))
    tau = [float(network.to_graph().nodes["1"].arrays["tau"].flat[0]) for network in (slow, fast)]
    assert tau == pytest.approx([0.1, 0.0005])


def test_a_surrogate_without_counterpart_is_told():
    model = sequential(spike_grad=snn_surrogate.SFS(slope=5))
    with pytest.warns(FrameworkWarning, match=r"surrogates of the model's neurons have no counterpart.*Atan"):
        network = compile_network(model, probe=PROBE)
    assert isinstance(network, SpikingNetwork)
    assert network.surrogate == Atan()


# -- what runs stepwise, and why -------------------------------------------------------------------------


def test_a_layer_whose_spikes_differ_is_named():
    """A spike function that is no step at the threshold is nothing that the layer's options tell."""
    reason = refused(sequential(spike_grad=lambda u: (u > 0.25).float()))
    assert "runs stepwise by snntorch: layer '1' differs in" in reason
    assert "spikes on the probes, first at sample" in reason


def test_a_silent_layer_proves_nothing():
    assert "layer '5' stays silent on the probes" in refused(sequential(gain=0.9))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: sequential(snn.Alpha, 0.95, gain=20.0), "layer '1' is Alpha, a neuron that graphs"),
        (lambda: sequential(state_quant=torch.floor), r"layer '1' quantises its state"),
        (lambda: sequential(graded_spikes_factor=2.0), "layer '1' scales its spikes"),
        (lambda: sequential(threshold=-1.0), "layer '1' has a threshold that is not above 0"),
        (lambda: sequential(snn.Lapicque, gain=20.0, reset_mechanism="zero"), "Lapicque with reset to zero"),
        (lambda: sequential(snn.Lapicque, gain=20.0, beta=False, R=0.1, C=1.0), "time step longer than R"),
        (lambda: with_layer(2, nn.MaxPool2d(2)), "layer '2' is MaxPool2d, a layer that graphs do not have"),
        (lambda: with_layer(2, nn.AvgPool2d(2, ceil_mode=True)), "layer '2' keeps incomplete windows"),
        (lambda: with_layer(2, nn.LPPool2d(2, 2)), "layer '2' pools with the norm 2"),
        (lambda: with_layer(3, nn.Flatten(0)), "does not run on a single step"),
    ],
)  # fmt: skip
def test_a_layer_that_no_network_computes_is_named(make, reason):
    with pytest.warns(NotCompiled) as caught:
        compile_network(make(), probe=PROBE)
    assert reason in str(caught[0].message)


def with_layer(place, layer):
    model = sequential()
    model[place] = layer
    return model


def test_layers_that_reset_differently_are_stated_one_by_one(tmp_path):
    model = with_layer(5, snn.Leaky(beta=0.9, reset_mechanism="none", init_hidden=True))
    network = compile_network(model, probe=PROBE)
    assert isinstance(network, SpikingNetwork)
    assert (network.semantics.reset, network.layer_semantics["5"].reset) == ("subtract", "none")
    x = events(5, seed=4)
    assert torch.equal(network(x), stepped(model, x))
    network.to_nir(tmp_path / "mixed.nir")
    assert torch.equal(SpikingNetwork.from_nir(tmp_path / "mixed.nir")(x), network(x))


class Between(nn.Module):
    """Something that is no layer stands between two layers, or after the last."""

    def __init__(self, where):
        super().__init__()
        self.where = where
        self.fc = nn.Linear(6, 6)
        self.lif = snn.Leaky(beta=0.9, init_hidden=True)
        self.head = nn.Linear(6, CLASSES)
        self.out = snn.Leaky(beta=0.9, init_hidden=True)
        lively(self)

    def forward(self, x):
        current = self.fc(x)
        if self.where == "function":
            current = current.relu()
        spikes = self.lif(current)
        spikes = spikes + x if self.where == "skip" else spikes
        logits = self.out(self.head(spikes))
        return 2 * logits if self.where == "after" else logits


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("function", "layer 'lif' is not given what layer 'fc' puts out"),
        ("skip", "layer 'head' is not given what layer 'lif' puts out"),
        ("after", "the model's output is not the spikes of its last layer"),
    ],
)
def test_what_happens_outside_of_layers_is_noticed(where, reason):
    probe = events(8, shape=VECTORS)
    assert isinstance(compile_network(Between("nowhere"), probe=probe), SpikingNetwork)
    assert reason in refused(Between(where), probe)


def test_a_model_that_counts_its_spikes_itself():
    class Counting(Looping):
        def forward(self, x):
            return super().forward(x)[0].sum(dim=0)

    model, x = Counting(), events(4, seed=6)
    network = compile_network(model, probe=PROBE, layout="TN")
    assert isinstance(network, SpikingNetwork)
    assert torch.equal(network(x).sum(dim=1), model(x.transpose(0, 1)))


def test_layers_called_as_the_graphs_ends():
    names = {"input": nn.Linear(6, 6), "output": snn.Leaky(beta=0.9, init_hidden=True)}
    model = lively(nn.Sequential())
    for name, layer in names.items():
        model.add_module(name, layer)
    network = compile_network(lively(model), probe=events(8, shape=VECTORS))
    assert isinstance(network, SpikingNetwork)
    assert network.node_names == ("input", "output")


@pytest.mark.parametrize(
    "probe", [np.zeros((5, 6)), np.array([["a"]]), torch.zeros(5, 6), torch.zeros(0, 5, 6)]
)
def test_a_probe_that_does_not_fit(probe):
    with pytest.raises(InvalidInput, match="the probe does not fit"):
        compile_network(dense(snn.Leaky), probe=probe)


def test_a_model_of_no_framework_is_an_error():
    with pytest.raises(InvalidModel, match="no framework recognises the model"):
        compile_network(nn.Linear(6, 2), probe=events(shape=VECTORS))


# -- attacks -----------------------------------------------------------------------------------------------


def test_attacks_find_the_same_through_the_framework_and_the_fused_network():
    """ART's PGD and our event attack, through wrap and through the compiled network."""
    model, x = sequential(), events(6, seed=7)
    wrapped = SpikingClassifier.wrap(model, framework="snntorch", input_shape=SHAPE, nb_classes=CLASSES)
    fused = SpikingClassifier(compile_network(model, probe=x), input_shape=SHAPE)
    y = wrapped.predict(x.numpy()).argmax(axis=1)
    assert np.array_equal(fused.predict(x.numpy()), wrapped.predict(x.numpy()))
    found = []
    for clf in (wrapped, fused):
        pgd = ProjectedGradientDescent(clf, eps=0.3, eps_step=0.1, max_iter=4, verbose=False)
        edits = EventGradientAttack(clf, EventEdits(40))
        found.append((pgd.generate(x.numpy(), y), edits.generate(x.numpy(), y)))
    (own_pgd, own_edits), (fused_pgd, fused_edits) = found
    assert np.abs(own_pgd - x.numpy()).max() == pytest.approx(0.3, abs=1e-6)
    assert np.allclose(own_pgd, fused_pgd, atol=1e-5)
    assert np.array_equal(own_edits, fused_edits)
    assert not np.array_equal(own_edits, x.numpy())
    fooled = wrapped.predict(own_edits).argmax(axis=1) != y
    assert fooled.any()


def test_compiling_says_nothing_when_all_is_well():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compile_network(sequential(), "snntorch", probe=PROBE)
