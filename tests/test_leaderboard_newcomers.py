# SPDX-License-Identifier: MIT
"""`leaderboard new`, the published schema, and the leaderboard in Python."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import leaderboard_world as world
import numpy as np
import pytest
from art_spiking_leaderboard import load_model, results
from art_spiking_leaderboard.cells import CellStore
from art_spiking_leaderboard.check import check_submission
from art_spiking_leaderboard.engine import Job, plan, run_cell
from art_spiking_leaderboard.manifest import MANIFEST, Manifest, manifest_schema
from art_spiking_leaderboard.manifest_text import fresh_manifest_text
from art_spiking_leaderboard.newcomers import NewOptions, new_submission

from art_spiking.errors import InvalidInput, UnknownName
from art_spiking.graphs import ModelProblems
from art_spiking.model_files import StoredModel, save_model
from art_spiking.network import SpikingNetwork

ROOT = Path(__file__).parents[1]
BUNDLED = ROOT / "leaderboard" / "submissions"
NOTHING = {"semantics": None, "dt_us": None, "steps": None}


@pytest.fixture
def packed(tmp_path):
    save_model(world.network(), tmp_path / "model", steps=world.STEPS)
    return tmp_path / "model"


def options(packed, **changes):
    values = {"asked": NOTHING, "data": "tiny-events", **changes}
    return NewOptions("my-model", packed, packed.parent / "submissions", **values)


def test_new_fills_in_what_model_and_data_tell_and_names_the_rest(packed, capsys):
    assert new_submission(options(packed), world.names()) == 0
    folder = packed.parent / "submissions" / "my-model"
    known = tomllib.loads((folder / MANIFEST).read_text())
    assert known["input_shape"] == [world.STEPS, *world.SHAPE]
    assert known["semantics"] == "sinabs"
    assert known["training"] == {"claimed_clean_accuracy": 1.0}
    left = {problem.key for problem in check_submission(folder, world.names()).problems}
    assert left == {"authors", "licence", "framework", "training.description"}
    said = capsys.readouterr().out
    assert all(f"  {key}\n" in said for key in left)


def test_new_builds_the_network_once_beside_the_checks(packed, monkeypatch):
    """Reading the model builds it, to see that it can be built, and so does the check of what was written."""
    built = []
    real = StoredModel.network
    monkeypatch.setattr(StoredModel, "network", lambda stored: built.append(stored) or real(stored))
    new_submission(options(packed), world.names())
    assert len(built) == 3


def test_new_states_semantics_of_single_layers(tmp_path):
    plain = world.network()
    (last,) = (name for name, node in plain.to_graph().nodes.items() if node.type == "IF")
    own = {last: replace(plain.semantics, reset="value")}
    layered = SpikingNetwork.from_graph(
        plain.to_graph(), semantics=plain.semantics, layer_semantics=own, dt_us=world.DT_US
    )
    save_model(layered, tmp_path / "model", steps=world.STEPS)
    new_submission(options(tmp_path / "model"), world.names())
    folder = tmp_path / "submissions" / "my-model"
    stated = tomllib.loads((folder / MANIFEST).read_text())["layer_semantics"]
    assert stated[last]["reset"] == "value"
    keys = [problem.key for problem in check_submission(folder, world.names()).problems]
    assert not any("semantics" in key for key in keys)


def test_what_is_left_filled_in_it_passes_the_check(packed):
    new_submission(options(packed), world.names())
    path = packed.parent / "submissions" / "my-model" / MANIFEST
    text = path.read_text()
    for key, value in {
        "authors": '["A"]',
        "licence": '"MIT"',
        "framework": '"x 1"',
        "description": '"y"',
    }.items():
        assert f"# {key} =\n" in text
        text = text.replace(f"# {key} =\n", f"{key} = {value}\n")
    path.write_text(text)
    assert check_submission(path.parent, world.names()).problems == ()


def test_every_key_is_explained():
    text = fresh_manifest_text({})
    for key, field in Manifest.model_fields.items():
        if key not in ("data", "training", "files"):
            assert field.description, key
            assert field.description.split()[0] in text
    assert tomllib.loads(text) == {"data": {}, "training": {}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"asked": {**NOTHING, "dt_us": 5}}, "states these itself"),
        ({"data": "no-such-data"}, "no-such-data"),
        ({"readout": "no-such-readout"}, "no-such-readout"),
    ],
)
def test_what_does_not_fit_leaves_nothing_behind(packed, changes, words):
    with pytest.raises((InvalidInput, UnknownName), match=words):
        new_submission(options(packed, **changes), world.names())
    assert not (packed.parent / "submissions" / "my-model").exists()


@pytest.mark.parametrize("name", ["../escape", "Upper", "", "a" * 65])
def test_a_name_that_cannot_be_one_is_refused(packed, name):
    with pytest.raises(InvalidInput, match="name"):
        new_submission(NewOptions(name, packed, packed.parent, NOTHING), world.names())


def test_a_folder_that_is_there_is_left_alone(packed):
    new_submission(options(packed), world.names())
    before = (packed.parent / "submissions" / "my-model" / MANIFEST).read_bytes()
    with pytest.raises(InvalidInput, match="of that name"):
        new_submission(options(packed), world.names())
    assert (packed.parent / "submissions" / "my-model" / MANIFEST).read_bytes() == before


def test_the_published_schema_is_that_of_the_code():
    """`art-spiking leaderboard schema > leaderboard/submission.schema.json` makes it."""
    assert json.loads((ROOT / "leaderboard" / "submission.schema.json").read_text()) == manifest_schema()


def test_the_schema_accepts_the_bundled_submissions_and_refuses_what_the_check_refuses():
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(manifest_schema())
    tables = [tomllib.loads((folder / MANIFEST).read_text()) for folder in BUNDLED.iterdir()]
    assert tables
    for table in tables:
        assert list(validator.iter_errors(table)) == []
        for change in ({"name": "No Name"}, {"colour": "red"}, {"nb_classes": 1}, {"semantics": 3}):
            assert list(validator.iter_errors({**table, **change}))


def test_a_submitted_model_is_an_estimator_behind_its_defences():
    classifier = load_model("digits-filtered", submissions=BUNDLED)
    x = np.zeros((2, *classifier.input_shape), np.float32)
    assert classifier.predict(x).shape == (2, 10)
    assert classifier.preprocessing_defences
    with pytest.raises(UnknownName, match="digits-plain"):
        load_model("digits-plane", submissions=BUNDLED)


def test_a_submission_with_problems_is_no_estimator(tmp_path):
    world.write_submission(tmp_path / "one", licence="MIT")
    path = tmp_path / "one" / MANIFEST
    path.write_text(path.read_text().replace("nb_classes = 3", "nb_classes = 4"))
    with pytest.raises(ModelProblems, match="nb_classes"):
        load_model("one", submissions=tmp_path)


def test_a_table_as_a_data_frame(tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    suite = world.suite()
    for seed, name in enumerate(("one", "two")):
        world.write_submission(tmp_path / "submissions" / name, seed=seed)
        submission = check_submission(tmp_path / "submissions" / name, world.names())
        for spec in plan(submission, Job(suite, tmp_path / "records"), world.workbench()):
            run_cell(spec, world.workbench())
    assert CellStore(tmp_path / "records").suites("one") == ["small"]
    monkeypatch.setattr("art_spiking_leaderboard.zoo.load_suite", lambda name: suite)
    monkeypatch.setattr("art_spiking_leaderboard.zoo.Names.installed", world.names)
    frame = results("small", records=tmp_path / "records", submissions=tmp_path / "submissions")
    assert len(frame) == 6
    assert set(frame["case"]) == {"flips-a", "flips-b", "flips-c"}
    assert frame["accuracy"].between(0, 1).all()
    assert (frame["worst_case"] <= frame["clean"]).all()
