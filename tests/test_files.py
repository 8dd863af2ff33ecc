# SPDX-License-Identifier: MIT
"""Files are whole or absent."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from art_spiking.errors import CannotWrite
from art_spiking.files import write_atomically


def test_writes_and_replaces(tmp_path: Path):
    path = tmp_path / "new" / "folder" / "cell.json"
    write_atomically(path, b"first")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert [entry.name for entry in path.parent.iterdir()] == ["cell.json"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("number", "found", "remedy"),
    [(errno.ENOSPC, "no room left", "make room"), (errno.EACCES, "Permission denied", "may write to")],
)
@pytest.mark.parametrize("failing", ["fsync", "fdopen"])
def test_a_failed_write_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, number: int, found: str, remedy: str
):
    path = tmp_path / "cell.json"
    path.write_bytes(b"kept")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(f"art_spiking.files.os.{failing}", fail)
    with pytest.raises(CannotWrite, match=found) as caught:
        write_atomically(path, b"new")
    assert remedy in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"kept"
    assert [entry.name for entry in tmp_path.iterdir()] == ["cell.json"]


def test_an_interrupt_leaves_nothing_partial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("art_spiking.files.os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "cell.json", b"new")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way(tmp_path: Path):
    (tmp_path / "cell.json").mkdir()
    with pytest.raises(CannotWrite, match=r"cannot write .*cell\.json"):
        write_atomically(tmp_path / "cell.json", b"new")


def test_a_device_is_not_replaced_by_a_file():
    before = Path(os.devnull).stat().st_rdev
    with pytest.raises(CannotWrite, match="something else than a file"):
        write_atomically(os.devnull, b"new")
    assert Path(os.devnull).stat().st_rdev == before
