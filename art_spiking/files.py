# SPDX-License-Identifier: MIT
"""Files that are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from art_spiking.errors import CannotWrite

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Puts a file in place through a temporary one beside it: fsync, rename, fsync of the folder.

    Args:
        path: where to; the folders above are made.
        content: the whole file.

    Raises:
        CannotWrite: full disk, no permission, or a folder of that name; nothing partial stays behind, and a
            file that was there is kept.
    """
    target = Path(path)
    temporary: str | None = None
    try:
        if target.exists() and not target.is_file():
            # A rename would put a file in the place of a device.
            raise OSError(errno.EEXIST, "there is something else than a file")
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            # mkstemp's files are private; these are for everybody that may read the folder.
            os.fchmod(stream.fileno(), 0o644)
            os.fsync(stream.fileno())
        Path(temporary).replace(target)
        temporary = None
        _sync_folder(target.parent)
    except OSError as error:
        full = error.errno in _NO_ROOM
        raise CannotWrite(
            f"cannot write {target}",
            found="no room left on the disk" if full else error.strerror or type(error).__name__,
            remedy="make room and run the same command again; what was finished is kept"
            if full
            else "choose a place you may write to",
        ) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Renames what is broken, to a free name beside it, so that it can be looked at and is in nobody's way.

    Returns:
        Where it is now: the name with its last suffix replaced by ".broken-1", ".broken-2", ...

    Raises:
        CannotWrite: the folder cannot be changed.
    """
    number = 1
    while (aside := path.with_suffix(f".broken-{number}")).exists():
        number += 1
    try:
        path.rename(aside)
    except OSError as error:
        raise CannotWrite(
            f"cannot move {path} out of the way", found=error.strerror, remedy="remove it yourself"
        ) from error
    return aside


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
