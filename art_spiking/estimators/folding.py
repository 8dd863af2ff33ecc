# SPDX-License-Identifier: MIT
"""A view of a classifier on (N, T*C, H, W), for ART's attacks that accept images only."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from art.preprocessing.preprocessing import PreprocessorPyTorch

from art_spiking.errors import InvalidInput
from art_spiking.estimators.classifier import SpikingClassifier

ArrayT = TypeVar("ArrayT", np.ndarray, torch.Tensor)


class FoldedPreprocessor(PreprocessorPyTorch):
    """A preprocessor of spike tensors, applied to folded ones."""

    def __init__(self, inner: PreprocessorPyTorch, steps: int, channels: int) -> None:
        """Wraps `inner`, which sees (N, steps, channels, H, W)."""
        super().__init__(
            device_type="cpu" if inner.device.type == "cpu" else "gpu",
            is_fitted=inner.is_fitted,
            apply_fit=inner.apply_fit,
            apply_predict=inner.apply_predict,
        )
        self.inner = inner
        self.steps = steps
        self.channels = channels

    def forward(self, x: torch.Tensor, y: Any = None) -> tuple[torch.Tensor, Any]:
        """Unfolds `x` (N, T*C, H, W), applies the inner preprocessor and folds its result."""
        x, y = self.inner.forward(self._unfold(x), y)
        return x.flatten(1, 2), y

    def estimate_forward(self, x: torch.Tensor, y: Any = None) -> torch.Tensor:
        """The inner preprocessor's differentiable estimate, folded."""
        estimate: torch.Tensor = self.inner.estimate_forward(self._unfold(x), y)
        return estimate.flatten(1, 2)

    def _unfold(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(len(x), self.steps, self.channels, *x.shape[2:])


class FoldedClassifier(SpikingClassifier):
    """A SpikingClassifier whose samples are (T*C, H, W): time steps and polarities are image channels.

    Made by `SpikingClassifier.folded()`; it shares weights and query counter with the classifier it views.
    Every method of the classifier works on it, in folded shapes.
    """

    def fold(self, x: ArrayT) -> ArrayT:
        """Returns (N, T, C, H, W) as (N, T*C, H, W)."""
        return x.reshape(x.shape[0], *self.input_shape)

    def unfold(self, x: ArrayT) -> ArrayT:
        """Returns (N, T*C, H, W) as (N, T, C, H, W)."""
        return x.reshape(x.shape[0], *self.model.sample_shape)


def fold_classifier(classifier: SpikingClassifier) -> FoldedClassifier:
    """Returns the folded view of a classifier of images.

    Raises:
        InvalidInput: its samples are not (T, C, H, W), or a preprocessor of it is not made of torch.
    """
    module = classifier.model
    if module.folded:
        raise InvalidInput("the classifier is folded already", found=classifier.input_shape)
    if len(module.sample_shape) != 4:
        raise InvalidInput(
            "only image-like input can be folded", found=module.sample_shape, accepted="(T, C, H, W)"
        )
    steps, channels = module.sample_shape[:2]

    def wrap(preprocessor: Any) -> FoldedPreprocessor:
        if not isinstance(preprocessor, PreprocessorPyTorch):
            raise InvalidInput(
                "a preprocessor on numpy cannot be folded",
                found=type(preprocessor).__name__,
                accepted="PreprocessorPyTorch",
            )
        return FoldedPreprocessor(preprocessor, steps, channels)

    defences = classifier.preprocessing_defences
    clip_values = classifier.clip_values
    if clip_values is not None and np.ndim(clip_values) > 1:
        clip_values = np.reshape(clip_values, (2, steps * channels, *module.sample_shape[2:]))
    return FoldedClassifier(
        module.view(folded=True),
        classifier.loss,
        clip_values=clip_values,
        preprocessing_defences=None if defences is None else [wrap(defence) for defence in defences],
        postprocessing_defences=classifier.postprocessing_defences,
        preprocessing=None if classifier.preprocessing is None else wrap(classifier.preprocessing),
        device_type=classifier.device_type,
    )
