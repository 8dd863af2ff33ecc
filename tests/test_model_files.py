# SPDX-License-Identifier: MIT
"""Models as two data files: what is written is read back; every problem of a stranger's is listed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from graph_samples import conv_graph, values

from art_spiking.errors import CannotWrite, InvalidInput, InvalidModel
from art_spiking.graphs import ModelProblems
from art_spiking.model_files import (
    GRAPH_FILE,
    MAX_GRAPH_BYTES,
    MAX_WEIGHT_BYTES,
    WEIGHTS_FILE,
    StoredModel,
    check_model,
    load_model,
    read_model,
    save_model,
    write_model,
)
from art_spiking.network import SpikingNetwork
from art_spiking.neurons import NeuronSemantics

SEMANTICS = NeuronSemantics.preset("sinabs")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good model, for tests to spoil."""
    write_model(StoredModel(conv_graph(), SEMANTICS, 1000, 50), tmp_path / "model")
    return tmp_path / "model"


def said(folder: Path) -> str:
    """All problems, which reading reports too."""
    problems = check_model(folder)
    with pytest.raises(ModelProblems) as caught:
        read_model(folder)
    assert list(caught.value.problems) == problems
    assert {p.file for p in problems} <= {GRAPH_FILE, WEIGHTS_FILE}
    return "\n".join(map(str, problems))


def change_graph(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / GRAPH_FILE
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def change_weights(folder: Path, **arrays: np.ndarray | None) -> None:
    """Replaces arrays by key, with the hash in graph.json to match."""
    found = safetensors.numpy.load_file(folder / WEIGHTS_FILE)
    for key, array in arrays.items():
        del found[key.replace("_", ".")]
        if array is not None:
            found[key.replace("_", ".")] = array
    raw = safetensors.numpy.save(found)
    (folder / WEIGHTS_FILE).write_bytes(raw)
    change_graph(folder, lambda data: data.update(weights_sha256=hashlib.sha256(raw).hexdigest()))


def test_what_is_written_is_read(folder):
    stored = read_model(folder)
    assert stored == StoredModel(conv_graph(), SEMANTICS, 1000, 50)
    assert stored.graph.digest() == conv_graph().digest()
    assert check_model(folder) == []
    assert sorted(p.name for p in folder.iterdir()) == [GRAPH_FILE, WEIGHTS_FILE]


@pytest.mark.parametrize("dt_us", [1000, 1000.0, 0.1, None])
def test_a_network_survives_save_and_load(tmp_path, dt_us):
    network = SpikingNetwork.from_graph(conv_graph(), semantics=SEMANTICS, dt_us=dt_us or 1)
    network.dt_us = dt_us
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.5  # as after training
    if dt_us is None:
        with pytest.raises(InvalidInput, match="a stored model states dt_us"):
            save_model(network, tmp_path, steps=6)
        return
    save_model(network, tmp_path, steps=6)
    again = load_model(tmp_path)
    assert again.digest() == network.digest()
    x = torch.from_numpy((values(3, 6, 2, 8, 8) > 1).astype(np.float32))
    assert torch.equal(again(x), network(x))
    assert network(x).abs().sum() > 0


@pytest.mark.data
def test_the_community_network_survives(shared_data, tmp_path):
    network = SpikingNetwork.from_nir(
        shared_data / "nir" / "cnn_sinabs.nir", semantics="sinabs", dt_us=10_000
    )
    save_model(network, tmp_path, steps=31)
    assert load_model(tmp_path).digest() == network.digest()
    assert read_model(tmp_path).steps == 31
    assert (tmp_path / WEIGHTS_FILE).stat().st_size < 300_000


def test_the_same_model_makes_the_same_bytes(folder, tmp_path):
    write_model(read_model(folder), tmp_path / "again")
    for name in (GRAPH_FILE, WEIGHTS_FILE):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_other_files_are_left_alone(folder):
    (folder / "submission.toml").write_text("mine")
    write_model(StoredModel(conv_graph(), SEMANTICS, 2000, 50), folder)
    assert read_model(folder).dt_us == 2000
    assert (folder / "submission.toml").read_text() == "mine"
    assert len(list(folder.iterdir())) == 3


def test_a_full_disk_leaves_the_old_files_whole(folder, monkeypatch):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CannotWrite, match=r"cannot write .*; found: no room left on the disk; make room"):
        write_model(StoredModel(conv_graph(), SEMANTICS, 2000, 50), folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CannotWrite, match="cannot write"):
        write_model(StoredModel(conv_graph(), SEMANTICS, 2000, 50), tmp_path / "file")


def test_a_write_cut_between_the_files_is_seen(folder, monkeypatch):
    """The weights are new, the graph is old."""
    other = conv_graph(
        fire=conv_graph().nodes["fire"].__class__("Threshold", {}, {"threshold": np.float32(1)})
    )
    replace = Path.replace

    def cut(self: Path, target: Path) -> Path:
        if target == folder / GRAPH_FILE:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        write_model(StoredModel(other, SEMANTICS, 1000, 50), folder)
    assert "graph.json: weights_sha256: expected" in said(folder)
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    ("dt_us", "steps", "words"),
    [
        (0, 5, "states dt_us"),
        (float("nan"), 5, "states dt_us"),
        (float("inf"), 5, "states dt_us"),
        (1, 0, "its steps"),
        (1, 2.5, "its steps"),
    ],
)
def test_a_stored_model_checks_its_numbers(dt_us, steps, words):
    with pytest.raises(InvalidInput, match=words):
        StoredModel(conv_graph(), SEMANTICS, dt_us, steps)


def test_missing_files_are_both_named(tmp_path):
    text = said(tmp_path)
    what = "expected a regular file, found No such file or directory"
    assert text == f"{GRAPH_FILE}: {what}\n{WEIGHTS_FILE}: {what}"
    assert said(tmp_path / "none") == text


def put(data: Any, place: str, value: object) -> None:
    """Sets, or with REMOVE deletes, the entry at "a/b/c"; at "a/+" a list gets one more."""
    *above, last = place.split("/")
    for key in above:
        data = data[key]
    if last == "+":
        data.append(value)
    elif value is REMOVE:
        del data[last]
    else:
        data[last] = value


REMOVE = object()
BIAS = "nodes/full/arrays/bias"


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("format", "other", "format: expected 'art-spiking-model', found 'other'"),
        ("version", 2, "version: expected 1, found 2"),
        ("steps", REMOVE, "steps: expected this key, found nothing"),
        ("more", 1, "more: expected no such key, found 1"),
        ("steps", 0, "steps: expected greater than or equal to 1, found 0"),
        ("steps", "9", "steps: expected a valid integer, found '9'"),
        ("steps", True, "steps: expected a valid integer, found True"),
        ("dt_us", -1, "dt_us"),
        ("dt_us", float("inf"), "expected JSON, found Infinity"),
        ("semantics/reset", "hard", "semantics: expected subtract, value, none, found 'hard'"),
        ("semantics/reset", REMOVE, "semantics: expected reset, spikes"),
        ("semantics/v_min", [], "semantics: expected None, or a finite number"),
        ("semantics/reset", [], "semantics: expected subtract"),
        ("semantics", [], "semantics: expected a valid dictionary"),
        ("weights_sha256", "0" * 64, "weights_sha256: expected"),
        ("weights_sha256", "x", "weights_sha256"),
        ("edges/+", ["last", "full"], "edge 'last' -> 'full': expected (16,), to be added to what"),
        ("edges/+", ["last"], "edges.7"),
        ("edges/+", [1, 2], "edges.7.0: expected a valid string"),
        ("nodes/full/type", "RNN", "node 'full' (RNN) type: expected one of Input"),
        ("nodes/full/type", 3, "nodes.full.type"),
        ("nodes/flat/attributes/start_dim", 1.5, "nodes.flat.attributes.start_dim"),
        ("nodes/flat/attributes/start_dim", True, "nodes.flat.attributes.start_dim"),
        (
            "nodes/flat/attributes/code",
            "x",
            "node 'flat' (Flatten) code: expected Flatten to have start_dim,",
        ),
        (
            "nodes/input/attributes/shape",
            [2, 1 << 20, 1 << 20],
            "node 'input': expected at most 16777216 values",
        ),
        (
            "nodes/input/attributes/shape",
            [2, 9, 8],
            "edge 'input' -> 'conv' (Conv2d.input_shape): expected (9, 8)",
        ),
        (f"{BIAS}/shape", [0], "nodes.full.arrays.bias.shape.0"),
        (f"{BIAS}/shape", [1 << 40], "nodes.full.arrays.bias.shape.0"),
        (f"{BIAS}/dtype", "object", "nodes.full.arrays.bias.dtype"),
        ("nodes", {f"n{i}": {} for i in range(2000)}, "nodes"),
        ("nodes/flat", REMOVE, "edge 'flat' -> 'full': expected edges between nodes"),
        ("nodes/\n\x1b[2J", 3, "nodes.??[2J"),
        ("nodes/\ud800", {"type": "Scale", "attributes": {}, "arrays": {}}, "printable characters"),
    ],
)
def test_what_is_wrong_with_the_graph_is_said(folder, place, value, words):
    change_graph(folder, lambda data: put(data, place, value))
    text = said(folder)
    assert words in text
    assert text.startswith(f"{GRAPH_FILE}: ")
    assert all(line.isprintable() for line in text.splitlines())


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (BIAS, REMOVE, "weights.safetensors: full.bias: expected only arrays that the graph declares"),
        (f"{BIAS}/shape", [4], "weights.safetensors: full.bias: expected float32 of shape (4,), found"),
        (f"{BIAS}/dtype", "float64", "weights.safetensors: full.bias: expected float64 of shape (3,), found"),
        (
            f"{BIAS}2",
            {"dtype": "float32", "shape": [3]},
            "weights.safetensors: full.bias2: expected an array",
        ),
    ],
)
def test_arrays_that_are_not_as_declared(folder, place, value, words):
    change_graph(folder, lambda data: put(data, place, value))
    assert words in said(folder)


def test_all_problems_come_at_once(folder):
    change_weights(folder, full_weight=values(3, 16) * np.nan, last_tau=None)
    change_graph(folder, lambda data: data["semantics"].update(spikes="two"))
    files = [(p.file, p.key) for p in check_model(folder)]
    assert files == [(GRAPH_FILE, "semantics"), (WEIGHTS_FILE, "last.tau")]
    change_weights(folder, full_weight=values(3, 16))
    change_graph(folder, lambda data: data["nodes"]["last"]["arrays"].pop("tau"))
    change_graph(folder, lambda data: data["nodes"]["flat"].update(type="Flat"))
    keys = [p.key for p in check_model(folder)]
    assert keys == ["semantics", "node 'flat' (Flat) type", "node 'last' (LIF) tau"]


def test_values_are_checked(folder):
    change_weights(folder, last_tau=np.array([0.02, -1, 0.02], np.float32))
    assert "graph.json: node 'last' (LIF) tau: expected values above 0, found -1" in said(folder)
    change_weights(folder, last_tau=np.array([0.02, np.nan, 0.02], np.float32))
    assert "weights.safetensors: last.tau: expected finite values, found 1" in said(folder)


def test_a_time_step_that_the_neurons_do_not_bear(folder):
    change_graph(folder, lambda data: data.update(dt_us=10**8, semantics=NeuronSemantics().to_dict()))
    assert "graph.json: dt_us: expected" in said(folder)


@pytest.mark.parametrize("name", [GRAPH_FILE, WEIGHTS_FILE])
def test_links_pipes_and_folders(folder, name):
    path, aside = folder / name, folder / "aside"
    path.rename(aside)
    path.symlink_to(aside)
    assert f"{name}: expected a regular file, found a symbolic link" in said(folder)
    path.unlink()
    os.mkfifo(path)
    assert f"{name}: " in said(folder)
    path.unlink()
    path.mkdir()
    assert f"{name}: " in said(folder)


@pytest.mark.parametrize(("name", "limit"), [(GRAPH_FILE, MAX_GRAPH_BYTES), (WEIGHTS_FILE, MAX_WEIGHT_BYTES)])
def test_large_files_are_refused_unread(folder, name, limit):
    os.truncate(folder / name, limit + 1)
    assert f"{name}: expected a file of at most {limit} bytes, found {limit + 1} bytes" in said(folder)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"[" * 100_000, "nested deeper than 8"),
        (b'{"nodes": {}, "nodes": {}}', "the key 'nodes' more than once"),
        (b"[]", "graph.json: expected"),
        (b"null", "graph.json: expected"),
        (b"", "Expecting value"),
        (b"\xff", "not UTF-8"),
        (b"9" * 10_000, "expected JSON"),
    ],
)
def test_text_that_is_no_graph(folder, raw, words):
    (folder / GRAPH_FILE).write_bytes(raw)
    assert words in said(folder)


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_pickles_and_archives_are_named_and_never_run(folder, tmp_path):
    mark = tmp_path / "mark"
    pickle.loads(pickle.dumps(Payload(mark)))
    assert mark.exists()
    mark.unlink()
    (folder / WEIGHTS_FILE).write_bytes(pickle.dumps(Payload(mark)))
    assert "weights.safetensors: expected a safetensors file, found a pickle" in said(folder)
    torch.save({"x": Payload(mark)}, folder / WEIGHTS_FILE)
    assert "found a zip archive, such as a PyTorch file" in said(folder)
    assert not mark.exists()


@pytest.mark.parametrize("name", [GRAPH_FILE, WEIGHTS_FILE])
def test_flipped_bytes_give_a_model_or_problems(folder, name):
    whole, outcomes = (folder / name).read_bytes(), [0, 0]
    for seed in range(300):
        draw = random.Random(seed)
        raw = bytearray(whole)
        # The header is short and holds all there is to confuse.
        end = len(raw) if name == GRAPH_FILE else 1400
        for _ in range(draw.choice((1, 2, 4, 8))):
            raw[draw.randrange(end)] = draw.choice((*b'0129"{}[],:-e\x00\xff', draw.randrange(256)))
        (folder / name).write_bytes(raw)
        if name == WEIGHTS_FILE:
            digest = hashlib.sha256(raw).hexdigest()
            change_graph(folder, lambda data, digest=digest: data.update(weights_sha256=digest))
        try:
            load_model(folder)
            outcomes[0] += 1
        except InvalidModel as error:
            assert str(error).isprintable()
            outcomes[1] += 1
    assert outcomes[0] >= 1
    assert outcomes[1] > 200
