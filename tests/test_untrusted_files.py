# SPDX-License-Identifier: MIT
"""JSON and files from a stranger."""

from __future__ import annotations

import json
import os

import pytest

from art_spiking.errors import InvalidModel
from art_spiking.untrusted_files import open_regular, parse_json


@pytest.mark.parametrize(
    "data", [{"a": [1, 2.5, 'x]}\\"[', None, True]}, [], "text", 3, {"a": {"b": {"c": []}}}]
)
def test_reads_plain_json(data):
    assert parse_json(json.dumps(data).encode()) == data


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"a": 1, "a": 1}', "the key 'a' more than once"),
        (b'{"b": [{"a": 1, "\\u0061": 2}]}', "the key 'a' more than once"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "-Infinity"),
        (b"[" * 100_000, "nested deeper than 8"),
        (b'{"a":' * 9 + b"1" + b"}" * 9, "nested deeper than 8"),
        (b"[" * 9 + b"]" * 9, "nested deeper than 8"),
        (b"\xff\xfe", "not UTF-8 at byte 0"),
        (b"", "Expecting value"),
        (b"[1,]", "Expecting value|Illegal trailing comma"),
        (b"9" * 5000, "Exceeds the limit"),
        (b'"' + b"\\" * 200_001, "Unterminated|Invalid"),
        (b'"' + b"a" * 200_001, "Unterminated"),
    ],
)
def test_refuses_the_rest(raw, said):
    with pytest.raises(ValueError, match=said):
        parse_json(raw)


def test_opens_regular_files_alone(tmp_path):
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"content")
    link.symlink_to(path)
    with open_regular(link, 7) as stream:
        assert stream.read() == b"content"
    for place, limit, follow, said in (
        (path, 6, True, "found: 7 bytes; accepted: a file of at most 6 bytes"),
        (link, 7, False, "found: a symbolic link"),
        (tmp_path / "none", 7, True, "No such file"),
        (tmp_path / "nul\0", 7, True, "null"),
        (tmp_path, 7, True, "not a regular file|Is a directory"),
    ):
        with pytest.raises(InvalidModel, match=said):
            open_regular(place, limit, follow_links=follow)


def test_does_not_wait_on_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidModel, match="not a regular file"):
        open_regular(tmp_path / "pipe", 7)
