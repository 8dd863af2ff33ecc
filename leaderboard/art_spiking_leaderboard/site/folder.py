# SPDX-License-Identifier: MIT
"""The folder of a site: a rendering takes away what an earlier one wrote and it did not, nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

from art_spiking.errors import ArtSpikingError
from art_spiking.files import write_atomically
from art_spiking.untrusted_files import open_regular, parse_json

LIST = "rendered.json"
"""The files of the last rendering, each with its SHA-256."""
_MOST_BYTES = 1 << 26


class SiteFolder:
    """Writes files, remembers them, and in the end clears away those of an earlier rendering.

    A rendering that is killed leaves the list of the one before: what it wrote that the next one does not
    write again stays there.
    """

    def __init__(self, out: Path) -> None:
        """Takes the folder; it is made by the first file."""
        self.out = out
        self._written: dict[str, str] = {}

    def write(self, path: str, content: bytes) -> Path:
        """Writes a file, named from the folder on with "/" between the parts.

        Raises:
            CannotWrite: full disk, or no permission.
        """
        write_atomically(self.out / path, content)
        self._written[path] = hashlib.sha256(content).hexdigest()
        return self.out / path

    def finish(self, warn: Callable[[str], object]) -> None:
        """Removes what the last list names and nobody wrote now, and writes the new list.

        A file that was changed since it was written is left alone and told of, and so is a list that cannot
        be read.

        Raises:
            CannotWrite: full disk, or no permission.
        """
        for path, digest in sorted(self._listed(warn).items()):
            if path not in self._written:
                self._remove(path, digest, warn)
        values = {"rendered_version": 1, "files": dict(sorted(self._written.items()))}
        write_atomically(self.out / LIST, (json.dumps(values, indent=0) + "\n").encode())

    def _listed(self, warn: Callable[[str], object]) -> dict[str, str]:
        place = self.out / LIST
        if not place.exists():
            return {}
        try:
            with open_regular(place, _MOST_BYTES, follow_links=False) as file:
                values = parse_json(file.read(_MOST_BYTES + 1))
            files = (
                values["files"] if isinstance(values, dict) and values.get("rendered_version") == 1 else None
            )
            if not isinstance(files, dict) or not all(map(_is_ours, files)):
                raise ValueError("not a list that a rendering wrote")
            return {str(path): str(digest) for path, digest in files.items()}
        except (ArtSpikingError, OSError, ValueError, KeyError, RecursionError) as error:
            warn(f"{place} cannot be used, so pages of an earlier rendering may be left: {error!s:.200}")
            return {}

    def _remove(self, path: str, digest: str, warn: Callable[[str], object]) -> None:
        file = self.out / path
        inside = [self.out.joinpath(*Path(path).parts[:k]) for k in range(1, len(Path(path).parts))]
        if not file.is_file() or any(part.is_symlink() for part in (file, *inside)):
            return
        if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            warn(f"{file} belongs to an earlier rendering and was changed since; it is left there")
            return
        file.unlink()
        for folder in reversed(inside):
            try:
                folder.rmdir()
            except OSError:
                return  # something else is in it


def _is_ours(path: str) -> bool:
    """Whether a list may name it: a path below the folder, of plain parts."""
    return all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", part) for part in path.split("/"))
