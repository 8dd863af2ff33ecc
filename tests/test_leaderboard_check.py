# SPDX-License-Identifier: MIT
"""The check of a submission: everything wrong is told at once, and no link that is sent is followed."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from art_spiking_leaderboard.check import build_classifier, check_submission, find_submissions, model_identity
from art_spiking_leaderboard.engine import model_digest
from art_spiking_leaderboard.manifest import MANIFEST, Files
from art_spiking_leaderboard.manifest_text import manifest_text
from leaderboard_world import CLASSES, DT_US, SHAPE, STEPS, names, network, tiny_events, write_submission
from powers import again_without_powers

from art_spiking.errors import InvalidInput
from art_spiking.model_files import save_model
from art_spiking.network import SpikingNetwork

FILTER = {"name": "background-activity-filter", "parameters": {"window_us": 2000, "dt_us": DT_US}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "submissions" / "mine"
    write_submission(path)
    return path


def texts(folder: Path) -> list[str]:
    return [str(problem) for problem in check_submission(folder, names()).problems]


def test_a_good_submission_has_no_problem_and_classifies(folder):
    submission = check_submission(folder, names())
    assert submission.problems == ()
    classifier = build_classifier(submission, names())
    data = tiny_events("test", steps=STEPS, dt_us=DT_US, binary=True)
    assert (classifier.predict(data.x).argmax(1) == data.y).mean() == 1.0


def test_a_readme_and_a_licence_may_lie_beside(folder):
    (folder / "README.md").write_text("hello")
    (folder / "LICENSE").write_text("MIT")
    assert texts(folder) == []


def test_problems_of_manifest_graph_and_weights_come_together(folder):
    manifest = (folder / "submission.toml").read_text()
    (folder / "submission.toml").write_text(manifest.replace("nb_classes = 3", 'nb_classes = "3"'))
    graph = json.loads((folder / "graph.json").read_text())
    graph["dt_us"] = "soon"
    (folder / "graph.json").write_text(json.dumps(graph))
    found = check_submission(folder, names()).problems
    assert {problem.file for problem in found} == {"submission.toml", "graph.json"}


def test_a_key_that_is_wrong_in_itself_hides_nothing(folder):
    """Schema, names, sizes, hashes, what graph.json says, its graph, the arrays, and a file too many."""
    manifest = (folder / "submission.toml").read_text()
    for old, new in (
        ('title = "Model mine"', "title = 7"),
        ('readout = "spike-count"', 'readout = "softmax"'),
        ('semantics = "sinabs"', 'semantics = "norse"'),
        ('name = "tiny-events"', 'name = "other-events"'),
        (f"dt_us = {DT_US}", "dt_us = 500"),
        ("binary = true", 'binary = "yes"'),
        ("size = ", "size = 1"),
        ("claimed_clean_accuracy = 1.0", "claimed_clean_accuracy = 1.5"),
    ):
        assert old in manifest
        manifest = manifest.replace(old, new)
    manifest = manifest.replace(
        "[data]", '[[defences]]\nname = "none-such"\nparameters = {x = [1]}\n\n[data]'
    )
    (folder / "submission.toml").write_text(manifest)
    graph = json.loads((folder / "graph.json").read_text())
    graph["version"] = 9
    last = graph["edges"][-1][1]
    graph["edges"].append([last, "nowhere"])
    (folder / "graph.json").write_text(json.dumps(graph))
    weights = bytearray((folder / "weights.safetensors").read_bytes())
    weights[-4:] = b"\xff\xff\xff\xff"
    (folder / "weights.safetensors").write_bytes(bytes(weights))
    (folder / "notes.txt").write_text("x")
    found = [(problem.file, problem.key) for problem in check_submission(folder, names()).problems]
    for key in (
        *("title", "readout", "semantics.reset", "data.name", "data.dt_us", "data.binary"),
        *("defences[0].parameters.x", "defences[0].name", "training.claimed_clean_accuracy"),
        *("files.graph.size", "files.graph.sha256", "files.weights.size", "files.weights.sha256"),
    ):
        assert ("submission.toml", key) in found, key
    assert ("graph.json", "version") in found
    assert ("graph.json", "weights_sha256") in found
    assert ("graph.json", f"edge {last!r} -> 'nowhere'") in found
    assert any(file == "weights.safetensors" for file, _ in found)
    assert ("'notes.txt'", "") in found
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('readout = "spike-count"', "readout = 7", "readout"),
        (f"nb_classes = {CLASSES}", 'nb_classes = "3"', "nb_classes"),
        (f"dt_us = {DT_US}", f"dt_us = {DT_US}.0", "data.dt_us"),
        ('name = "mine"', 'name = "Mine!"', "name"),
    ],
)
def test_a_value_that_is_wrong_in_itself_is_told_once(folder, old, new, key):
    manifest = (folder / "submission.toml").read_text()
    assert old in manifest
    (folder / "submission.toml").write_text(manifest.replace(old, new, 1))
    assert [problem.key for problem in check_submission(folder, names()).problems] == [key]


def test_weights_that_are_wrong_do_not_hide_what_the_graph_says(folder):
    write_submission(folder, nb_classes=4)
    (folder / "weights.safetensors").write_bytes(b"PK\x03\x04 an archive")
    found = [(problem.file, problem.key) for problem in check_submission(folder, names()).problems]
    assert ("submission.toml", "nb_classes") in found
    assert ("weights.safetensors", "") in found


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"name": "another"}, "name"),
        ({"readout": "softmax"}, "readout"),
        ({"nb_classes": 4}, "nb_classes"),
        ({"input_shape": (STEPS, 2, 7, 6)}, "input_shape"),
        ({"semantics": "norse"}, "semantics.reset"),
        ({"semantics": "brian"}, "semantics"),
        ({"semantics": {"reset": "subtract"}}, "semantics.spikes"),
        ({"data": {"name": "other-events", "dt_us": DT_US, "steps": STEPS, "binary": True}}, "data.name"),
        ({"data": {"name": "tiny-events", "dt_us": 500, "steps": STEPS, "binary": True}}, "data.dt_us"),
        ({"defences": ({"name": "no-such-filter", "parameters": {}},)}, "defences[0].name"),
        ({"defences": ({**FILTER, "parameters": {"window": 1}},)}, "defences[0].parameters"),
        (
            {"defences": ({**FILTER, "parameters": {"window_us": 2000, "dt_us": 7}},)},
            "defences[0].parameters.dt_us",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_disagrees_is_found(tmp_path, changes, key):
    folder = tmp_path / "mine"
    write_submission(folder, **changes)
    assert key in [problem.key for problem in check_submission(folder, names()).problems]


def test_semantics_may_be_written_out(tmp_path):
    stated = {key: value for key, value in network().semantics.to_dict().items() if value is not None}
    write_submission(tmp_path / "mine", semantics=stated)
    assert texts(tmp_path / "mine") == []


def test_a_changed_weight_file_is_found(folder):
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    found = texts(folder)
    assert any("files.weights.sha256" in text for text in found)
    assert not any("files.weights.size" in text for text in found)


@pytest.mark.parametrize("file", ["submission.toml", "graph.json", "weights.safetensors"])
def test_a_missing_file_is_found(folder, file):
    (folder / file).unlink()
    assert texts(folder) == [f"{file}: expected this file, found nothing"]


@pytest.mark.parametrize("file", ["submission.toml", "graph.json", "weights.safetensors", "README.md"])
def test_a_link_is_refused_and_not_followed(folder, file, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("name = 'do not read me'")
    (folder / file).unlink(missing_ok=True)
    (folder / file).symlink_to(secret)
    assert texts(folder) == [f"{file}: expected a regular file, found a symbolic link"]


@pytest.mark.parametrize("name", ["model.nir", "payload.pkl", "__init__.py", "evil\n\x1b[31m.txt"])
def test_other_files_are_refused_by_name(folder, name):
    (folder / name).write_text("x")
    (text,) = texts(folder)
    assert "another file" in text
    assert text.isprintable()


def test_a_folder_and_a_pipe_are_refused_without_waiting(folder):
    (folder / "README.md").mkdir()
    (folder / "submission.toml").unlink()
    os.mkfifo(folder / "submission.toml")
    assert [text.split(": ")[0] for text in texts(folder)] == ["README.md", "submission.toml"]


def test_an_oversized_file_is_refused_by_its_size(folder):
    with (folder / "submission.toml").open("ab") as file:
        file.truncate(1 << 33)
    (text,) = texts(folder)
    assert "at most 65536 bytes, found 8589934592 bytes" in text


def test_a_folder_of_submissions_and_a_single_one_are_both_found(folder):
    (folder.parent / ".hidden").mkdir()
    write_submission(folder.parent / "another")
    assert [path.name for path in find_submissions(folder.parent)] == ["another", "mine"]
    assert [path.name for path in find_submissions(folder)] == ["mine"]


def test_no_folder_and_an_empty_one_are_clear_errors(tmp_path):
    with pytest.raises(InvalidInput, match="no such folder"):
        find_submissions(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="no submission there"):
        find_submissions(tmp_path)


def test_the_models_digest_is_of_what_is_scored(tmp_path):
    def digest(name: str, **changes) -> str:
        write_submission(tmp_path / name, **changes)
        submission = check_submission(tmp_path / name, names())
        assert submission.problems == ()
        return model_digest(model_identity(submission, names()))

    base = digest("base")
    assert digest("renamed", title="Another title") == base
    others = [
        digest("reweighted", seed=1),
        digest("reread", readout="membrane-max"),
        digest("filtered", defences=(FILTER,)),
        digest("filtered-more", defences=({**FILTER, "parameters": {"window_us": 3000, "dt_us": DT_US}},)),
    ]
    assert len({base, *others}) == 5


def test_the_input_of_the_test_world_is_what_it_says():
    data = tiny_events("test", steps=STEPS, dt_us=DT_US, binary=True)
    assert data.x.shape[1:] == (STEPS, *SHAPE)
    assert set(data.y) == set(range(CLASSES))


def layered(folder: Path, **changes) -> Path:
    """A submission whose last layer has semantics of its own, in graph.json."""
    manifest, plain = write_submission(folder), network()
    (last,) = (name for name, node in plain.to_graph().nodes.items() if node.type == "IF")
    own = {last: replace(plain.semantics, reset="value")}
    built = SpikingNetwork.from_graph(
        plain.to_graph(), semantics=plain.semantics, layer_semantics=own, dt_us=DT_US
    )
    save_model(built, folder, steps=STEPS)
    stated = {key: value for key, value in own[last].to_dict().items() if value is not None}
    values = {"layer_semantics": {last: stated}, "files": Files.of(folder), **changes}
    (folder / MANIFEST).write_text(manifest_text(manifest.model_copy(update=values)))
    return folder


def test_semantics_of_single_layers_must_be_the_graphs(tmp_path):
    assert texts(layered(tmp_path / "same")) == []
    (problem,) = check_submission(layered(tmp_path / "silent", layer_semantics={}), names()).problems
    assert problem.key.startswith("layer_semantics.")
    assert "as graph.json says" in str(problem)
    (name,) = json.loads((tmp_path / "same" / "graph.json").read_text())["layer_semantics"]
    other = check_submission(layered(tmp_path / "other", layer_semantics={name: "sinabs"}), names()).problems
    assert [problem.key for problem in other] == [f"layer_semantics.'{name}'.reset"]


def test_semantics_of_a_layer_that_the_graph_does_not_state_are_a_problem(tmp_path):
    write_submission(tmp_path / "mine", layer_semantics={"nowhere": "norse"})
    (problem,) = check_submission(tmp_path / "mine", names()).problems
    assert problem.key == "layer_semantics.'nowhere'"
    assert "no such key" in str(problem)


@pytest.mark.parametrize("name", ["submission.toml", "weights.safetensors"])
def test_a_file_that_may_not_be_read_is_a_problem(request, folder, name):
    (folder / name).chmod(0)
    if os.access(folder / name, os.R_OK):
        return again_without_powers(request)
    assert f"{name}: expected a file that may be read, found mode 000" in texts(folder)
