# SPDX-License-Identifier: MIT
"""`check --strict`: what only running a submission shows is a problem like any other."""

from __future__ import annotations

import json

import leaderboard_world as world
import pytest
from art_spiking_leaderboard.check import check_submission
from art_spiking_leaderboard.engine import Job, plan, run_cell
from art_spiking_leaderboard.sandbox import policy
from art_spiking_leaderboard.strict import strictly_checked
from art_spiking_leaderboard.working import check_all
from test_sandbox import HONEST, confined, write_code_submission

LYING = """
    import torch

    class Lie(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.shape = x.shape
            rows = torch.stack([x[..., 2 * k : 2 * k + 2, :].sum((1, 2, 3, 4)) for k in range(3)], 1)
            return rows.sqrt() + 0.1 * rows

        @staticmethod
        def backward(ctx, by):
            return torch.randn(ctx.shape, generator=torch.Generator().manual_seed(0))

    class Model(torch.nn.Module):
        def forward(self, x):
            return Lie.apply(x)

    def build():
        return Model()
"""


def strictly(folder):
    return strictly_checked(check_submission(folder, world.names()), world.names())


def test_a_submission_of_data_that_keeps_its_word_passes(tmp_path):
    world.write_submission(tmp_path / "plain")
    found = strictly(tmp_path / "plain")
    assert found.problems == ()
    assert found.manifest is not None


def test_a_claim_that_is_not_found_again_is_a_problem(tmp_path):
    training = {"description": "By hand.", "claimed_clean_accuracy": 0.5}
    world.write_submission(tmp_path / "plain", training=training)
    assert check_submission(tmp_path / "plain", world.names()).problems == ()
    found = strictly(tmp_path / "plain")
    assert [problem.key for problem in found.problems] == ["training.claimed_clean_accuracy"]
    assert "1.000 was measured on 30 samples" in str(found.problems[0])
    assert found.manifest is None
    assert found.stored is None


def test_data_that_cannot_be_had_is_a_problem(tmp_path):
    world.write_submission(tmp_path / "plain")

    def nowhere(*_, **__):
        raise FileNotFoundError("no recordings in ./nowhere")

    names = world.names(**{"tiny-events": nowhere})
    found = strictly_checked(check_submission(tmp_path / "plain", names), names)
    assert [problem.key for problem in found.problems] == ["data.name"]
    assert "no recordings in ./nowhere" in str(found.problems[0])


def test_a_submission_with_problems_is_not_run(tmp_path):
    world.write_submission(tmp_path / "plain")
    (tmp_path / "plain" / "extra.py").write_text("")
    found = check_submission(tmp_path / "plain", world.names())
    assert strictly_checked(found, world.names()) is found


@confined
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (LYING, "the code's gradient tells little of what edits do"),
        (HONEST.replace("return rows.sqrt()", "return rows[0, 0].item() // 0 + rows.sqrt()"), "ZeroDivision"),
        (HONEST.replace("rows.sqrt()", "(rows - 1000).sqrt()"), "NaN"),
        (HONEST.replace("import torch", "import torch; 1 / 0"), "ZeroDivision"),
    ],
    ids=["lies about its gradient", "raises", "answers NaN", "cannot be loaded"],
)
def test_code_is_run_in_its_sandbox_and_what_it_does_is_a_problem(tmp_path, code, words):
    found = strictly(write_code_submission(tmp_path / "coded", code))
    assert [problem.file for problem in found.problems] == ["model.py"]
    assert words in str(found.problems[0])


@confined
def test_honest_code_passes(tmp_path):
    assert strictly(write_code_submission(tmp_path / "coded")).problems == ()


@confined
def test_each_cell_of_lying_code_carries_the_flag(tmp_path):
    folder = write_code_submission(tmp_path / "coded", LYING)
    submission, bench = check_submission(folder, world.names()), world.workbench()
    specs = plan(submission, Job(world.suite(), tmp_path / "records"), bench)
    flags = [[flag.code for flag in run_cell(spec, bench).record.flags] for spec in specs]
    assert len(flags) == 3
    assert all(codes.count("gradient-misleads") == 1 for codes in flags)


def test_the_command_tells_and_counts_what_it_finds(tmp_path, capsys, monkeypatch):
    world.write_submission(tmp_path / "plain", training={"description": "x", "claimed_clean_accuracy": 0.5})
    assert check_all(tmp_path, as_json=False, names=world.names()) == 0
    assert check_all(tmp_path, as_json=True, strict=True, names=world.names()) == 3
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [problem["key"] for problem in told["plain"]] == ["training.claimed_clean_accuracy"]


def test_code_without_a_sandbox_is_not_run_and_does_not_pass(tmp_path, capsys, monkeypatch):
    write_code_submission(tmp_path / "submissions" / "coded")
    monkeypatch.setattr(policy.shutil, "which", lambda name: None)
    assert check_all(tmp_path / "submissions", as_json=False, strict=True, names=world.names()) == 4
    assert "coded was not run" in capsys.readouterr().err
