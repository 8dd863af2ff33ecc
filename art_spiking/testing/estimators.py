# SPDX-License-Identifier: MIT
"""The contracts of an estimator and of a defence in front of it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from art_spiking.datasets import EventData
from art_spiking.estimators import SpikingClassifier
from art_spiking.testing.contracts import require, run_contract, same, subject_of
from art_spiking.testing.samples import GRID, small_classifier, small_data

_CLOSE = 1e-4


def check_estimator(estimator: SpikingClassifier, *, data: EventData | None = None) -> None:
    """Checks what attacks and the host rely on in a classifier.

    Args:
        estimator: the classifier; it is not changed.
        data: samples for it, three or more; by default `small_data()`.

    Raises:
        ContractBroken: names every property that does not hold.
    """
    samples = small_data() if data is None else data
    x, y = samples.x, samples.y
    tensor, labels = torch.from_numpy(x), torch.from_numpy(y)
    logits = estimator.predict(x.copy())

    def repeats() -> None:
        require(
            same(estimator.predict(x.copy()), logits), "the same input gives other logits the second time"
        )

    def alone() -> None:
        parts = np.concatenate([estimator.predict(sample[None].copy()) for sample in x])
        require(bool(np.allclose(parts, logits, atol=_CLOSE)), "logits depend on the other samples")
        turned = estimator.predict(x[::-1].copy())[::-1]
        require(bool(np.allclose(turned, logits, atol=_CLOSE)), "logits depend on the order of samples")

    def one_path() -> None:
        found = estimator.predict_torch(tensor.clone()).cpu().numpy()
        require(bool(np.allclose(found, logits, atol=_CLOSE)), "predict_torch and predict differ")

    def double() -> None:
        found = estimator.predict(x.astype(np.float64))
        require(bool(np.allclose(found, logits, atol=_CLOSE)), "float64 input gives other logits")

    def untouched() -> None:
        given, copied = x.copy(), tensor.clone()
        estimator.predict(given)
        estimator.input_gradient(copied, labels)
        require(same(given, x), "predict changes its input")
        require(torch.equal(copied, tensor), "input_gradient changes its input")

    def copies() -> None:
        for name, twin in {
            "a deep copy": copy.deepcopy(estimator),
            "an unpickled copy": pickle.loads(pickle.dumps(estimator)),
        }.items():
            require(same(twin.predict(x.copy()), logits), f"{name} predicts something else")

    def gradient() -> None:
        found, _ = estimator.input_gradient(tensor.clone(), labels)
        require(found.shape == tensor.shape, f"the gradient has shape {tuple(found.shape)}")
        require(bool(torch.isfinite(found).all()), "the gradient is not finite")
        require(bool((found != 0).any()), "the gradient is zero everywhere")
        single, _ = estimator.input_gradient(tensor[:1].clone(), labels[:1])
        require(torch.allclose(single, found[:1], atol=_CLOSE), "a sample's gradient depends on its batch")

    def frozen() -> None:
        estimator.input_gradient(tensor.clone(), labels)
        taken = [name for name, value in estimator.model.named_parameters() if value.grad is not None]
        require(not taken, f"parameters took a gradient: {', '.join(taken)}")

    def counted() -> None:
        with estimator.counting() as count:
            estimator.input_gradient(tensor.clone(), labels)
        found = (count.forwards, count.backwards)
        require(found == (len(x), len(x)), f"{len(x)} samples were counted as {found} forwards and backwards")

    run_contract(
        f"the estimator {type(estimator).__qualname__}",
        [
            ("predicts the same twice", repeats),
            ("predicts each sample for itself", alone),
            ("predicts the same on tensors", one_path),
            ("takes float64", double),
            ("leaves its input untouched", untouched),
            ("can be copied", copies),
            ("has a gradient", gradient),
            ("keeps its parameters frozen", frozen),
            ("counts its queries", counted),
        ],
    )


def check_defence(factory: Callable[[], Any], *, data: EventData | None = None) -> None:
    """Checks an ART preprocessor made for spike tensors, as `SpikingClassifier` applies it.

    Args:
        factory: makes the defence, without arguments; fill in its parameters.
        data: samples, (N, 5, 2, 8, 8); by default `small_data()`.

    Raises:
        ContractBroken: names every property that does not hold.
    """
    samples = small_data() if data is None else data
    x = samples.x

    def valid() -> None:
        found = np.asarray(factory()(x.copy())[0])
        require(found.shape == x.shape, f"it returned {found.shape} for {x.shape}")
        whole = bool(np.isfinite(found).all() and (found >= 0).all() and (found == np.floor(found)).all())
        require(whole, "it returned entries that are no counts of events")

    def repeats() -> None:
        require(same(factory()(x.copy())[0], factory()(x.copy())[0]), "the same samples came back different")

    def untouched() -> None:
        given = x.copy()
        factory()(given)
        require(same(given, x), "it changed the samples that it was given")

    def seen_through() -> None:
        network = small_classifier().model.network
        defended = SpikingClassifier(network, input_shape=GRID.shape, preprocessing_defences=[factory()])
        found, _ = defended.input_gradient(torch.from_numpy(x.copy()), torch.from_numpy(samples.y))
        require(bool(torch.isfinite(found).all()), "the gradient through it is not finite")
        blind = int((found.flatten(1) == 0).all(dim=1).sum())
        require(blind == 0, f"the gradient through it is exactly zero for {blind} of {len(x)} samples")

    run_contract(
        f"the defence {subject_of(factory)}",
        [
            ("returns valid samples", valid),
            ("repeats itself", repeats),
            ("leaves its input untouched", untouched),
            ("lets the attacker's gradient through", seen_through),
        ],
    )
