# SPDX-License-Identifier: MIT
"""SpikingUniversalPerturbation: one set of event edits that makes a network err on most samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from art_spiking.attacks.objectives import CappedGap, CappedLead, Objective, gap
from art_spiking.attacks.options import check_flag, check_whole
from art_spiking.attacks.paths import (
    SAMPLE_SURROGATE,
    Surrogates,
    attack_views,
    checked_surrogates,
    labels_of,
)
from art_spiking.attacks.universal.attack import UniversalAttack
from art_spiking.attacks.universal.filters_in_loop import EventFilter, through_each
from art_spiking.attacks.universal.mask_search import MaskSearch
from art_spiking.attacks.universal.mask_space import MaskSpace
from art_spiking.attacks.universal.perturbations import Perturbation
from art_spiking.errors import InvalidInput, InvalidModel
from art_spiking.estimators import SpikingClassifier
from art_spiking.surrogates import Atan
from art_spiking.threats import EventThreat

MASK_SURROGATES = (SAMPLE_SURROGATE, Atan(alpha=2.0), Atan(alpha=1.0, through_reset=True))
"""The spike derivatives with which a fit starts, one search each.

Which one serves is a property of the model (measured: the last left .10 of the community N-MNIST network's
accuracy after 250 insertions, but .72 of an adversarially trained one's after 500, the second .42).
"""

_SMOOTH = "membrane-mean"
_SIZED = 100
"""Samples from which the size of the logits is told."""
_CAP = 0.3
"""Cap of the objective, in units of the mean absolute gap of the clean craft samples."""


class SpikingUniversalPerturbation(UniversalAttack):
    """Fits one mask of insertions and deletions for all samples.

    Frank and Wolfe's method (1956) on the convex hull of allowed masks: each step moves a soft mask towards
    the hard one that is best for the gradient, so the soft mask stays close to few cells and rounding it
    costs little. Gradients are taken batch by batch at x + soft mask, normalised and averaged with momentum,
    and ascend `CappedGap`. One search per surrogate, and one on the membrane potential, runs for an epoch;
    the best one goes on. After each epoch the soft mask is rounded and scored on the whole craft split; the
    best rounded mask is returned.

    A strong mask drives nearly all samples to one class, and what is left is that class's share of the data.
    Output neurons that fire at every step, as they then do where the reset subtracts, no longer show by their
    spikes what an event is worth; their potential does (measured: the smooth search alone fools all but one
    class of the community N-MNIST network's samples with 250 insertions after one epoch). Where the reset
    goes to a value the potential tells little, and the surrogates lead.

    Spiking universal perturbations were introduced by SPAA (Büchel et al., arXiv 2110.02929), which merges
    masks found sample by sample and evicts cells down to the budget; Moosavi-Dezfooli et al. (2017) is the
    form that ART follows. Neither optimises the mask for all samples at once.
    """

    attack_params: ClassVar[list[str]] = [
        *UniversalAttack.attack_params,
        "epochs",
        "static",
        "max_shift",
        "surrogate",
        "smooth",
    ]

    def __init__(  # noqa: PLR0913 (eight hyper-parameters, and what ART attacks)
        self,
        estimator: SpikingClassifier,
        threat: EventThreat,
        *,
        epochs: int = 4,
        static: bool = False,
        max_shift: int = 0,
        surrogate: Surrogates = MASK_SURROGATES,
        smooth: bool = True,
        targeted: bool = False,
        seed: int = 0,
        batch_size: int = 25,
    ) -> None:
        """Takes the hyper-parameters.

        Args:
            estimator: the model under attack.
            threat: EventEdits, alone or joined with others; its `insert` and `delete` say which edits.
            epochs: passes over the craft split.
            static: edit a cell at all steps or at none.
            max_shift: most steps by which each sample's mask is turned in time at random; see `Perturbation`.
            surrogate: spike derivative, or its dict; of several the one that is ahead after an epoch goes on;
                None for the estimator's own.
            smooth: whether one more search, with the first surrogate, ascends the mean membrane potential of
                the last neuron layer instead of its spikes, where the network has one.
            targeted: whether `y` holds classes to reach.
            seed: the same seed gives the same result.
            batch_size: samples of a gradient.

        Raises:
            InvalidInput: an option that does not fit.
        """
        super().__init__(estimator, threat, seed=seed, batch_size=batch_size)
        self.epochs = epochs
        self.static = static
        self.max_shift = max_shift
        self.surrogate = surrogate
        self.smooth = smooth
        self.targeted = targeted
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        if not hasattr(self, "surrogate"):
            return
        check_whole("epochs", self.epochs)
        check_whole("max_shift", self.max_shift, least=0)
        check_flag("static", self.static)
        check_flag("smooth", self.smooth)
        checked_surrogates(self.surrogate)

    def fit_tensors(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Perturbation:
        """See `UniversalAttack.fit`."""
        space = MaskSpace.of(self.threat, x, static=self.static)
        searches = [
            MaskSearch(
                through_each(view, self._filters()),
                space,
                self._objective(view, x[:_SIZED], y[:_SIZED]),
                max_shift=self.max_shift,
                max_translation=self._max_translation(),
                batch_size=self.batch_size,
                label=label,
            )
            for view, label in self._views(x)
        ]
        return self.race(searches, x, y, generator, epochs=self.epochs)[0]

    def _max_translation(self) -> int:
        """Most pixels by which the mask is moved over the sensor."""
        return 0

    def _filters(self) -> Sequence[EventFilter | None]:
        """The event filters that the mask must survive, each in turn; None for no filter."""
        return (None,)

    def _views(self, x: Tensor) -> list[tuple[SpikingClassifier, dict[str, Any]]]:
        """The estimator as it is differentiated, once for each search, and what records call that."""
        labels = labels_of(self.estimator, self.surrogate)
        views = list(zip(attack_views(self.estimator, self.surrogate), labels, strict=True))
        if not self.smooth or self.estimator.network is None or self.estimator.model.readout == _SMOOTH:
            return views
        try:
            smooth = views[0][0].with_readout(_SMOOTH)
            potentials = smooth.predict_torch(x[:1]).shape[1]
        except (InvalidInput, InvalidModel):
            return views  # no neuron layer, or several, lead to the output
        if potentials != self.estimator.nb_classes:
            return views
        return [*views, (smooth, {**labels[0], "readout": _SMOOTH})]

    def _objective(self, view: SpikingClassifier, x: Tensor, y: Tensor) -> Objective:
        """The capped objective, its cap in proportion to how large the view's logits are."""
        cap = _CAP * float(gap(view.predict_torch(x, self.batch_size), y).abs().mean())
        return CappedLead(cap) if self.targeted else CappedGap(cap)
