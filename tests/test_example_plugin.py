# SPDX-License-Identifier: MIT
"""The example plugin, really installed by pip: listed with its provider, and named in suites."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from host_samples import network

from art_spiking.model_files import save_model

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = ROOT / "plugins" / "art-spiking-example"
SUITE = """
name = "mine"
version = 1
[[cases]]
name = "hot"
attack = "hot-pixels"
threat = { kind = "event-edits", max_edits = 9, delete = false }
parameters = { pixels = 6 }
control = { attack = "random-events" }
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder on the path where pip put the plugin, from its sources, without network."""
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(target), str(PLUGIN)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return target


def program(installed, *arguments, plugins="art-spiking-example"):
    """Runs the program in a process of its own, as a user does."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    environment["ART_SPIKING_PLUGINS"] = plugins
    return subprocess.run(
        [Path(sys.executable).with_name("art-spiking"), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_its_attack_is_listed_with_its_provider(installed):
    done = program(installed, "list", "attacks", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = {entry["name"]: entry["provider"] for entry in json.loads(done.stdout)["attacks"]}
    assert found["hot-pixels"] == "art-spiking-example 0.1.0"
    assert found["event-gradient"].startswith("art-spiking ")


def test_it_is_kept_out_on_demand(installed):
    done = program(installed, "list", "attacks", plugins="")
    assert "event-gradient" in done.stdout
    assert "hot-pixels" not in done.stdout


def test_it_does_not_slow_the_program_down(installed):
    """What the entry point names is imported for every command."""
    code = "import sys, art_spiking.registry as r; r.catalogue('attacks'); sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(installed), "ART_SPIKING_PLUGINS": "art-spiking-example"}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_it_brings_a_suite(installed):
    done = program(installed, "list", "suites", "--json")
    assert "hot-pixels-quick" in {entry["name"] for entry in json.loads(done.stdout)["suites"]}


@pytest.mark.slow
def test_a_suite_given_by_path_runs_its_attack(installed, tmp_path):
    save_model(network(), tmp_path / "model", steps=5)
    (tmp_path / "mine.toml").write_text(SUITE)
    (tmp_path / "data.py").write_text(
        "import sys; sys.path.insert(0, sys.argv.pop(1))\n"
        "import host_samples, art_spiking.datasets as datasets\n"
        "datasets.digits_dvs = lambda split, **_: host_samples.data(split, 6, seed=len(split))\n"
        "from art_spiking.cli import run\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    arguments = ["evaluate", tmp_path / "model", "--data", "digits-dvs", "--suite", tmp_path / "mine.toml"]
    done = subprocess.run(
        [sys.executable, tmp_path / "data.py", ROOT / "tests", *arguments, "--json"],
        env={
            **os.environ,
            "PYTHONPATH": str(installed),
            "ART_SPIKING_PLUGINS": "art-spiking-example",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["cases"][0]["status"] == "ok"
    providers = found["records"][0]["provenance"]["providers"]
    assert providers["attack hot-pixels"] == "art-spiking-example 0.1.0"
    assert max(found["records"][0]["cost"]["added"]) == 9
    assert max(found["records"][0]["cost"]["removed"]) == 0


@pytest.mark.slow
def test_its_own_tests_pass_where_it_is_installed(installed, tmp_path):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(PLUGIN / "tests")]
    done = subprocess.run(
        [*command, "--rootdir", str(tmp_path), "-c", os.devnull],
        env={**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
