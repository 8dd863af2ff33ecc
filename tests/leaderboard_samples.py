# SPDX-License-Identifier: MIT
"""Hand-made manifests and records for the leaderboard's tests."""

from __future__ import annotations

import hashlib

from art_spiking_leaderboard.manifest import Data, Defence, FileEntry, Files, Manifest, Training

from art_spiking.records import (
    Activity,
    Costs,
    DataIdentity,
    Failure,
    Flag,
    Footprint,
    ModelIdentity,
    Provenance,
    Record,
    SuiteIdentity,
)
from art_spiking.suites import Case, Control, Suite

SUITE = Suite(
    name="tiny-suite",
    version=1,
    craft=4,
    test=10,
    cases=(
        Case(
            name="edits-5",
            attack="event-gradient",
            threat={"kind": "event-edits", "max_edits": 5},
            control=Control(attack="random-events"),
        ),
        Case(name="patch-5", attack="adversarial-patch", threat={"kind": "patch-region", "area": 0.05}),
    ),
)
LABELS = tuple(i % 10 for i in range(10))


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def predictions(right: int, labels: tuple[int, ...] = LABELS) -> tuple[int, ...]:
    """Classes of which the first so many are right."""
    return tuple(label if i < right else (label + 1) % 10 for i, label in enumerate(labels))


def make_record(
    case: str = "edits-5",
    *,
    right: int = 3,
    clean: int = 9,
    control: int | None = 8,
    status: str = "ok",
    flags: tuple[Flag, ...] = (),
    suite: Suite = SUITE,
    labels: tuple[int, ...] = LABELS,
    operations: tuple[int, int] | None = None,
) -> Record:
    """One record; `operations` are those of each sample without and under the attack, ten per spike."""
    n = len(labels)
    data = {"name": "digits-dvs", "samples": n, "digest": f"sha256:{hash_of('data')}", "grid": {"steps": 30}}
    costs = Costs(added=(3,) * n, removed=(2,) * n, moved=(0,) * n, own=(100,) * n)
    ok = status == "ok"
    clean_activity, activity = (
        Activity(spikes=(count // 10,) * n, operations=(count,) * n) for count in operations or (0, 0)
    )
    return Record(
        status=status,
        model=ModelIdentity(name="m", digest=f"sha256:{hash_of('model')}", readout="spike-count"),
        suite=SuiteIdentity(name=suite.name, version=suite.version, digest=suite.digest()),
        case=suite.case(case),
        craft=DataIdentity(split="train", **data),
        test=DataIdentity(split="test", **data),
        labels=labels,
        clean=predictions(clean, labels),
        adversarial=predictions(right, labels) if ok else (),
        control=predictions(control, labels) if ok and control is not None else (),
        cost=costs if ok else Costs(),
        control_cost=costs if ok and control is not None else Costs(),
        footprint=Footprint(parameters=18_182, bytes=72_728) if operations else None,
        clean_activity=clean_activity if operations else None,
        activity=activity if operations and ok else None,
        flags=flags,
        forwards=21.0,
        backwards=20.0,
        wall_seconds=3.25,
        failure=Failure(type="ValueError", message="it broke") if status == "error" else None,
        provenance=Provenance(
            packages={"torch": "2.13.0"},
            providers={"event-gradient": "art-spiking 0.1.0"},
            device="cpu",
            threads=2,
            started="2027-01-01T00:00:00+00:00",
        ),
    )


def make_manifest(name: str = "plain", **changes: object) -> Manifest:
    """A manifest; `changes` replace its fields, and None takes one out."""
    entry = FileEntry(sha256=hash_of(name), size=1000)
    values: dict[str, object] = {
        "schema_version": 1,
        "name": name,
        "title": f"Model {name}",
        "authors": ("A. Author", "B. Author"),
        "licence": "MIT",
        "framework": "art-spiking 0.1.0",
        "input_shape": (30, 2, 34, 34),
        "nb_classes": 10,
        "readout": "spike-count",
        "semantics": "nir",
        "data": Data(name="digits-dvs", dt_us=10000, steps=30, binary=True),
        "defences": (Defence(name="background-activity-filter", parameters={"window_us": 50000}),),
        "training": Training(description="Trained.", claimed_clean_accuracy=0.9),
        "files": Files(graph=entry, weights=entry),
    }
    return Manifest(**{key: value for key, value in {**values, **changes}.items() if value is not None})
