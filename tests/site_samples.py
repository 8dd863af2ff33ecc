# SPDX-License-Identifier: MIT
"""A board of hand-made records with every kind of thing that the page shows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from art_spiking_leaderboard.claims import Claim, ClaimForm
from art_spiking_leaderboard.ranking import Entrant, rank
from art_spiking_leaderboard.recordings import SUFFIX, recording_of, write_recording
from art_spiking_leaderboard.site import Board, Content
from art_spiking_leaderboard.transfer import LeftOut, Scored, Source, Transfer
from leaderboard_samples import hash_of, make_manifest, make_record

from art_spiking.suites import Case, Control, Suite

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\"'{{7*7}}</script>"
LABELS = tuple(i % 10 for i in range(100))
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
STEPS, HEIGHT, WIDTH = 12, 16, 20


def _edits(budget: int) -> Case:
    control = Control(attack="random-events")
    threat = {"kind": "event-edits", "max_edits": budget}
    return Case(name=f"edits-{budget}", attack="event-gradient", threat=threat, control=control)


RICH = Suite(
    name="rich-suite",
    version=1,
    summary="Edits at three budgets, and a patch.",
    cases=(
        _edits(50),
        _edits(5),
        _edits(20),
        Case(name="patch-5", attack="adversarial-patch", threat={"kind": "patch-region", "area": 0.05}),
    ),
)
RIGHT = {"edits-5": 80, "edits-20": 60, "edits-50": 30, "patch-5": 50}


def rich_records(clean: int, worse: int, *, counted: bool = True) -> dict[str, object]:
    """Records of the rich suite; `worse` takes so many samples from each case.

    Counted, each sample takes 1,000,000 operations, and under attack that and 1,000 for each sample fooled.
    """
    return {
        case: make_record(
            case,
            right=max(right - worse, 0),
            clean=clean,
            control=clean - 1 if case != "patch-5" else None,
            suite=RICH,
            labels=LABELS,
            operations=(1_000_000, 1_000_000 + 1000 * (100 - right)) if counted else None,
        )
        for case, right in RIGHT.items()
    }


def accepted_claim(record) -> Claim:
    """Someone else fools the first two samples of a case."""
    form = ClaimForm(
        schema_version=1,
        model="alpha",
        suite=RICH.name,
        case="edits-50",
        authors=(HOSTILE,),
        description=HOSTILE,
        paper="https://example.org/paper",
        samples=(0, 1),
    )
    return Claim(form, record.key(), hash_of("claim"), (5, 5), "2027-02-03T00:00:00+00:00")


def rich_content(figures: Path | None = None) -> Content:
    """Alpha is claimed against, beta has a hostile manifest and is code, gamma was withdrawn, delta waits."""
    alpha, beta = rich_records(92, 0), rich_records(96, 15, counted=False)
    entrants = [
        Entrant("alpha", "digits-dvs", 0.92, alpha, claims=(accepted_claim(alpha["edits-50"]),)),
        Entrant("beta", "digits-dvs", 0.96, beta),
        Entrant("gamma", "digits-dvs", 0.9, rich_records(90, 5), withdrawn=f"its authors asked {HOSTILE}"),
        Entrant("delta", "digits-dvs", 0.9, {"edits-5": rich_records(90, 0)["edits-5"]}),
    ]
    manifests = {entrant.name: make_manifest(entrant.name) for entrant in entrants}
    training = manifests["beta"].training.model_copy(update={"description": HOSTILE})
    hostile = {"title": HOSTILE, "authors": (HOSTILE,), "framework": HOSTILE, "readout": HOSTILE}
    manifests["beta"] = manifests["beta"].model_copy(
        update={**hostile, "training": training, "division": "code"}
    )
    return Content(
        boards=[Board(RICH, "digits-dvs", rank(entrants, RICH), rich_transfer())],
        manifests=manifests,
        digests={name: f"sha256:{hash_of(name)}" for name in manifests},
        figures=figures,
        cells=13,
    )


def rich_transfer() -> Transfer:
    """What was made for alpha does harm to beta; nothing was kept of beta."""
    right = {case: (count, count + 10) for case, count in RIGHT.items()}
    events = dict.fromkeys(RIGHT, hash_of("x"))
    return Transfer(
        suite=RICH.name,
        suite_digest=RICH.digest(),
        data="digits-dvs",
        test=f"sha256:{hash_of('data')}",
        samples=100,
        models=tuple(
            Scored(name=name, digest=f"sha256:{hash_of(name)}", clean=clean)
            for name, clean in (("alpha", 92), ("beta", 96))
        ),
        sources=(Source(name="alpha", events=events, right=right, worst=(30, 41)),),
        left_out=(LeftOut(name="beta", why=f"attacked only: {HOSTILE}"),),
    )


def write_figures(folder: Path) -> None:
    """Pictures and events: all of alpha's edits-50, beta's events alone, and a broken file of gamma."""
    for model in ("alpha", "beta"):
        place = folder / model / RICH.name
        place.mkdir(parents=True)
        write_recording(moving_bar(), place / f"edits-50{SUFFIX}")
    (folder / "alpha" / RICH.name / "edits-50.png").write_bytes(PIXEL)
    broken = folder / "gamma" / RICH.name / f"edits-50{SUFFIX}"
    broken.parent.mkdir(parents=True)
    broken.write_text(json.dumps({"kept": ["</script><script>alert(1)</script>"]}))


def moving_bar():
    """A bar that moves to the right; in each step one event is added, and in odd ones one is removed."""
    clean = np.zeros((STEPS, 2, HEIGHT, WIDTH), dtype=np.float32)
    for t in range(STEPS):
        clean[t, 1, 3:13, t + 2] = 1
        clean[t, 0, 3:13, t + 1] = 1
    adversarial = clean.copy()
    for t in range(STEPS):
        adversarial[t, 1, t, 18] = 1
        if t % 2:
            adversarial[t, 1, 5, t + 2] = 0
    return recording_of(clean, adversarial, dt_us=10_000, sample=7, classes=(3, 3, 8))
