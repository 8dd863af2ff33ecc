# SPDX-License-Identifier: MIT
"""Checks a submission in full before it costs any computing: folder, manifest, model, and their agreement."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

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
from art_spiking.suites import digest_of
from art_spiking.untrusted_files import open_regular
from art_spiking_leaderboard.agreement import disagreements, unknown_names
from art_spiking_leaderboard.manifest import (
    CODE_FILE,
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
_PIECE = 1 << 20
REQUIRED = {MANIFEST: MANIFEST_BYTES, GRAPH_FILE: MAX_GRAPH_BYTES, WEIGHTS_FILE: MAX_WEIGHT_BYTES}
"""The three files of a submission of data and the most bytes each may have."""
REQUIRED_CODE = {MANIFEST: MANIFEST_BYTES, CODE_FILE: _TEXT_BYTES}
"""Those of a submission of code."""
OPTIONAL_CODE = {WEIGHTS_FILE: MAX_WEIGHT_BYTES}
"""What may lie beside it for the code to read."""
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
    """A folder that was checked; `manifest` is there exactly when `problems` is empty.

    So is `stored`, the model, unless the submission is code.
    """

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
    if any((path / name).exists() or (path / name).is_symlink() for name in (*REQUIRED, CODE_FILE)):
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
    parsed, refused = ParsedManifest(), False
    manifest = folder / MANIFEST
    is_plain = manifest.is_file() and not manifest.is_symlink() and os.access(manifest, os.R_OK)
    if is_plain and manifest.stat().st_size <= MANIFEST_BYTES:
        parsed = parse_manifest(_read(manifest, MANIFEST_BYTES))
    is_code = parsed.stated.get("division") == "code"
    problems = list(_folder_problems(folder, is_code=is_code))
    unread = {problem.file for problem in problems}
    problems += parsed.problems
    problems += _name_problems(parsed.stated, folder)
    report = None if is_code else inspect_model(folder)
    belonging = REQUIRED_CODE | OPTIONAL_CODE if is_code else REQUIRED
    readable = {name: most for name, most in belonging.items() if name not in unread}
    problems += _hash_problems(parsed.stated, folder, readable, {} if report is None else report.hashes)
    problems += unknown_names(parsed.stated, names.datasets, names.defences)
    stored = None
    if report is not None:
        # A file that the folder's own check refused, the model's check refuses again.
        problems += [problem for problem in report.problems if problem.key or problem.file not in unread]
        problems += disagreements(parsed.stated, report)
        stored, refused = report.stored, report.stored is None
    if problems or refused or parsed.manifest is None:
        return Submission(folder, tuple(problems))
    return Submission(folder, (), parsed.manifest, stored)


def build_classifier(submission: Submission, names: Names, *, device: str = "cpu") -> SpikingClassifier:
    """The submitted model as it is scored: with its readout and behind its defences.

    Code is started in its sandbox, on the CPU; what it answers is a claim, checked as any model's output is.

    Raises:
        InvalidInput: the submission has problems, a defence does not take its parameters, or there is no such
            device: "cpu" or "cuda".
        SandboxUnavailable: it is code, and there is nothing to confine it.
        ModelFailed: it is code, and gives no answer.
    """
    manifest = submission.manifest
    if manifest is None:
        raise InvalidInput(f"the submission {submission.name} has problems", found=len(submission.problems))
    if device == "cuda" and not torch.cuda.is_available():  # ART would take the CPU, and say nothing
        raise InvalidInput("there is no GPU to compute on", found="torch sees no CUDA device here")
    defences = [names.defences[d.name].load()(**d.parameters) for d in manifest.defences]
    return SpikingClassifier(
        submission.stored.network() if submission.stored is not None else _confined(submission, manifest),
        input_shape=manifest.input_shape,
        nb_classes=manifest.nb_classes,
        readout=None if submission.stored is None else manifest.readout,
        preprocessing_defences=defences or None,
        device_type="gpu" if device == "cuda" else "cpu",
    )


def _confined(submission: Submission, manifest: Manifest) -> torch.nn.Module:
    from art_spiking_leaderboard.sandbox.client import SandboxedModel, Service
    from art_spiking_leaderboard.sandbox.policy import Limits

    digest = model_identity_of_code(submission, manifest).digest.removeprefix("sha256:")
    service = Service(submission.folder, Limits())
    service.start()
    return SandboxedModel(service, manifest.nb_classes, digest)


def model_identity(submission: Submission, names: Names) -> ModelIdentity:
    """Who the submitted model is; with another weight, semantics, readout or defence it is another.

    Code is not run for it.
    """
    if submission.manifest is not None and submission.stored is None:
        return model_identity_of_code(submission, submission.manifest)
    return identify_model(build_classifier(submission, names), submission.name)


def model_identity_of_code(submission: Submission, manifest: Manifest) -> ModelIdentity:
    """Who submitted code is: its files, its shapes and the defences in front of it."""
    stated = {
        "files": {name: entry.sha256 for name, entry in manifest.files.entries().items()},
        "input_shape": manifest.input_shape,
        "nb_classes": manifest.nb_classes,
    }
    defences = tuple(
        json.dumps(defence.model_dump(mode="json"), sort_keys=True) for defence in manifest.defences
    )
    return ModelIdentity(
        name=submission.name, digest=digest_of(stated), readout=manifest.readout, defences=defences
    )


def _folder_problems(folder: Path, *, is_code: bool) -> Iterator[ModelProblem]:
    required = REQUIRED_CODE if is_code else REQUIRED
    optional = OPTIONAL | (OPTIONAL_CODE if is_code else {})
    caps = required | optional
    expected = f"only {', '.join(required)}, and perhaps {', '.join(optional)}"
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
            elif not os.access(entry.path, os.R_OK):
                yield ModelProblem(
                    entry.name, "", "a file that may be read", f"mode {status.st_mode & 0o777:03o}"
                )
    for name in required:
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


def _plain(found: str | int) -> str:
    return found if isinstance(found, str) else shown(found)


def _hash_problems(
    stated: Stated, folder: Path, readable: Mapping[str, int], known: Mapping[str, tuple[int, str]]
) -> Iterator[ModelProblem]:
    for file, key in zip((*MODEL_FILES, CODE_FILE), ("graph", "weights", "code"), strict=True):
        # Not what belongs to the other division either, which nobody looked at but for its name.
        if file not in readable or not (folder / file).is_file():
            continue
        size, sha256 = known[file] if file in known else _hashed(folder / file, readable[file])
        right = {"size": size, "sha256": sha256}
        for entry, what in (("size", "size"), ("sha256", "hash")):
            found = stated.get("files", key, entry)
            if found is not None and found != right[entry]:
                expected = f"{right[entry]}, the {what} of {file}"
                yield ModelProblem(MANIFEST, f"files.{key}.{entry}", expected, _plain(found))


def _hashed(path: Path, most: int) -> tuple[int, str]:
    """Bytes and SHA-256 of a file, in pieces: it may be large."""
    size, sha256 = 0, hashlib.sha256()
    with open_regular(path, most, follow_links=False) as content:
        while piece := content.read(_PIECE):
            size += len(piece)
            sha256.update(piece)
    return size, sha256.hexdigest()
