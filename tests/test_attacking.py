# SPDX-License-Identifier: MIT
"""`art-spiking attack`: one attack under one threat model, told in tables, JSON and files."""

import json
import re

import host_samples as samples
import numpy as np
import pytest
from test_cli import with_samples

from art_spiking import registry
from art_spiking.attacks import AutoSpike, MinimalEdits
from art_spiking.attacks.ensemble import members
from art_spiking.cli import run
from art_spiking.cli.attacking import ADVERSARIAL, RESULT
from art_spiking.cli.written import parse_parameters, parse_threat
from art_spiking.errors import InvalidInput
from art_spiking.model_files import save_model
from art_spiking.records import Record
from art_spiking.registry import Catalogue
from art_spiking.threats import EventEdits
from art_spiking.trust import CHECKS

EDITS = "event-edits:max_edits=4,delete=false"


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """Only the built-ins and these tests' attacks and data set, whatever else is installed."""
    monkeypatch.setenv("ART_SPIKING_PLUGINS", "")
    monkeypatch.setattr(registry, "catalogue", with_samples(registry.catalogue))


@pytest.fixture
def model(tmp_path):
    save_model(samples.network(), tmp_path / "model", steps=samples.GRID.steps)
    return tmp_path / "model"


def call(model, *arguments, threat=EDITS):
    given = ["attack", model, "--data", "noise", "--threat", threat, *arguments]
    return run([str(argument) for argument in given])


def result_of(capsys, model, *arguments, **options):
    assert call(model, *arguments, "--json", **options) == 0
    return json.loads(capsys.readouterr().out)


def test_it_runs_autospike_and_tells_every_member(capsys, model):
    assert call(model, "--auto", "--exhaustive") == 0
    found = capsys.readouterr()
    assert "attacking 8 samples with auto-spike" in found.err
    lines = found.out.splitlines()
    start = lines.index(f"AutoSpike, ensemble {members.VERSION}")
    head = ["member", "tried", "fooled", "alone", "forwards", "backwards", "seconds"]
    assert lines[start + 1].split() == head
    names = [line.split("  ")[0] for line in lines[start + 3 : start + 13]]
    assert names[0] == "gradient, narrow"
    assert names[1].startswith("chosen on craft: ")
    assert names[2:] == [member.name for member in members.EDITS if not member.own][1:]
    assert lines[start + 13] == "every member attacked every sample; alone: fooled by no other member"
    checks = lines[lines.index("Checks of whether the number is to be trusted") + 1 :]
    assert [line.split()[1] for line in checks if line.startswith(("ok", "DOUBT"))] == list(CHECKS)
    assert re.fullmatch(r"(none|\d) of 6 checks raises a doubt", checks[-1])
    assert any(line.startswith("auto-spike") for line in lines)


def test_the_numbers_are_those_of_the_attack_itself(capsys, model):
    found = result_of(capsys, model, "--exhaustive", "--no-trust")
    data, classifier = samples.data("test", 8, seed=2), samples.classifier()
    attack = AutoSpike(classifier, EventEdits(4, delete=False), exhaustive=True)
    craft = samples.data("train", 8, seed=1)
    attack.tune(craft.x, craft.y)
    x_adv = attack.generate(data.x, data.y)
    fooled = int((classifier.predict(x_adv).argmax(1) != data.y).sum())
    (case,) = found["cases"]
    assert 0 < fooled < 8
    assert case["robust_accuracy"]["count"] == 8 - fooled
    assert case["robust_accuracy"]["low"] < case["robust_accuracy"]["value"] < case["robust_accuracy"]["high"]
    assert case["control_accuracy"]["total"] == 8
    assert case["median_edits"]["added"] <= 4
    members = found["ensemble"]["members"]
    for told, outcome in zip(members, attack.outcomes, strict=True):
        assert {**told, "seconds": 0} == {**vars(outcome), "seconds": 0}
    record = Record.model_validate_json(json.dumps(found["records"][0]))
    assert record.case.threat == {"kind": "event-edits", "max_edits": 4, "delete": False}
    assert record.craft.samples == 8


def test_the_adversarial_samples_are_written(capsys, model, tmp_path):
    out = tmp_path / "out"
    printed = result_of(capsys, model, "--limit", 5, "--no-trust", "--out", out)
    assert sorted(path.name for path in out.iterdir()) == sorted([ADVERSARIAL, RESULT])
    assert json.loads((out / RESULT).read_text()) == printed
    with np.load(out / ADVERSARIAL) as stored:
        arrays = dict(stored)
    assert arrays["x_adv"].shape == (5, *samples.GRID.shape)
    assert EventEdits(4, delete=False).violations(arrays["x_adv"], arrays["x"]) == []
    predicted = samples.classifier().predict(arrays["x_adv"]).argmax(1)
    np.testing.assert_array_equal(arrays["adversarial"], predicted)
    assert arrays["labels"].tolist() == printed["records"][0]["labels"]
    assert (arrays["x_adv"] != arrays["x"]).any()
    assert int(arrays["dt_us"]) == 1000


def test_members_see_what_those_before_them_left(capsys, model):
    assert call(model, "--no-trust") == 0
    lines = capsys.readouterr().out.splitlines()
    tried = [int(re.split(r" {2,}", line)[1]) for line in lines[-11:-1]]
    assert tried[0] == 8
    assert tried == sorted(tried, reverse=True)
    assert "--exhaustive" in lines[-1]


def test_what_the_time_did_not_allow_is_told(capsys, model):
    found = result_of(capsys, model, "--minutes", 1e-6)
    assert {entry["what"] for entry in found["ensemble"]["left_out"]} >= {"gradient, narrow", "square"}
    assert all(entry["samples"] for entry in found["ensemble"]["left_out"])
    assert "cut-short" in [flag["code"] for flag in found["records"][0]["flags"]]
    assert found["trust"]["checks"] == []
    assert len(found["trust"]["left_out"]) == len(CHECKS)
    assert found["records"][0]["case"]["minutes"] == 1e-6
    assert call(model, "--minutes", 1e-6) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "left out: gradient, narrow for 8 samples (0, 1, 2, 3, 4, 5, 6, 7): time was up" in text


@pytest.mark.parametrize(
    ("attack", "threat", "parameters", "control"),
    [
        ("event-square", EDITS, "queries=7", "random-events"),
        ("spike-retiming", "retiming:max_shift=1", None, "random-retiming"),
        ("universal-perturbation", EDITS, "epochs=1", "random-universal"),
        ("random-patch", "patch-region:area=0.2", "density=0.4", "random-patch"),
        ("event-gradient", EDITS + " & pixel-rate:max_rate_hz=400", "steps=2", "random-events"),
    ],
)
def test_any_registered_attack_runs_beside_its_control(capsys, model, attack, threat, parameters, control):
    more = () if parameters is None else ("--parameters", parameters)
    found = result_of(capsys, model, "--attack", attack, *more, "--craft", 3, "--seed", 5, threat=threat)
    (record,) = found["records"]
    assert found["ensemble"] is None
    assert record["case"]["attack"] == attack
    assert record["case"]["seed"] == 5
    assert record["case"]["control"]["attack"] == control
    assert record["status"] == "ok"
    fitted = attack in ("universal-perturbation", "random-patch")
    assert record["craft"]["samples"] == (3 if fitted else 1)


def test_the_fewest_edits_of_each_sample_are_told(capsys, model):
    asked = ("--attack", "event-gradient", "--parameters", "steps=5", "--minimal")
    found = result_of(capsys, model, *asked)
    (record,) = found["records"]
    assert record["case"]["attack"] == "minimal-edits"
    assert record["case"]["parameters"] == {"attack": "event-gradient", "parameters": {"steps": 5}}
    data, classifier = samples.data("test", 8, seed=2), samples.classifier()
    minimal = MinimalEdits(classifier, EventEdits(4, delete=False), parameters={"steps": 5})
    minimal.generate(data.x, data.y)
    expected = [None if np.isnan(number) else int(number) for number in minimal.edits]
    assert found["fewest_edits"] == expected
    told = [number for number in expected if number]
    assert told
    assert call(model, *asked) == 0
    assert f"fewest edits: found for {len(told)} of" in capsys.readouterr().out
    assert result_of(capsys, model, "--attack", "event-gradient")["fewest_edits"] is None
    assert call(model, "--minimal", "--attack", "random-universal") == 2
    assert "not universal" in capsys.readouterr().err


def test_doubts_about_the_model_are_told(capsys, monkeypatch, model):
    from art_spiking.evaluate import settings
    from art_spiking.records import Flag

    flag = Flag(code="zero-gradient", text="the gradient is exactly zero for all")
    monkeypatch.setattr(settings, "model_flags", lambda *_: (flag,))
    assert call(model, "--attack", "event-square") == 0
    assert "flag zero-gradient, event-square: the gradient is exactly zero" in capsys.readouterr().out


def test_an_attack_that_fails_is_exit_code_1(capsys, model, tmp_path):
    out = tmp_path / "out"
    assert call(model, "--attack", "raises", "--out", out) == 1
    assert "RuntimeError: out of spikes" in capsys.readouterr().out
    assert [path.name for path in out.iterdir()] == [RESULT]


@pytest.mark.parametrize(
    ("arguments", "threat", "message"),
    [
        ([], "event-edits:max_edits", "--threat does not parse; asked: max_edits; found: 'max_edits'"),
        ([], "event-edits=50", "such as event-edits:max_edits=50,delete=false"),
        ([], "event-edits:", "--threat does not parse"),
        ([], "event-edits:max_edits=5,max_edits=6", "found: max_edits twice"),
        ([], "event-edit:max_edits=5", "did you mean event-edits?"),
        ([], "event-edits:edits=5", "the parameters of the threat model 'event-edits' do not fit"),
        ([], "event-edits:max_edits=0", "max_edits"),
        ([], "event-edits:max_edits=99999", "99999"),
        ([], "patch-region:area=0.1", "nothing limits the number of edits"),
        ([], "linf:eps=0.5", "AutoSpike does not serve this threat model"),
        (["--attack", "event-sqare"], EDITS, "did you mean event-square"),
        (["--attack", "event-square", "--parameters", "query=3"], EDITS, "did you mean queries?"),
        (["--attack", "event-square", "--parameters", "seed=3"], EDITS, "give --seed"),
        (["--attack", "event-square", "--parameters", "queries=0"], EDITS, "queries does not fit"),
        (["--attack", "event-square", "--auto"], EDITS, "--auto belongs to AutoSpike"),
        (["--attack", "event-square", "--exhaustive"], EDITS, "--exhaustive belongs to AutoSpike"),
        (["--parameters", "queries=3"], EDITS, "AutoSpike has no parameters"),
        (["--out", "MODEL/graph.json"], EDITS, "Invalid value for '--out'"),
        (["--data", "nmist"], EDITS, "did you mean nmnist?"),
    ],
)
def test_wrong_use_is_one_clear_error(capsys, model, arguments, threat, message):
    given = [argument.replace("MODEL", str(model)) for argument in arguments]
    assert call(model, *given, threat=threat) == 2
    found = capsys.readouterr()
    assert message in found.err
    assert found.out == ""


def test_help_shows_a_full_example(capsys):
    assert run(["attack", "--help"]) == 0
    text = capsys.readouterr().out
    assert "art-spiking attack cnn.nir --data nmnist" in text
    assert "--threat event-edits:max_edits=50,delete=false" in text


def test_threats_as_written():
    assert parse_threat("event-edits: max_edits=0.1 , polarity=same") == {
        "kind": "event-edits",
        "max_edits": 0.1,
        "polarity": "same",
    }
    assert parse_threat("a&b:x=TRUE") == {
        "kind": "all-of",
        "members": [{"kind": "a"}, {"kind": "b", "x": True}],
    }
    assert parse_parameters("--parameters", "") == {}
    assert parse_parameters("--parameters", "a=-3,b=1e3,c=nan,d=x y") == {
        "a": -3,
        "b": 1000.0,
        "c": "nan",
        "d": "x y",
    }
    for text in ("", "&", "a:", "a:b", "a:=1", "a:b=", "a:b=1,", "A:b=1", "a:kind=b"):
        with pytest.raises(InvalidInput, match="--threat does not parse"):
            parse_threat(text)


def test_the_registered_attacks_are_left_as_they_were(model):
    """The command looks at what it builds through a copy of one entry."""
    before = registry.catalogue("attacks")
    assert isinstance(before, Catalogue)
    call(model, "--limit", 2, "--no-trust")
    assert registry.catalogue("attacks")["auto-spike"].load() is AutoSpike
