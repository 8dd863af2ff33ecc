# SPDX-License-Identifier: MIT
"""Checks a submission in full before it costs any computing: folder, manifest, model, and their agreement."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.evaluate import identify_model
from art_spiking.graphs import ModelProblem
from art_spiking.model_files import (
    GRAPH_FILE,
    MAX_GRAPH_BYTES,
    MAX_WEIGHT_BYTES,
    WEIGHTS_FILE,
    StoredModel,
    inspect_model,
)
from art_spiking.records import ModelIdentity
from art_spiking.registry import Catalogue, catalogue, plugin_manager
from art_spiking.untrusted_files import open_regular
from art_spiking_leaderboard.agreement import disagreements, unknown_names
from art_spiking_leaderboard.manifest import (
    MANIFEST,
    MANIFEST_BYTES,
    MODEL_FILES,
    Manifest,
    ParsedManifest,
    Stated,
    parse_manifest,
    shown,
)

_TEXT_BYTES = 256 * 1024
REQUIRED = {MANIFEST: MANIFEST_BYTES, GRAPH_FILE: MAX_GRAPH_BYTES, WEIGHTS_FILE: MAX_WEIGHT_BYTES}
"""The three files of a submission and the most bytes each may have."""
OPTIONAL = {name: _TEXT_BYTES for name in ("README.md", "LICENSE", "LICENSE.txt", "LICENCE", "LICENCE.txt")}
"""Texts that may lie beside them; nothing reads them."""


@dataclass(frozen=True)
class Names:
    """Where the names in a manifest are looked up."""

    datasets: Catalogue
    defences: Catalogue

    @classmethod
    def installed(cls) -> Names:
        """The built-ins and every installed plugin."""
        manager = plugin_manager()
        return cls(catalogue("datasets", manager), catalogue("defences", manager))


@dataclass(frozen=True)
class Submission:
    """A folder that was checked; `manifest` and `stored` are there exactly when `problems` is empty."""

    folder: Path
    problems: tuple[ModelProblem, ...]
    manifest: Manifest | None = None
    stored: StoredModel | None = None

    @property
    def name(self) -> str:
        """The name of the folder, which is the name in the manifest."""
        return self.folder.name


def find_submissions(path: Path) -> list[Path]:
    """The folder itself if it is a submission, else every folder in it.

    Raises:
        InvalidInput: there is no such folder, or it holds no submission.
    """
    if not path.is_dir():
        raise InvalidInput("no such folder", asked=path, accepted="a submission, or a folder of submissions")
    if any((path / name).exists() or (path / name).is_symlink() for name in REQUIRED):
        # Resolved, so that "." has a name; the folder itself was named by the user, not by a stranger.
        return [path.resolve()]
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise InvalidInput(
            "no submission there",
            asked=path,
            accepted=f"folders that hold {', '.join(REQUIRED)}",
            remedy="`art-spiking pack MODEL.nir` makes one",
        )
    return folders


def check_submission(folder: Path, names: Names) -> Submission:
    """Everything that is wrong with a submission, found without running it.

    What is wrong in one place hides nothing elsewhere, unless it cannot be told: files that are links or too
    large are not opened, and values that are wrong in themselves are compared with nothing.
    """
    problems = list(_folder_problems(folder))
    unread = {problem.file for problem in problems}
    parsed = ParsedManifest()
    if MANIFEST not in unread:
        parsed = parse_manifest(_read(folder / MANIFEST, MANIFEST_BYTES))
        problems += parsed.problems
    report = inspect_model(folder)
    # A file that the folder's own check refused, the model's check refuses again.
    problems += [problem for problem in report.problems if problem.key or problem.file not in unread]
    problems += _name_problems(parsed.stated, folder)
    files = [file for file in MODEL_FILES if file not in unread]
    problems += _hash_problems(parsed.stated, folder, files)
    problems += unknown_names(parsed.stated, names.datasets, names.defences)
    problems += disagreements(parsed.stated, report)
    if problems or parsed.manifest is None or report.stored is None:
        return Submission(folder, tuple(problems))
    return Submission(folder, (), parsed.manifest, report.stored)


def build_classifier(submission: Submission, names: Names) -> SpikingClassifier:
    """The submitted model as it is scored: with its readout and behind its defences.

    Raises:
        InvalidInput: the submission has problems, or a defence does not take its parameters.
    """
    manifest, stored = submission.manifest, submission.stored
    if manifest is None or stored is None:
        raise InvalidInput(f"the submission {submission.name} has problems", found=len(submission.problems))
    defences = [names.defences[d.name].load()(**d.parameters) for d in manifest.defences]
    return SpikingClassifier(
        stored.network(),
        input_shape=manifest.input_shape,
        nb_classes=manifest.nb_classes,
        readout=manifest.readout,
        preprocessing_defences=defences or None,
    )


def model_identity(submission: Submission, names: Names) -> ModelIdentity:
    """Who the submitted model is; with another weight, semantics, readout or defence it is another."""
    return identify_model(build_classifier(submission, names), submission.name)


def _folder_problems(folder: Path) -> Iterator[ModelProblem]:
    caps = REQUIRED | OPTIONAL
    expected = f"only {', '.join(REQUIRED)}, and perhaps {', '.join(OPTIONAL)}"
    present = set()
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            present.add(entry.name)
            if entry.name not in caps:
                yield ModelProblem(shown(entry.name), "", expected, "another file")
                continue
            status = entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                found = "a symbolic link" if entry.is_symlink() else "something else"
                yield ModelProblem(entry.name, "", "a regular file", found)
            elif status.st_size > caps[entry.name]:
                yield ModelProblem(
                    entry.name, "", f"at most {caps[entry.name]} bytes", f"{status.st_size} bytes"
                )
    for name in REQUIRED:
        if name not in present:
            yield ModelProblem(name, "", "this file", "nothing")


def _read(path: Path, most: int) -> bytes:
    """The bytes of a regular file; a link put there meanwhile is not followed."""
    with open_regular(path, most, follow_links=False) as file:
        return file.read(most + 1)


def _name_problems(stated: Stated, folder: Path) -> Iterator[ModelProblem]:
    name = stated.get("name")
    if name is not None and name != folder.name:
        yield ModelProblem(MANIFEST, "name", f"{shown(folder.name)}, the name of the folder", shown(name))


def _hash_problems(stated: Stated, folder: Path, files: Collection[str]) -> Iterator[ModelProblem]:
    for file, key in zip(MODEL_FILES, ("graph", "weights"), strict=True):
        if file not in files:
            continue
        content = _read(folder / file, REQUIRED[file])
        right = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for entry, what in (("size", "size"), ("sha256", "hash")):
            found = stated.get("files", key, entry)
            if found is not None and found != right[entry]:
                expected = f"{right[entry]}, the {what} of {file}"
                yield ModelProblem(MANIFEST, f"files.{key}.{entry}", expected, str(found))
