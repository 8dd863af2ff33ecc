# SPDX-License-Identifier: MIT
"""`art-spiking pack`: from a .nir file to the two files of a submission."""

from __future__ import annotations

import errno
import os
import resource
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nir
import pytest
from click.testing import CliRunner, Result
from graph_samples import conv_graph

from art_spiking.graphs import GraphSpec
from art_spiking.model_files import load_model, read_model
from art_spiking.neurons import PRESETS
from art_spiking.nir_graphs import graph_to_nir
from art_spiking.packing import pack

STATED = ("--semantics", "sinabs", "--dt-us", "1000", "--steps", "50")


def write(path: Path, **metadata: str | int | float) -> Path:
    graph = conv_graph()
    nir.write(path, graph_to_nir(GraphSpec(graph.nodes, graph.edges, metadata)))
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path / "model.nir")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(pack, [str(a) for a in arguments])


def test_writes_the_files_and_says_what(model, tmp_path):
    folder = tmp_path / "new" / "folder"
    result = run(model, "--out", folder, *STATED)
    assert result.exit_code == 0, result.output
    stored = read_model(folder)
    assert stored.graph.order() == conv_graph().order()
    assert (stored.semantics, stored.dt_us, stored.steps) == (PRESETS["sinabs"], 1000, 50)
    assert f"Wrote {folder / 'graph.json'} (" in result.output
    assert f"Wrote {folder / 'weights.safetensors'} (" in result.output
    assert "Input - Conv2d - IF - SumPool2d - Flatten - Affine - LIF - Output" in result.output
    assert "(2, 8, 8) in each of 50 steps of 1000 µs" in result.output
    assert "weights    127\n" in result.output
    assert "reset subtract, spikes several, v_min -1.0" in result.output
    assert load_model(folder).digest() in result.output
    assert sorted(p.name for p in folder.iterdir()) == ["graph.json", "weights.safetensors"]


def test_semantics_may_differ_from_a_preset(model, tmp_path):
    assert run(model, "--out", tmp_path / "m", *STATED, "--semantics", "sinabs,spikes=one").exit_code == 0
    assert read_model(tmp_path / "m").semantics.spikes == "one"


def test_metadata_states_what_was_not_asked(tmp_path):
    path = write(tmp_path / "m.nir", semantics="norse", dt_us=2000.0, steps=7)
    assert run(path, "--out", tmp_path / "a").exit_code == 0
    stored = read_model(tmp_path / "a")
    assert (stored.semantics, stored.dt_us, stored.steps) == (PRESETS["norse"], 2000, 7)
    assert run(path, "--out", tmp_path / "b", "--semantics", "nir", "--steps", 9).exit_code == 0
    stored = read_model(tmp_path / "b")
    assert (stored.semantics, stored.dt_us, stored.steps) == (PRESETS["nir"], 2000, 9)


@pytest.mark.parametrize("left_out", ["--semantics", "--dt-us", "--steps"])
def test_what_is_nowhere_stated_must_be_given(model, tmp_path, left_out):
    place = STATED.index(left_out)
    result = run(model, "--out", tmp_path / "m", *STATED[:place], *STATED[place + 2 :])
    assert result.exit_code == 2
    assert f"model.nir states none in its metadata: give {left_out}" in result.output
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("name", ["graph.json", "weights.safetensors"])
def test_does_not_replace_files_unasked(model, tmp_path, name):
    (tmp_path / name).write_text("precious")
    result = run(model, "--out", tmp_path, *STATED)
    assert result.exit_code == 2
    assert f"already holds {name}" in result.output
    assert (tmp_path / name).read_text() == "precious"
    assert run(model, "--out", tmp_path, *STATED, "--overwrite").exit_code == 0
    assert read_model(tmp_path).steps == 50


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--semantics", "brian"), "no such neuron semantics"),
        (("--semantics", "sinabs,spike=one"), "spike=one"),
        (("--dt-us", "0"), "--dt-us"),
        (("--steps", "-1"), "--steps"),
    ],
)
def test_wrong_usage(model, tmp_path, arguments, said):
    result = run(model, "--out", tmp_path / "m", *STATED, *arguments)
    assert result.exit_code == 2
    assert said in result.output


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """The system writes no file beyond that size; it says EFBIG, as a full disk says ENOSPC."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize(("size", "file"), [(100, "weights.safetensors"), (2400, "graph.json")])
def test_a_full_disk_leaves_nothing(model, tmp_path, size, file):
    folder = tmp_path / "new" / "m"
    with room_for(size):
        result = run(model, "--out", folder, *STATED)
    assert result.exit_code == 75, result.output
    assert result.stderr.startswith(f"Error: cannot write {folder / file}; found: no room left on the disk;")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_full_disk_leaves_what_was_there(model, tmp_path):
    assert run(model, "--out", tmp_path / "m", *STATED).exit_code == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    with room_for(2400):
        result = run(model, "--out", tmp_path / "m", *STATED, "--semantics", "nir", "--overwrite")
    assert result.exit_code == 75, result.output
    assert {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()} == before


@pytest.mark.parametrize("place", ["file", "file/below", "folder with a folder in it", "read-only"])
def test_a_place_that_cannot_be_written_is_usage(model, tmp_path, place, monkeypatch):
    out = tmp_path / place
    (tmp_path / "file").write_text("precious")
    if place == "read-only":
        # The superuser may write everywhere, so the system's refusal is played.
        monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    if place.startswith("folder"):
        (out / "graph.json").mkdir(parents=True)
    result = run(model, "--out", out, *STATED, "--overwrite")
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert "rror: " in result.stderr
    assert (tmp_path / "file").read_text() == "precious"
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*"))
    folders = [place, f"{place}/graph.json"] if place.startswith("folder") else []
    assert left == sorted(["file", "model.nir", *folders])


def refuse(*_arguments, **_options):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_a_model_that_cannot_be_run(tmp_path):
    (tmp_path / "noise.nir").write_bytes(b"noise")
    result = run(tmp_path / "noise.nir", "--out", tmp_path / "m", *STATED)
    assert result.exit_code == 3
    assert result.stderr.startswith("Error: noise.nir is not an HDF5 file")
    assert result.stdout == ""
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"semantics": "brian"}, "no such neuron semantics"),
        ({"dt_us": 0.5}, "dt_us = 0.5"),
        ({"steps": "7"}, "steps = '7'"),
        ({"steps": float("nan")}, "steps = nan"),
        ({"dt_us": -1}, "found: -1"),
    ],
)
def test_metadata_that_cannot_be_used(tmp_path, metadata, said):
    path = write(tmp_path / "m.nir", **({"semantics": "nir", "dt_us": 1000, "steps": 5} | metadata))
    result = run(path, "--out", tmp_path / "m")
    assert result.exit_code == 3
    assert said in result.stderr


def test_a_time_step_that_the_neurons_do_not_bear(model, tmp_path):
    result = run(model, "--out", tmp_path / "m", "--semantics", "nir", "--dt-us", 1_000_000, "--steps", 5)
    assert result.exit_code == 3
    assert "node 'last' (LIF)" in result.stderr


def test_help_names_every_preset_and_option():
    text = run("--help").output
    for words in (
        *PRESETS,
        "--out",
        "--semantics",
        "--dt-us",
        "--steps",
        "--overwrite",
        "Exit codes: 0",
        "Example:",
    ):
        assert words in text
    assert "\\" not in text


@pytest.mark.data
def test_packs_the_community_model(shared_data, tmp_path):
    result = run(shared_data / "nir" / "cnn_sinabs.nir", "--out", tmp_path / "m", *STATED)
    assert result.exit_code == 0, result.output
    assert load_model(tmp_path / "m").output_shape == (10,)
