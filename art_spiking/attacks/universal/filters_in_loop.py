# SPDX-License-Identifier: MIT
"""Event filters between a perturbation and the model: an attacker who expects them differentiates them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from art_spiking.attacks.objectives import Objective
from art_spiking.attacks.universal.perturbations import Perturbation
from art_spiking.errors import InvalidInput, UnknownName
from art_spiking.estimators import SpikingClassifier
from art_spiking.registry import catalogue


class EventFilter(Protocol):
    """A filter of events made of torch, as the registered defences are."""

    def forward(self, x: Tensor, y: Any = None) -> tuple[Tensor, Any]:
        """The filtered batch (N, T, C, H, W), differentiable in `x`, and `y` as it came."""


class Differentiable(Protocol):
    """What a search asks for gradients."""

    def input_gradient(
        self, x: Tensor, y: Tensor, *, objective: Objective | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `SpikingClassifier.input_gradient`."""


@dataclass(frozen=True, eq=False)
class Filtered:
    """A model behind a filter that is not one of its own defences, as the attacker differentiates it."""

    view: SpikingClassifier
    event_filter: EventFilter

    def input_gradient(
        self, x: Tensor, y: Tensor, *, objective: Objective | None = None
    ) -> tuple[Tensor, Tensor]:
        """The gradient with respect to `x` before the filter, by the filter's own backward rule."""
        leaf = x.detach().requires_grad_(True)
        with torch.enable_grad():
            kept, _ = self.event_filter.forward(leaf)
        gradient, logits = self.view.input_gradient(kept.detach(), y, objective=objective)
        (back,) = torch.autograd.grad(kept, leaf, gradient.to(kept))
        return back, logits


@dataclass(frozen=True, eq=False)
class ThroughFilter:
    """A perturbation as a filter leaves it: what the model behind the filter sees of it."""

    perturbation: Perturbation
    event_filter: EventFilter

    def apply(self, x: Tensor, *, seed: int = 0) -> Tensor:
        """See `Perturbation.apply`."""
        with torch.no_grad():
            return self.event_filter.forward(self.perturbation.apply(x, seed=seed))[0]


def through_each(view: SpikingClassifier, filters: Sequence[EventFilter | None]) -> list[Differentiable]:
    """Returns the model behind each filter; None stands for no filter."""
    return [view if one is None else Filtered(view, one) for one in filters]


def built_filters(forms: Sequence[EventFilter | Mapping[str, Any]]) -> list[EventFilter]:
    """Returns filters given as themselves, or as suites write them: their registered name and parameters.

    Raises:
        InvalidInput: neither, or parameters that a filter does not take.
        UnknownName: nobody registered the name.
    """
    if not isinstance(forms, list | tuple):
        raise InvalidInput("filters do not fit", asked=repr(forms), accepted="a list of event filters")
    return [_built(form) for form in forms]


def _built(form: object) -> EventFilter:
    if not isinstance(form, Mapping):
        if not callable(getattr(form, "forward", None)):
            raise InvalidInput(
                "a filter does not fit",
                asked=repr(form),
                accepted='an event filter made of torch, or {"name": ..., and its parameters}',
            )
        return form  # type: ignore[return-value]
    parameters = dict(form)
    name = parameters.pop("name", None)
    defences = catalogue("defences")
    if not isinstance(name, str):
        raise UnknownName("a filter needs its name", asked=repr(name), accepted=", ".join(defences))
    try:
        built: EventFilter = defences[name].load()(**parameters)
    except TypeError as error:
        raise InvalidInput(f"the parameters of the filter '{name}' do not fit", found=error) from error
    return built
