# SPDX-License-Identifier: MIT
"""The controls that stand beside every attack: random edits at equal budget, of the same form."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from art_spiking.attacks.base import EventAttack
from art_spiking.attacks.edits.space import EditSpace
from art_spiking.attacks.options import check_flag, check_whole
from art_spiking.attacks.universal.attack import UniversalAttack
from art_spiking.attacks.universal.mask_space import MaskSpace
from art_spiking.attacks.universal.patch import Location, check_patch_options
from art_spiking.attacks.universal.patch_search import PatchForm, has_region, patch_side, region_of
from art_spiking.attacks.universal.perturbations import EditMask, Patch
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.threats import EventThreat, ThreatModel


class RandomEvents(EventAttack):
    """Edits each sample at random, as much as the threat allows: the control of per-sample attacks.

    All allowed cells are alike, so most edits are insertions where most cells are empty. Samples that are
    misclassified already are edited too: a control measures what noise does. Nothing is asked of the model.
    """

    gradients: ClassVar[bool] = False
    leaves_fooled: ClassVar[bool] = False

    def run(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """See `EventAttack.run`."""
        space = EditSpace.of(self.threat, x)
        rank = torch.rand(x.shape, generator=generator).to(x.device)
        # Ranks are above 0, so that every allowed cell may be drawn.
        return x + space.best((rank + 1e-3) * space.direction)


class RandomUniversal(UniversalAttack):
    """One random mask of edits for all samples: the control of `SpikingUniversalPerturbation`."""

    gradients: ClassVar[bool] = False
    attack_params: ClassVar[list[str]] = [*UniversalAttack.attack_params, "static", "max_shift"]

    def __init__(
        self,
        estimator: SpikingClassifier,
        threat: EventThreat,
        *,
        static: bool = False,
        max_shift: int = 0,
        seed: int = 0,
        batch_size: int = 50,
    ) -> None:
        """Takes the form of the mask; see `SpikingUniversalPerturbation`.

        Raises:
            InvalidInput: an option that does not fit.
        """
        super().__init__(estimator, threat, seed=seed, batch_size=batch_size)
        self.static = static
        self.max_shift = max_shift
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        if hasattr(self, "max_shift"):
            check_flag("static", self.static)
            check_whole("max_shift", self.max_shift, least=0)

    def fit_tensors(self, x: Tensor, y: Tensor, generator: torch.Generator) -> EditMask:
        """See `UniversalAttack.fit`; of the samples only the shape and where they may be edited is used."""
        space = MaskSpace.of(self.threat, x, static=self.static)
        insertable, deletable = (mask.any(0) for mask in self.threat.allowed(x))
        shape = space.cost.shape if not self.static else (2, 1, *space.cost.shape[2:])
        rank = (torch.rand(shape, generator=generator) + 1e-3).to(x.device)
        # Ranked per cost, a cell that is rarely occupied would always be deleted first.
        gain = rank * space.cost * torch.stack([insertable, deletable])
        return space.perturbation(gain, max_shift=self.max_shift)


class RandomPatch(UniversalAttack):
    """A patch of random events: the control of `SpikingAdversarialPatch`."""

    gradients: ClassVar[bool] = False
    attack_params: ClassVar[list[str]] = [*UniversalAttack.attack_params, "location", "density", "max_shift"]

    def __init__(
        self,
        estimator: SpikingClassifier,
        threat: EventThreat,
        *,
        location: Location = "random",
        density: float = 0.5,
        max_shift: int = 0,
        seed: int = 0,
        batch_size: int = 50,
    ) -> None:
        """Takes the form of the patch; see `SpikingAdversarialPatch`.

        Args:
            estimator: the model; it is not asked.
            threat: PatchRegion or ObjectRegion, alone or joined with others.
            location: "random" or (top, left).
            density: share of the patch's cells that hold an event.
            max_shift: most steps by which each sample's patch is turned in time.
            seed: the same seed gives the same result.
            batch_size: samples at once.

        Raises:
            InvalidInput: an option that does not fit.
        """
        super().__init__(estimator, threat, seed=seed, batch_size=batch_size)
        self.location = location
        self.density = density
        self.max_shift = max_shift
        self._check_params()

    @classmethod
    def serves(cls, threat: ThreatModel) -> bool:
        """See `EventAttack.serves`; there must be a region."""
        return isinstance(threat, EventThreat) and has_region(threat)

    def _check_params(self) -> None:
        super()._check_params()
        if not hasattr(self, "max_shift"):
            return
        check_patch_options(self.location, self.max_shift, choices=("random",))
        region_of(self.threat)
        if isinstance(self.density, bool) or not 0 < self.density <= 1:
            raise InvalidInput("density does not fit", asked=repr(self.density), accepted="a share in (0, 1]")

    def fit_tensors(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Patch:
        """See `UniversalAttack.fit`; of the samples only the shape is used."""
        side = patch_side(self.threat, x)
        draw = torch.rand((*x.shape[1:3], side, side), generator=generator) / self.density
        # Ranked at random, so that a rule that forbids some of the events drops them at random.
        ranked = torch.where(draw < 1, 1 - draw / 2, 0.0).to(x.device)
        place = None if isinstance(self.location, str) else (self.location[0], self.location[1])
        return PatchForm(self.threat, place, self.max_shift).patch(ranked)
