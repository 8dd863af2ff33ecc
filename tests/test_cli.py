# SPDX-License-Identifier: MIT
"""The program: fast help, one line per error, tables and JSON, exit codes, and runs that resume."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import click
import host_samples as samples
import numpy as np
import pytest
from graph_samples import conv_graph
from powers import again_without_powers

from art_spiking import registry
from art_spiking.cli import run
from art_spiking.cli.evaluation import _duration, _stated, finished_records, run_cases
from art_spiking.cli.output import summary, table
from art_spiking.errors import InvalidInput, InvalidModel, InvalidSubmission
from art_spiking.evaluate import Providers, evaluate, prepare
from art_spiking.model_files import save_model
from art_spiking.records import Record, read_record
from art_spiking.registry import Catalogue, PluginWarning

FLIP = {"kind": "event-edits", "max_edits": 12}


@pytest.fixture
def installed(monkeypatch):
    """Only the built-ins and these tests' attacks and data set, whatever else is installed."""
    catalogue = with_samples(registry.catalogue)
    monkeypatch.setenv("ART_SPIKING_PLUGINS", "")
    monkeypatch.setattr(registry, "catalogue", catalogue)
    monkeypatch.setattr("art_spiking.cli.listing.catalogue", catalogue)


def with_samples(true):
    """`registry.catalogue` with these tests' attacks and data set added."""
    extra = {"attacks": samples.ATTACKS, "datasets": {"noise": noise}}

    def catalogue(kind, manager=None):
        found = true(kind, manager)
        more = Catalogue.of(kind, extra.get(kind, {}), "tests 1.0")
        return Catalogue(kind, {**found.entries, **more.entries})

    return catalogue


def noise(split, *, steps=5, dt_us=1000, binary=True, data_dir=None, limit=None):
    return samples.data(split, min(8, limit or 8), seed={"train": 1, "test": 2}[split])


@pytest.fixture
def model(tmp_path):
    save_model(samples.network(), tmp_path / "model", steps=samples.GRID.steps)
    return tmp_path / "model"


SUITE = """
name = "small"
version = 1
[[cases]]
name = "flip"
attack = "first-cells"
threat = { kind = "event-edits", max_edits = 12 }
control = { attack = "nothing" }
[[cases]]
name = "still"
attack = "nothing"
threat = { kind = "event-edits", max_edits = 12 }
"""
FAILING = """
[[cases]]
name = "failing"
attack = "raises"
threat = { kind = "event-edits", max_edits = 12 }
"""
STOPPING = FAILING.replace("failing", "stopping").replace("raises", "interrupted")


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SUITE)
    return path


def call(*arguments, **options):
    return run([str(argument) for argument in arguments], **options)


# -- the program ------------------------------------------------------------------------------------


def test_help_lists_every_command_without_importing_it():
    """torch takes seconds; help must not: nothing heavy is imported, and not much at all."""
    code = (
        "import sys\n"
        "from art_spiking.cli import run\n"
        "code = run(['--help'])\n"
        "print(len(sys.modules), file=sys.stderr)\n"
        "heavy = {'torch', 'art', 'numba', 'h5py', 'matplotlib', 'numpy', 'pydantic', 'sqlalchemy'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("evaluate", "inspect", "list", "pack"):
        assert f"\n  {name} " in done.stdout
    assert "75 interrupted" in done.stdout
    assert int(done.stderr.splitlines()[-1]) < 300


def test_the_installed_program_answers():
    program = os.path.join(os.path.dirname(sys.executable), "art-spiking")
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("art-spiking 0.")


def test_a_misspelt_command_gets_a_suggestion(capsys):
    assert call("evaluat") == 2
    assert "error: unknown command 'evaluat'" in capsys.readouterr().err
    assert call("evaluat", commands=Catalogue.of("commands", {"evaluate": "m:f"})) == 2
    assert "did you mean evaluate?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (InvalidInput("no", found=3), 2, "error: no; found: 3"),
        (InvalidModel("bad model"), 3, "error: bad model"),
        (InvalidSubmission("bad submission"), 3, "error: bad submission"),
        (click.UsageError("wrong"), 2, "wrong"),
        (KeyboardInterrupt(), 75, "interrupted"),
        (OSError(28, "No space left on device"), 2, "error: [Errno 28] No space left on device"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(capsys, raised, code, message):
    @click.command("fail")
    def fail():
        raise raised

    assert call("fail", commands=Catalogue.of("commands", {"fail": fail})) == code
    found = capsys.readouterr()
    assert message in found.err
    assert "Traceback" not in found.err
    assert found.out == ""


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1), (75, 75)])
def test_a_command_returns_its_exit_code(returned, code):
    command = click.command("answer")(lambda: returned)
    assert call("answer", commands=Catalogue.of("commands", {"answer": command})) == code


def test_a_command_that_is_none_names_its_provider(capsys):
    assert call("odd", commands=Catalogue.of("commands", {"odd": len}, "odd-plugin 2.0")) == 2
    assert "the command 'odd' of odd-plugin 2.0 is not one" in capsys.readouterr().err


def test_a_warning_about_a_plugin_is_one_line_told_once(capsys):
    @click.command("warn")
    def warn():
        for _ in range(2):
            warnings.warn("ignoring the\nplugin of x 1.0", PluginWarning, stacklevel=1)

    assert call("warn", commands=Catalogue.of("commands", {"warn": warn})) == 0
    assert capsys.readouterr().err == "warning: ignoring the plugin of x 1.0\n"


# -- list -------------------------------------------------------------------------------------------


def test_list_shows_name_provider_and_summary(capsys, installed):
    assert call("list", "attacks") == 0
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("  event-gradient ")]
    assert line.split()[:3] == ["event-gradient", "art-spiking", "0.1.0"]
    assert "tests 1.0" in out
    assert max(map(len, out.splitlines())) <= 100


def test_list_shows_every_kind(capsys, installed):
    assert call("list") == 0
    out = capsys.readouterr().out
    for kind in ("attacks", "threats", "defences", "datasets", "suites", "frameworks", "commands"):
        assert kind in out.splitlines()


def test_list_as_json(capsys, installed):
    assert call("list", "suites", "--json") == 0
    entries = json.loads(capsys.readouterr().out)["suites"]
    assert "events-quick" in [entry["name"] for entry in entries]
    assert all(entry["provider"].startswith("art-spiking ") for entry in entries)


def test_list_of_an_unknown_kind_is_a_usage_error(capsys):
    assert call("list", "atacks") == 2
    assert "'atacks' is not one of 'attacks'" in capsys.readouterr().err


# -- evaluate ---------------------------------------------------------------------------------------


def test_evaluate_prints_a_table(capsys, installed, model, suite):
    assert call("evaluate", model, "--data", "noise", "--suite", suite) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert max(map(len, lines)) <= 100
    (flip,) = [line for line in lines if line.startswith("flip ")]
    assert flip.split()[-1] == "1"
    (still,) = [line for line in lines if line.startswith("still ")]
    assert still.split()[1:4] == ["1.00", "[0.68,", "1.00]"]
    assert "semantics  reset subtract" in out
    assert "worst case over 2 attacks, per sample:" in out
    assert "flip: accuracy" in err


def test_evaluate_as_json_leaves_stdout_to_the_json(capsys, installed, model, suite):
    assert call("evaluate", model, "--data", "noise", "--suite", suite, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    flip, still = found["cases"]
    assert still["robust_accuracy"]["value"] == found["clean_accuracy"]["value"] == 1.0
    assert flip["control_accuracy"]["value"] == 1.0
    assert flip["forwards_per_sample"] == 2.0
    assert found["worst_case_accuracy"]["value"] == flip["robust_accuracy"]["value"]
    assert found["records"][0]["provenance"]["command"][0] == "art-spiking"
    assert found["suite"]["name"] == "small"


def test_a_failed_case_is_exit_code_1_and_the_others_are_kept(capsys, installed, model, suite):
    suite.write_text(SUITE + FAILING)
    assert call("evaluate", model, "--data", "noise", "--suite", suite) == 1
    out = capsys.readouterr().out
    assert "worst case over 2 attacks" in out
    assert "1 case of 3 gave no number" in out
    assert "error in failing: RuntimeError: out of spikes" in out


def test_every_case_has_the_same_keys_as_json(capsys, installed, model, suite):
    suite.write_text(SUITE + FAILING)
    assert call("evaluate", model, "--data", "noise", "--suite", suite, "--json") == 1
    flip, still, failing = json.loads(capsys.readouterr().out)["cases"]
    assert list(flip) == list(still) == list(failing)
    assert flip["attack_success"] is not None
    assert still["control_accuracy"] is None
    empty = ("robust_accuracy", "control_accuracy", "attack_success", "median_edits")
    assert [failing[key] for key in empty] == [None] * 4
    assert failing["error"] == "RuntimeError: out of spikes"


def test_the_steps_that_a_model_folder_states_may_be_given(installed, model, suite):
    assert call("evaluate", model, "--data", "noise", "--suite", suite, "--steps", 5) == 0


def test_named_cases_and_a_limit(capsys, installed, model, suite):
    arguments = ("--data", "noise", "--suite", suite, "--cases", "still", "--limit", 3, "--json")
    assert call("evaluate", model, *arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert [case["case"] for case in found["cases"]] == ["still"]
    assert found["data"]["samples"] == 3


def test_an_interrupted_run_resumes(capsys, installed, model, suite, tmp_path, monkeypatch):
    out = tmp_path / "records"
    arguments = ("evaluate", model, "--data", "noise", "--suite", suite, "--out", out, "--json")
    suite.write_text(SUITE + STOPPING)
    assert call(*arguments) == 75
    found = capsys.readouterr()
    assert f"interrupted; 2 finished cases are kept in {out}" in found.err
    assert [line.split(";")[0] for line in found.err.splitlines()][-2:] == ["", "interrupted"]
    assert found.out == ""
    assert sorted(path.name for path in out.iterdir()) == ["flip.json", "still.json"]
    kept = read_record(out / "flip.json")

    monkeypatch.setitem(samples.ATTACKS, "interrupted", samples.Nothing)
    assert call(*arguments) == 0
    found = capsys.readouterr()
    assert "resuming: 2 of 3 cases are done" in found.err
    assert "flip" not in found.err
    assert json.loads(found.out)["records"][0] == json.loads(kept.to_json())


WAITING = """
import sys, time
from pathlib import Path
import host_samples as samples, test_cli
from art_spiking import registry

class Waits(samples.FirstCells):
    def generate(self, x, y):
        Path(sys.argv[-1]).with_suffix(".waiting").touch()
        time.sleep(60)

samples.ATTACKS["interrupted"] = Waits
registry.catalogue = test_cli.with_samples(registry.catalogue)
from art_spiking.cli import main
main()
"""


def test_a_terminated_process_is_75_and_keeps_its_finished_cases(model, suite, tmp_path):
    suite.write_text(SUITE + STOPPING)
    out = tmp_path / "records"
    places = [model, "--data", "noise", "--suite", suite, "--out", out]
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, "evaluate", *map(str, places)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), "ART_SPIKING_PLUGINS": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        waiting, deadline = tmp_path / "records.waiting", time.monotonic() + 60
        while not waiting.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        printed, told = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 75, told
    assert printed == ""
    kept = f"2 finished cases are kept in {out}; the same command goes on from there"
    assert told.splitlines()[-1] == f"interrupted; {kept}"
    assert sorted(path.name for path in out.iterdir()) == ["flip.json", "still.json"]
    assert read_record(out / "flip.json").status == "ok"


def test_ctrl_c_while_the_program_is_imported_is_one_line():
    code = (
        "import sys\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'click':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "from art_spiking.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (75, "", "interrupted\n")


def test_a_name_that_the_program_does_not_offer():
    import art_spiking.cli

    assert {getattr(art_spiking.cli, name) is not None for name in art_spiking.cli.__all__} == {True}
    with pytest.raises(AttributeError, match="no attribute 'walk'"):
        art_spiking.cli.walk  # noqa: B018 (that is the test)


def test_the_time_left_is_estimated_without_a_terminal(capsys, installed, model, suite, monkeypatch):
    clock = iter(range(0, 4000, 100))
    suite.write_text(SUITE + FAILING)
    monkeypatch.setattr("art_spiking.cli.evaluation.time.monotonic", lambda: next(clock))
    assert call("evaluate", model, "--data", "noise", "--suite", suite) == 1
    told = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"flip: accuracy .* in 0 s \(1 of 3, about 3 min left\)", told[0])
    assert re.fullmatch(r"still: .* \(2 of 3, about 2 min left\)", told[1])
    assert told[2] == "failing: error (3 of 3)"


@pytest.mark.parametrize(("seconds", "text"), [(8.4, "8 s"), (600, "10 min"), (9000, "2.5 h")])
def test_durations_are_told_in_a_unit_that_fits(seconds, text):
    assert _duration(seconds) == text


def test_a_file_that_is_no_record_is_set_aside_and_told(capsys, installed, model, suite, tmp_path):
    out = tmp_path / "records"
    arguments = ("evaluate", model, "--data", "noise", "--suite", suite, "--out", out)
    assert call(*arguments) == 0
    whole = (out / "flip.json").read_bytes()
    for number in (1, 2):
        (out / "flip.json").write_bytes(b"garbage")
        capsys.readouterr()
        assert call(*arguments) == 0
        err = capsys.readouterr().err
        assert f"the record {out / 'flip.json'} is not valid" in err
        assert f"it is now flip.broken-{number}, and the case runs again" in err
        assert (out / f"flip.broken-{number}").read_bytes() == b"garbage"
        assert read_record(out / "flip.json").adversarial == Record.from_json(whole).adversarial


def test_records_of_another_model_are_not_mixed_in(capsys, installed, model, suite, tmp_path):
    out = tmp_path / "records"
    assert call("evaluate", model, "--data", "noise", "--suite", suite, "--out", out) == 0
    save_model(samples.network(seed=4), tmp_path / "other", steps=samples.GRID.steps)
    capsys.readouterr()
    assert call("evaluate", tmp_path / "other", "--data", "noise", "--suite", suite, "--out", out) == 2
    err = capsys.readouterr().err
    assert "holds the record of another model, suite or data" in err
    assert "flip.json: model, small 1, 8 samples of noise" in err


def test_a_failed_case_is_run_again(installed, tmp_path):
    cases = [samples.case("raises")]
    setting = prepare(
        samples.classifier(), samples.splits(), samples.suite(*cases), providers=samples.providers()
    )
    (first,) = run_cases(setting, cases, tmp_path)
    assert first.status == "error"
    assert (tmp_path / "raises.json").exists()
    assert finished_records(setting, cases, tmp_path) == {}


def test_a_folder_that_cannot_be_written_is_told_before_the_work(
    request, capsys, installed, model, suite, tmp_path
):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if os.access(closed, os.W_OK):
        return again_without_powers(request)
    assert call("evaluate", model, "--data", "noise", "--suite", suite, "--out", closed) == 2
    assert "records cannot be kept in that folder" in capsys.readouterr().err


def test_an_out_that_is_no_folder_is_told_before_the_work(capsys, installed, model, suite, tmp_path):
    (tmp_path / "file").write_text("")
    arguments = ("evaluate", model, "--data", "noise", "--suite", suite)
    assert call(*arguments, "--out", tmp_path / "file" / "records") == 2
    assert "records cannot be kept in that folder" in capsys.readouterr().err


def test_a_full_disk_is_one_error(capsys, installed, model, suite, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    arguments = ("evaluate", model, "--data", "noise", "--suite", suite, "--out", tmp_path / "records")
    assert call(*arguments) == 75
    err = capsys.readouterr().err
    assert "flip.json; found: no room left on the disk; make room" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["absent.nir", "--data", "noise"], 2, "error: no such model; asked: absent.nir"),
        (["MODEL", "--data", "nmist"], 2, "did you mean nmnist?"),
        (["MODEL", "--data", "noise", "--suite", "events-quik"], 2, "did you mean events-quick"),
        (["MODEL", "--data", "noise", "--suite", "SUITE", "--cases", "flop"], 2, "did you mean flip?"),
        (["MODEL", "--data", "noise", "--suite", "SUITE", "--readout", "spike-mean"], 2, "unknown readout"),
        (["MODEL", "--data", "noise", "--semantics", "sinabs"], 2, "states its own semantics"),
        (["MODEL", "--data", "noise", "--dt-us", "7"], 2, "states its own time step"),
        (["MODEL", "--data", "noise", "--steps", "7"], 2, "asked: --steps 7; found: steps = 5; leave"),
        (["TEXT", "--data", "noise", "--semantics", ""], 2, "--semantics is empty"),
        (
            ["MODEL", "--data", "noise", "--suite", "SUITE", *["--cases", "flip"] * 2],
            2,
            "named twice; asked: --cases flip",
        ),
        (["MODEL", "--data", "digits-dvs", "--data-dir", "absent"], 2, "no such folder: digits-dvs needs no"),
        (["MODEL", "--data", "noise", "--steps", "0"], 2, "0 is not in the range"),
        (["MODEL"], 2, "Missing option '--data'"),
        (["TEXT", "--data", "noise"], 3, "error: "),
        (["EMPTY", "--data", "noise"], 3, "graph.json"),
    ],
)
def test_wrong_use_is_one_clear_error(capsys, installed, model, suite, tmp_path, arguments, code, message):
    (tmp_path / "text.nir").write_text("no model")
    (tmp_path / "empty").mkdir()
    places = {"MODEL": model, "SUITE": suite, "TEXT": tmp_path / "text.nir", "EMPTY": tmp_path / "empty"}
    assert call("evaluate", *[places.get(argument, argument) for argument in arguments]) == code
    found = capsys.readouterr()
    assert message in found.err
    assert found.out == ""


# -- what is printed --------------------------------------------------------------------------------


def records(*cases, **more):
    providers = samples.providers(**more)
    assert isinstance(providers, Providers)
    return list(evaluate(samples.classifier(), samples.splits(), samples.suite(*cases), providers=providers))


def test_flags_are_told_in_words_with_their_cases():
    found = records(samples.case("nothing", control="first-cells"), samples.case("cheats"))
    text = " ".join(table(found).split())
    assert "flag control-as-strong, nothing: the random control is as strong" in text
    assert "flag budget-violation, cheats: 8 of 8 samples break rule" in text
    assert "no flags" not in text
    (line,) = [line for line in table(found).splitlines() if line.startswith("cheats ")]
    assert line.split()[1:3] == ["invalid", "-"]


class EveryOther(samples.FirstCells):
    """Leaves every second sample alone, as an attack that fails does."""

    def generate(self, x, y):
        x_adv = super().generate(x, y)
        x_adv[1::2] = x[1::2]
        return x_adv


def test_samples_that_were_not_fooled_do_not_enter_the_medians():
    (record,) = records(samples.case("every-other"), every_other=EveryOther)
    cost = record.cost
    fooled = [a != b for a, b in zip(record.labels, record.adversarial, strict=True)]
    assert 0 < sum(fooled) < sum(edits > 0 for edits in cost.added)
    expected = [edits for edits, hit in zip(cost.added, fooled, strict=True) if hit]
    (case,) = summary([record])["cases"]
    assert case["median_edits"]["samples"] == sum(fooled)
    assert case["median_edits"]["added"] == float(np.median(expected)) != float(np.median(cost.added))
    (row,) = [line for line in table([record]).splitlines() if line.startswith("every-other ")]
    assert row.split()[5] == f"{np.median(expected):g}"


def test_nothing_scored_has_no_worst_case():
    found = records(samples.case("raises"))
    assert "worst case" not in table(found)
    assert summary(found)["worst_case_accuracy"] is None


def test_a_targeted_case_tells_how_many_were_reached():
    found = records(samples.case("targeted", target=1))
    assert "targeted reached class 1: 0." in table(found)


def test_an_error_shared_by_cases_is_told_once():
    found = records(samples.case("raises", name="one"), samples.case("raises", name="two"))
    assert table(found).count("out of spikes") == 1
    assert "error in one, two: RuntimeError" in table(found)


def test_an_error_that_nobody_foresaw_is_one_line(capsys, monkeypatch):
    def broken():
        raise RuntimeError("out of\nspikes")

    commands = Catalogue.of("commands", {"broken": click.Command("broken", callback=broken)})
    monkeypatch.delenv("ART_SPIKING_TRACEBACK", raising=False)
    assert run(["broken"], commands=commands) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: RuntimeError: out of spikes; raised in test_cli.py:")
    assert len(err.splitlines()) == 1
    monkeypatch.setenv("ART_SPIKING_TRACEBACK", "1")
    with pytest.raises(RuntimeError):
        run(["broken"], commands=commands)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.5, 0, "thirty"])
def test_metadata_that_are_no_numbers_of_steps_are_told(value):
    graph = dataclasses.replace(conv_graph(), metadata={"steps": value})
    with pytest.raises(InvalidModel, match=r"steps = .*; accepted: a whole number.*--steps"):
        _stated(graph, "steps", None)
    assert _stated(graph, "steps", 31) == 31
    assert _stated(dataclasses.replace(graph, metadata={"steps": 31.0}), "steps", None) == 31
