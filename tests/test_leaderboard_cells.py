# SPDX-License-Identifier: MIT
"""Cells: keys that tell results apart, and files that are whole or absent."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from art_spiking_leaderboard.cells import (
    CELL_VERSION,
    BrokenCell,
    Cell,
    CellIdentity,
    CellStore,
    NewerCell,
    _parse,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from leaderboard_samples import make_record

from art_spiking.errors import CannotWrite
from art_spiking.suites import digest_of, load_suite

RECORD = make_record()
IDENTITY = CellIdentity(RECORD.key(), {"attack event-gradient": "art-spiking 0.1.0"})
CELL = Cell(IDENTITY, RECORD, "2027-01-01T00:00:00+00:00")


@pytest.fixture
def store(tmp_path: Path) -> CellStore:
    return CellStore(tmp_path / "records")


def test_a_cell_comes_back_as_it_was_written(store):
    store.write("plain", "tiny-suite", CELL)
    assert store.read("plain", "tiny-suite", IDENTITY.key) == CELL
    assert list(store.cells("plain", "tiny-suite")) == [CELL]
    assert store.suites("plain") == ["tiny-suite"]


def test_no_cell_is_none_and_no_folder_is_empty(store):
    assert store.read("plain", "tiny-suite", IDENTITY.key) is None
    assert list(store.cells("plain", "tiny-suite")) == []
    assert store.suites("plain") == []


@pytest.mark.parametrize(
    "change",
    [
        {"result": "other"},
        {"providers": {"attack event-gradient": "art-spiking 0.2.0"}},
        {"shard": (0, 2)},
        {"dtype": "float64"},
        {"device_class": "cuda"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_decides_a_result_changes_the_key(change):
    assert dataclasses.replace(IDENTITY, **change).key != IDENTITY.key


def test_the_key_does_not_depend_on_the_order_of_providers():
    two = {"attack a": "p 1", "threat t": "p 1"}
    turned = dict(reversed(two.items()))
    first, second = (dataclasses.replace(IDENTITY, providers=each) for each in (two, turned))
    assert first.key == second.key


def nested(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)


def torn(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    return content.replace(b'"adversarial":[0,1,2,', b'"adversarial":[1,1,2,')


def another_key(content: bytes) -> bytes:
    values = json.loads(content)
    values["identity"]["shard"] = [0, 7]
    return json.dumps(values).encode()


def not_a_record(content: bytes) -> bytes:
    return json.dumps({**json.loads(content), "record": {}}).encode()


def another_record(content: bytes) -> bytes:
    """A whole record under its own hash, in the place of another cell."""
    values = json.loads(content)
    values["record"] = make_record("patch-5").model_dump(mode="json")
    return json.dumps({**values, "record_sha256": digest_of(values["record"])}).encode()


def odd_providers(content: bytes) -> bytes:
    values = json.loads(content)
    values["identity"]["providers"] = "ab"
    return json.dumps(values).encode()


def deep(content: bytes) -> bytes:
    return b"[" * 100_000


OLDER = Path(__file__).parent / "files" / "cells"


def test_a_cell_that_an_earlier_commit_wrote_is_read_and_keeps_its_key():
    """A file of the demo from before records had `chosen`, `draws`, `ensemble` and `trust`."""
    store = CellStore(OLDER)
    (path,) = OLDER.rglob("*.json")
    absent = {"chosen", "draws", "ensemble", "trust"}
    assert not absent & set(json.loads(path.read_bytes())["record"])
    cell = store.read("digits-plain", "events-quick", path.stem)
    assert (cell.identity.key, cell.record.key()) == (path.stem, cell.identity.result)
    assert cell.record.draws == 1
    assert cell.record.case in load_suite("events-quick").cases
    assert cell.record.suite.digest == load_suite("events-quick").digest()


def test_a_cell_of_an_earlier_commit_can_be_written_again(store):
    (path,) = OLDER.rglob("*.json")
    cell = CellStore(OLDER).read("digits-plain", "events-quick", path.stem)
    store.write("digits-plain", "events-quick", cell)
    assert store.read("digits-plain", "events-quick", path.stem) == cell


@pytest.mark.parametrize("version", [CELL_VERSION + 1, 10**9])
def test_a_cell_of_a_later_version_is_left_alone(store, version):
    path = store.write("plain", "tiny-suite", CELL)
    later = path.read_bytes().replace(b'"cell_version":2', f'"cell_version":{version}'.encode())
    path.write_bytes(later)
    with pytest.raises(NewerCell, match="update this one"):
        store.read("plain", "tiny-suite", IDENTITY.key)
    with pytest.raises(NewerCell):
        list(store.cells("plain", "tiny-suite"))
    assert path.read_bytes() == later


@pytest.mark.parametrize("version", [1, 0, -1, "2", None, 2.5, [2]])
def test_a_cell_of_no_known_version_is_broken(store, version):
    path = store.write("plain", "tiny-suite", CELL)
    path.write_text(json.dumps({**json.loads(path.read_bytes()), "cell_version": version}))
    with pytest.raises(BrokenCell, match="not a cell of version"):
        store.read("plain", "tiny-suite", IDENTITY.key)


@pytest.mark.parametrize(
    "damage",
    [torn, flipped, another_key, not_a_record, another_record, odd_providers, deep, lambda content: b""],
)
def test_a_damaged_file_is_seen(store, damage):
    path = store.write("plain", "tiny-suite", CELL)
    damaged = damage(path.read_bytes())
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    with pytest.raises(BrokenCell, match=path.name):
        store.read("plain", "tiny-suite", IDENTITY.key)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), nested),
    st.data(),
)
@settings(max_examples=150, deadline=None)
def test_no_change_of_a_cell_makes_the_reader_raise(value, data):
    values = json.loads(CELL.to_json())
    part = data.draw(st.sampled_from([values, values["identity"], values["record"]]))
    part[data.draw(st.sampled_from(sorted(part)))] = value
    path = Path(f"{IDENTITY.key}.json")
    try:
        _parse(json.dumps(values).encode("utf-8", "surrogatepass"), path)
    except (BrokenCell, NewerCell) as error:
        assert path.name in str(error)


def test_a_copied_file_under_another_name_is_seen(store):
    path = store.write("plain", "tiny-suite", CELL)
    path.rename(path.with_name("0" * 64 + ".json"))
    (found,) = store.cells("plain", "tiny-suite")
    assert isinstance(found, BrokenCell)


def test_a_full_disk_keeps_the_cell_that_was_there(store, monkeypatch):
    path = store.write("plain", "tiny-suite", CELL)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CannotWrite, match=r"no room left.*make room"):
        store.write("plain", "tiny-suite", dataclasses.replace(CELL, finished="later"))
    assert store.read("plain", "tiny-suite", IDENTITY.key) == CELL
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_the_system_cuts_short_leaves_nothing(tmp_path):
    """A real limit on the size of files, in a process of its own."""
    code = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_leaderboard_cells import CELL, CannotWrite, CellStore, Path
resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
try:
    CellStore(Path({str(tmp_path)!r})).write("plain", "tiny-suite", CELL)
except CannotWrite as error:
    sys.exit(0 if "no room left" in str(error) else 4)
sys.exit(5)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    assert done.returncode == 0
    assert list((tmp_path / "plain" / "tiny-suite").iterdir()) == []


@pytest.mark.slow
def test_a_killed_writer_leaves_whole_cells_only(tmp_path):
    code = f"""
import dataclasses, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_leaderboard_cells import CELL, IDENTITY, CellStore, Path
number = 0
while True:
    identity = dataclasses.replace(IDENTITY, shard=(number, 10**9))
    CellStore(Path({str(tmp_path)!r})).write("plain", "s", dataclasses.replace(CELL, identity=identity))
    number += 1
"""
    store = CellStore(tmp_path)
    seen = 0
    for pause in range(5):
        process = subprocess.Popen([sys.executable, "-c", code])
        while not list(tmp_path.rglob("*.json")):
            time.sleep(0.05)
        time.sleep(0.013 * pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
        cells = list(store.cells("plain", "s"))
        assert all(isinstance(cell, Cell) for cell in cells)
        assert sorted(cell.identity.shard[0] for cell in cells) == list(range(len(cells)))
        seen += len(cells)
        shutil.rmtree(tmp_path / "plain")
    assert seen >= 5
