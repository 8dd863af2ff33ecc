# SPDX-License-Identifier: MIT
"""The contract of a threat model."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import torch

from art_spiking.testing.contracts import require, run_contract
from art_spiking.testing.samples import small_data
from art_spiking.threats import ThreatModel


def check_threat(threat: ThreatModel, *, x: torch.Tensor | None = None, spikes: bool = True) -> None:
    """Checks that a threat model's parts agree with each other.

    `project` gives allowed points, is idempotent, leaves allowed points where they are and changes no input;
    `violations` finds nothing in the clean samples and in what was projected; `cost` counts what changed;
    fields are frozen and plain.

    Args:
        threat: the threat model, with parameters that a total change of the samples breaks.
        x: clean samples, (N, T, C, H, W); by default small random events.
        spikes: whether it promises whole counts, as threat models of events do.

    Raises:
        ContractBroken: names every property that does not hold.
    """
    clean = torch.from_numpy(small_data().x) if x is None else x
    generator = torch.Generator().manual_seed(0)
    soft = clean + torch.randn(clean.shape, generator=generator)
    opposite = (clean == 0).to(clean.dtype)

    def feasible() -> None:
        for name, point in {
            "a soft point": soft,
            "the opposite": opposite,
            "the clean samples": clean,
        }.items():
            found = threat.violations(threat.project(point, clean), clean)
            require(not found, f"the projection of {name} is not allowed: {found and found[0].text}")

    def idempotent() -> None:
        once = threat.project(soft, clean)
        require(torch.equal(threat.project(once, clean), once), "projecting twice moves the point again")

    def stays() -> None:
        require(torch.equal(threat.project(clean, clean), clean), "the clean samples are moved")
        require(not threat.violations(clean, clean), "the clean samples are said to break a rule")

    def finds() -> None:
        require(bool(threat.violations(opposite, clean)), "a total change of the samples breaks no rule")
        broken = clean.clone()
        broken.view(-1)[0] = float("nan")
        require(bool(threat.violations(broken, clean)), "NaN breaks no rule")

    def untouched() -> None:
        before, point = clean.clone(), soft.clone()
        threat.project(point, clean)
        threat.violations(point, clean)
        require(torch.equal(clean, before), "the clean samples are changed")
        require(torch.equal(point, soft), "the point to be projected is changed")

    def counts() -> None:
        none, all_ = threat.cost(clean, clean), threat.cost(opposite, clean)
        require(int(none.added.sum() + none.removed.sum()) == 0, "clean samples cost something")
        own = clean.flatten(1).sum(1).numpy().astype(np.int64)
        cells = clean[0].numel()
        require(bool((all_.own == own).all()), f"own events are {all_.own}, not {own}")
        require(bool((all_.removed == own).all()), f"removed events are {all_.removed}, not {own}")
        require(bool((all_.added == cells - own).all()), f"added events are {all_.added}, not {cells - own}")

    def whole() -> None:
        found = threat.project(soft, clean)
        require(torch.equal(found, found.round()), "the projection holds fractions of events")

    def plain() -> None:
        require(dataclasses.is_dataclass(threat), "it is no dataclass")
        form = threat.to_dict()
        require(form.get("kind") == threat.kind, f"to_dict gives the kind {form.get('kind')!r}")
        require(json.loads(json.dumps(form)) == form, "to_dict is not plain JSON")

    properties = [
        ("projects to allowed points", feasible),
        ("projects idempotently", idempotent),
        ("leaves allowed points where they are", stays),
        ("finds what breaks it", finds),
        ("leaves its inputs untouched", untouched),
        ("counts what changed", counts),
        ("is plain data", plain),
    ]
    run_contract(
        f"the threat model {threat!r}", [*properties, *([("keeps events whole", whole)] if spikes else [])]
    )
