# SPDX-License-Identifier: MIT
"""What every event filter does the same way: ART's duties, checked parameters, gradients for attackers."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from art.preprocessing.preprocessing import PreprocessorPyTorch
from torch import Tensor

from art_spiking.errors import InvalidInput


class EventFilter(PreprocessorPyTorch):
    """A defence that removes events, and none but whole numbers of 1 or more for parameters.

    A subclass names its parameters in `units`, sets them and calls `_check_params`, and writes `filtered`.
    ART needs them in `params` too.

    Attributes:
        title: what errors call it.
        units: by parameter, its unit and what to give.
    """

    title: ClassVar[str]
    units: ClassVar[dict[str, tuple[str, str]]]

    def __init__(self, *, apply_fit: bool = True, apply_predict: bool = True) -> None:
        """Takes whether training data, and the data of predictions and gradients, is filtered."""
        super().__init__(device_type="cpu", is_fitted=True, apply_fit=apply_fit, apply_predict=apply_predict)

    def _check_params(self) -> None:
        for name in self.params:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                unit, meaning = self.units[name]
                raise InvalidInput(
                    f"the {self.title}'s {name} does not fit",
                    asked=f"{name}={value!r}",
                    accepted=f"a whole number of {unit}, 1 or more",
                    remedy=meaning,
                )

    def set_params(self, **kwargs: Any) -> None:
        """ART's; where a value does not fit, the filter stays as it was.

        Raises:
            InvalidInput: a parameter below one.
        """
        before = {name: getattr(self, name) for name in self.params}
        try:
            super().set_params(**kwargs)
        except InvalidInput:
            for name, value in before.items():
                setattr(self, name, value)
            raise

    def forward(self, x: Tensor, y: Any = None) -> tuple[Tensor, Any]:
        """Returns the filtered `x` (N, T, C, H, W) and `y` as it came.

        Raises:
            InvalidInput: `x` has another rank: it has no pixels.
        """
        if x.ndim != 5:
            raise InvalidInput(
                f"the {self.title} needs pixels", found=tuple(x.shape), accepted="(N, T, C, H, W)"
            )
        return self.filtered(x), y

    @abstractmethod
    def filtered(self, x: Tensor) -> Tensor:
        """The filtered batch; differentiable, so that no attacker's gradient is masked."""

    def __repr__(self) -> str:
        """The class and all parameters."""
        named = [*self.params, "apply_fit", "apply_predict"]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)}' for name in named)})"
