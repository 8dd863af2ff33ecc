# SPDX-License-Identifier: MIT
"""MinimalEdits: the fewest edits with which any attack on single samples fools each of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from art_spiking.attacks.base import Array, EventAttack
from art_spiking.attacks.edits.reduction import Reduction, edits_of
from art_spiking.attacks.edits.searched import EditAttack, won
from art_spiking.attacks.edits.space import budgets_of, capped
from art_spiking.attacks.options import check_whole
from art_spiking.errors import InvalidInput
from art_spiking.estimators import EventClassifier
from art_spiking.registry import catalogue, plugin_manager
from art_spiking.threats import EventThreat

_LADDER = 2**0.25
_PROBES = 5

Build = Callable[..., EventAttack]


class MinimalEdits(EventAttack):
    """Finds how few edits fool each sample, by bisection of the budget on top of another attack.

    The attack runs within the whole budget. What it edits beyond need is undone by trials (`Reduction`). Then
    the budget of each sample is bisected between what fooled it and what did not, `probes` times: the attack
    runs anew within the smaller budget, and its success is reduced again. An attack that looks for fewer
    edits in a way of its own, by an option `fewest`, is told to. The number found is an upper bound on the
    smallest that there is.

    SPAA and SDA report the edits that their one run came to; the search for minimal norms by bisection is as
    old as Carlini and Wagner's attack (IEEE S&P 2017), there over a penalty, here over the budget itself.

    White or black box, as the attack is: all that this adds asks for logits alone. Budget in events. Serves
    what the attack serves of EventEdits, PixelRate and PatchRegion.

    Attributes:
        inner: the attack.
        edits: float64 (N,), the edits of each sample in the last `generate`: 0 where it was misclassified
            before, NaN where the attack failed within the budget; None before.
    """

    attack_params: ClassVar[list[str]] = [*EventAttack.attack_params, "attack", "parameters", "probes"]

    def __init__(
        self,
        estimator: EventClassifier,
        threat: EventThreat,
        *,
        attack: str | Build = "event-gradient",
        parameters: Mapping[str, Any] | None = None,
        probes: int | None = None,
        targeted: bool = False,
        seed: int = 0,
        batch_size: int = 50,
    ) -> None:
        """Takes the attack and its parameters.

        Args:
            estimator: the model under attack.
            threat: what may be changed; its budget is the most that is searched.
            attack: registered name or class of an attack on single samples.
            parameters: of that attack; all but estimator, threat, targeted, seed and batch_size.
            probes: smaller budgets tried for each sample, at most; by default 5, and 0 for an attack with an
                option `fewest`, which gains next to nothing by them.
            targeted: whether `y` holds classes to reach.
            seed: the same seed gives the same result.
            batch_size: samples attacked at once.

        Raises:
            InvalidInput: an option that does not fit, an attack that is universal, or parameters that it does
                not take.
            UnknownName: nobody registered the attack.
        """
        super().__init__(estimator, threat, seed=seed, batch_size=batch_size)
        self.attack = attack
        self.parameters = parameters
        self.probes = probes
        self.targeted = targeted
        self.edits: npt.NDArray[np.float64] | None = None
        self._check_params()

    def _check_params(self) -> None:
        super()._check_params()
        if not hasattr(self, "edits"):
            return
        if self.probes is not None:
            check_whole("probes", self.probes, least=0)
        self.inner = self._built()

    def _built(self) -> EventAttack:
        """The attack.

        Raises:
            InvalidInput: it does not fit.
        """
        build: Any = self.attack
        if isinstance(build, str):
            build = catalogue("attacks", plugin_manager())[build].load()
        if not (isinstance(build, type) and issubclass(build, EventAttack)) or build.universal:
            raise InvalidInput(
                "minimal edits are found for attacks on single samples",
                asked=repr(self.attack),
                accepted="the name or the class of an EventAttack that is not universal",
            )
        taken = [name for name in build.attack_params if name not in EventAttack.attack_params]
        given = dict(self.parameters or {})
        unknown = sorted(set(given) - set(taken))
        if unknown or build is MinimalEdits:
            raise InvalidInput(
                f"{build.__name__} takes no such parameter here",
                asked=", ".join(unknown) or repr(self.attack),
                accepted=", ".join(taken) or "none",
            )
        # The trials that an EditAttack would add are the same that follow here.
        if "fewest" in taken and not issubclass(build, EditAttack):
            given = {"fewest": True} | given
        if self.targeted:
            given["targeted"] = True
        built: EventAttack = build(
            self.estimator, self.threat, **given, seed=self.seed, batch_size=self.batch_size
        )
        return built

    @property
    def needs_gradients(self) -> bool:
        """Whether the attack does; it says so itself where the model has none."""
        return hasattr(self, "inner") and self.inner.needs_gradients

    @property
    def surrogate(self) -> Any:
        """The attack's; None where it has none."""
        return getattr(self.inner, "surrogate", None)

    def tune(self, x: Array, y: Array) -> None:
        """See `EventAttack.tune`: what the attack has to choose."""
        self.inner.tune(x, y)
        self.chosen = self.inner.chosen

    def run(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        """See `EventAttack.run`; MinimalEdits hands whole sets to its attack instead."""
        return self._generate(x, y, None)

    def _generate(self, clean: Tensor, labels: Tensor, predicted: Tensor | None) -> Tensor:
        if predicted is None:
            predicted = self.estimator.predict_torch(clean, self.batch_size).argmax(1)
        start = self.fooled(predicted, labels)
        result = clean.clone()
        found = torch.where(start, 0, budgets_of(self.threat, clean) + 1)
        failed = torch.zeros_like(found)
        open_ = torch.nonzero(~start)[:, 0]
        self._attempt(self.threat, open_, clean, labels, result=result, found=found)
        fooled = found <= budgets_of(self.threat, clean)
        probes = 0 if hasattr(self.inner, "fewest") else _PROBES
        for _ in range(probes if self.probes is None else self.probes):
            budgets = _rungs(failed, found)
            tried = fooled & ~start & (budgets > failed) & (budgets < found)
            for budget in sorted(set(budgets[tried].tolist())):
                rows = torch.nonzero(tried & (budgets == budget))[:, 0]
                threat = capped(self.threat, budget)
                self._attempt(threat, rows, clean, labels, result=result, found=found)
                beaten = rows[found[rows] > budget]
                failed[beaten] = budget
        counted = torch.where(fooled | start, found, -1).cpu().numpy().astype(np.float64)
        self.edits = np.where(counted < 0, np.nan, counted)
        return result

    def _attempt(
        self,
        threat: EventThreat,
        rows: Tensor,
        clean: Tensor,
        labels: Tensor,
        *,
        result: Tensor,
        found: Tensor,
    ) -> None:
        """Attacks some samples; writes what fools them with fewer edits to `result`, how many to `found`."""
        if not len(rows):
            return
        x, y = clean[rows], labels[rows]
        attack = copy.copy(self.inner)
        attack.set_params(threat=threat)
        x_adv = torch.from_numpy(attack.generate(x.cpu().numpy(), y.cpu().numpy())).to(clean)

        def probe(edited: Tensor, samples: Tensor) -> Tensor:
            return won(self, edited, y[samples])

        everyone = torch.arange(len(rows), device=rows.device)
        fools = torch.nonzero(probe(x_adv, everyone) > 0)[:, 0]
        reduction = Reduction(self.threat, x, probe, torch.ones_like(everyone))
        x_adv[fools] = reduction.by_trial(x_adv[fools], fools)
        spent = edits_of(x_adv, x)
        fewer = torch.zeros_like(spent, dtype=torch.bool)
        fewer[fools] = spent[fools] < found[rows[fools]]
        # Where nothing fools, the last attempt within the whole budget stays.
        keep = fewer | (found[rows] > budgets_of(self.threat, x))
        result[rows[keep]] = x_adv[keep]
        found[rows[fewer]] = spent[fewer]


def _rungs(failed: Tensor, found: Tensor) -> Tensor:
    """Budgets half way between failure and success, int64 (N,), from few values that samples share.

    Samples with the same budget are attacked together, so budgets are rounded down to powers of 2^(1/4).
    """
    middle = ((failed + found) // 2).clamp(min=1)
    power = (middle.double().log2() / np.log2(_LADDER) + 1e-9).floor()
    rung = torch.pow(_LADDER, power).round().long()
    return torch.where(rung > failed, rung, middle)
