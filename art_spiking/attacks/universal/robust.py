# SPDX-License-Identifier: MIT
"""RobustUniversalPerturbation: one set of edits that needs no synchronisation, no aim and fears no filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from art_spiking.attacks.options import check_whole
from art_spiking.attacks.paths import Surrogates
from art_spiking.attacks.universal.filters_in_loop import EventFilter, ThroughFilter, built_filters
from art_spiking.attacks.universal.movements import check_translation
from art_spiking.attacks.universal.perturbations import Perturbation
from art_spiking.attacks.universal.spiking import MASK_SURROGATES, SpikingUniversalPerturbation
from art_spiking.estimators import SpikingClassifier
from art_spiking.threats import EventThreat


class RobustUniversalPerturbation(SpikingUniversalPerturbation):
    """Fits one mask that works at a time, at a place and behind filters that the attacker does not know.

    `SpikingUniversalPerturbation` in expectation over transformations (Athalye et al. 2018): every gradient
    is taken with a shift in time and a translation drawn anew for each sample, its soft mask moved and its
    gain moved back, and through one of the filters in turn, or none. `apply` draws shift and translation
    anew for each sample as well. Candidates are scored on the craft split, moved, as the mean over no filter
    and each of `filters`, which need not be the model's; its own defences are always in the loop, since the
    estimator differentiates them. A filter is differentiated by its own backward rule: straight-through for
    background activity, and for the mask filter the effect on the whole pixel too.

    White-box. Threat models: EventEdits, alone or joined with others; an edit that leaves the sensor is lost
    and counts against the mask's budget all the same. Units: steps, pixels.

    Frames of DVS-Attacks (Marchisio et al., arXiv 2107.00415) are the published insertions that survive
    filters; they are not fitted to the model. No published universal perturbation of events was shown to
    survive movements or filters.
    """

    attack_params: ClassVar[list[str]] = [
        *SpikingUniversalPerturbation.attack_params,
        "max_translation",
        "filters",
    ]

    def __init__(  # noqa: PLR0913 (ten hyper-parameters, and what ART attacks)
        self,
        estimator: SpikingClassifier,
        threat: EventThreat,
        *,
        epochs: int = 6,
        static: bool = False,
        max_shift: int = 10,
        max_translation: int = 2,
        filters: Sequence[EventFilter | Mapping[str, Any]] = (),
        surrogate: Surrogates = MASK_SURROGATES,
        smooth: bool = True,
        targeted: bool = False,
        seed: int = 0,
        batch_size: int = 25,
    ) -> None:
        """Takes the hyper-parameters; see `SpikingUniversalPerturbation` for those that are not named here.

        Args:
            estimator: the model under attack, with the defences that the attacker knows it has.
            threat: EventEdits, alone or joined with others.
            epochs: passes over the craft split.
            static: edit a cell at all steps or at none.
            max_shift: most steps by which each sample's mask is turned in time, either way.
            max_translation: most pixels by which it is moved, along either axis and way.
            filters: event filters, or dicts of their registered name and parameters, that may stand before
                the model without the attacker's knowledge.
            surrogate: spike derivatives.
            smooth: whether one search ascends the membrane potential.
            targeted: whether `y` holds classes to reach.
            seed: the same seed gives the same result.
            batch_size: samples of a gradient.

        Raises:
            InvalidInput: an option that does not fit.
            UnknownName: nobody registered a filter of that name.
        """
        super().__init__(
            estimator,
            threat,
            epochs=epochs,
            static=static,
            max_shift=max_shift,
            surrogate=surrogate,
            smooth=smooth,
            targeted=targeted,
            seed=seed,
            batch_size=batch_size,
        )
        self.max_translation = max_translation
        self.filters = filters
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        if not hasattr(self, "filters"):
            return
        check_whole("max_translation", self.max_translation, least=0)
        check_translation(self.max_translation, self.estimator.input_shape)
        built_filters(self.filters)

    def _max_translation(self) -> int:
        return self.max_translation

    def _filters(self) -> Sequence[EventFilter | None]:
        return [None, *built_filters(self.filters)]

    def craft_score(self, candidate: Perturbation, x: Tensor, y: Tensor) -> tuple[float, float]:
        """See `UniversalAttack.craft_score`; the mean over no filter and each filter."""
        seen = [candidate, *(ThroughFilter(candidate, one) for one in built_filters(self.filters))]
        scores = [super(RobustUniversalPerturbation, self).craft_score(one, x, y) for one in seen]  # type: ignore[arg-type]
        shares, leads = zip(*scores, strict=True)
        return sum(shares) / len(seen), sum(leads) / len(seen)
