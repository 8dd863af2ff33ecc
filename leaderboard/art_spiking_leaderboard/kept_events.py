# SPDX-License-Identifier: MIT
"""The attacked samples of cells, kept beside them where a run is asked to: `run --keep-events`.

A file is `<records>/<model>/<suite>/events/<key of the cell>.<SHA-256 of the file>.safetensors`, and is not
read unless its content has that hash.
"""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import numpy as np

from art_spiking.errors import ArtSpikingError, InvalidInput
from art_spiking.files import write_atomically
from art_spiking.untrusted_files import open_regular
from art_spiking_leaderboard.packed_events import MOST_BYTES, Spikes, are_whole, pack_events, unpack_events

FOLDER = "events"
_SUFFIX = ".safetensors"


def keep_events(place: Path, key: str, x_adv: Spikes) -> Path | None:
    """Keeps the attacked samples of a cell, in the place of what was kept of it before.

    Args:
        place: the folder of the model's cells of a suite.
        key: the cell's.
        x_adv: (n, T, C, H, W), all test samples in their order.

    Returns:
        The file; None where entries are greater than 255, which no file of events holds.

    Raises:
        CannotWrite: full disk, or no permission.
    """
    if not are_whole(x_adv):
        return None
    raw = pack_events(x_adv.astype(np.uint8))
    path = place / FOLDER / f"{key}.{hashlib.sha256(raw).hexdigest()}{_SUFFIX}"
    write_atomically(path, raw)
    for other in _files(place, key):
        if other != path:
            other.unlink(missing_ok=True)
    return path


def kept_events(place: Path, key: str, shape: tuple[int, ...], *, binary: bool) -> tuple[Spikes, str] | None:
    """The attacked samples that were kept of a cell, and the hash of their file; None if none were.

    Args:
        place: the folder of the model's cells of a suite.
        key: the cell's.
        shape: (n, T, C, H, W) of the test samples.
        binary: whether they are zeros and ones.

    Raises:
        InvalidInput: the file was changed, or is of another shape or kind.
    """
    for path in _files(place, key):
        stated = path.name.removesuffix(_SUFFIX).split(".")[-1]
        try:
            with open_regular(path, MOST_BYTES, follow_links=False) as file:
                raw = file.read(MOST_BYTES + 1)
            if hashlib.sha256(raw).hexdigest() == stated:
                return unpack_events(raw, shape, binary=binary, file=path.name), stated
        except (ArtSpikingError, OSError) as error:
            raise InvalidInput(f"{path} holds no attacked samples", found=f"{error!s:.200}") from error
        raise InvalidInput(f"{path} was changed: it does not have the hash in its name")
    return None


def are_kept(place: Path, key: str) -> bool:
    """Whether there is a file of a cell's attacked samples; it is not read."""
    return bool(_files(place, key))


def forget_events(place: Path, key: str) -> None:
    """Removes what was kept of a cell, and the folder with the last of them."""
    for path in _files(place, key):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty, or not there
        (place / FOLDER).rmdir()


def _files(place: Path, key: str) -> list[Path]:
    return sorted((place / FOLDER).glob(f"{key}.*{_SUFFIX}"))
