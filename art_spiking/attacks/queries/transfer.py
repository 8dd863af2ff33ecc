# SPDX-License-Identifier: MIT
"""EventTransfer: gradients of networks of the attacker's own, trained on the model's answers."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from art_spiking.attacks.edits.search import EditSearch
from art_spiking.attacks.edits.space import EditSpace, budgets_of
from art_spiking.attacks.objectives import gap, objective_named
from art_spiking.attacks.options import check_whole
from art_spiking.attacks.paths import SAMPLE_SURROGATE
from art_spiking.attacks.queries.search import QueryAttack
from art_spiking.attacks.queries.stand_ins import trained_stand_in
from art_spiking.errors import InvalidInput
from art_spiking.estimators import EventClassifier, SpikingClassifier
from art_spiking.events import validate_spike_tensor
from art_spiking.threats import EventThreat

_COPIES = 3
_DROPPED = 0.2
_STEPS = 15
_WIDTHS = (12, 16, 20)
_FAR = 1e4


class EventTransfer(QueryAttack):
    """Trains a few spiking networks on the model's answers, attacks them by gradient, and submits the result.

    Papernot et al. (ASIA CCS 2017) with an ensemble (Liu et al., ICLR 2017). The model is asked for the class
    of each of the attacker's own samples; networks of several widths learn these. Each sample is then edited
    along the mean of their gradients, within the whole budget and not only until they are fooled, and the
    result is submitted to the model; then, while questions are left, what each network alone makes of it.

    What differs: spiking networks and edits of events; the attacker's samples default to copies of those
    under attack, from which events were dropped, and what is found for a sample then depends on the others.

    It is weak: networks that answer alike may have nothing in common in their gradients (measured on the
    community N-MNIST network with 200 edits and two networks: these agree with it on .67 to 1.00 of the
    samples and most are fooled, their gradients' cosine to its own is below .01, and .12 to .17 transfer).

    Attributes:
        fit_queries: questions about the attacker's own samples in the last `generate`; 0 before. They are
            asked once for all samples and are not in `query_counts`.
        stand_ins: the networks that the last `generate` trained.
    """

    attack_params: ClassVar[list[str]] = [*QueryAttack.attack_params, "own", "members", "epochs"]

    def __init__(  # noqa: PLR0913 (seven hyper-parameters, and what ART attacks)
        self,
        estimator: EventClassifier,
        threat: EventThreat,
        *,
        own: npt.NDArray[Any] | None = None,
        members: int = 3,
        epochs: int = 20,
        queries: int = 4,
        targeted: bool = False,
        seed: int = 0,
        batch_size: int = 50,
    ) -> None:
        """Takes the hyper-parameters.

        Args:
            estimator: the model under attack. Its predicted classes are used and, to choose among submissions
                that all failed, its logits.
            threat: what may be changed; EventEdits, alone or joined with others.
            own: samples of the attacker's own, (M, ...) as the model takes them, without labels; None for
                copies of those under attack.
            members: networks to train.
            epochs: passes over the attacker's samples.
            queries: most submissions per sample; more than members + 1 are never made.
            targeted: whether `y` holds classes to reach.
            seed: the same seed gives the same result.
            batch_size: samples attacked at once.

        Raises:
            InvalidInput: an option that does not fit.
        """
        super().__init__(
            estimator, threat, queries=queries, targeted=targeted, seed=seed, batch_size=batch_size
        )
        self.own = own
        self.members = members
        self.epochs = epochs
        self.fit_queries = 0
        self.stand_ins: tuple[SpikingClassifier, ...] = ()
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        if not hasattr(self, "epochs"):
            return
        check_whole("members", self.members)
        check_whole("epochs", self.epochs)
        if self.own is not None:
            shape = self.estimator.input_shape
            if np.ndim(self.own) != len(shape) + 1:
                raise InvalidInput("own does not fit", found=np.shape(self.own), accepted=("M", *shape))
            validate_spike_tensor(self.own, shape=shape, binary=False)

    def _generate(self, clean: Tensor, labels: Tensor, predicted: Tensor | None) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        if self.own is None:
            x = torch.cat([clean.cpu(), *(_thinned(clean.cpu(), generator) for _ in range(_COPIES))])
        else:
            x = torch.from_numpy(np.array(self.own, np.float32))
        answers = self.estimator.predict_torch(x.to(clean.device), self.batch_size).argmax(1).cpu()
        self.fit_queries = len(x)
        widths = [_WIDTHS[k % len(_WIDTHS)] for k in range(self.members)]
        self.stand_ins = tuple(
            trained_stand_in(
                x, answers, self.estimator.nb_classes, epochs=self.epochs, width=width, generator=generator
            )
            for width in widths
        )
        return super()._generate(clean, labels, predicted)

    def run(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """See `EventAttack.run`; a sample that is not fooled keeps the submission that led furthest."""
        result = x.clone()
        asked = np.zeros(len(x), np.int64)
        lead = torch.full((len(x),), -torch.inf)
        open_ = torch.arange(len(x))
        teams = [self.stand_ins, *((member,) for member in self.stand_ins if self.members > 1)]
        for team in teams[: self.queries]:
            if not len(open_):
                break
            candidate = self._edited(team, x[open_].cpu(), y[open_].cpu()).to(x)
            found, fooled = (told.cpu() for told in self.lead(candidate, y[open_]))
            asked[open_] += 1
            better = fooled | (found > lead[open_])
            rows = open_[better]
            result[rows], lead[rows] = candidate[better], found[better].to(lead)
            open_ = open_[~fooled]
        self.count(asked)
        return result

    def _edited(self, team: tuple[SpikingClassifier, ...], x: Tensor, y: Tensor) -> Tensor:
        """The edits that put a team of networks furthest off, within the whole budget."""
        views = [member.with_surrogate(SAMPLE_SURROGATE) for member in team]
        objective = objective_named("soft-gap", targeted=self.targeted)
        search = EditSearch(EditSpace.of(self.threat, x), allowed=budgets_of(self.threat, x), fewest=False)

        def probe(edited: Tensor, samples: Tensor) -> Tensor:
            leads = [gap(view.predict_torch(edited, self.batch_size), y[samples]) for view in views]
            # Far below 0: the networks are not to be fooled but to be put off as far as can be.
            return torch.stack(leads).mean(0) * (-1 if self.targeted else 1) - _FAR

        for _ in range(_STEPS):
            gradient = torch.zeros_like(x)
            for view in views:
                slope, _ = view.input_gradient(search.soft_input(), y, objective=objective)
                length = slope.flatten(1).norm(dim=1).clamp(min=1e-30)
                gradient += slope / length.view(-1, *[1] * (x.ndim - 1))
            search.move(gradient)
            search.attempt(probe)
        return search.result


def _thinned(x: Tensor, generator: torch.Generator) -> Tensor:
    """The samples with a share of their cells emptied."""
    return x * (torch.rand(x.shape, generator=generator) >= _DROPPED)
