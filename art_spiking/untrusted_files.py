# SPDX-License-Identifier: MIT
"""Opening files that nobody vouches for."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from art_spiking.errors import InvalidModel


def open_regular(path: str | os.PathLike[str], max_bytes: int, *, follow_links: bool = True) -> BinaryIO:
    """Opens a regular file of limited size for reading; a pipe or device is refused without waiting on it.

    Args:
        path: The file.
        max_bytes: The largest size accepted.
        follow_links: Whether the path itself may be a symbolic link.

    Raises:
        InvalidModel: No such file, not a regular file, a symbolic link where none may be, or too large.
    """
    name = Path(path).name
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if not follow_links:
        if Path(path).is_symlink():
            raise InvalidModel(f"{name} is refused", found="a symbolic link", accepted="a regular file")
        flags |= getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise InvalidModel(f"{name} cannot be opened", found=getattr(error, "strerror", error)) from error
    status = os.fstat(descriptor)
    regular = stat.S_ISREG(status.st_mode)
    if not regular or status.st_size > max_bytes:
        os.close(descriptor)
        found = f"{status.st_size} bytes" if regular else "not a regular file"
        raise InvalidModel(f"{name} is refused", found=found, accepted=f"a file of at most {max_bytes} bytes")
    return os.fdopen(descriptor, "rb")
