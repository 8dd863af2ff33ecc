# SPDX-License-Identifier: MIT
"""Checks a submission in full before it costs any computing: folder, manifest, model, and their agreement."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from art_spiking.errors import ArtSpikingError, InvalidInput
from art_spiking.estimators import READOUTS, SpikingClassifier
from art_spiking.evaluate.settings import identify_model
from art_spiking.graphs import ModelProblems
from art_spiking.model_files import (
    GRAPH_FILE,
    MAX_GRAPH_BYTES,
    MAX_WEIGHT_BYTES,
    WEIGHTS_FILE,
    StoredModel,
    read_model,
)
from art_spiking.neurons import PRESETS, NeuronSemantics
from art_spiking.records import ModelIdentity
from art_spiking.registry import Catalogue, catalogue, plugin_manager
from art_spiking.untrusted_files import open_regular
from art_spiking_leaderboard.manifest import MANIFEST, MANIFEST_BYTES, Manifest, parse_manifest
from art_spiking_leaderboard.problems import Problem, shown

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
    problems: tuple[Problem, ...]
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
    """Everything that is wrong with a submission, found without running it."""
    problems = list(_folder_problems(folder))
    if problems:
        # Links and oversized files are not opened to look for more.
        return Submission(folder, tuple(problems))
    manifest, found = parse_manifest(_read(folder / MANIFEST, MANIFEST_BYTES))
    problems += found
    stored: StoredModel | None = None
    try:
        stored = read_model(folder)
    except ModelProblems as error:
        problems += [Problem(p.file, p.key, p.expected, p.found) for p in error.problems]
    if manifest is not None:
        problems += _name_problems(manifest, folder)
        problems += _hash_problems(manifest, folder)
        problems += _unknown_names(manifest, names)
        if stored is not None:
            problems += _disagreements(manifest, stored)
    if problems or manifest is None or stored is None:
        return Submission(folder, tuple(problems))
    return Submission(folder, (), manifest, stored)


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


def _folder_problems(folder: Path) -> Iterator[Problem]:
    caps = REQUIRED | OPTIONAL
    expected = f"only {', '.join(REQUIRED)}, and perhaps {', '.join(OPTIONAL)}"
    present = set()
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            present.add(entry.name)
            if entry.name not in caps:
                yield Problem(shown(entry.name), "", expected, "another file")
                continue
            status = entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                found = "a symbolic link" if entry.is_symlink() else "something else"
                yield Problem(entry.name, "", "a regular file", found)
            elif status.st_size > caps[entry.name]:
                yield Problem(entry.name, "", f"at most {caps[entry.name]} bytes", f"{status.st_size} bytes")
    for name in REQUIRED:
        if name not in present:
            yield Problem(name, "", "this file", "nothing")


def _read(path: Path, most: int) -> bytes:
    """The bytes of a regular file; a link put there meanwhile is not followed."""
    with open_regular(path, most, follow_links=False) as file:
        return file.read(most + 1)


def _name_problems(manifest: Manifest, folder: Path) -> Iterator[Problem]:
    if manifest.name != folder.name:
        yield Problem(MANIFEST, "name", f"{shown(folder.name)}, the name of the folder", shown(manifest.name))


def _hash_problems(manifest: Manifest, folder: Path) -> Iterator[Problem]:
    for (file, entry), key in zip(manifest.files.entries().items(), ("graph", "weights"), strict=True):
        content = _read(folder / file, REQUIRED[file])
        if len(content) != entry.size:
            yield Problem(
                MANIFEST, f"files.{key}.size", f"{len(content)}, the size of {file}", str(entry.size)
            )
        found = hashlib.sha256(content).hexdigest()
        if found != entry.sha256:
            yield Problem(MANIFEST, f"files.{key}.sha256", f"{found}, the hash of {file}", entry.sha256)


def _unknown_names(manifest: Manifest, names: Names) -> Iterator[Problem]:
    if manifest.readout not in READOUTS:
        yield Problem(MANIFEST, "readout", ", ".join(READOUTS), shown(manifest.readout))
    if manifest.data.name not in names.datasets:
        accepted = ", ".join(sorted(names.datasets))
        yield Problem(MANIFEST, "data.name", accepted, shown(manifest.data.name))
    for index, defence in enumerate(manifest.defences):
        key = f"defences[{index}]"
        if defence.name not in names.defences:
            yield Problem(MANIFEST, f"{key}.name", ", ".join(sorted(names.defences)), shown(defence.name))
            continue
        try:
            names.defences[defence.name].load()(**defence.parameters)
        except (ArtSpikingError, TypeError, ValueError) as error:
            yield Problem(
                MANIFEST, f"{key}.parameters", f"parameters that {defence.name} takes", shown(str(error))
            )
        stated = defence.parameters.get("dt_us", manifest.data.dt_us)
        if stated != manifest.data.dt_us:
            expected = f"{manifest.data.dt_us}, as data.dt_us says"
            yield Problem(MANIFEST, f"{key}.parameters.dt_us", expected, shown(stated))


def _disagreements(manifest: Manifest, stored: StoredModel) -> Iterator[Problem]:
    network = stored.network()
    told: Mapping[str, tuple[Any, Any]] = {
        "data.dt_us": (stored.dt_us, manifest.data.dt_us),
        "data.steps": (stored.steps, manifest.data.steps),
        "input_shape": ((stored.steps, *network.input_shape), manifest.input_shape),
        "nb_classes": (network.output_shape, (manifest.nb_classes,)),
    }
    for key, (model, manifested) in told.items():
        if model != manifested:
            yield Problem(MANIFEST, key, f"{model}, as {GRAPH_FILE} says", shown(manifested))
    yield from _semantics_problems(manifest.semantics, stored.semantics)


def _semantics_problems(stated: str | dict[str, Any], model: NeuronSemantics) -> Iterator[Problem]:
    if isinstance(stated, str):
        if stated not in PRESETS:
            yield Problem(MANIFEST, "semantics", f"one of {', '.join(PRESETS)}, or a table", shown(stated))
            return
        stated = PRESETS[stated].to_dict()
    for name, value in model.to_dict().items():
        # TOML has no null: a field that is None is left out.
        if stated.get(name) != value:
            expected = f"{value!r}, as {GRAPH_FILE} says" if value is not None else "no such key"
            yield Problem(MANIFEST, f"semantics.{name}", expected, shown(stated.get(name)))
    for name in stated.keys() - model.to_dict().keys():
        yield Problem(MANIFEST, f"semantics.{shown(name)}", "no such key", shown(stated[name]))
