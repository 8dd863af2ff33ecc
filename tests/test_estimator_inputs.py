# SPDX-License-Identifier: MIT
"""Input that does not fit a SpikingClassifier: each mistake is one clear error that names what is wrong."""

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from spiking_stand_ins import CLASSES, SHAPE, TinyNetwork, events

from art_spiking.building import Conv, Dense, Flat, Neurons
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.network import SpikingNetwork


@pytest.fixture(scope="module")
def clf() -> SpikingClassifier:
    return SpikingClassifier(TinyNetwork(), input_shape=SHAPE, nb_classes=CLASSES)


def every_way_in(clf: SpikingClassifier):
    return [
        lambda x, y: clf.predict(x),
        lambda x, y: clf.loss_gradient(x, y),
        lambda x, y: clf.class_gradient(x),
        lambda x, y: clf.compute_loss(x, y),
        lambda x, y: clf.get_activations(x, 0),
        lambda x, y: clf.fit(x, y, nb_epochs=1),
        lambda x, y: clf.logits(torch.from_numpy(x)),
        lambda x, y: clf.input_gradient(torch.from_numpy(x), torch.from_numpy(y)),
        lambda x, y: clf.predict_torch(torch.from_numpy(x)),
    ]


@pytest.mark.parametrize("way", range(9))
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 7, 2, 8, 8), r"T is 7, expected 6; found: .*\(N, T, C, H, W\) = \(N, 6, 2, 8, 8\)"),
        ((3, 6, 1, 8, 8), "C is 1, expected 2"),
        ((3, 6, 2, 9, 8), "H is 9, expected 8"),
        ((3, 6, 2, 8, 9), "W is 9, expected 8"),
        ((6, 3, 2, 8, 8), "T is 3, expected 6.*time-first.*swapped"),
        ((6, 2, 8, 8), r"4 axes.*x\[None\]"),
        ((3, 12, 8, 8), r"4 axes.*\(N, T, C, H, W\)"),
        ((0, 6, 2, 8, 8), "the batch is empty"),
    ],
)
def test_a_wrong_shape_names_the_axis(clf, way, shape, message):
    x = np.zeros(shape, dtype=np.float32)
    y = np.zeros(len(x), dtype=np.int64)
    with pytest.raises(InvalidInput, match=message):
        every_way_in(clf)[way](x, y)


@pytest.mark.parametrize("way", range(9))
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_found(clf, way, value):
    x, y = events(3)
    x[1, 2, 0, 4, 5] = value
    with pytest.raises(InvalidInput, match=r"the first at \(1, 2, 0, 4, 5\)"):
        every_way_in(clf)[way](x, y)


@pytest.mark.parametrize("way", [1, 3, 5, 7])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, CLASSES], f"out of range; found: {CLASSES}; accepted: .* 0 to {CLASSES - 1}"),
        ([0, -1, 2], "out of range; found: -1"),
        ([0.0, 0.5, 1.0], "out of range; found: 0.5"),
        ([0.0, np.nan, 1.0], "not finite"),
        ([0, 1], "do not fit the batch"),
        (np.eye(CLASSES + 1)[:3], "do not fit the batch"),
        (-np.eye(CLASSES)[:3], "negative share"),
    ],
)
def test_labels_that_do_not_fit(clf, way, labels, message):
    x, _ = events(3)
    with pytest.raises(InvalidInput, match=message):
        every_way_in(clf)[way](x, np.asarray(labels))


def rows(*changed: tuple[int, list[float]]) -> np.ndarray:
    """One-hot rows of three samples, but for those given."""
    y = np.eye(CLASSES, dtype=np.float32)[:3]
    for row, values in changed:
        y[row] = values
    return y


@pytest.mark.parametrize("way", [1, 3, 5, 7])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (rows((1, [0, 0, 0, 0])), r"label row 1 does not say which class.*\[0, 0, 0, 0\]"),
        (rows((2, [1, 0, 0, 1])), r"label row 2 .*\[1, 0, 0, 1\]"),
        (rows((0, [0] * 4), (2, [0] * 4)), "label row 0 .* and 1 more such row"),
    ],
)
def test_a_row_that_names_no_class_or_two_is_refused(clf, way, labels, message):
    with pytest.raises(InvalidInput, match=message):
        every_way_in(clf)[way](events(3)[0], labels)


def test_soft_labels_with_a_tie_are_refused_where_one_class_is_needed(clf):
    x, _ = events(3)
    soft = rows((1, [0.4, 0.4, 0.1, 0.1]))
    assert np.isfinite(clf.loss_gradient(x, soft)).all()  # cross entropy needs no single class
    with pytest.raises(InvalidInput, match="label row 1"):
        clf.input_gradient(torch.from_numpy(x), torch.from_numpy(soft))


@pytest.mark.parametrize("way", range(6))
@pytest.mark.parametrize(
    "turned",
    [
        lambda a: a[::-1],
        lambda a: a[::-1, ..., ::-1] if a.ndim > 1 else a[::-1],
        lambda a: a.astype(a.dtype.newbyteorder(">")),
        lambda a: np.broadcast_to(a, a.shape),
    ],
    ids=["backwards", "mirrored", "big-endian", "read-only"],
)
def test_arrays_of_any_layout_are_taken(clf, way, turned):
    x, y = events(5)
    views = turned(x), turned(y)
    expected = every_way_in(clf)[way](*(np.array(v, dtype=v.dtype.newbyteorder("=")) for v in views))
    found = every_way_in(clf)[way](*views)
    if way != 5:  # fit returns nothing
        np.testing.assert_array_equal(found, expected)


class Overwrites(TinyNetwork):
    """Scales its input in place."""

    def forward(self, x):
        return super().forward(x.mul_(1.5))


@pytest.mark.parametrize("way", range(9))
def test_a_network_that_writes_into_its_input_leaves_the_callers_alone(way):
    x, y = events(5)
    every_way_in(SpikingClassifier(Overwrites(), input_shape=SHAPE))[way](x, y)
    np.testing.assert_array_equal(x, events(5)[0])


def test_class_gradient_of_a_class_that_is_not_there(clf):
    with pytest.raises(InvalidInput, match="out of range"):
        clf.class_gradient(events(2)[0], label=CLASSES)


def test_text_is_not_input(clf):
    with pytest.raises(InvalidInput, match="does not hold numbers"):
        clf.predict(np.full((1, *SHAPE), "spike"))


def test_the_tensor_path_asks_for_tensors(clf):
    with pytest.raises(InvalidInput, match="takes tensors"):
        clf.logits(events(2)[0])


def test_the_path_on_tensors_refuses_numpy_defences():
    from art.defences.preprocessor import FeatureSqueezing

    squeezed = SpikingClassifier(
        TinyNetwork(),
        input_shape=SHAPE,
        preprocessing_defences=FeatureSqueezing(clip_values=(0.0, 1.0), bit_depth=1),
    )
    x, y = events(2)
    assert np.abs(squeezed.loss_gradient(x, y)).max() > 0
    with pytest.raises(InvalidInput, match="FeatureSqueezing"):
        squeezed.logits(torch.from_numpy(x))
    with pytest.raises(InvalidInput, match="FeatureSqueezing"):
        squeezed.folded()


def test_a_classifier_that_art_rebuilt_checks_the_shape_too(clf):
    rebuilt = PyTorchClassifier(clf.model, clf.loss, SHAPE, CLASSES, device_type="cpu")
    with pytest.raises(InvalidInput, match="T is 5"):
        rebuilt.predict(np.zeros((2, 5, 2, 8, 8), dtype=np.float32))


class Returns(torch.nn.Module):
    """Returns whatever `shape_of` makes of the input."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer(x)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: (x.flatten(2), x), "found: tuple.*snnTorch"),
        (lambda x: x.flatten(2).transpose(0, 1), "time-first"),
        (lambda x: x, "wrong shape"),
        (lambda x: x.sum(), "wrong shape"),
        (lambda x: None, "found: NoneType"),
    ],
)
def test_an_output_that_cannot_be_read(answer, message):
    with pytest.raises(InvalidInput, match=message):
        SpikingClassifier(Returns(answer), input_shape=SHAPE)


class HidesItsPart(torch.nn.Module):
    """Holds a part that eval() does not reach, and which normalises over the batch."""

    def __init__(self):
        super().__init__()
        self.parts = (torch.nn.BatchNorm1d(128),)

    def forward(self, x):
        return self.parts[0](x.flatten(2).sum(1))[:, :CLASSES]


def test_a_normalisation_that_stays_in_training_mode():
    with pytest.raises(InvalidInput, match=r"stays in training mode.*hold it as a submodule"):
        SpikingClassifier(HidesItsPart(), input_shape=SHAPE)


def test_a_class_count_that_does_not_match():
    with pytest.raises(InvalidInput, match=r"asked: 5; found: \(N, 4\) logits"):
        SpikingClassifier(TinyNetwork(), input_shape=SHAPE, nb_classes=5)
    with pytest.raises(InvalidInput, match="two classes"):
        SpikingClassifier(Returns(lambda x: x.flatten(2)[..., :1]), input_shape=SHAPE)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (None, "input_shape is needed"),
        ((6, 2, 0, 8), "all >= 1"),
        ((6,), "all >= 1"),
        ((6, 3, 8, 8), r"does not take the declared input; asked: \(N, T, C, H, W\) = \(N, 6, 3, 8, 8\)"),
        ((2, 6, 8, 8), r"first two axes look swapped, try input_shape=\(6, 2, 8, 8\)"),
    ],
)
def test_an_input_shape_that_no_sample_has(shape, message):
    with pytest.raises(InvalidInput, match=message):
        SpikingClassifier(TinyNetwork(), input_shape=shape)


def test_an_input_shape_that_a_spiking_network_knows_better():
    generator = torch.Generator().manual_seed(0)
    network = SpikingNetwork.sequential((2, 8, 8), [Flat(), Dense(3), Neurons()], generator=generator)
    with pytest.raises(InvalidInput, match=r"here \(T, 2, 8, 8\)"):
        SpikingClassifier(network)
    with pytest.raises(InvalidInput, match=r"accepted: \(N, T, C, H, W\) = \(N, 6, 2, 8, 8\)"):
        SpikingClassifier(network, input_shape=(6, 2, 34, 34))
    with pytest.raises(InvalidInput, match=r"accepted: .* = \(N, 6, 2, 8, 8\); time comes first: .* swapped"):
        SpikingClassifier(network, input_shape=(2, 6, 8, 8))
    open_ended = SpikingNetwork.sequential((2, 8, 8), [Conv(3, 3), Neurons()], generator=generator)
    with pytest.raises(InvalidInput, match="Flatten"):
        SpikingClassifier(open_ended, input_shape=SHAPE)


def test_only_modules_are_models():
    with pytest.raises(InvalidInput, match="not a torch module"):
        SpikingClassifier(lambda x: x, input_shape=SHAPE)


def test_features_without_pixels():
    def rates(x):
        return x[..., :3]

    clf = SpikingClassifier(Returns(rates), input_shape=(5, 7))
    assert clf.predict(np.ones((2, 5, 7), dtype=np.float32)).shape == (2, 3)
    with pytest.raises(InvalidInput, match=r"F is 8, expected 7; .*\(N, T, F\)"):
        clf.predict(np.ones((2, 5, 8), dtype=np.float32))
    with pytest.raises(InvalidInput, match="image-like"):
        clf.folded()
