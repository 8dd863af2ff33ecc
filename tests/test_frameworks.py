# SPDX-License-Identifier: MIT
"""Models of snnTorch as it is installed: the adapter's contract, for every neuron and way of writing one."""

import copy
import pickle
from contextlib import nullcontext
from dataclasses import replace

import pytest
import snntorch as snn
import torch
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
from host_samples import case, suite
from snntorch import surrogate as snn_surrogate
from torch import nn

from art_spiking.attacks import EventGradientAttack
from art_spiking.errors import InvalidInput, InvalidModel
from art_spiking.estimators import SpikingClassifier
from art_spiking.evaluate import Providers, Splits, evaluate
from art_spiking.frameworks import (
    FrameworkNetwork,
    compile_network,
    replaced,
)
from art_spiking.frameworks.snntorch_adapter import NamedSpike, SnnTorchAdapter
from art_spiking.registry import Catalogue
from art_spiking.surrogates import Atan, FastSigmoid, Gaussian, Sigmoid, StraightThrough
from art_spiking.testing import ContractBroken, check_estimator, check_framework, small_data
from art_spiking.threats import EventEdits

ADAPTER = SnnTorchAdapter()
VECTORS = (5, 6)


def slstm():
    hidden = snn.SLSTM(8, 8, init_hidden=True, threshold=0.05)
    last = snn.Leaky(beta=0.8, init_hidden=True, output=True)
    return lively(nn.Sequential(nn.Linear(6, 8), hidden, nn.Linear(8, CLASSES), last))


def parallel():
    return lively(nn.Sequential(snn.LeakyParallel(6, 8, beta=0.9), snn.LeakyParallel(8, CLASSES, beta=0.8)))


CONTRACTS = {
    "Leaky": (lambda: sequential(), SHAPE, stepped, None),
    "Leaky, immediate reset": (lambda: sequential(reset_delay=False), SHAPE, stepped, None),
    "Leaky, learnt": (lambda: sequential(learn_beta=True, learn_threshold=True), SHAPE, stepped, None),
    "Synaptic": (lambda: sequential(snn.Synaptic, 0.7), SHAPE, stepped, None),
    "Alpha": (lambda: sequential(snn.Alpha, 0.95, gain=20.0), SHAPE, stepped, None),
    "Lapicque": (lambda: sequential(snn.Lapicque, gain=20.0), SHAPE, stepped, None),
    "RLeaky": (lambda: dense(snn.RLeaky, linear_features=8), VECTORS, stepped, None),
    "RLeaky, one to one": (lambda: sequential(snn.RLeaky, all_to_all=False), SHAPE, stepped, None),
    "RSynaptic": (lambda: dense(snn.RSynaptic, 0.7, linear_features=8), VECTORS, stepped, None),
    "SLSTM": (slstm, VECTORS, stepped, None),
    "LeakyParallel": (parallel, VECTORS, whole, None),
    "loops over time": (Looping, SHAPE, whole, "TN"),
    "explicit state": (ExplicitState, SHAPE, own_state_step, "step-state"),
}


@pytest.mark.parametrize("name", CONTRACTS)
def test_the_adapter_keeps_its_contract(name):
    model, shape, own_loop, layout = CONTRACTS[name]
    check_framework(ADAPTER, model(), events(shape=shape), own_loop=own_loop, layout=layout)


def broken(**changes):
    """The problems that the contract finds in an adapter with other methods."""
    # A class made here cannot be pickled by name; which adapter an unpickled copy has is not the point.
    whole_class = {"__reduce__": lambda self: (SnnTorchAdapter, ()), **changes}
    adapter = type("Mutant", (SnnTorchAdapter,), whole_class)()
    with pytest.raises(ContractBroken) as caught:
        check_framework(adapter, sequential(), events(), own_loop=stepped)
    return caught.value.problems


def test_the_contract_sees_a_state_that_stays():
    problems = broken(reset=lambda self, model: None)
    assert "keeps no state between calls" in problems
    assert "drops what a call computed" in problems


def test_the_contract_sees_a_state_that_is_zeroed_but_keeps_the_batch():
    def zeroed(self, model):
        for layer in self.neurons(model).values():
            layer.mem = torch.zeros_like(layer.mem)

    assert "drops what a call computed" in broken(reset=zeroed)


def test_the_contract_sees_a_surrogate_that_is_not_used():
    problems = broken(using=lambda self, model, surrogate: nullcontext())
    assert "changes gradients by a surrogate, and never spikes" in problems


def test_the_contract_sees_a_surrogate_that_changes_spikes():
    def early(self, model, surrogate):
        layers = self.neurons(model).values()
        return replaced(
            layers, "spike_grad", lambda u: snn_surrogate.atan(surrogate.kernel_constants[1])(u + 0.2)
        )

    problem = broken(using=early)["changes gradients by a surrogate, and never spikes"]
    assert "changes spikes of 1, 5" in problem


def test_the_contract_sees_a_surrogate_that_is_not_put_back():
    def left(self, model, surrogate):
        context = SnnTorchAdapter.using(self, model, surrogate)
        context.__enter__()
        kept.append(context)  # a generator that is collected would clean up
        return nullcontext()

    kept = []
    problem = broken(using=left)["changes gradients by a surrogate, and never spikes"]
    assert "not put back" in problem


def test_the_contract_sees_a_wrong_surrogate_told():
    problems = broken(surrogate=lambda self, model: Atan(alpha=3.0))
    assert list(problems) == ["tells the model's own surrogate"]


def test_the_contract_sees_the_wrong_part_of_a_tuple():
    def last(self, output):
        return (output[-1], None) if isinstance(output, tuple) else (output, None)

    assert "runs the model as the framework does" in broken(split=last)


def test_the_contract_sees_a_layer_that_is_not_recorded_and_a_model_that_cannot_be_pickled():
    def first(self, model):
        return dict(list(SnnTorchAdapter.neurons(self, model).items())[:1])

    assert "records every layer's activity" in broken(neurons=first)
    assert list(broken(picklable=lambda self, model: model)) == ["can be copied and pickled"]


# -- the classifier --------------------------------------------------------------------------------------


def test_a_wrapped_model_is_a_whole_estimator():
    data = small_data()
    clf = SpikingClassifier.wrap(sequential(), input_shape=SHAPE, nb_classes=CLASSES)
    check_estimator(clf, data=data)
    assert torch.equal(
        torch.from_numpy(clf.predict(data.x)), stepped(sequential(), torch.from_numpy(data.x)).sum(1)
    )


def test_the_users_snippet():
    clf = SpikingClassifier.wrap(
        Looping(),
        framework="snntorch",
        layout="TN",
        readout="spike-count",
        input_shape=SHAPE,
        nb_classes=CLASSES,
    )
    x = events(6)
    assert torch.equal(clf.predict_torch(x), whole(Looping(), x).sum(dim=1))
    assert clf.surrogate == FastSigmoid(slope=5.0)
    changed = clf.with_surrogate(Gaussian(sigma=1.0))
    y = torch.arange(6) % CLASSES
    assert torch.equal(changed.predict_torch(x), clf.predict_torch(x))
    assert not torch.equal(changed.input_gradient(x, y)[0], clf.input_gradient(x, y)[0])


def test_membrane_readouts_read_the_potential_that_the_model_returns():
    model, x = Looping(), events(3)
    clf = SpikingClassifier.wrap(model, layout="TN", readout="membrane-max", input_shape=SHAPE)
    potentials = model(x.transpose(0, 1))[1]
    assert torch.equal(clf.predict_torch(x), potentials.amax(dim=0))
    stateful = SpikingClassifier.wrap(sequential(), readout="membrane-mean", input_shape=SHAPE)
    assert stateful.predict_torch(x).shape == (3, CLASSES)
    silent = sequential()
    silent[-1].output = False
    with pytest.raises(InvalidInput, match=r"returns no membrane potential.*output=True"):
        SpikingClassifier.wrap(silent, readout="membrane-mean", input_shape=SHAPE)


def test_what_stands_beside_the_spikes_may_be_anything():
    class WithState(Looping):
        def forward(self, x):
            return super().forward(x)[0], {"an importer's": "state"}

    x = events(3)
    network = FrameworkNetwork(WithState(), layout="TN")
    assert torch.equal(network(x), FrameworkNetwork(Looping(), layout="TN")(x))
    with pytest.raises(InvalidInput, match="returns no membrane potential"):
        network.membrane(x)


def test_layers_are_named_as_in_the_model_and_activations_are_rates():
    clf = SpikingClassifier.wrap(sequential(), input_shape=SHAPE)
    x = events(3)
    rates = clf.get_activations(x.numpy(), "1")
    assert rates.shape == (3, 4, 8, 8)
    assert 0 < rates.max() <= 1


def test_a_layer_called_twice_per_step_has_two_entries():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 6)
            self.lif = snn.Leaky(beta=0.5, init_hidden=True)
            lively(self)

        def forward(self, x):
            return self.lif(self.fc(self.lif(self.fc(x))))

    network = FrameworkNetwork(Twice())
    x = events(shape=VECTORS)
    activity = network.activity(x)
    assert list(activity) == ["lif", "lif#2"]
    assert torch.equal(activity["lif#2"], network(x))


def test_an_evaluation_takes_a_wrapped_model():
    """Same record through the framework and through the fused network, whatever the surrogate in use."""
    wrapped = SpikingClassifier.wrap(sequential(), input_shape=SHAPE)
    given = Splits(craft=small_data(6, split="train", seed=2), test=small_data(8))
    given = Splits(
        *(replace(part, y=wrapped.predict(part.x).argmax(axis=1)) for part in (given.craft, given.test))
    )
    attacks = Catalogue.of("attacks", {"event-gradient": EventGradientAttack})
    threats = Catalogue.of("threats", {"event-edits": EventEdits})
    chosen = suite(case("event-gradient", threat={"kind": "event-edits", "max_edits": 30}))

    def record(clf):
        (found,) = evaluate(clf, given, chosen, providers=Providers(attacks, threats))
        assert found.status == "ok"
        return found

    own = record(wrapped)
    fused = SpikingClassifier(compile_network(sequential(), probe=events(8)), input_shape=SHAPE)
    assert record(fused).adversarial == own.adversarial
    assert record(wrapped.with_surrogate(Gaussian())).model.digest == own.model.digest


def test_training_trains_the_users_own_model():
    model, x = sequential(), events(8)
    clf = SpikingClassifier.wrap(model, input_shape=SHAPE)
    before = model[0].weight.clone()
    clf.fit(x.numpy(), (torch.arange(8) % CLASSES).numpy(), batch_size=8, nb_epochs=1, verbose=False)
    assert not torch.equal(model[0].weight, before)
    assert not model[0].weight.requires_grad


def test_a_model_of_any_width_and_number_of_steps():
    network = FrameworkNetwork(dense(snn.Leaky))
    for samples, steps in [(1, 1), (1, 7), (7, 7), (3, 1), (6, 8)]:
        x = events(samples, shape=(steps, 6))
        assert torch.equal(network(x), stepped(network.model, x))
        assert network.activity(x)["1"].shape == (samples, steps, 8)
        looping = FrameworkNetwork(Looping(), layout="TN")
        x = events(samples, shape=(steps, *SHAPE[1:]))
        assert torch.equal(looping.activity(x)["lif2"], looping(x))


def test_state_of_nested_layers_and_of_copies_is_reset():
    """snnTorch's own reset finds neither."""
    inner = nn.Sequential(nn.Linear(6, 6), snn.Leaky(beta=0.9, init_hidden=True))
    model = copy.deepcopy(
        lively(nn.Sequential(inner, nn.Linear(6, 3), snn.Leaky(beta=0.9, init_hidden=True)))
    )
    network = FrameworkNetwork(model)
    x = events(shape=VECTORS)
    assert torch.equal(network(x), network(x))
    assert all(layer.mem.numel() == 0 for layer in ADAPTER.neurons(model).values())


# -- surrogates ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "told"),
    [
        (snn_surrogate.atan(alpha=3.0), Atan(alpha=3.0, through_reset=False)),
        (snn_surrogate.fast_sigmoid(slope=7), FastSigmoid(slope=7.0)),
        (snn_surrogate.sigmoid(slope=7), Sigmoid(slope=7.0)),
        (snn_surrogate.straight_through_estimator(), StraightThrough()),
        (snn_surrogate.SFS(), None),
        (None, Atan()),
    ],
)
def test_the_layers_own_surrogate_is_told_and_pickled(own, told):
    model = sequential(spike_grad=own)
    network = FrameworkNetwork(model)
    assert network.surrogate == told
    twin = pickle.loads(pickle.dumps(network))
    assert twin.surrogate == told
    assert isinstance(twin.model[1].spike_grad, NamedSpike)
    assert not isinstance(model[1].spike_grad, NamedSpike)


def test_surrogates_that_differ_are_not_told():
    model = sequential()
    model[1].spike_grad = snn_surrogate.fast_sigmoid()
    assert FrameworkNetwork(model).surrogate is None


def test_a_spike_function_that_cannot_be_pickled_is_named():
    model = sequential(spike_grad=lambda u: (u > 0).float())
    network = FrameworkNetwork(model)
    assert torch.equal(copy.deepcopy(network)(events()), network(events()))
    with pytest.raises(InvalidModel, match="spike function of layer '1' cannot be pickled"):
        pickle.dumps(network)


def test_the_gradient_flows_through_the_reset_if_the_surrogate_says_so():
    through, cut = Atan(through_reset=True), Atan()
    x, y = events(6), torch.arange(6) % CLASSES

    def gradient(model, surrogate):
        clf = SpikingClassifier.wrap(model, input_shape=SHAPE)
        return clf.with_surrogate(surrogate).input_gradient(x, y)[0]

    assert not torch.allclose(gradient(sequential(), through), gradient(sequential(), cut))
    without = {"reset_mechanism": "none"}
    assert torch.allclose(gradient(sequential(**without), through), gradient(sequential(**without), cut))
    immediate = sequential(reset_delay=False)
    assert FrameworkNetwork(immediate).surrogate == through
    assert torch.equal(gradient(immediate, through), gradient(immediate, cut))


def test_a_spike_function_that_is_no_step_cannot_be_exchanged():
    network = FrameworkNetwork(sequential(spike_grad=torch.sigmoid))
    with pytest.raises(InvalidInput, match=r"surrogate of layer '1' cannot be exchanged.*no step"):
        network.with_surrogate(Atan())
