# SPDX-License-Identifier: MIT
"""`art-spiking inspect`: tables, JSON, errors, and every semantics beside the others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from graph_samples import conv_graph, ones
from inspection_samples import (
    constant,
    conv,
    events,
    meeting,
    recurrent,
)

from art_spiking import registry
from art_spiking.cli import run
from art_spiking.datasets import EventData, load_data
from art_spiking.events import Grid
from art_spiking.graphs import GraphSpec
from art_spiking.model_files import StoredModel, write_model
from art_spiking.network import SpikingNetwork
from art_spiking.nir_graphs import read_nir, write_nir
from art_spiking.registry import Catalogue
from art_spiking.semantics import PRESETS, NeuronSemantics


@pytest.fixture
def installed(monkeypatch):
    """The built-ins and a data set of the samples above."""
    true = registry.catalogue

    def corner(split, *, steps=4, dt_us=1000, binary=True, data_dir=None, limit=None):
        x, y = events(limit or 6)
        return EventData(x, y, Grid(steps, dt_us, 3, 3, binary=binary), "corner", split, classes=3)

    def catalogue(kind, manager=None):
        more = Catalogue.of(kind, {"corner": corner} if kind == "datasets" else {}, "tests 1.0")
        return Catalogue(kind, {**true(kind, manager).entries, **more.entries})

    monkeypatch.setenv("ART_SPIKING_PLUGINS", "")
    monkeypatch.setattr(registry, "catalogue", catalogue)


def inspect(*arguments: object) -> int:
    return run(["inspect", *map(str, arguments)], commands=Catalogue.of("commands", COMMAND, "tests 1.0"))


COMMAND = {"inspect": "art_spiking.cli.inspecting:inspect_command"}
DATA = ("--data", "corner", "--semantics", "spikingjelly")


@pytest.fixture
def model(tmp_path) -> Path:
    write_nir(constant(), tmp_path / "model.nir")
    return tmp_path / "model.nir"


@pytest.fixture
def folder(tmp_path) -> Path:
    stored = StoredModel(conv_graph(), NeuronSemantics(fires="ge"), 1000, 50)
    write_model(stored, tmp_path / "packed")
    return tmp_path / "packed"


def test_the_table_of_a_file(model, capsys):
    assert inspect(model) == 0
    out = capsys.readouterr().out
    assert "semantics  not stated\ntime step  not stated; number of steps not stated\n" in out
    assert "input      (2, 3, 3)\noutput     (3,)\n" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["conv", "Conv2d", "2x3x3", "38", "-", "3x3", "324"] in rows
    assert ["full", "Affine", "3", "57", "-", "all", "54"] in rows
    assert ["b", "IF", "3", "-", "1", "all", "-"] in rows
    assert ["total", "95", "378"] in rows
    assert "from" not in rows[6]
    assert max(map(len, out.splitlines())) <= 80


def test_the_table_of_a_folder_has_times_and_decays(folder, capsys):
    assert inspect(folder) == 0
    out = capsys.readouterr().out
    assert "fires ge" in out
    assert "time step  1000 µs; 50 steps" in out
    assert ["last", "LIF", "3", "-", "20000", "0.95", "1", "all", "-"] in [
        s.split() for s in out.splitlines()
    ]
    assert inspect(folder, "--semantics", "sinabs") == 0
    out = capsys.readouterr().out
    assert "v_min -1.0" in out
    assert "(asked)" in out
    assert " 0.9512 " in out


def test_a_graph_that_is_no_chain_shows_its_edges(tmp_path, capsys):
    write_nir(recurrent(), tmp_path / "loop.nir")
    assert inspect(tmp_path / "loop.nir") == 0
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if line.startswith("hidden"))
    assert row.endswith("back*, enter")
    assert "* arrives one step later" in out


def test_long_names_and_many_edges_stay_within_the_width(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    branches = {f"a_branch_with_a_rather_long_name_{k}": conv(ones(1, 1, 1, 1)) for k in range(5)}
    write_nir(meeting(**branches), tmp_path / "wide.nir")
    assert inspect(tmp_path / "wide.nir") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("…" in line for line in lines) == 10  # five layers, and five that feed the sum


def test_activity_and_json_have_the_same(model, installed, capsys):
    assert inspect(model, *DATA) == 0
    text = capsys.readouterr()
    rows = [line.split() for line in text.out.splitlines()]
    assert ["conv", "Conv2d", "-", "26.00"] in rows
    assert ["a", "IF", "72.00", "-"] in rows
    assert ["full", "Affine", "-", "216.00"] in rows
    assert ["total", "76.00", "242.00"] in rows
    assert "data       corner, 6 test samples, 4 steps of 1000 µs, binary frames" in text.out
    assert "accuracy   0.50 [0.19, 0.81]\noutput     4.00 spikes per sample\n" in text.out
    assert text.err == "6 of 6 samples done\n"
    assert inspect(model, *DATA, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    layers = {layer["name"]: layer for layer in found["layers"]}
    assert layers["conv"] == {
        "name": "conv",
        "type": "Conv2d",
        "output_shape": [2, 3, 3],
        "parameters": 38,
        "times_us": {},
        "decay": None,
        "threshold": None,
        "receptive_field": [3, 3],
        "multiply_adds": 324,
        "inputs": ["in"],
        "late_inputs": [],
        "spikes": None,
        "synaptic_operations": 26.0,
    }
    assert layers["a"]["spikes"] == 72.0
    assert layers["a"]["threshold"] == {"low": 1.0, "high": 1.0}
    assert found["totals"] == {
        "parameters": 95,
        "multiply_adds": 378,
        "spikes": 76.0,
        "synaptic_operations": 242.0,
    }
    assert (found["semantics"], found["asked"]) == (PRESETS["spikingjelly"].to_dict(), ["semantics"])
    assert (found["dt_us"], found["steps"], found["input_events"]) == (None, None, 2.0)
    assert found["graph_digest"] == read_nir(model).digest()
    (trial,) = found["trials"]
    assert (trial["accuracy"]["value"], trial["output_spikes"]) == (0.5, 4.0)


def test_json_without_data_has_null_for_what_was_not_run(folder, capsys):
    assert inspect(folder, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["data"], found["trials"], found["totals"]["spikes"]) == (None, [], None)
    assert found["layers"][-1]["times_us"] == {"tau": {"low": 20_000.0, "high": 20_000.0}}
    assert found["layers"][-1]["decay"]["low"] == pytest.approx(0.95)
    assert (found["dt_us"], found["steps"], found["asked"]) == (1000, 50, [])


def test_all_semantics_beside_each_other(model, installed, capsys):
    assert inspect(model, "--data", "corner", "--semantics", "all", "--limit", 4) == 0
    out = capsys.readouterr().out
    rows = [line.split()[:5] for line in out.splitlines()]
    # A potential of exactly the threshold fires under "ge" alone; without a reset at once it grows.
    assert ["spikingjelly", "0.50", "[0.15,", "0.85]", "4.00"] in rows
    assert ["sinabs", "0.50", "[0.15,", "0.85]", "4.00"] in rows
    assert ["nir", "0.50", "[0.15,", "0.85]", "2.00"] in rows
    assert [row[0] for row in rows if row and row[0] in PRESETS] == list(PRESETS)
    assert "4.00  fires ge, pool_gradient lp\n" in out  # beside nir
    assert "  integration fixed-point, scale\n" in out
    assert "or once for all with `art-spiking pack`. Rows" in out
    assert inspect(model, "--data", "corner", "--semantics", "all", "--limit", 4, "--json") == 0
    trials = json.loads(capsys.readouterr().out)["trials"]
    assert {trial["name"]: trial["output_spikes"] for trial in trials}["nir"] == 2.0
    assert [trial["semantics"] for trial in trials] == [one.to_dict() for one in PRESETS.values()]


def test_what_the_model_states_stands_beside_the_presets(tmp_path, installed, capsys):
    own = NeuronSemantics(reset="none", fires="ge")
    write_model(StoredModel(constant(), own, 1000, 4), tmp_path / "own")
    assert inspect(tmp_path / "own", "--data", "corner", "--semantics", "all", "--json") == 0
    trials = json.loads(capsys.readouterr().out)["trials"]
    assert [trial["name"] for trial in trials] == ["as stated", *PRESETS]
    assert trials[0]["semantics"] == own.to_dict()
    assert [trial["is_stated"] for trial in trials] == [True] + [False] * len(PRESETS)


def test_the_preset_that_the_model_states_is_marked(tmp_path, installed, capsys):
    write_model(StoredModel(constant(), PRESETS["norse"], 1000, 4), tmp_path / "own")
    assert inspect(tmp_path / "own", "--data", "corner", "--semantics", "all", "--counts") == 0
    out = capsys.readouterr().out
    assert "norse (as stated)  0.50" in out
    assert out.count("as stated") == 1
    assert "4 steps of 1000 µs, event counts" in out


def test_a_terminal_sees_a_bar(model, installed, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert inspect(model, *DATA) == 0
    captured = capsys.readouterr()
    assert "6/6" in captured.err
    assert "accuracy   0.50" in captured.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--semantics", "brian"), "no such neuron semantics"),
        (("--semantics", " "), "--semantics is empty"),
        (("--semantics", "all"), "--semantics all needs data"),
        (("--limit", "3", "--steps", "2"), "--limit, --steps needs data"),
        (("--data", "cornr"), "did you mean corner?"),
        (("--data", "corner"), "model.nir does not state its semantics"),
        (("--data", "corner", "--semantics", "nir", "--steps", "0"), "--steps"),
    ],
)
def test_wrong_usage(model, installed, capsys, arguments, said):
    assert inspect(model, *arguments) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""


def test_a_time_step_that_is_needed_and_not_stated(tmp_path, installed, capsys):
    graph = conv_graph()
    write_nir(graph, tmp_path / "leaky.nir")
    assert inspect(tmp_path / "leaky.nir", *DATA) == 2
    error = capsys.readouterr().err
    assert "leaky.nir does not state dt_us" in error
    assert "found: last (LIF)" in error
    assert "--dt-us" in error
    write_nir(GraphSpec(graph.nodes, graph.edges, {"dt_us": 0.5}), tmp_path / "odd.nir")
    assert inspect(tmp_path / "odd.nir") == 3
    assert "dt_us = 0.5" in capsys.readouterr().err


def test_a_folder_keeps_its_time_step(folder, installed, capsys):
    assert inspect(folder, "--dt-us", 2000) == 2
    assert (
        "a model folder states its own dt_us; asked: --dt-us 2000; found: dt_us = 1000"
        in capsys.readouterr().err
    )
    assert inspect(folder, "--steps", 50, "--data", "corner", "--limit", 1) == 2
    assert "found: (1, 4, 2, 3, 3); accepted: (N, T=50" in capsys.readouterr().err


def test_no_model(tmp_path, capsys):
    assert inspect(tmp_path / "absent.nir") == 2
    assert "no such model" in capsys.readouterr().err
    (tmp_path / "noise.nir").write_bytes(b"noise")
    assert inspect(tmp_path / "noise.nir") == 3
    assert "noise.nir is not an HDF5 file" in capsys.readouterr().err


def test_help_names_every_preset_and_option(capsys):
    assert inspect("--help") == 0
    text = capsys.readouterr().out
    options = ("--data", "--data-dir", "--limit", "--dt-us", "--steps", "--semantics", "--binary", "--json")
    for word in (*PRESETS, "all", *options):
        assert word in text, word


def test_help_imports_nothing_heavy():
    code = (
        "import sys, art_spiking.cli.inspecting, art_spiking.cli.inspection_output; "
        "print([name for name in ('torch', 'art', 'numba', 'h5py', 'sklearn') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.data
def test_the_community_model_under_every_semantics(shared_data, capsys):
    path, recordings = shared_data / "nir" / "cnn_sinabs.nir", shared_data / "nmnist-1100"
    asked = ("--data", "nmnist", "--data-dir", recordings, "--limit", 10, "--semantics", "all", "--json")
    assert inspect(path, *asked) == 0
    trials = {trial["name"]: trial for trial in json.loads(capsys.readouterr().out)["trials"]}
    data = load_data("nmnist", "test", data_dir=recordings, limit=10)
    for name, semantics in PRESETS.items():
        with torch.no_grad():
            counts = SpikingNetwork.from_nir(path, semantics=semantics)(torch.tensor(data.x)).sum(1)
        right = int((counts.argmax(1).numpy() == data.y).sum())
        assert trials[name]["accuracy"]["count"] == right
        assert trials[name]["output_spikes"] == pytest.approx(float(counts.sum()) / 10)
