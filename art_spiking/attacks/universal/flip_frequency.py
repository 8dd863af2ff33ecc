# SPDX-License-Identifier: MIT
"""Universal perturbations from attacks on single samples: the cells that are edited most often."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from art_spiking.attacks.edits.gradient import EventGradientAttack
from art_spiking.attacks.options import check_flag, check_whole
from art_spiking.attacks.paths import SAMPLE_SURROGATE, checked_surrogates
from art_spiking.attacks.universal.attack import UniversalAttack
from art_spiking.attacks.universal.mask_space import MaskSpace
from art_spiking.attacks.universal.perturbations import Perturbation
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.surrogates import Surrogate
from art_spiking.threats import EventThreat

Eviction = Literal["frequency", "random"]
_EVICTIONS = ("frequency", "random")


class _FromSamples(UniversalAttack):
    """What both attacks share: a sparse attack on single samples, and counts of its edits."""

    steps: int
    surrogate: Surrogate | Mapping[str, Any] | None
    max_shift: int

    def _check_params(self) -> None:
        super()._check_params()
        if not hasattr(self, "max_shift"):
            return
        check_whole("steps", self.steps)
        check_whole("max_shift", self.max_shift, least=0)
        check_flag("targeted", self.targeted)
        checked_surrogates(self.surrogate)
        if isinstance(self.surrogate, list | tuple):
            raise InvalidInput("this attack takes one surrogate", asked=repr(self.surrogate))

    def _edits(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """How many of the samples the sparse attack fools by editing each cell: (2, T, C, H, W).

        The fewest edits of each sample; samples that stay unfooled are not counted.
        """
        attack = EventGradientAttack(
            self.estimator,
            self.threat,
            steps=self.steps,
            surrogate=self.surrogate,
            fewest=True,
            targeted=self.targeted,
            batch_size=self.batch_size,
        )
        found = self.threat.project(attack.run(x, y, generator).detach(), x)
        won = self._fooled(found, y).view(-1, *[1] * (x.ndim - 1))
        return torch.stack([((found > x) & won).sum(0), ((found < x) & won).sum(0)]).to(x.dtype)

    def _fooled(self, x: Tensor, y: Tensor) -> Tensor:
        return self.fooled(self.estimator.predict_torch(x, self.batch_size).argmax(1), y)

    @abstractmethod
    def fit_tensors(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Perturbation:
        """See `UniversalAttack.fit_tensors`."""


class HeatmapPerturbation(_FromSamples):
    """Keeps the cells that sparse attacks on single samples edit most often.

    The heatmap attack of SPAA (Büchel et al., arXiv 2110.02929): every craft sample that is classified
    correctly is attacked by itself; how often each cell is flipped is counted; the k most frequent ones are
    the perturbation. What differs: the sparse attack is `EventGradientAttack` with the fewest edits, instead
    of SparseFool; insertions and deletions are counted apart and only those are made that the threat model
    allows, a deletion at the cost of the events that samples hold there on average; failed attacks count for
    nothing. A cell that was edited in no sample is never chosen, so the mask may stay below its budget.

    White-box. Threat models: EventEdits, alone or joined with others. Units: edits, steps.
    """

    attack_params: ClassVar[list[str]] = [
        *UniversalAttack.attack_params,
        "steps",
        "surrogate",
        "max_shift",
    ]

    def __init__(
        self,
        estimator: SpikingClassifier,
        threat: EventThreat,
        *,
        steps: int = 30,
        surrogate: Surrogate | Mapping[str, Any] | None = SAMPLE_SURROGATE,
        max_shift: int = 0,
        targeted: bool = False,
        seed: int = 0,
        batch_size: int = 50,
    ) -> None:
        """Takes the hyper-parameters.

        Args:
            estimator: the model under attack.
            threat: EventEdits, alone or joined with others; single samples are attacked under it too.
            steps: gradients per sample, at most.
            surrogate: spike derivative, or its dict; None for the estimator's own.
            max_shift: most steps by which each sample's mask is turned in time; the fit does not know of it.
            targeted: whether `y` holds classes to reach.
            seed: unused by the fit, which draws nothing.
            batch_size: samples attacked at once.

        Raises:
            InvalidInput: an option that does not fit.
        """
        super().__init__(estimator, threat, seed=seed, batch_size=batch_size)
        self.steps = steps
        self.surrogate = surrogate
        self.max_shift = max_shift
        self.targeted = targeted
        self._check_params()

    def fit_tensors(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Perturbation:
        """See `UniversalAttack.fit`."""
        space = MaskSpace.of(self.threat, x)
        heat = torch.zeros_like(space.cost)
        open_ = torch.nonzero(~self._fooled(x, y))[:, 0]
        for part in torch.split(open_, self.batch_size) if len(open_) else ():
            heat += self._edits(x[part], y[part], generator)
        return space.perturbation(heat, max_shift=self.max_shift)


class IterativePerturbation(_FromSamples):
    """Merges the edits that each sample still needs into one mask, and evicts cells down to the budget.

    The iterative attack of SPAA (Büchel et al., arXiv 2110.02929): 8 samples of each class, 3 passes; a
    sample that the mask does not fool is attacked on top of it, and the new edits are merged (OR) into the
    mask; over the budget, the cells that were needed least often (heatmap) or random ones are evicted. What
    differs: the sparse attack is `EventGradientAttack` with the fewest edits; `samples_at_once` samples are
    attacked before the mask changes, as its gradients are faster in batches; insertions and deletions are
    merged apart; and the best mask seen on the whole craft split is returned, where SPAA returns the last.

    White-box. Threat models: EventEdits, alone or joined with others. Units: edits, steps.
    """

    attack_params: ClassVar[list[str]] = [
        *UniversalAttack.attack_params,
        "steps",
        "surrogate",
        "max_shift",
        "passes",
        "per_class",
        "samples_at_once",
        "eviction",
    ]

    def __init__(  # noqa: PLR0913 (nine hyper-parameters, and what ART attacks)
        self,
        estimator: SpikingClassifier,
        threat: EventThreat,
        *,
        passes: int = 3,
        per_class: int = 8,
        samples_at_once: int = 8,
        eviction: Eviction = "frequency",
        steps: int = 30,
        surrogate: Surrogate | Mapping[str, Any] | None = SAMPLE_SURROGATE,
        max_shift: int = 0,
        targeted: bool = False,
        seed: int = 0,
        batch_size: int = 50,
    ) -> None:
        """Takes the hyper-parameters; see `HeatmapPerturbation` for those that are not named here.

        Args:
            estimator: the model under attack.
            threat: EventEdits, alone or joined with others.
            passes: over the chosen samples.
            per_class: samples chosen of each class in `y`, the first ones; all where there are fewer. Where
                the attack is targeted `y` is the target: as many as there are classes, times this.
            samples_at_once: samples attacked before the mask changes.
            eviction: "frequency" or "random".
            steps: gradients per sample, at most.
            surrogate: spike derivative.
            max_shift: most steps by which each sample's mask is turned in time; the fit does not know of it.
            targeted: whether `y` holds classes to reach.
            seed: decides the order of samples, and random eviction.
            batch_size: samples scored at once.

        Raises:
            InvalidInput: an option that does not fit.
        """
        super().__init__(estimator, threat, seed=seed, batch_size=batch_size)
        self.steps = steps
        self.surrogate = surrogate
        self.max_shift = max_shift
        self.targeted = targeted
        self.passes = passes
        self.per_class = per_class
        self.samples_at_once = samples_at_once
        self.eviction = eviction
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        if not hasattr(self, "eviction"):
            return
        for name in ("passes", "per_class", "samples_at_once"):
            check_whole(name, getattr(self, name))
        if self.eviction not in _EVICTIONS:
            raise InvalidInput(
                "eviction does not fit", asked=repr(self.eviction), accepted=", ".join(_EVICTIONS)
            )

    def fit_tensors(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Perturbation:
        """See `UniversalAttack.fit`."""
        space = MaskSpace.of(self.threat, x)
        heat = torch.zeros_like(space.cost)
        best, score = space.perturbation(heat), None
        for _ in range(self.passes):
            for part in self._rounds(y, generator):
                masked = space.perturbation(heat).apply(x[part], seed=self.seed)
                open_ = ~self._fooled(masked, y[part])
                if bool(open_.any()):
                    heat = self._evicted(
                        heat + self._edits(masked[open_], y[part][open_], generator), space, generator
                    )
            mask = space.perturbation(heat, max_shift=self.max_shift)
            found = self.craft_score(mask, x, y)
            if score is None or found < score:
                best, score = mask, found
        return best

    def _evicted(self, heat: Tensor, space: MaskSpace, generator: torch.Generator) -> Tensor:
        """The counts of the cells that stay; the most frequent ones decide by themselves, cell by cell."""
        if self.eviction == "frequency":
            return heat
        rank = torch.rand(heat.shape, generator=generator).to(heat.device) + 1e-3
        return heat * space.best(rank * (heat > 0) * space.cost)

    def _rounds(self, y: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
        """The chosen samples in random order, some at a time."""
        if self.targeted:
            chosen = torch.arange(min(len(y), self.per_class * self.estimator.nb_classes))
        else:
            chosen = torch.cat([torch.nonzero(y == label)[: self.per_class, 0] for label in torch.unique(y)])
        order = torch.randperm(len(chosen), generator=generator).to(chosen.device)
        yield from torch.split(chosen[order], self.samples_at_once)
