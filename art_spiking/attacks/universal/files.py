# SPDX-License-Identifier: MIT
"""The .npz files of perturbations: plain arrays and one JSON text, read without trusting them."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from art_spiking.errors import InvalidInput, MissingData
from art_spiking.files import write_atomically

FORMAT = "art-spiking-perturbation"
VERSION = 1

_HEADER = "header"
_MOST_BYTES = 2**29
_MOST_ARRAYS = 8

Arrays = dict[str, npt.NDArray[Any]]


def write_perturbation(path: Path, *, kind: str, arrays: Arrays, fields: dict[str, Any]) -> None:
    """Writes the file whole or not at all.

    Raises:
        CannotWrite: full disk, or no permission.
    """
    header = {"format": FORMAT, "version": VERSION, "kind": kind, "fields": fields}
    text = np.array(json.dumps(header, allow_nan=False, sort_keys=True))
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **{_HEADER: text}, **arrays)
    write_atomically(path, content.getvalue())


def read_perturbation(path: Path) -> tuple[str, Arrays, dict[str, Any]]:
    """Returns kind, arrays and fields of a file.

    Raises:
        MissingData: there is no such file.
        InvalidInput: another format or version, a damaged file, pickled objects, or sizes that no
            perturbation has.
    """
    if not path.is_file():
        raise MissingData("no such perturbation file", asked=path, remedy="give the path that save was given")
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(info.file_size for info in archive.infolist())
            names = [info.filename.removesuffix(".npy") for info in archive.infolist()]
        if claimed > _MOST_BYTES or len(names) > _MOST_ARRAYS or _HEADER not in names:
            raise InvalidInput(
                "this .npz is not a perturbation",
                asked=path,
                found=f"{len(names)} arrays of {claimed} bytes",
                accepted=f"{FORMAT}, at most {_MOST_ARRAYS} arrays and {_MOST_BYTES} bytes",
            )
        with np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in names}
        header = json.loads(str(arrays.pop(_HEADER)))
    except InvalidInput:
        raise
    except RecursionError as error:
        raise InvalidInput(
            "the perturbation file is damaged", asked=path, found="a header of brackets within brackets"
        ) from error
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, MemoryError) as error:
        raise InvalidInput(
            "the perturbation file is damaged", asked=path, found=f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(header, dict) or header.get("format") != FORMAT or header.get("version") != VERSION:
        found = header.get("version") if isinstance(header, dict) else header
        raise InvalidInput(
            "the perturbation file is of another format or version",
            asked=path,
            found=found,
            accepted=f"{FORMAT}, version {VERSION}",
            remedy="write it again with this version",
        )
    fields = header.get("fields")
    if not isinstance(fields, dict):
        raise InvalidInput("the perturbation file has no fields", asked=path, found=type(fields).__name__)
    return str(header.get("kind")), arrays, fields
