# SPDX-License-Identifier: MIT
"""`check --strict`: what only running a submission shows, before anything is attacked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from art_spiking.datasets import EventData, load_data
from art_spiking.errors import ArtSpikingError
from art_spiking.evaluate.settings import predict
from art_spiking.graphs import ModelProblem
from art_spiking.metrics import accuracy
from art_spiking_leaderboard.check import Names, Submission, build_classifier
from art_spiking_leaderboard.claimed_gradients import claimed_gradient_flag
from art_spiking_leaderboard.manifest import CODE_FILE, MANIFEST, Manifest
from art_spiking_leaderboard.sandbox.policy import SandboxUnavailable


def strictly_checked(submission: Submission, names: Names, data_dir: Path | None = None) -> Submission:
    """The submission with the problems that show when its model runs on the whole test split of its data.

    The claimed clean accuracy must lie in the interval of the measured one, and the gradients of code must
    tell what edits do. A submission that has problems already is not run.

    Args:
        submission: as `check_submission` found it; code runs in its sandbox.
        names: where data sets and defences are looked up.
        data_dir: where recordings are, for data sets that need a folder.

    Raises:
        SandboxUnavailable: it is code, and there is nothing to confine it.
    """
    manifest = submission.manifest
    if manifest is None:
        return submission
    try:
        data = _test_split(manifest, names, data_dir)
    except (ArtSpikingError, OSError) as error:
        # Nobody can tell whether it is right, so it does not pass.
        found = [_problem(MANIFEST, "data.name", "data that can be had here", str(error))]
    else:
        found = list(_found(submission, manifest, data, names))
    return replace(submission, problems=tuple(found), manifest=None, stored=None) if found else submission


def _found(
    submission: Submission, manifest: Manifest, data: EventData, names: Names
) -> Iterator[ModelProblem]:
    is_code = submission.stored is None
    file = CODE_FILE if is_code else MANIFEST
    try:
        classifier = build_classifier(submission, names)
        right = predict(classifier, data.x)
        doubt = claimed_gradient_flag(classifier, data.x, data.y) if is_code else None
    except SandboxUnavailable:
        raise
    except ArtSpikingError as error:
        yield _problem(file, "", "a model that runs on its data", str(error))
        return
    clean = accuracy(data.y, right)
    claimed = manifest.training.claimed_clean_accuracy
    if not clean.low <= claimed <= clean.high:
        measured = f"{clean.value:.3f} was measured on {clean.total} samples"
        expected = f"{clean.low:.3f} to {clean.high:.3f}, for {measured}"
        yield _problem(MANIFEST, "training.claimed_clean_accuracy", expected, f"{claimed:.3f}")
    if doubt is not None:
        yield _problem(CODE_FILE, "", "gradients that tell what edits do", doubt.text)


def _test_split(manifest: Manifest, names: Names, data_dir: Path | None) -> EventData:
    return load_data(
        manifest.data.name,
        "test",
        steps=manifest.data.steps,
        dt_us=manifest.data.dt_us,
        binary=manifest.data.binary,
        data_dir=data_dir,
        datasets=names.datasets,
    )


def _problem(file: str, key: str, expected: str, found: str) -> ModelProblem:
    return ModelProblem(file, key, expected, " ".join(found.split()))
