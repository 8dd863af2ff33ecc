# SPDX-License-Identifier: MIT
"""What the workflow does with a pull request, on real repositories; and what the workflow may do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / ".ci" / "submission"
WORKFLOW = ROOT / ".github" / "workflows" / "submission.yml"
BUNDLED = ROOT / "leaderboard" / "submissions"
SUITE = """
name = "cheap"
version = 1
craft = 4
test = 8
[[cases]]
name = "random-200"
attack = "random-events"
threat = { kind = "event-edits", max_edits = 200 }
"""


class Proposal:
    """A repository whose main branch holds one submission, and a branch that is merged into it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.submissions = (
            folder / "proposed",
            folder / "proposed" / "leaderboard" / "submissions",
        )
        (self.submissions / "digits-filtered").mkdir(parents=True)
        shutil.copytree(BUNDLED / "digits-filtered", self.submissions / "digits-filtered", dirs_exist_ok=True)
        (self.folder / "setup.py").write_text("raise SystemExit('nobody runs this')\n")
        self.git("init", "-q", "-b", "main")
        self.save("first")
        self.git("checkout", "-q", "-b", "theirs")

    def git(self, *arguments: str) -> None:
        who = ["-c", "user.name=A. Author", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(self.folder), *who, *arguments], check=True, capture_output=True)

    def save(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def add(self, name: str) -> Path:
        return shutil.copytree(BUNDLED / name, self.submissions / name)

    def evaluated(self, out: Path) -> subprocess.CompletedProcess[str]:
        """What the script does with the merge of all that was saved here."""
        self.save("theirs")
        self.git("checkout", "-q", "main")
        self.git("merge", "-q", "--no-ff", "theirs", "-m", "merge")
        return script(self.folder, out)


def script(repository: Path, out: Path) -> subprocess.CompletedProcess[str]:
    suite = out.parent / "suite.toml"
    suite.write_text(SUITE)
    environment = os.environ | {
        "ART_SPIKING": str(Path(sys.executable).parent / "art-spiking"),
        "SUITE": str(suite),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [str(SCRIPT), "evaluate", str(repository), str(out)], capture_output=True, text=True, env=environment
    )


@pytest.fixture
def proposal(tmp_path):
    return Proposal(tmp_path)


@pytest.mark.slow
def test_the_submission_that_is_changed_is_checked_evaluated_and_shown_alone(proposal, tmp_path):
    proposal.add("digits-plain")
    done = proposal.evaluated(tmp_path / "preview")
    assert done.returncode == 0, done.stderr
    assert "digits-plain: ok" in done.stdout
    assert [path.name for path in (tmp_path / "preview" / "records").iterdir()] == ["digits-plain"]
    page = (tmp_path / "preview" / "site" / "index.html").read_text()
    assert "digits-plain" in page
    assert "digits-filtered" not in page


@pytest.mark.slow
def test_a_broken_submission_is_told_and_not_evaluated(proposal, tmp_path):
    manifest = proposal.add("digits-plain") / "submission.toml"
    manifest.write_text(manifest.read_text().replace("nb_classes = 10", "nb_classes = 11"))
    done = proposal.evaluated(tmp_path / "preview")
    assert done.returncode == 3
    assert "nb_classes" in done.stdout
    assert not (tmp_path / "preview" / "records").exists()


@pytest.mark.slow
def test_a_claim_that_does_not_hold_is_told_and_not_evaluated(proposal, tmp_path):
    manifest = proposal.add("digits-plain") / "submission.toml"
    text = manifest.read_text()
    manifest.write_text(re.sub(r"(claimed_clean_accuracy) = .*", r"\1 = 0.5", text))
    done = proposal.evaluated(tmp_path / "preview")
    assert done.returncode == 3
    assert "claimed_clean_accuracy" in done.stdout
    assert not (tmp_path / "preview" / "records").exists()


@pytest.mark.parametrize(
    "path", ["setup.py", ".github/workflows/submission.yml", "leaderboard/submissions", "x\n::error::y"]
)
def test_other_changes_beside_a_submission_are_refused(proposal, tmp_path, path):
    if path == "leaderboard/submissions":  # a file in the place of the folder
        shutil.rmtree(proposal.submissions)
    else:
        proposal.add("digits-plain")
    (proposal.folder / path).parent.mkdir(parents=True, exist_ok=True)
    (proposal.folder / path).write_text("changed\n")
    done = proposal.evaluated(tmp_path / "preview")
    assert done.returncode == 3
    assert "evaluated by themselves" in done.stderr
    assert path.split("\n")[0] in done.stderr
    assert not any(line.startswith("::") for line in (done.stderr + done.stdout).splitlines())
    assert not (tmp_path / "preview").exists()


@pytest.mark.parametrize("name", ["$(touch x)", "--out", "A b", "-", "a..b"])
def test_names_that_are_none_are_refused_before_anything_is_read(proposal, tmp_path, name):
    shutil.copytree(BUNDLED / "digits-plain", proposal.submissions / name)
    done = proposal.evaluated(tmp_path / "preview")
    assert done.returncode == 3
    assert "lower-case words" in done.stderr
    assert not (tmp_path / "preview").exists()


def test_links_are_refused_and_not_followed(proposal, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "submission.toml").write_text('name = "canary"\n')
    (proposal.submissions / "linked").symlink_to(tmp_path / "secret")
    done = proposal.evaluated(tmp_path / "preview")
    assert done.returncode == 3
    assert "canary" not in done.stdout + done.stderr


def test_a_submission_that_is_taken_away_needs_no_evaluation(proposal, tmp_path):
    shutil.rmtree(proposal.submissions / "digits-filtered")
    done = proposal.evaluated(tmp_path / "preview")
    assert done.returncode == 0
    assert "digits-filtered is taken away" in done.stdout
    assert not (tmp_path / "preview" / "records").exists()


def test_what_is_no_merge_is_refused(proposal, tmp_path):
    done = script(proposal.folder, tmp_path / "preview")
    assert done.returncode == 3
    assert "no merge" in done.stderr


def workflow() -> dict:
    return yaml.safe_load(WORKFLOW.read_text())


def test_the_workflow_can_only_read_and_runs_on_requests_for_submissions_only():
    content = workflow()
    triggers = content[True]  # YAML 1.1 reads "on" so
    assert triggers == {"pull_request": {"paths": ["leaderboard/submissions/**"]}}
    assert content["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in content["jobs"].values())
    assert "secrets" not in WORKFLOW.read_text()
    assert all(0 < job["timeout-minutes"] <= 120 for job in content["jobs"].values())


def test_every_step_is_the_script_or_an_action_at_a_commit():
    steps = [step for job in workflow()["jobs"].values() for step in job["steps"]]
    runs = [step["run"] for step in steps if "run" in step]
    assert runs == [".ci/submission install", ".ci/submission evaluate proposed preview"]
    used = [step["uses"] for step in steps if "uses" in step]
    assert len(used) + len(runs) == len(steps)
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action in used)


def test_the_tools_are_the_base_branchs_and_no_checkout_keeps_its_token():
    steps = [step for job in workflow()["jobs"].values() for step in job["steps"]]
    checkouts = [step["with"] for step in steps if step.get("uses", "").startswith("actions/checkout@")]
    assert all(options["persist-credentials"] is False for options in checkouts)
    tools, proposed = checkouts
    assert tools["ref"] == "${{ github.event.pull_request.base.sha }}"
    assert "path" not in tools
    assert proposed["path"] == "proposed"
    assert proposed["fetch-depth"] == 2
