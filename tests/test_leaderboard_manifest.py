# SPDX-License-Identifier: MIT
"""Manifests: everything strict, every problem at once, nothing that can hang or crash the reader."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from art_spiking_leaderboard.manifest import MANIFEST_BYTES, parse_manifest
from art_spiking_leaderboard.manifest_text import manifest_text
from hypothesis import given, settings
from hypothesis import strategies as st
from leaderboard_samples import make_manifest

GOOD = manifest_text(make_manifest())


def problems(text: str | bytes) -> dict[str, str]:
    content = text.encode() if isinstance(text, str) else text
    parsed = parse_manifest(content)
    assert (parsed.manifest is None) == bool(parsed.problems)
    return {problem.key: str(problem) for problem in parsed.problems}


def test_a_manifest_survives_the_round_trip():
    manifest = make_manifest(
        title='Quotes " and \\ and ünïcode',
        semantics={"reset": "subtract", "v_min": -1.0, "fires": "ge"},
        training={"description": "two\nlines", "claimed_clean_accuracy": 1.0},
    )
    parsed = parse_manifest(manifest_text(manifest).encode())
    assert parsed.problems == ()
    assert parsed.manifest == manifest


def test_every_problem_is_reported_at_once_with_its_key():
    bad = (
        GOOD.replace('name = "plain"', 'name = "Bad Name"', 1)
        .replace("nb_classes = 10", 'nb_classes = "ten"')
        .replace("dt_us = 10000", "dt_us = 10000.0")
        .replace("binary = true\n", "")
        .replace('licence = "MIT"', 'licence = "MIT"\ncolour = "red"')
    )
    found = problems(bad)
    assert set(found) == {"name", "nb_classes", "data.dt_us", "data.binary", "colour"}
    assert found["nb_classes"].endswith("found 'ten'")
    assert "expected this key, found nothing" in found["data.binary"]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (('title = "Model plain"', 'title = "evil \\u202e title"'), "title"),
        (('paper = ""', 'paper = "javascript:alert(1)"'), "paper"),
        (('paper = ""', "paper = 'https://a/\"onclick='"), "paper"),
        (('licence = "MIT"', 'licence = "<b>"'), "licence"),
        (("schema_version = 1", "schema_version = 2"), "schema_version"),
        (("schema_version = 1", "schema_version = true"), "schema_version"),
        (("input_shape = [30, ", "input_shape = [31, "), "input_shape[0]"),
        (('"window_us" = 50000', '"window_us" = [1]'), "defences[0].parameters.window_us"),
        (('"window_us" = 50000', '"window_us" = nan'), "defences[0].parameters.window_us"),
        (('semantics = "nir"', "semantics = 3"), "semantics"),
        (("claimed_clean_accuracy = 0.9", "claimed_clean_accuracy = nan"), "training.claimed_clean_accuracy"),
        (("claimed_clean_accuracy = 0.9", "claimed_clean_accuracy = 93"), "training.claimed_clean_accuracy"),
        (("size = 1000", "size = true"), "files.graph.size"),
        (('authors = ["A. Author", "B. Author"]', "authors = []"), "authors"),
        (('authors = ["A. Author", "B. Author"]', "authors = [1979-05-27]"), "authors[0]"),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else value,
)
def test_a_wrong_value_is_found(change, key):
    assert change[0] in GOOD
    assert key in problems(GOOD.replace(*change))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"x" * (MANIFEST_BYTES + 1), "bytes"),
        (b"\xff\xfe", "UTF-8"),
        (b"a = ", "TOML"),
        (b"a = " + b"[" * 20_000, "TOML"),
        (b"a = " + b"1" * 20_000, "TOML"),
        (b"", "nothing"),
    ],
    ids=["too-long", "not-utf8", "torn", "brackets", "digits", "empty"],
)
def test_what_is_no_manifest_is_one_clear_problem(content, word):
    parsed = parse_manifest(content)
    assert parsed.manifest is None
    assert word in str(parsed.problems[0])
    assert len(str(parsed.problems[0])) < 300


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_text_makes_the_reader_raise(text):
    parsed = parse_manifest(text.encode("utf-8", "surrogatepass"))
    assert (parsed.manifest is None) == bool(parsed.problems)


@given(st.sampled_from(GOOD.splitlines()), st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_changed_line_makes_the_reader_raise(line, value):
    text = GOOD.replace(line, line.split("=")[0] + "= " + value)
    parsed = parse_manifest(text.encode("utf-8", "surrogatepass"))
    assert parsed.manifest is not None or parsed.problems


def test_the_readme_shows_a_valid_manifest_with_every_key():
    readme = (Path(__file__).parents[1] / "leaderboard" / "README.md").read_text()
    (block,) = re.findall(r"^```toml\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    parsed = parse_manifest(block.replace('"..."', f'"{"0" * 64}"').encode())
    assert parsed.problems == ()
    manifest = parsed.manifest
    assert manifest.model_fields_set == set(type(manifest).model_fields)
    for part in (manifest.data, manifest.training, manifest.files, manifest.defences[0]):
        assert part.model_fields_set == set(type(part).model_fields) - {"code"}


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("a." * 30_000 + "b = 1", "more than 256 dots"),
        ("[" + "x." * 30_000 + "y]\nz = 1", "more than 256 dots"),
        (f"nb_classes = 0x{'f' * 50_000}", "too deep or too long"),
    ],
    ids=["dotted keys", "a dotted table", "a number of 60,000 digits"],
)
def test_what_takes_python_too_far_is_a_problem(line, word):
    """Found by benchmarks/fuzz_submissions.py: tomllib is slow at dots, repr() at depth and length."""
    assert any(word in problem.found for problem in parse_manifest(line.encode()).problems)
