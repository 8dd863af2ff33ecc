# SPDX-License-Identifier: MIT
"""Profiles of machines and clusters: read in full, or refused with every problem."""

from __future__ import annotations

from pathlib import Path

import pytest
from art_spiking_leaderboard.profiles import LocalProfile, SlurmProfile, read_profile

from art_spiking.errors import InvalidInput

ENGINES = Path(__file__).parents[1] / "leaderboard" / "engines"
SLURM = """
kind = "slurm"
nodes = 16
workers_per_node = 4
walltime = "08:00:00"
run_dir = "/scratch/me/parsl"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "profile.toml"
    path.write_text(text)
    return path


def test_the_examples_are_profiles():
    local, slurm = (read_profile(ENGINES / f"{kind}.toml") for kind in ("local", "slurm"))
    assert isinstance(local, LocalProfile)
    assert isinstance(slurm, SlurmProfile)
    assert (local.workers, slurm.workers, slurm.jobs) == (2, 64, 16)


def test_every_key_of_slurm_is_in_the_example():
    text = (ENGINES / "slurm.toml").read_text()
    assert [name for name in SlurmProfile.model_fields if f"{name} = " not in text] == []


def test_every_problem_is_told_at_once(tmp_path):
    text = SLURM + 'walltme = "1"\npartition = "a;b"\n'
    text = text.replace("nodes = 16", 'nodes = "many"').replace('"08:00:00"', '"8 hours"')
    with pytest.raises(InvalidInput) as caught:
        read_profile(written(tmp_path, text))
    for key in ("walltme", "partition", "nodes", "walltime"):
        assert f"{key}: " in str(caught.value)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("nodes_per_job = 3", "nodes: 16 is no multiple of nodes_per_job = 3"),
        ("gpus_per_node = 2", "workers_per_node: 4 is not gpus_per_node = 2"),
        ("threads = 4\ncores_per_node = 8", "4 workers of 4 threads need more than cores_per_node = 8"),
        ('run_directory = "/x"', "run_directory: Extra inputs are not permitted"),
        ('scheduler_options = "rm -rf /"', "scheduler_options: "),
    ],
)
def test_what_does_not_fit_together_is_told(tmp_path, more, told):
    with pytest.raises(InvalidInput) as caught:
        read_profile(written(tmp_path, SLURM + more))
    assert told in str(caught.value)


@pytest.mark.parametrize("folder", ["relative/folder", "/with space", "/with$(command)", "/quote'"])
def test_a_folder_is_absolute_and_safe_in_a_script(tmp_path, folder):
    with pytest.raises(InvalidInput, match="run_dir"):
        read_profile(written(tmp_path, SLURM.replace("/scratch/me/parsl", folder)))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("workers_per_node = 2", "no kind"),
        ('kind = "pbs"', "kind = 'pbs'"),
        ("kind = [", "not TOML"),
        ("[" * 5000, "not TOML"),
        ("#" * 70_000, "too long"),
    ],
)
def test_what_is_no_profile_is_one_clear_problem(tmp_path, text, told):
    with pytest.raises(InvalidInput, match=told):
        read_profile(written(tmp_path, text))


def test_a_profile_that_is_not_there(tmp_path):
    with pytest.raises(InvalidInput, match="cannot read the profile"):
        read_profile(tmp_path / "none.toml")
