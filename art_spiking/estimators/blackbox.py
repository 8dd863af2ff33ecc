# SPDX-License-Identifier: MIT
"""A model of which only the answers are known, as an ART estimator."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from art.estimators.classification import BlackBoxClassifier

from art_spiking.errors import InvalidInput
from art_spiking.estimators.counting import QueryCounter, QueryWindow
from art_spiking.estimators.inputs import check_finite, check_labels, check_shape

Array = npt.NDArray[Any]
Predict = Callable[[Array], Array]
"""Event counts (n, T, C, H, W) or (n, T, F), float32 -> scores (n, K), or class indices (n,)."""


class BlackBoxEventClassifier(BlackBoxClassifier):
    """A function of event tensors as ART's BlackBoxClassifier: a service, a chip, a model of any framework.

    The attacks that take no gradient run on it: `EventSquare`, the other query attacks, transfer, and the
    random controls. Scores may be logits, probabilities or anything else that is largest for the predicted
    class; a function that tells classes alone serves the attacks that ask for labels alone. Probabilities are
    ranked as they are: where they saturate at 1, logarithms guide a search better.

    What differs from ART: inputs and outputs are checked, answers may be class indices, and queries are
    counted as `SpikingClassifier` counts them.
    """

    def __init__(
        self,
        predict_fn: Predict,
        input_shape: tuple[int, ...],
        nb_classes: int,
        *,
        preprocessing_defences: Any = None,
        postprocessing_defences: Any = None,
    ) -> None:
        """Takes the function.

        Args:
            predict_fn: float32 counts (n, *input_shape) -> scores (n, K), or class indices (n,).
            input_shape: one sample, (T, C, H, W) or (T, F).
            nb_classes: K, at least 2.
            preprocessing_defences: ART preprocessors that work on numpy arrays.
            postprocessing_defences: ART postprocessors.

        Raises:
            InvalidInput: no function, or a shape or class count that does not fit.
        """
        if not callable(predict_fn):
            raise InvalidInput("predict_fn is not a function", found=type(predict_fn).__name__)
        shape = tuple(input_shape)
        if len(shape) not in (2, 4) or any(not isinstance(n, int | np.integer) or n < 1 for n in shape):
            raise InvalidInput(
                "input_shape is not the shape of one sample",
                asked=shape,
                accepted="(T, C, H, W) or (T, F), all >= 1",
            )
        if isinstance(nb_classes, bool) or not isinstance(nb_classes, int | np.integer) or nb_classes < 2:
            raise InvalidInput("a classifier needs at least two classes", asked=repr(nb_classes))
        self.queries = QueryCounter()
        super().__init__(
            predict_fn,
            shape,
            int(nb_classes),
            preprocessing_defences=preprocessing_defences,
            postprocessing_defences=postprocessing_defences,
        )

    @property
    def network(self) -> None:
        """None: whatever network answers is not known."""
        return None

    @property
    def exchanges_surrogate(self) -> bool:
        """Never: it gives no gradients."""
        return False

    def __deepcopy__(self, memo: dict[int, Any]) -> BlackBoxEventClassifier:
        """A classifier around the same function, which may be a service, with queries counted anew."""
        return type(self)(
            self._predict_fn,
            self.input_shape,
            self.nb_classes,
            preprocessing_defences=copy.deepcopy(self.preprocessing_defences, memo),
            postprocessing_defences=copy.deepcopy(self.postprocessing_defences, memo),
        )

    @property
    def device(self) -> torch.device:
        """Where `predict_torch` puts its answers: the CPU."""
        return torch.device("cpu")

    @property
    def predict_fn(self) -> Predict:
        """The function, its answers checked and counted."""
        return self._answer

    def predict(self, x: Array, batch_size: int = 128, **kwargs: Any) -> Array:
        """Returns the scores (N, K), float32; one-hot rows where the function tells classes alone.

        Raises:
            InvalidInput: a batch that does not fit, or an answer that is not (n, K) or (n,) finite numbers.
        """
        x = np.asarray(x)
        check_shape(x.shape, self.input_shape)
        check_finite(x)
        result: Array = super().predict(x.astype(np.float32), batch_size=batch_size, **kwargs)
        return result

    def predict_torch(self, x: torch.Tensor, batch_size: int = 128) -> torch.Tensor:
        """Returns `predict`'s scores of a tensor, as a tensor."""
        return torch.from_numpy(self.predict(x.detach().cpu().numpy(), batch_size))

    @contextmanager
    def counting(self) -> Iterator[QueryWindow]:
        """Counts the queries made inside a `with` block, as `SpikingClassifier.counting` does."""
        window = QueryWindow(self.queries)
        try:
            yield window
        finally:
            window.close()

    def _answer(self, x: Array) -> Array:
        self.queries.count_forward(len(x))
        found = np.asarray(self._predict_fn(x))
        if found.shape == (len(x),):
            check_labels(found, len(x), self.nb_classes)
            return np.eye(self.nb_classes, dtype=np.float32)[found.astype(np.int64)]
        if found.shape != (len(x), self.nb_classes) or found.dtype.kind not in "biuf":
            raise InvalidInput(
                "predict_fn returned something else than scores",
                found=f"{found.dtype} of shape {found.shape} for {len(x)} samples",
                accepted=f"scores ({len(x)}, {self.nb_classes}), or class indices ({len(x)},)",
            )
        if not np.isfinite(found).all():
            raise InvalidInput("predict_fn returned scores that are not finite", found="NaN or infinity")
        return found.astype(np.float32)
