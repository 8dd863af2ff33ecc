# SPDX-License-Identifier: MIT
"""The attack: hot pixels, which need no gradient and no query."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from art_spiking.attacks import EventAttack
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.threats import EventThreat


class HotPixels(EventAttack):
    """Lets the busiest pixels of each sample fire at every step, as hot pixels of an event sensor do.

    Hot pixels are a common fault of event sensors: single pixels that fire without any change of light. This
    attack turns the `pixels` busiest ones hot, which hides the few insertions among events that were there
    already. It looks at events alone, never at the model, so it is a baseline for attacks that do.

    Where the threat model allows fewer insertions than the hot pixels need, the busiest pixels come first.
    """

    attack_params: ClassVar[list[str]] = [*EventAttack.attack_params, "pixels"]

    def __init__(
        self,
        estimator: SpikingClassifier,
        threat: EventThreat,
        *,
        pixels: int = 8,
        seed: int = 0,
        batch_size: int = 50,
    ) -> None:
        """Takes what every attack takes, and its own hyper-parameter.

        Args:
            estimator: the model under attack.
            threat: what may be changed; it must allow insertions for the attack to do anything.
            pixels: how many pixels turn hot.
            seed: chooses among pixels that are equally busy.
            batch_size: samples attacked at once.

        Raises:
            InvalidInput: `pixels` is no whole number of 1 or more.
        """
        super().__init__(estimator, threat, seed=seed, batch_size=batch_size)
        self.pixels = pixels
        self._check_params()

    def _check_params(self) -> None:
        """Checks the attributes; ART's `set_params` calls it after a change."""
        super()._check_params()
        pixels = getattr(self, "pixels", 1)
        if isinstance(pixels, bool) or not isinstance(pixels, int) or pixels < 1:
            raise InvalidInput("pixels does not fit", asked=repr(pixels), accepted="1 or more whole pixels")

    def run(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """Attacks one batch.

        The base class has checked the samples, and projects what is returned here onto the threat model: the
        projection keeps the edits of largest |x_adv - x|, so that strength above 0 ranks the insertions.

        Args:
            x: clean counts (N, T, C, H, W) or (N, T, F).
            y: labels (N,), not needed here.
            generator: the only source of randomness; it breaks ties.
        """
        allowed, _ = self.threat.allowed(x)
        # A pixel that fires at every step already has no room to turn hot.
        activity = (x.sum(dim=1) * allowed.any(dim=1)).flatten(1)
        noise = torch.rand(activity.shape, generator=generator).to(x.device)
        # Counts differ by whole numbers, so noise below 1 decides among equals only.
        values, pixels = (activity + noise).topk(min(self.pixels, activity.shape[1]), dim=1)
        strength = torch.zeros_like(activity).scatter(1, pixels, values / values.max())
        return x + strength.view(x.shape[0], 1, *x.shape[2:]) * allowed
