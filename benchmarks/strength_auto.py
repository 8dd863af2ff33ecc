# SPDX-License-Identifier: MIT
"""The sections of strength.py on AutoSpike: against its members, behind planted masks, and in how long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from art_spiking.attacks import (
    AutoSpike,
    EventGenetic,
    EventGreedy,
    EventTransfer,
    GumbelEventAttack,
    SparseDynamicAttack,
    SpikeFool,
    TernaryGradientAttack,
)
from art_spiking.datasets import load_data
from art_spiking.defences import BackgroundActivityFilter
from art_spiking.estimators import SpikingClassifier
from art_spiking.estimators.draws import decide
from art_spiking.model_files import load_model
from art_spiking.surrogates import Atan
from art_spiking.threats import EventEdits
from art_spiking.trust import examine, trust

if TYPE_CHECKING:
    from strength import Setting

Row = dict[str, Any]

SUBMISSIONS = Path(__file__).resolve().parents[1] / "leaderboard" / "submissions"
DEFENDED = {"digits-plain": (15, 25), "digits-adversarial": (50, 100), "digits-filtered": (50, 100)}
MASKED_SAMPLES, BUDGETS, FLAGGED = 50, (50, 25, 200), 50
DRAWS = 11
Work = tuple[str, SpikingClassifier, Any, Any, tuple[Any, Any], tuple[int, ...]]
"""A model's name, the model, recordings and labels, those of the craft split, and budgets of edits."""


class Around(torch.nn.Module):
    """A plain module around a network, which hides the exchange of its surrogate."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.inner = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.inner(x)


class Saturated(Around):
    """Probabilities at a temperature at which they are 0 and 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return torch.softmax(self.inner(x).sum(1) * 1e3, 1)


class Scaled(Around):
    """Logits so large that cross entropy has no gradient left."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.inner(x) * 1e3


class Rates(Around):
    """A rate encoder without a straight-through gradient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.inner(torch.bernoulli(x.clamp(0, 1)))


class RandomThreshold(Around):
    """Thresholds of the first layer move at random from step to step, which is its input scaled."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.inner(x * (1 + 0.1 * torch.randn(len(x), x.shape[1], 1, 1, 1)))


def masking(setting: Setting) -> Iterator[Row]:
    """Robust accuracy of AutoSpike on masked models beside the unmasked one's, and the flags of each."""
    network = setting.network
    steep = network.with_surrogate(Atan(1e3))
    models = {
        "no mask": network,
        "steep surrogate": steep,
        "steep surrogate, wrapped": Around(steep),
        "saturated outputs": Saturated(network),
        "saturated loss": Scaled(network),
        "rate encoder": Rates(network),
        "random threshold": RandomThreshold(network),
    }
    x, y = (part[:MASKED_SAMPLES] for part in setting.right())
    for budget in BUDGETS:
        threat, twin = EventEdits(budget), None
        for name, module in models.items():
            model = SpikingClassifier(module, input_shape=tuple(setting.model.input_shape))
            begin = time.perf_counter()
            x_adv = AutoSpike(model, threat).generate(x, y)
            seconds = time.perf_counter() - begin
            accuracy, clean = (
                float((decide(model, torch.from_numpy(z), draws=DRAWS, seed=1)[0].numpy() == y).mean())
                for z in (x_adv, x)
            )
            twin = accuracy if twin is None else twin
            flags = [flag.code for flag in trust(model, threat, x, y)] if budget == FLAGGED else []
            yield {
                "attack": f"{budget} edits, {name}",
                "samples": len(x),
                "clean": clean,
                "accuracy": accuracy,
                "above the twin": accuracy - twin,
                "flags": ", ".join(flags) or "-",
                "seconds": seconds,
            }


def members(setting: Setting) -> Iterator[Row]:
    """AutoSpike against each of its members alone, and what attacks outside it fool of what it leaves.

    On the community model and on three submissions.
    """
    x, y = setting.right()
    works: list[Work] = [("cnn_sinabs", setting.model, x, y, setting.craft(50), (25,))]
    for name in DEFENDED:
        model, test, train = defended(name)
        right = model.predict(test.x).argmax(1) == test.y
        works.append((name, model, test.x[right], test.y[right], (train.x, train.y), DEFENDED[name]))
    for name, model, x, y, craft, budgets in works:
        for budget in budgets:
            attack = AutoSpike(model, EventEdits(budget), exhaustive=True)
            attack.tune(*craft)
            fooled = model.predict(attack.generate(x, y)).argmax(1) != y
            each = {m.name: f"{m.fooled} ({m.alone} alone, {m.seconds:.0f} s)" for m in attack.outcomes}
            best = max(m.fooled for m in attack.outcomes)
            yield {
                "attack": f"{name}, {budget} edits",
                "samples": len(x),
                "fooled": int(fooled.sum()),
                "strongest member": best,
                **each,
                **outsiders(model, EventEdits(budget), x[~fooled], y[~fooled]),
            }


def outsiders(model: SpikingClassifier, threat: EventEdits, x: Any, y: Any) -> dict[str, str]:
    """How many of some samples the published attacks fool, which are no members."""
    if not len(x):
        return {}
    found = {}
    for name, attack in {
        "SpikeFool": SpikeFool(model, threat, rounds=60),
        "SparseDynamicAttack": SparseDynamicAttack(model, threat),
        "TernaryGradientAttack": TernaryGradientAttack(model, threat, steps=200),
        "GumbelEventAttack": GumbelEventAttack(model, threat, steps=200),
        "EventGreedy": EventGreedy(model, threat, queries=2000),
        "EventGenetic": EventGenetic(model, threat, queries=2000),
        "EventTransfer": EventTransfer(model, threat),
    }.items():
        count = int((model.predict(attack.generate(x, y)).argmax(1) != y).sum())
        found[f"{name}, of {len(x)} left"] = str(count)
    return found


def report(setting: Setting) -> Iterator[Row]:
    """AutoSpike on all test recordings with its battery: what is left, and how long both take."""
    test, threat = setting.test, EventEdits(50)
    begin = time.perf_counter()
    attack = AutoSpike(setting.model, threat)
    attack.tune(*setting.craft(50))
    x_adv = attack.generate(test.x, test.y)
    middle = time.perf_counter()
    survivors = setting.model.predict(x_adv).argmax(1) == test.y
    battery = examine(setting.model, threat, test.x, test.y, survivors=survivors)
    yield {
        "attack": "50 edits, all recordings",
        "samples": len(test.y),
        "accuracy": float(survivors.mean()),
        "flags": ", ".join(flag.code for flag in battery.flags) or "-",
        "seconds of the attack": middle - begin,
        "seconds of the battery": time.perf_counter() - middle,
        "threads": torch.get_num_threads(),
    }


def defended(name: str) -> tuple[SpikingClassifier, Any, Any]:
    """A submission with its defence, and digits-dvs."""
    test, train = (
        load_data("digits-dvs", split, steps=30, dt_us=10_000, limit=limit)
        for split, limit in (("test", 100), ("train", 50))
    )
    filters = [BackgroundActivityFilter(window_us=20_000, dt_us=10_000, support=2)]
    model = SpikingClassifier(
        load_model(SUBMISSIONS / name),
        input_shape=test.grid.shape,
        preprocessing_defences=filters if name == "digits-filtered" else None,
    )
    return model, test, train


AUTO_SECTIONS = {"masking": masking, "members": members, "report": report}
