# SPDX-License-Identifier: MIT
"""SpikingClassifier beside asking it: state, training, copies, pickles, clones, parameters."""

import copy
import os
import pickle

import numpy as np
import pytest
import torch
from spiking_stand_ins import CLASSES, SHAPE, KeepsState, TinyNetwork, events, forget

from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier


def test_a_network_that_keeps_state_is_reset_around_each_call(batch):
    x, y = batch
    network = KeepsState()
    clf = SpikingClassifier(network, input_shape=SHAPE, reset=forget)
    first = clf.predict(x)
    np.testing.assert_array_equal(clf.predict(x), first)
    clf.loss_gradient(x, y)
    clf.loss_gradient(x, y)
    assert network.potential is None
    np.testing.assert_array_equal(copy.deepcopy(clf).predict(x), first)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(clf)).predict(x), first)


def test_parameters_are_frozen_outside_fit_and_gradients_dropped(clf, batch):
    x, y = batch
    frozen = [not parameter.requires_grad for parameter in clf.model.parameters()]
    assert frozen
    assert all(frozen)
    clf.loss_gradient(x, y)
    clf.fit(x, y, batch_size=4, nb_epochs=1)
    assert not any(parameter.requires_grad for parameter in clf.model.parameters())
    assert all(parameter.grad is None for parameter in clf.model.parameters())
    assert not clf.model.training


def test_fit_learns(network):
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    clf = SpikingClassifier(network, input_shape=SHAPE, optimizer=optimizer)
    x, y = events(128, seed=3)
    test_x, test_y = events(64, seed=4)
    clf.fit(x, np.eye(CLASSES)[y], batch_size=16, nb_epochs=10)
    assert (clf.predict(test_x).argmax(1) == test_y).mean() > 0.8


def test_fit_freezes_again_when_it_fails(clf, batch):
    def explode(*_):
        raise RuntimeError("in the middle")

    clf.set_params(loss=explode)
    with pytest.raises(RuntimeError, match="in the middle"):
        clf.fit(*batch, nb_epochs=1)
    assert not any(parameter.requires_grad for parameter in clf.model.parameters())
    assert not clf.model.training


class Normalised(torch.nn.Module):
    """Normalises over the batch, which one sample alone does not allow while training."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(2 * 8 * 8)
        self.linear = torch.nn.Linear(2 * 8 * 8, CLASSES)

    def forward(self, x):
        return self.linear(self.norm(x.flatten(2).sum(1)))


def test_a_single_sample_left_over_for_a_batch_normalisation():
    clf = SpikingClassifier(Normalised().train(), input_shape=SHAPE)
    x, y = events(9)
    with pytest.raises(InvalidInput, match=r"9 samples in batches of 4.*drop_last=True"):
        clf.fit(x, y, batch_size=4, nb_epochs=1)
    assert not clf.model.training
    clf.fit(x, y, batch_size=4, nb_epochs=1, drop_last=True)


def test_what_was_frozen_by_its_author_stays_so():
    network = TinyNetwork()
    network.conv.requires_grad_(False)
    clf = SpikingClassifier(network, input_shape=SHAPE)
    conv, linear = network.conv.weight.clone(), network.linear.weight.clone()
    clf.with_readout("membrane-mean").fit(*events(8), nb_epochs=1)
    assert torch.equal(network.conv.weight, conv)
    assert not torch.equal(network.linear.weight, linear)
    with clf.trainable():
        assert network.linear.weight.requires_grad
        assert not network.conv.weight.requires_grad
    assert not network.linear.weight.requires_grad


def test_an_optimizer_of_another_network_is_refused(clf, batch):
    clf.set_params(optimizer=torch.optim.SGD(TinyNetwork().parameters(), lr=0.1))
    with pytest.raises(InvalidInput, match="none of the network's parameters"):
        clf.fit(*batch, nb_epochs=1)


def test_deepcopy_and_pickle_write_no_files_and_share_nothing(clf, batch, tmp_path, monkeypatch):
    x, y = batch
    monkeypatch.setattr("art.config.ART_DATA_PATH", str(tmp_path))
    clf.set_params(optimizer=torch.optim.Adam(clf.model.parameters(), lr=0.05))
    clf.fit(x, y, nb_epochs=1)
    expected = clf.predict(x)
    clf.loss_gradient(x, y)
    for twin in (copy.deepcopy(clf), pickle.loads(pickle.dumps(clf))):
        np.testing.assert_array_equal(twin.predict(x), expected)
        assert twin.queries is not clf.queries
        twin.fit(x, y, nb_epochs=3)
        assert (twin.predict(x) != expected).any()
        np.testing.assert_array_equal(clf.predict(x), expected)
    assert os.listdir(tmp_path) == []


def test_clone_for_refitting_forgets_the_weights_and_keeps_the_rest(network, batch):
    x, y = batch
    clf = SpikingClassifier(
        network,
        input_shape=SHAPE,
        optimizer=torch.optim.AdamW(network.parameters(), lr=0.02),
        readout="membrane-mean",
        clip_values=(0.0, 2.0),
    )
    expected = clf.predict(x)
    clf.loss_gradient(x, y)
    clone = clf.clone_for_refitting()
    assert type(clone) is SpikingClassifier
    assert (clone.predict(x) != expected).any()
    assert clone.optimizer.param_groups[0]["lr"] == 0.02
    assert (clone.readout, list(clone.clip_values)) == ("membrane-mean", [0.0, 2.0])
    assert (clone.queries.backwards, clf.queries.backwards) == (0, len(x))
    clone.fit(x, y, nb_epochs=2)
    np.testing.assert_array_equal(clf.predict(x), expected)


def test_every_parameter_that_art_lists_can_be_set_and_read_back(clf, batch):
    x, _ = batch
    expected = clf.predict(x)
    clf.set_params(**clf.get_params())
    np.testing.assert_array_equal(clf.predict(x), expected)
    longer = (SHAPE[0] + 1, *SHAPE[1:])
    clf.set_params(input_shape=longer, readout="membrane-max", clip_values=(0.0, 3.0))
    assert clf.predict(np.zeros((1, *longer), np.float32)).shape == (1, CLASSES)
    assert (clf.readout, clf.clip_values[1]) == ("membrane-max", 3.0)
    other = TinyNetwork(seed=5)
    clf.set_params(model=other)
    assert clf.model.network is other
    assert not other.conv.weight.requires_grad
    for name, value in [("channels_first", False), ("use_amp", True)]:
        with pytest.raises(InvalidInput, match=name):
            clf.set_params(**{name: value})
    with pytest.raises(ValueError, match="clip_values"):
        clf.set_params(clip_values=(1.0, 0.0))
    assert clf.clip_values[1] == 3.0
    with pytest.raises(InvalidInput, match="nb_classes"):
        clf.set_params(nb_classes=CLASSES + 1)
    with pytest.raises(InvalidInput, match="classes differ"):
        clf.set_params(model=TinyNetwork(classes=CLASSES + 1))
