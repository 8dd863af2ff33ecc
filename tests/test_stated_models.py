# SPDX-License-Identifier: MIT
"""What a model's file leaves open is stated before it is run, by every command; and layer by layer."""

import dataclasses
import json

import host_samples as samples
import numpy as np
import pytest
import torch
from graph_samples import chained, ones
from test_cli import with_samples

from art_spiking import registry
from art_spiking.cli import run
from art_spiking.errors import DifferentTimeStep, InvalidInput, UnknownName
from art_spiking.estimators import SpikingClassifier
from art_spiking.evaluate import prepare
from art_spiking.graphs import GraphSpec, NodeSpec
from art_spiking.model_files import StoredModel, check_model, load_model, read_model, save_model, write_model
from art_spiking.network import SpikingNetwork
from art_spiking.nir_graphs import write_nir
from art_spiking.semantics import PRESETS, NeuronSemantics
from art_spiking.semantics_text import model_semantics_text, parse_model_semantics

EDITS = ("--threat", "event-edits:max_edits=12")
WHOLE = PRESETS["snntorch"]
LAST = dataclasses.replace(WHOLE, reset="none")
CALLS = {
    "evaluate": ("--data", "noise", "--cases", "edits-50"),
    "attack": ("--data", "noise", *EDITS, "--attack", "first-cells"),
    "inspect": ("--data", "noise"),
}


def graph(*, tau: float | None = None, **metadata) -> GraphSpec:
    """Conv - IF or LIF "hidden" - Flatten - Affine - the same "last", as the noise samples want it."""
    source = samples.network().to_graph()
    nodes = {
        "input": source.nodes["input"],
        "conv": source.nodes["0"],
        "hidden": source.nodes["1"],
        "flat": source.nodes["2"],
        "full": source.nodes["3"],
        "last": source.nodes["4"],
        "output": source.nodes["output"],
    }
    if tau is not None:
        for name, shape in (("hidden", (4, 6, 6)), ("last", (3,))):
            fields = {"tau": tau, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.05}
            nodes[name] = NodeSpec("LIF", {}, {k: ones(*shape, scale=v) for k, v in fields.items()})
    return GraphSpec(nodes, chained(list(nodes)), metadata)


def mixed(**options) -> SpikingNetwork:
    return SpikingNetwork(graph(), semantics=WHOLE, layer_semantics={"last": LAST}, **options)


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    monkeypatch.setenv("ART_SPIKING_PLUGINS", "")
    monkeypatch.setattr(registry, "catalogue", with_samples(registry.catalogue))


def call(command, model, *more) -> int:
    return run([command, str(model), *CALLS.get(command, ()), *map(str, more)])


@pytest.mark.parametrize("command", CALLS)
def test_a_file_that_leaves_its_semantics_open_is_not_run(command, tmp_path, capsys):
    write_nir(graph(), tmp_path / "model.nir")
    assert call(command, tmp_path / "model.nir") == 2
    said = capsys.readouterr().err
    assert "model.nir does not state its semantics, without which it is not one model" in said
    assert "--semantics with nir, sinabs, snntorch, norse, spikingjelly, slayer or key=value pairs" in said
    assert "--semantics all shows what it does under each" in said


@pytest.mark.parametrize("command", CALLS)
def test_semantics_in_the_metadata_are_taken(command, tmp_path, capsys):
    SpikingNetwork(graph(), semantics="norse").to_nir(tmp_path / "model.nir")
    assert call(command, tmp_path / "model.nir", "--limit", 4, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    stated = {
        "evaluate": lambda: found["records"][0]["model"]["semantics"],
        "attack": lambda: found["records"][0]["model"]["semantics"],
        "inspect": lambda: found["semantics"],
    }[command]()
    assert stated == PRESETS["norse"].to_dict()


@pytest.mark.parametrize("command", CALLS)
def test_every_command_takes_semantics_layer_by_layer(command, tmp_path, capsys):
    write_nir(graph(), tmp_path / "model.nir")
    text = "snntorch;last:reset=none"
    assert call(command, tmp_path / "model.nir", "--semantics", text, "--limit", 4, "--json") == 0
    found = capsys.readouterr().out
    assert '"reset": "none"' in found or "reset=none" in found
    if command == "evaluate":
        (record,) = json.loads(found)["records"]
        assert record["model"]["semantics"]["layer last"] == LAST.to_text()
        assert record["model"]["digest"] == mixed().digest()


@pytest.mark.filterwarnings("default::art_spiking.errors.DifferentTimeStep")
@pytest.mark.parametrize("command", CALLS)
def test_another_step_is_told_once_with_its_numbers(command, tmp_path, capsys):
    write_nir(graph(tau=0.02, dt_us=2000, semantics="norse"), tmp_path / "model.nir")
    assert call(command, tmp_path / "model.nir", "--dt-us", 1000, "--limit", 2) == 0
    said = capsys.readouterr().err
    assert said.count("is a different network") == 1
    assert "warning: the model states steps of 2000 µs; at 1000 µs" in said
    assert "'hidden' (LIF) tau/dt 10 becomes 20, 'last' (LIF) tau/dt 10 becomes 20" in said


def test_nothing_is_said_of_integrate_and_fire_at_another_step(tmp_path, capsys):
    write_nir(graph(dt_us=2000, semantics="norse"), tmp_path / "model.nir")
    assert call("inspect", tmp_path / "model.nir", "--dt-us", 1000) == 0
    assert "different network" not in capsys.readouterr().err


def test_an_evaluation_in_python_compares_data_and_model():
    network = SpikingNetwork(graph(tau=0.02), semantics="norse", dt_us=500)
    estimator = SpikingClassifier(network, input_shape=samples.GRID.shape)
    case = samples.suite(samples.case("nothing"))
    with pytest.warns(DifferentTimeStep, match="steps of 500 µs; at 1000 µs"):
        prepare(estimator, samples.splits(), case, providers=samples.providers())


def test_pack_writes_time_constants_anew(tmp_path, capsys):
    write_nir(graph(tau=1e-3, semantics="norse"), tmp_path / "model.nir")
    stated = ("--out", tmp_path / "m", "--steps", 5, "--dt-us", 10_000)
    assert call("pack", tmp_path / "model.nir", *stated) != 0
    assert "longer than a time constant" in capsys.readouterr().err
    assert call("pack", tmp_path / "model.nir", *stated, "--written-dt-us", 100) == 0
    tau = read_model(tmp_path / "m").graph.nodes["hidden"].arrays["tau"]
    assert tau.ravel()[0] == pytest.approx(0.1)


def test_layers_differ_as_stated():
    network, plain = mixed(), SpikingNetwork(graph(), semantics=WHOLE)
    x = torch.from_numpy(samples.data("test", 6, seed=2).x)
    ours, theirs = network.activity(x), plain.activity(x)
    assert torch.equal(ours["hidden"], theirs["hidden"])
    alone = SpikingNetwork(graph(), semantics=LAST)
    assert not torch.equal(ours["last"], theirs["last"])
    by_hand = alone.layers[-1](network.layers[-2](network.layers[-3](ours["hidden"].flatten(0, 1))).unflatten(
        0, x.shape[:2]
    ))[0]  # fmt: skip
    assert torch.equal(ours["last"], by_hand)
    assert torch.equal(network.with_surrogate(network.surrogate)(x), network(x))
    assert torch.equal(network.with_semantics(WHOLE)(x), plain(x))
    assert torch.equal(plain.with_semantics(WHOLE, {"last": LAST})(x), network(x))


def test_the_digest_knows_layers_and_forgets_those_that_say_nothing_new():
    plain = SpikingNetwork(graph(), semantics=WHOLE)
    assert mixed().digest() != plain.digest()
    same = SpikingNetwork(graph(), semantics=WHOLE, layer_semantics={"last": "snntorch"})
    assert (same.layer_semantics, same.digest()) == ({}, plain.digest())


def test_a_nir_file_brings_them_back(tmp_path):
    mixed().to_nir(tmp_path / "mixed.nir")
    again = SpikingNetwork.from_nir(tmp_path / "mixed.nir")
    assert (again.semantics, again.layer_semantics) == (WHOLE, {"last": LAST})
    assert again.digest() == mixed().digest()
    asked = SpikingNetwork.from_nir(tmp_path / "mixed.nir", semantics="nir")
    assert asked.layer_semantics == {}


def test_a_packed_folder_brings_them_back(tmp_path, capsys):
    write_nir(graph(), tmp_path / "model.nir")
    stated = ("--semantics", "snntorch;last:reset=none", "--dt-us", 1000, "--steps", 5)
    assert call("pack", tmp_path / "model.nir", "--out", tmp_path / "a", *stated) == 0
    assert f"of last  {LAST.to_text()}" in capsys.readouterr().out
    save_model(mixed(dt_us=1000), tmp_path / "b", steps=5)
    assert load_model(tmp_path / "a").digest() == load_model(tmp_path / "b").digest()
    assert read_model(tmp_path / "a").layer_semantics == {"last": LAST}
    assert call("inspect", tmp_path / "a") == 0
    out = capsys.readouterr().out
    assert "           of last: reset none\n" in out
    assert call("inspect", tmp_path / "a", "--data", "noise", "--semantics", "all") == 0
    rows = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert [row for row in rows if row == "as stated" or row in PRESETS] == ["as stated", *PRESETS]


def test_a_model_of_one_semantics_is_written_as_ever(tmp_path):
    save_model(samples.network(), tmp_path / "plain", steps=5)
    assert "layer_semantics" not in json.loads((tmp_path / "plain" / "graph.json").read_text())


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ({"lost": LAST.to_dict()}, "layer_semantics: expected hidden, last, found 'lost'"),
        ({"conv": LAST.to_dict()}, "semantics say nothing of layer 'conv'"),
        ({"last": {"reset": "none"}}, "graph.json: layer_semantics.last: expected reset"),
        ({"last": "nir"}, "layer_semantics.last: expected"),
        ([], "layer_semantics: expected"),
    ],
)
def test_what_is_wrong_in_a_folder_is_said(tmp_path, layers, said):
    write_model(StoredModel(graph(), WHOLE, 1000, 5), tmp_path)
    text = json.loads((tmp_path / "graph.json").read_text()) | {"layer_semantics": layers}
    (tmp_path / "graph.json").write_text(json.dumps(text))
    assert said in "; ".join(str(problem) for problem in check_model(tmp_path))


def test_a_layer_that_is_not_there_or_has_no_semantics():
    with pytest.raises(UnknownName, match=r"asked: 'lst'; accepted: hidden, last; did you mean 'last'\?"):
        SpikingNetwork(graph(), layer_semantics={"lst": "nir"})
    with pytest.raises(InvalidInput, match="semantics say nothing of layer 'conv'; found: Conv2d"):
        SpikingNetwork(graph(), layer_semantics={"conv": "nir"})


def test_the_text_of_semantics_layer_by_layer():
    layers = {"a.b:c": PRESETS["sinabs"], "out": NeuronSemantics(reset="none")}
    text = model_semantics_text(WHOLE, layers)
    assert parse_model_semantics(text) == (WHOLE, layers)
    assert parse_model_semantics("norse") == (PRESETS["norse"], {})
    assert parse_model_semantics("sinabs; out:spikes=one ")[1]["out"].v_min == -1
    for wrong in ("snntorch;reset=none", "snntorch;:nir", "snntorch;a:nir;a:nir", "snntorch;"):
        with pytest.raises(InvalidInput, match="after a semicolon come a layer's name"):
            parse_model_semantics(wrong)
    for name in ("a;b", " a"):
        with pytest.raises(InvalidInput, match="cannot be written as text"):
            model_semantics_text(WHOLE, {name: LAST})


def test_copies_keep_them():
    import copy
    import pickle

    x = torch.from_numpy(samples.data("test", 2, seed=2).x)
    for twin in (copy.deepcopy(mixed()), pickle.loads(pickle.dumps(mixed()))):
        assert np.array_equal(twin(x).detach(), mixed()(x).detach())
        assert twin.digest() == mixed().digest()
