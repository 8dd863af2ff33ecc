# SPDX-License-Identifier: MIT
"""The reader of HDF5 files against files made to mislead it: what is stored, and never more than that."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from art_spiking.errors import InvalidModel
from art_spiking.hdf5_files import ReadLimits, read_hdf5
from art_spiking.hdf5_raw import RawFile

SECRET = b"the secret bytes of another file"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.nir"


def refused(path: Path, said: str, limits: ReadLimits | None = None) -> None:
    """Reading raises InvalidModel with these words, within a second."""
    start = time.perf_counter()
    with pytest.raises(InvalidModel, match=said) as caught:
        read_hdf5(path, limits=limits)
    assert time.perf_counter() - start < 1
    assert path.name in str(caught.value)


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"compression": "gzip"},
        {"compression": "gzip", "shuffle": True, "chunks": (3, 4)},
        {"chunks": (7, 5)},
        {"shuffle": True, "chunks": (2, 2)},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i8", ">u2", "i1"])
def test_reads_what_h5py_reads(path, stored, dtype):
    array = np.random.default_rng(1).integers(0, 100, (7, 5)).astype(dtype)
    with h5py.File(path, "w") as file:
        file.create_dataset("a/b", data=array, **stored)
    found = read_hdf5(path)["a"]["b"]
    assert np.array_equal(found, array)
    assert found.dtype == array.dtype.newbyteorder("=")


def test_reads_scalars_compact_and_empty_arrays(path):
    compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    compact.set_layout(h5py.h5d.COMPACT)
    with h5py.File(path, "w") as file:
        file["scalar"] = 3
        file.create_dataset("empty", (0, 2), "f4")
        space = h5py.h5s.create_simple((3,))
        dataset = h5py.h5d.create(file.id, b"compact", h5py.h5t.NATIVE_FLOAT, space, dcpl=compact)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(3, dtype=np.float32))
    tree = read_hdf5(path)
    assert tree["scalar"] == 3
    assert tree["empty"].shape == (0, 2)
    assert tree["compact"].tolist() == [0, 1, 2]


def test_reads_texts_of_fixed_and_variable_length(path):
    with h5py.File(path, "w") as file:
        file["one"] = "µ variable"
        file["many"] = [("a", "b"), ("", "long" * 50)]
        file.create_dataset("fixed", data=np.array([b"ab", b"c"], "S4"))
        for i in range(300):  # more than one heap
            file[f"more/{i}"] = f"text {i} " * 5
    tree = read_hdf5(path)
    assert tree["one"] == "µ variable"
    assert tree["many"] == [["a", "b"], ["", "long" * 50]]
    assert tree["fixed"] == ["ab", "c"]
    assert tree["more"] == {str(i): f"text {i} " * 5 for i in range(300)}


def test_external_storage(path, tmp_path):
    (tmp_path / "secret").write_bytes(SECRET)
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (len(SECRET),), "u1", external=[(str(tmp_path / "secret"), 0, len(SECRET))])
    with h5py.File(path, "r") as file:  # the library hands it out
        assert file["a"][()].tobytes() == SECRET
    refused(path, "/a is refused; found: external storage")


def test_external_link(path, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a"] = 1
    with h5py.File(path, "w") as file:
        file["a"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "a")
    refused(path, "a soft, external or user-defined link")


@pytest.mark.parametrize("target", ["/a", "/missing", "/g/loop"])
def test_soft_link(path, target):
    with h5py.File(path, "w") as file:
        file["a"] = 1
        file["g/loop"] = h5py.SoftLink(target)
    refused(path, "/g/loop is refused; found: a soft, external")


def test_cycle_of_hard_links(path):
    with h5py.File(path, "w") as file:
        group = file.create_group("g/h")
        group["up"] = file["g"]
    refused(path, "a second link to an object, or a cycle")


def test_second_link_to_a_dataset(path):
    with h5py.File(path, "w") as file:
        file["a"] = np.zeros(100)
        file["b"] = file["a"]
    refused(path, "a second link to an object")


def test_virtual_dataset(path, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a"] = np.arange(4)
    layout = h5py.VirtualLayout(shape=(4,), dtype="i8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "a", shape=(4,))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("a", layout)
    refused(path, "a virtual dataset")


def bomb_of_zeros(path: Path) -> None:
    with h5py.File(path, "w") as file:
        chunk = 1 << 20
        file.create_dataset("a", (1 << 29,), "f4", chunks=(chunk,), compression="gzip", compression_opts=9)
        file["a"][:chunk] = 0


def bomb_in_a_part(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (1000,), "u1", chunks=(1000,), compression="gzip")
        file["a"].id.write_direct_chunk((0,), zlib.compress(bytes(200_000_000), 1))


def bomb_of_text(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["a"] = "short text"
    with h5py.File(path, "r") as file:
        offset = file["a"].id.get_offset()
    raw = path.read_bytes()
    path.write_bytes(raw[:offset] + struct.pack("<I", 0xFFFFFFF0) + raw[offset + 4 :])


BOMBS = {
    bomb_of_zeros: "claim 2147483648 bytes",
    bomb_in_a_part: "damaged or larger than declared",
    bomb_of_text: "a text that is longer",
}


@pytest.mark.parametrize(("bomb", "said"), BOMBS.items())
def test_bomb(path, bomb, said):
    bomb(path)
    assert path.stat().st_size < 1_000_000
    refused(path, said)


def test_bombs_take_no_memory(tmp_path):
    """In a fresh process, since the peak of this one may be high already."""
    for bomb in BOMBS:
        bomb(tmp_path / f"{bomb.__name__}.nir")
    script = """
import pathlib, re, sys
from art_spiking.errors import InvalidModel
from art_spiking.hdf5_files import read_hdf5
def peak():  # KiB; getrusage would count what the parent had
    return int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
before = peak()
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        read_hdf5(path)
    except InvalidModel:
        print(peak() - before)
"""
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc to read the peak of a process's memory from")
    run = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    grown = [int(line) for line in run.stdout.split()]
    assert len(grown) == len(BOMBS)
    assert max(grown) < 50_000


def test_claim_without_any_storage(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (1 << 40,), "f8", chunks=(1 << 20,))
    refused(path, "claim|parts")
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (1000,), "f8", chunks=(100,))
        file["a"][:100] = 1
    refused(path, "1 of 10 parts stored")
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (1000,), "f8")
    refused(path, "a claim of 8000 bytes that the file does not hold")


def test_many_small_claims_add_up(path):
    with h5py.File(path, "w") as file:
        for i in range(100):
            file.create_dataset(f"a{i}", data=np.zeros(1 << 18, np.float32), compression="gzip")
    refused(path, "claim")


@pytest.mark.parametrize(
    "raw",
    [b"not deflated", zlib.compress(bytes(999)), zlib.compress(bytes(1000))[:-1]],
    ids=["noise", "short", "cut"],
)
def test_part_that_is_damaged(path, raw):
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (1000,), "u1", chunks=(1000,), compression="gzip")
        file["a"].id.write_direct_chunk((0,), raw)
    refused(path, "damaged or larger than declared")


def test_part_that_skips_a_filter(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (1000,), "u1", chunks=(1000,), compression="gzip")
        file["a"].id.write_direct_chunk((0,), bytes(1000), filter_mask=1)
    refused(path, "skips a filter")


def test_heap_that_leads_in_circles_or_nowhere(path):
    with h5py.File(path, "w") as file:
        file["a"] = "short text"
    raw = path.read_bytes()
    start = raw.index(b"GCOL")
    path.write_bytes(raw[: start + 24] + bytes(8) + raw[start + 32 :])  # objects of length zero
    refused(path, "a text that is longer")
    path.write_bytes(raw.replace(b"GCOL", b"LOCG"))
    refused(path, "a text that is longer")


def test_walk_over_heaps_is_bounded(path, monkeypatch):
    """Collections that overlap could be walked again and again."""
    objects = b"".join(struct.pack("<HHIQ8s", i, 1, 0, 8, b"text%04d" % i) for i in range(1, 6))
    path.write_bytes(b"GCOL\x01\0\0\0" + struct.pack("<Q", 16 + len(objects)) + objects)
    with path.open("rb") as stream:
        assert RawFile(stream).heap_text(struct.pack("<IQI", 8, 0, 5), 100) == b"text0005"
        assert RawFile(stream).heap_text(struct.pack("<IQI", 8, 0, 5), 7) is None
        assert RawFile(stream).heap_text(struct.pack("<IQI", 9, 0, 5), 100) is None
        monkeypatch.setattr("art_spiking.hdf5_raw.MAX_HEAP_OBJECTS", 4)
        assert RawFile(stream).heap_text(struct.pack("<IQI", 8, 0, 5), 100) is None


@pytest.mark.parametrize(
    ("dtype", "data"),
    [
        ("f2", np.zeros(3, "f2")),
        ("c8", np.zeros(3, "c8")),
        ("bool", np.zeros(3, bool)),
        (h5py.vlen_dtype(np.int32), None),
        (np.dtype([("a", "f4")]), np.zeros(3, [("a", "f4")])),
        (h5py.ref_dtype, None),
        (np.dtype("V4"), np.zeros(3, "V4")),
    ],
    ids=str,
)
def test_unusual_types(path, dtype, data):
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=data, dtype=dtype, shape=(1,) if data is None else None)
    refused(path, "/a is refused; found: the type")


def test_unusual_types_in_metadata_are_left_out(path):
    with h5py.File(path, "w") as file:
        file["metadata/flag"] = True
        file["metadata/half"] = np.float16(1)
        file["metadata/note"] = "kept"
        file["metadata/deep/number"] = 2
    assert read_hdf5(path) == {"metadata": {"note": "kept", "deep": {"number": 2}}}


def test_float_of_another_layout(path):
    odd = h5py.h5t.IEEE_F32LE.copy()
    odd.set_ebias(100)
    with h5py.File(path, "w") as file:
        h5py.h5d.create(file.id, b"a", odd, h5py.h5s.create_simple((3,)))
    refused(path, "the type")


@pytest.mark.parametrize(
    "options", [{"compression": "lzf"}, {"fletcher32": True}, {"scaleoffset": 2}], ids=str
)
def test_other_filters(path, options):
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=np.arange(100), chunks=(10,), **options)
    refused(path, "gzip and shuffle, each at most once")


def test_named_type_and_no_data(path):
    with h5py.File(path, "w") as file:
        file["a"] = np.dtype("f4")
    refused(path, "a named type")
    with h5py.File(path, "w") as file:
        file["a"] = h5py.Empty("f4")
    refused(path, "no data")


def test_depth_and_number_of_objects(path):
    with h5py.File(path, "w") as file:
        file.create_group("/".join("g" * 40))
    refused(path, "a deeper group")
    with h5py.File(path, "w") as file:
        for i in range(60):
            file.create_group(f"g{i}")
    refused(path, "more objects", ReadLimits(objects=50))
    assert len(read_hdf5(path)) == 60


def test_number_of_parts_and_of_texts(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=np.zeros(200, "u1"), chunks=(1,))
    refused(path, "200 parts", ReadLimits(parts=100))
    with h5py.File(path, "w") as file:
        file["a"] = ["t"] * 200
    refused(path, "at most 100 texts", ReadLimits(parts=100))


def test_compressed_and_long_text(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=["text"] * 10, compression="gzip")
    refused(path, "text in parts or compressed")
    with h5py.File(path, "w") as file:
        file["a"] = "x" * 2000
    refused(path, "a text that is longer")
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=np.array([b"x" * 2000], "S2000"))
    refused(path, "a text that is longer")


def test_large_file_is_refused_by_its_size(path):
    path.touch()
    os.truncate(path, 1 << 34)  # sparse
    refused(path, "17179869184 bytes")


@pytest.mark.parametrize("content", [b"", b"\x89HDF", b"PK\x03\x04" * 100, b"\x80\x04pickle", SECRET * 100])
def test_not_hdf5(path, content):
    path.write_bytes(content)
    refused(path, "not an HDF5 file")


def test_truncated_file(path):
    with h5py.File(path, "w") as file:
        file["a"] = np.zeros(1000)
    whole = path.read_bytes()
    for length in (8, 9, 100, 600, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused(path, "cannot be read as HDF5")


def test_user_block(path):
    with h5py.File(path, "w", userblock_size=512) as file:
        file["a"] = 1
    refused(path, "not an HDF5 file")


def test_no_file_folder_and_pipe(path, tmp_path):
    refused(path, "cannot be opened; found: No such file")
    refused(tmp_path, "not a regular file|Is a directory")
    os.mkfifo(path)
    refused(path, "not a regular file")


def test_flipped_bytes_give_a_tree_or_invalid_model(path):
    with h5py.File(path, "w") as file:
        file["node/type"] = "NIRGraph"
        file["node/edges"] = [("a", "b"), ("b", "c")]
        for i in range(3):
            file.create_dataset(f"node/nodes/{i}/weight", data=np.eye(20), compression="gzip", shuffle=i == 1)
            file.create_dataset(f"node/nodes/{i}/plain", data=np.arange(9))
    whole, outcomes = path.read_bytes(), [0, 0]
    for seed in range(400):
        draw = random.Random(seed)
        raw = bytearray(whole)
        for _ in range(draw.choice((1, 4, 32))):
            raw[draw.randrange(len(raw))] = draw.choice((0, 255, draw.randrange(256)))
        path.write_bytes(raw[: draw.randrange(len(raw))] if seed % 10 == 0 else raw)
        try:
            read_hdf5(path)
            outcomes[0] += 1
        except InvalidModel:
            outcomes[1] += 1
    assert min(outcomes) > 50
