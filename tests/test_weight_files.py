# SPDX-License-Identifier: MIT
"""Arrays in safetensors files: exactly those declared, whatever the file says."""

from __future__ import annotations

import json
import pickle
import zipfile

import numpy as np
import pytest
import safetensors.numpy
from graph_samples import values

from art_spiking.weight_files import MAX_HEADER, read_arrays, write_arrays

ARRAYS = {"a.weight": values(3, 4), "b.r": values(2).astype("f8"), "c.scale": np.array(2, np.float32)}
DECLARED = {key: (array.dtype.name, array.shape) for key, array in ARRAYS.items()}


def file_of(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def header_of(raw: bytes) -> dict:
    return json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])


def changed(changes: dict[str, object]) -> bytes:
    """The good file with entries of its header changed."""
    raw = write_arrays(ARRAYS)
    header = header_of(raw)
    return file_of(header | changes, raw[8 + int.from_bytes(raw[:8], "little") :])


def said(raw: bytes) -> str:
    arrays, problems = read_arrays(raw, DECLARED, file="w")
    assert arrays == {}
    return "\n".join(map(str, problems))


def test_round_trip():
    arrays, problems = read_arrays(write_arrays(ARRAYS), DECLARED, file="w")
    assert problems == []
    for key, array in ARRAYS.items():
        assert arrays[key].dtype == array.dtype
        assert arrays[key].shape == array.shape
        assert arrays[key].tobytes() == array.tobytes()


def test_the_bytes_do_not_depend_on_the_order():
    assert write_arrays(dict(reversed(ARRAYS.items()))) == write_arrays(ARRAYS)


def test_missing_and_more_arrays():
    assert said(write_arrays({"a.weight": ARRAYS["a.weight"], "x": values(1)})) == (
        "w: b.r: expected an array, as the graph declares, found nothing\n"
        "w: c.scale: expected an array, as the graph declares, found nothing\n"
        "w: x: expected only arrays that the graph declares, found one more"
    )


def test_other_shape_and_dtype():
    text = said(write_arrays(ARRAYS | {"a.weight": values(4, 3), "b.r": values(2)}))
    assert "w: a.weight: expected float32 of shape (3, 4), found {'dtype': 'F32', 'shape': [4, 3]}" in text
    assert "w: b.r: expected float64 of shape (2,), found {'dtype': 'F32', 'shape': [2]}" in text


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(value):
    spoilt = values(3, 4)
    spoilt[1, 2] = value
    assert said(write_arrays(ARRAYS | {"a.weight": spoilt})) == (
        "w: a.weight: expected finite values, found 1 that are NaN or infinite"
    )


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (pickle.dumps({"a": 1}), "a pickle"),
        (b"PK\x03\x04" + bytes(100), "a zip archive, such as a PyTorch file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
        (b"\x93NUMPY" + bytes(100), "a NumPy file"),
        (b"", "0 bytes"),
        (b"\x02", "1 bytes"),
        ((1 << 60).to_bytes(8, "little") + b"{}", "10 bytes with a header of 1152921504606846976"),
        ((MAX_HEADER + 1).to_bytes(8, "little") + b"{" + b" " * (MAX_HEADER + 1), "with a header of 1048577"),
        (file_of(b"[" * 5000), "a header that is not JSON: brackets nested deeper than 3"),
        (file_of(b'{"a": {}, "a": {}}'), "a header that is not JSON: the key 'a' more than once"),
        (file_of([1, 2]), "a header that is no table"),
        (file_of(b"{]       "), "a header that is not JSON"),
    ],
)
def test_other_files(raw, found):
    text = said(raw)
    assert text.startswith("w: expected a safetensors file, found ")
    assert found in text


def test_a_length_that_begins_like_a_pickle_is_none():
    raw = write_arrays(ARRAYS)
    header = json.dumps(header_of(raw)).encode()
    padded = header.ljust(256 * (1 + len(header) // 256) + 0x80)
    raw = file_of(padded, raw[8 + int.from_bytes(raw[:8], "little") :])
    assert raw[0] == 0x80
    assert read_arrays(raw, DECLARED, file="w")[1] == []


def test_offsets_that_do_not_fit():
    entry = {"dtype": "F32", "shape": [3, 4], "data_offsets": [16, 64]}
    assert header_of(changed({}))["a.weight"] == entry
    for offsets in ([16, 63], [16, 1 << 60], [64, 16], [-1, 47], [16], "ab", None, [16.0, 64.0], [True, 49]):
        text = said(changed({"a.weight": entry | {"data_offsets": offsets}}))
        assert text.startswith("w: a.weight: expected data_offsets of 48 bytes"), offsets
    assert "expected a safetensors file" in said(changed({"a.weight": entry | {"data_offsets": [0, 48]}}))
    assert "expected a safetensors file" in said(changed({}) + b"more")
    assert "expected a safetensors file" in said(changed({})[:-1])


@pytest.mark.parametrize(
    "entry", [3, [], {}, {"dtype": "F32", "shape": "ab"}, {"dtype": ["F32"], "shape": [3, 4]}]
)
def test_entries_of_another_form(entry):
    assert "w: a.weight: expected float32 of shape (3, 4)" in said(changed({"a.weight": entry}))


@pytest.mark.parametrize("notes", [3, {"a": 1}, {"a": {}}, [], None])
def test_notes_that_are_not_text(notes):
    assert "w: __metadata__: expected a table of texts" in said(changed({"__metadata__": notes}))


def test_notes_are_let_be():
    raw = safetensors.numpy.save(ARRAYS, {"framework": "pt"})
    assert read_arrays(raw, DECLARED, file="w")[1] == []


def test_shapes_of_length_zero_are_not_declared():
    raw = safetensors.numpy.save(ARRAYS | {"z": np.zeros((0, 1 << 40), np.float32)})
    assert said(raw) == "w: z: expected only arrays that the graph declares, found one more"


def test_an_archive_of_torch_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "w.pt", "w") as archive:
        archive.writestr("data.pkl", pickle.dumps([]))
    assert "a zip archive, such as a PyTorch file" in said((tmp_path / "w.pt").read_bytes())
