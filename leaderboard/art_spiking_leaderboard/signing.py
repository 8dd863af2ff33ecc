# SPDX-License-Identifier: MIT
"""The log of a model's records: append-only, each entry signed by a maintainer's SSH key.

`<records>/<model>/log.jsonl` holds one entry a line. An entry lists the hash of every cell's file as it was
then, and the hash of the line before: an edited, forged or lost cell shows, and so does an edited log. The
signature is OpenSSH's own (`ssh-keygen -Y sign`), over the entry's canonical JSON.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from art_spiking.errors import InvalidInput
from art_spiking.files import write_atomically
from art_spiking_leaderboard.origins import Origin, commit_words

LOG = "log.jsonl"
NAMESPACE = "art-spiking"
SIGNERS = "allowed_signers"
"""Who may sign, in the folder of records: `ada namespaces="art-spiking" ssh-ed25519 AAAA...`."""
_LOG_BYTES = 1 << 26


@dataclass(frozen=True)
class Entry:
    """One line of the log.

    Attributes:
        model: whose records these are.
        cells: SHA-256 of every cell's file, by its path below the model's folder.
        previous: SHA-256 of the line before; empty for the first.
        note: what changed, in the maintainer's words.
        withdrawn: whether the model is withdrawn; it stays visible.
        signer: who signed, as in `allowed_signers`.
        date: when (UTC, ISO 8601).
        made: the code that the maintainer had.
        signature: OpenSSH's, over everything else.
    """

    model: str
    cells: Mapping[str, str]
    previous: str
    note: str
    withdrawn: bool
    signer: str
    date: str
    made: str = ""
    signature: str = field(default="", compare=False)

    def signed_bytes(self) -> bytes:
        """What the signature is over: canonical JSON of all but the signature."""
        values = {key: value for key, value in self.__dict__.items() if key != "signature"}
        return json.dumps(
            {**values, "cells": dict(self.cells)}, sort_keys=True, separators=(",", ":")
        ).encode()

    def line(self) -> str:
        """The line of the log, without its end."""
        return json.dumps({**json.loads(self.signed_bytes()), "signature": self.signature}, sort_keys=True)


@dataclass(frozen=True)
class LogState:
    """What a log says of the files beside it.

    Attributes:
        entries: the lines, oldest first.
        problems: why it, or a cell, is not to be trusted.
        unsigned: cells that are there and in no entry.
    """

    entries: Sequence[Entry] = ()
    problems: Sequence[str] = ()
    unsigned: Sequence[str] = ()

    @property
    def withdrawn(self) -> str | None:
        """Why the model was withdrawn; None if it was not."""
        return self.entries[-1].note if self.entries and self.entries[-1].withdrawn else None


def sign(folder: Path, key: Path, *, signer: str, note: str, withdrawn: bool = False) -> Entry:
    """Appends an entry on a model's cells as they are now.

    Args:
        folder: of the model, in the folder of records.
        key: a private SSH key, or the public one of a key that an agent holds.
        signer: the name that `allowed_signers` has for it.
        note: what changed, or why the model is withdrawn.
        withdrawn: whether it is.

    Raises:
        InvalidInput: the log is not to be trusted as it is, or ssh-keygen cannot sign.
        CannotWrite: full disk, or no permission.
    """
    lines = _lines(folder)
    _, problems = _chain(folder.name, lines)
    if problems:
        raise InvalidInput(
            "nothing is added to a log that is not to be trusted",
            asked=folder / LOG,
            found="; ".join(problems),
        )
    previous = _sha256(lines[-1].encode()) if lines else ""
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entry = Entry(
        folder.name,
        hashes(folder),
        previous,
        note,
        withdrawn,
        signer,
        date,
        commit_words(Origin.here().commit),
    )
    signed = Entry(**{**entry.__dict__, "signature": _signature(entry.signed_bytes(), key)})
    write_atomically(folder / LOG, "".join(f"{line}\n" for line in (*lines, signed.line())).encode())
    return signed


def read_log(folder: Path, signers: Path) -> LogState:
    """What a model's log says, with every signature checked; empty where there is no log."""
    lines = _lines(folder)
    if not lines:
        return LogState()
    entries, problems = _chain(folder.name, lines)
    for number, entry in enumerate(entries, start=1):
        wrong = _wrong_signature(entry, signers)
        if wrong:
            problems.append(f"line {number} of {folder.name}/{LOG}: {wrong}")
    if not entries:
        return LogState((), problems)
    now, signed = hashes(folder), entries[-1].cells
    problems += [
        f"{folder.name}/{name} was changed after it was signed"
        for name in sorted(signed)
        if now.get(name, signed[name]) != signed[name]
    ]
    problems += [
        f"{folder.name}/{name} was signed and is not there" for name in sorted(set(signed) - set(now))
    ]
    return LogState(entries, problems, sorted(set(now) - set(signed)))


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every cell's and claim's file, by its path below the model's folder."""
    found = (*folder.glob("*/*.json"), *folder.glob("*/claims/*.json"))
    paths = sorted(path for path in found if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): _sha256(path.read_bytes()) for path in paths}


def _lines(folder: Path) -> list[str]:
    path = folder / LOG
    if not path.exists():
        return []
    if path.is_symlink() or path.stat().st_size > _LOG_BYTES:
        raise InvalidInput("that is no log", asked=path, accepted=f"a file of at most {_LOG_BYTES} bytes")
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _chain(model: str, lines: Sequence[str]) -> tuple[list[Entry], list[str]]:
    """The entries as far as they can be read, and what is wrong with them."""
    entries: list[Entry] = []
    problems, previous = [], ""
    for number, line in enumerate(lines, start=1):
        try:
            entry = _entry(json.loads(line))
        except (ValueError, TypeError, AttributeError, RecursionError):
            problems.append(f"line {number} of {model}/{LOG} is no entry")
            break
        if entry.model != model or entry.previous != previous:
            problems.append(f"line {number} of {model}/{LOG} does not follow the one before")
        entries.append(entry)
        previous = _sha256(line.encode())
    return entries, problems


def _entry(values: Any) -> Entry:
    entry = Entry(**values)
    texts = (
        *entry.cells.items(),
        (entry.model, entry.previous),
        (entry.note, entry.signer),
        (entry.date, entry.made, entry.signature),
    )
    if not all(isinstance(text, str) for pair in texts for text in pair) or not isinstance(
        entry.withdrawn, bool
    ):
        raise TypeError("fields of another kind")
    if b"\0" in (entry.signer + entry.signature).encode():  # half a surrogate pair is a ValueError too
        raise ValueError("texts that no file and no program takes")
    return entry


def _signature(content: bytes, key: Path) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "entry"
        path.write_bytes(content)
        _ssh_keygen(["sign", "-n", NAMESPACE, "-f", str(key), str(path)], f"cannot sign with {key}")
        return path.with_suffix(".sig").read_text()


def _wrong_signature(entry: Entry, signers: Path) -> str | None:
    """Why an entry's signature does not hold; None if it does."""
    if not signers.is_file():
        return f"nobody is known who may sign: {signers} is not there"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "entry.sig"
        path.write_text(entry.signature)
        arguments = ["-f", str(signers), "-I", entry.signer, "-n", NAMESPACE, "-s", str(path)]
        try:
            _ssh_keygen(["verify", *arguments], "the signature does not hold", content=entry.signed_bytes())
        except InvalidInput as error:
            return f"the signature of {entry.signer!r} does not hold ({error.found})"
    return None


def _ssh_keygen(arguments: Sequence[str], what: str, *, content: bytes = b"") -> None:
    try:
        done = subprocess.run(
            ["ssh-keygen", "-Y", *arguments], input=content, capture_output=True, timeout=60, check=False
        )
    except FileNotFoundError as error:
        raise InvalidInput(
            "signatures need ssh-keygen", remedy="install OpenSSH (Debian: apt-get install openssh-client)"
        ) from error
    if done.returncode:
        told = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
        raise InvalidInput(what, found=told[-1] if told else f"exit code {done.returncode}")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def logged_models(records: Path) -> Iterator[Path]:
    """The folders of models that have a log."""
    yield from sorted(path.parent for path in records.glob(f"*/{LOG}"))
