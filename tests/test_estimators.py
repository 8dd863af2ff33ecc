# SPDX-License-Identifier: MIT
"""SpikingClassifier: predictions, gradients, readouts, views, counting, activations."""

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from spiking_stand_ins import CLASSES, SHAPE, KeepsState, TinyNetwork, events, forget, spiking_network

from art_spiking.errors import InvalidInput, InvalidModel, UnknownName
from art_spiking.estimators import (
    READOUTS,
    FoldedClassifier,
    OwnSurrogateWarning,
    SpikingClassifier,
    module,
    warn_of_own_surrogate,
)
from art_spiking.network import SpikingNetwork
from art_spiking.surrogates import FastSigmoid


def test_it_is_a_pytorch_classifier_in_every_way_art_asks(clf):
    assert isinstance(clf, PyTorchClassifier)
    assert PyTorchClassifier in type(clf).__mro__
    assert not isinstance(clf.model, torch.nn.Sequential)
    assert clf.loss.reduction == "sum"
    assert (clf.input_shape, clf.nb_classes, clf.channels_first) == (SHAPE, CLASSES, True)


def test_the_constructor_snippet_of_a_notebook_runs(network):
    x, _ = events(3)
    clf = SpikingClassifier(network, input_shape=SHAPE, nb_classes=CLASSES)
    assert clf.predict(x).shape == (3, CLASSES)


def test_a_sequential_is_wrapped_before_art_sees_it():
    network = torch.nn.Sequential(torch.nn.Flatten(2), torch.nn.Linear(128, CLASSES))
    clf = SpikingClassifier(network, input_shape=SHAPE)
    assert clf.predict(events(2)[0]).shape == (2, CLASSES)
    assert clf.layer_names == ["0", "1"]


def test_classes_and_pixels_come_from_a_spiking_network():
    clf = SpikingClassifier(spiking_network(), input_shape=(SHAPE[0],))
    assert (clf.input_shape, clf.nb_classes) == (SHAPE, CLASSES)
    assert isinstance(clf.network, SpikingNetwork)
    assert SpikingClassifier(TinyNetwork(), input_shape=SHAPE).network is None


def test_prediction_is_the_same_by_every_path_and_batch_size(clf, batch):
    x, _ = batch
    expected = clf.predict(x)
    assert len(np.unique(expected, axis=0)) > 3
    np.testing.assert_array_equal(clf.predict(x, batch_size=5), expected)
    np.testing.assert_array_equal(clf.predict(x.astype(np.float64)), expected)
    np.testing.assert_array_equal(clf.predict(x.astype(np.int64)), expected)
    np.testing.assert_array_equal(clf.predict(x), expected)
    tensor = torch.from_numpy(x)
    for logits in (clf.logits(tensor), clf.predict_torch(tensor, 5), clf.logits(tensor.double())):
        np.testing.assert_array_equal(logits.numpy(), expected)


def test_many_frames_are_passed_in_parts(batch, monkeypatch):
    x, _ = batch
    clf = SpikingClassifier(TinyNetwork(), input_shape=SHAPE)
    expected = clf.predict(x)
    sizes: list[int] = []
    clf.model.network.register_forward_hook(lambda _m, inputs, _o: sizes.append(len(inputs[0])))
    monkeypatch.setattr(module, "FRAMES_PER_PASS", 5 * SHAPE[0])
    with clf.counting() as count:
        np.testing.assert_array_equal(clf.predict(x), expected)
    assert sizes == [5, 5, 2]
    assert count.forwards == len(x)


def test_gradient_of_tensors_and_of_arrays_agree(clf, batch):
    x, y = batch
    gradient, logits = clf.input_gradient(torch.from_numpy(x), torch.from_numpy(y))
    assert float(gradient.abs().max()) > 0
    assert not gradient.requires_grad
    np.testing.assert_array_equal(logits.numpy(), clf.predict(x))
    np.testing.assert_allclose(clf.loss_gradient(x, y), gradient.numpy(), rtol=1e-5, atol=1e-8)
    one_hot = np.eye(CLASSES, dtype=np.float32)[y]
    np.testing.assert_allclose(clf.loss_gradient(x, one_hot), gradient.numpy(), rtol=1e-5, atol=1e-8)
    of_one_hot, _ = clf.input_gradient(torch.from_numpy(x), torch.from_numpy(one_hot))
    torch.testing.assert_close(of_one_hot, gradient)
    doubled = clf.loss_gradient(x.astype(np.float64), y)
    np.testing.assert_allclose(doubled, gradient.numpy(), rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(clf.loss_gradient(x.astype(int), y), gradient.numpy(), rtol=1e-5, atol=1e-8)


def test_a_samples_gradient_does_not_depend_on_its_batch(clf, batch):
    x, y = (torch.from_numpy(part) for part in batch)
    alone, _ = clf.input_gradient(x[:1], y[:1])
    together, _ = clf.input_gradient(x, y)
    torch.testing.assert_close(together[:1], alone)


def test_the_gradient_of_an_objective(clf, batch):
    x, y = (torch.from_numpy(part) for part in batch)

    def margin(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return -logits.gather(1, labels[:, None])[:, 0]

    gradient, _ = clf.input_gradient(x, y, objective=margin)
    per_class = clf.class_gradient(batch[0], label=batch[1])[:, 0]
    np.testing.assert_allclose(gradient.numpy(), -per_class, rtol=1e-5, atol=1e-8)
    with pytest.raises(InvalidInput, match="one value per sample"):
        clf.input_gradient(x, y, objective=lambda logits, labels: logits.sum())


def test_class_gradients_of_all_classes_and_of_one(clf, batch):
    x, _ = batch
    every = clf.class_gradient(x)
    assert every.shape == (len(x), CLASSES, *SHAPE)
    np.testing.assert_allclose(clf.class_gradient(x, label=1)[:, 0], every[:, 1], rtol=1e-5, atol=1e-8)


def test_no_path_to_the_input_is_an_error():
    class Blind(torch.nn.Module):
        def forward(self, x):
            return torch.bernoulli(x.detach()).flatten(2)[..., :CLASSES]

    clf = SpikingClassifier(Blind(), input_shape=SHAPE)
    x, y = (torch.from_numpy(part) for part in events(2))
    with pytest.raises(InvalidModel, match="straight-through"):
        clf.input_gradient(x, y)


@pytest.mark.parametrize("readout", READOUTS)
def test_readouts_reduce_spikes_or_potential_over_time(network, batch, readout):
    x = torch.from_numpy(batch[0])
    clf = SpikingClassifier(network, input_shape=SHAPE, readout=readout)
    with torch.no_grad():
        expected = {
            "spike-count": network(x).sum(1),
            "membrane-mean": network.membrane(x).mean(1),
            "membrane-max": network.membrane(x).max(1).values,
        }[readout]
    torch.testing.assert_close(clf.logits(x), expected)
    np.testing.assert_allclose(clf.predict(batch[0]), expected.numpy(), rtol=1e-6)


def test_another_readout_is_a_view_and_the_deployed_one_stays(clf, batch):
    x = torch.from_numpy(batch[0])
    deployed = clf.predict(batch[0])
    smooth = clf.with_readout("membrane-mean")
    torch.testing.assert_close(smooth.logits(x), clf.logits(x, readout="membrane-mean"))
    assert (smooth.predict(batch[0]) != deployed).any()
    np.testing.assert_array_equal(clf.predict(batch[0]), deployed)
    assert (clf.readout, smooth.readout) == ("spike-count", "membrane-mean")
    assert smooth.queries is clf.queries
    shared = {id(parameter) for parameter in smooth.model.parameters()}
    assert shared == {id(parameter) for parameter in clf.model.parameters()}
    with pytest.raises(UnknownName, match="spike-count"):
        clf.with_readout("loudest")


def test_a_potential_that_is_not_there_cannot_be_read():
    with pytest.raises(InvalidInput, match=r"membrane\(x\)"):
        SpikingClassifier(KeepsState(), input_shape=SHAPE, reset=forget, readout="membrane-max")


def test_another_surrogate_changes_the_gradient_alone(batch):
    x, y = (torch.from_numpy(part) for part in batch)
    clf = SpikingClassifier(spiking_network(), input_shape=SHAPE)
    other = clf.with_surrogate(FastSigmoid(slope=5.0))
    assert other.surrogate == FastSigmoid(slope=5.0)
    assert clf.surrogate != other.surrogate
    gradient, logits = clf.input_gradient(x, y)
    other_gradient, other_logits = other.input_gradient(x, y)
    torch.testing.assert_close(other_logits, logits)
    assert not torch.allclose(other_gradient, gradient)
    with torch.no_grad():
        next(clf.model.parameters()).zero_()
    np.testing.assert_array_equal(other.predict(batch[0]), clf.predict(batch[0]))
    with pytest.raises(InvalidInput, match="cannot be exchanged"):
        SpikingClassifier(TinyNetwork(), input_shape=SHAPE).with_surrogate(FastSigmoid())


def test_that_a_surrogate_cannot_be_exchanged_is_told():
    plain = SpikingClassifier(TinyNetwork(), input_shape=SHAPE)
    assert not plain.exchanges_surrogate
    assert SpikingClassifier(spiking_network(), input_shape=SHAPE).exchanges_surrogate
    with pytest.warns(OwnSurrogateWarning, match="TinyNetwork has no with_surrogate") as told:
        warn_of_own_surrogate(plain)
    assert told[0].filename == __file__
    warn_of_own_surrogate(plain)  # once is enough: a second warning would be an error here


def test_folded_view_shares_weights_and_agrees(clf, batch):
    x, y = batch
    folded = clf.folded()
    assert isinstance(folded, FoldedClassifier)
    assert folded.input_shape == (SHAPE[0] * SHAPE[1], *SHAPE[2:])
    flat = folded.fold(x)
    np.testing.assert_array_equal(folded.unfold(flat), x)
    np.testing.assert_array_equal(flat[:, 3], x[:, 1, 1])
    np.testing.assert_array_equal(folded.predict(flat), clf.predict(x))
    np.testing.assert_array_equal(folded.unfold(folded.loss_gradient(flat, y)), clf.loss_gradient(x, y))
    assert folded.queries is clf.queries
    smooth = folded.with_readout("membrane-max")
    np.testing.assert_array_equal(smooth.predict(flat), clf.with_readout("membrane-max").predict(x))
    rebuilt = PyTorchClassifier(folded.model, folded.loss, folded.input_shape, CLASSES, device_type="cpu")
    np.testing.assert_array_equal(rebuilt.predict(flat), clf.predict(x))
    with pytest.raises(InvalidInput, match=r"\(N, T\*C, H, W\) = \(N, 12, 8, 8\)"):
        folded.predict(x)
    with pytest.raises(InvalidInput, match="already"):
        folded.folded()


def test_queries_are_counted_in_samples_through_every_path(clf, batch):
    x, y = batch
    with clf.counting() as count:
        clf.predict(x)
    assert (count.forwards, count.backwards) == (12, 0)
    with clf.counting() as count:
        clf.input_gradient(torch.from_numpy(x), torch.from_numpy(y))
        clf.loss_gradient(x, y)
    assert (count.forwards, count.backwards) == (24, 24)
    with clf.counting() as count:
        clf.class_gradient(x)
    assert (count.forwards, count.backwards) == (12, 12 * CLASSES)
    with clf.counting() as count:
        clf.get_activations(x, 0)
    assert (count.forwards, count.backwards) == (12, 0)
    rebuilt = PyTorchClassifier(clf.model, clf.loss, SHAPE, CLASSES, device_type="cpu")
    with clf.counting() as count:
        rebuilt.loss_gradient(x, np.eye(CLASSES)[y])
    assert (count.forwards, count.backwards) == (12, 12)
    clf.predict(x)
    assert count.forwards == 12
    assert "forwards=12" in repr(count)


def test_activations_are_rates_over_time(batch):
    x, _ = batch
    network = spiking_network()
    clf = SpikingClassifier(network, input_shape=SHAPE)
    assert clf.layer_names == list(network.activity(torch.from_numpy(x)))
    expected = network.activity(torch.from_numpy(x))[clf.layer_names[0]].mean(1).detach().numpy()
    np.testing.assert_allclose(clf.get_activations(x, 0, batch_size=5), expected, rtol=1e-6)
    np.testing.assert_allclose(clf.get_activations(x, clf.layer_names[0]), expected, rtol=1e-6)
    leaf = torch.from_numpy(x).requires_grad_(True)
    rates = clf.get_activations(leaf, 0, framework=True)
    rates.sum().backward()
    assert float(leaf.grad.abs().max()) > 0
    with pytest.raises(UnknownName, match="unknown layer"):
        clf.get_activations(x, "nowhere")
    with pytest.raises(UnknownName, match="unknown layer"):
        clf.get_activations(x, 17)


class SteppedNetwork(torch.nn.Module):
    """Calls its layer once per step; the layer returns (spikes, potential)."""

    class Layer(torch.nn.Module):
        def forward(self, frame):
            rates = frame.flatten(1)[:, :CLASSES]
            return rates, rates * 2

    def __init__(self):
        super().__init__()
        self.layer = self.Layer()

    def forward(self, x):
        return torch.stack([self.layer(frame)[0] for frame in x.unbind(1)], 1)


def test_activations_of_foreign_layers_are_averaged_however_they_are_called(batch):
    x, _ = batch
    stepped = SpikingClassifier(SteppedNetwork(), input_shape=SHAPE)
    expected = x.reshape(12, SHAPE[0], -1)[..., :CLASSES].mean(1)
    np.testing.assert_allclose(stepped.get_activations(x, "layer"), expected, rtol=1e-6)
    merged = SpikingClassifier(TinyNetwork(), input_shape=SHAPE)
    assert merged.get_activations(x, "conv").shape == (12, 4, 4, 4)
    assert merged.get_activations(x).shape == (12, CLASSES)
    assert not merged.model.network.conv._forward_hooks


@pytest.mark.data
def test_the_community_network_in_a_notebook(shared_data):
    net = SpikingNetwork.from_nir(shared_data / "nir" / "cnn_sinabs.nir", semantics="sinabs")
    clf = SpikingClassifier(net, input_shape=(31, 2, 34, 34), nb_classes=10)
    x = (np.random.default_rng(0).random((2, 31, 2, 34, 34)) < 0.05).astype(np.float32)
    assert clf.predict(x).shape == (2, 10)
    assert clf.folded().input_shape == (62, 34, 34)
