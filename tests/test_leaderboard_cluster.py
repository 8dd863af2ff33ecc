# SPDX-License-Identifier: MIT
"""Cells on workers that Parsl starts, here and under a Slurm that is played: the same records."""

from __future__ import annotations

import importlib.util
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import leaderboard_world as world
import pytest
from art_spiking_leaderboard import cluster, workers
from art_spiking_leaderboard.cluster import ClusterPool, ClusterUnavailable, check_scheduler, parsl_config
from art_spiking_leaderboard.coordinator import Crew, run_on
from art_spiking_leaderboard.engine import run, run_cell
from art_spiking_leaderboard.profiles import LocalProfile, SlurmProfile
from art_spiking_leaderboard.working import RunOptions, run_all
from leaderboard_world import scores, specs_of
from test_leaderboard_commands import suite_file

from art_spiking.cli import run as cli

needs_parsl = pytest.mark.skipif(
    importlib.util.find_spec("parsl") is None,
    reason="needs parsl: pip install 'art-spiking-leaderboard[cluster]'",
)
INIT = f"export PYTHONPATH={Path(__file__).parent}"


@pytest.fixture
def submissions(tmp_path: Path) -> Path:
    for seed, name in enumerate(("one", "two")):
        world.write_submission(tmp_path / "submissions" / name, seed=seed)
    return tmp_path / "submissions"


def local(tmp_path: Path, workers: int = 2, **more) -> LocalProfile:
    folder = str(tmp_path / "parsl")
    return LocalProfile(kind="local", workers_per_node=workers, worker_init=INIT, run_dir=folder, **more)


def slurm(tmp_path: Path, **more) -> SlurmProfile:
    given = {"nodes": 1, "workers_per_node": 2, "walltime": "01:00:00", "run_dir": str(tmp_path / "parsl")}
    return SlurmProfile(kind="slurm", worker_init=INIT, **{**given, **more})


def outcomes_of(specs, profile, warn):
    crew = Crew(lambda count: ClusterPool(profile), profile.workers, world.workbench)
    return {(each.spec.model, each.spec.case): each for each in run_on(specs, crew, warn=warn)}


def computed_alone(submissions, records, suite):
    bench = world.workbench()
    list(run(specs_of(submissions, records, suite), lambda spec: run_cell(spec, bench), warn=pytest.fail))
    return scores(records)


def begun(log: Path) -> dict[str, int]:
    """How often each cell was begun."""
    lines = log.read_text().split()
    return {line: lines.count(line) for line in lines}


@needs_parsl
@pytest.mark.slow
def test_a_killed_worker_of_parsl_costs_its_cell_one_retry(submissions, tmp_path, monkeypatch):
    """And the records are those of one process; nothing is left in the folder it was started from."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    mark, log = tmp_path / "died", tmp_path / "log"
    suite = world.suite(a=f"log {log}", b=f"die {mark}", c=f"log {log}")
    mark.touch()
    expected = computed_alone(submissions, tmp_path / "alone", suite)
    mark.unlink()
    log.unlink()
    warnings: list[str] = []
    found = outcomes_of(specs_of(submissions, tmp_path / "many", suite), local(tmp_path), warnings.append)
    assert all(outcome.ok for outcome in found.values())
    assert scores(tmp_path / "many") == expected
    (warning,) = warnings
    assert "flips-b lost its worker" in warning
    assert set(begun(log).values()) == {2}  # once for each of the two models
    assert list(Path.cwd().iterdir()) == []


@needs_parsl
@pytest.mark.slow
def test_a_cell_that_kills_every_worker_is_given_up(submissions, tmp_path):
    specs = specs_of(submissions, tmp_path / "records", world.suite(a="die"))
    found = outcomes_of(specs[:2], local(tmp_path), lambda text: None)
    assert found["one", "flips-b"].ok
    failure = found["one", "flips-a"].cell.record.failure
    assert (failure.type, "died 2 times" in failure.message) == ("WorkerDied", True)


@needs_parsl
@pytest.mark.slow
def test_workers_that_cannot_start_end_the_run_with_what_they_said(submissions, tmp_path, capsys):
    profile = LocalProfile(
        kind="local",
        workers_per_node=1,
        worker_init="echo there is no such module >&2; exit 3",
        run_dir=str(tmp_path / "parsl"),
    )
    suite = suite_file(tmp_path, world.suite())
    assert run_all(RunOptions(submissions, str(suite), tmp_path / "r", engine=profile), world.workbench) == 75
    told = capsys.readouterr().err
    assert "the workers cannot be started" in told
    assert "there is no such module" in told
    assert "0 of 6 cells are finished" in told


@needs_parsl
@pytest.mark.slow
def test_nothing_of_parsl_outlives_a_run_that_was_killed(submissions, tmp_path):
    """Not the interchange, which Parsl would leave, nor the workers, which miss its heartbeat."""
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
import leaderboard_world as world
from test_leaderboard_cluster import local, outcomes_of
suite = world.suite(a="wait {tmp_path / "waiting"}")
specs = world.specs_of(Path({str(submissions)!r}), Path({str(tmp_path / "records")!r}), suite)
outcomes_of(specs, local(Path({str(tmp_path)!r}), heartbeat_seconds=10), print)
"""
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        try:
            until(lambda: (tmp_path / "waiting").exists() or process.poll() is not None)
            assert process.poll() is None
            assert len(alive(tmp_path)) >= 2
        finally:
            process.send_signal(signal.SIGKILL)
    until(lambda: not alive(tmp_path))


def until(condition) -> None:
    """Waits, on a busy machine too; a limit only so that nothing hangs."""
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def alive(folder: Path) -> list[str]:
    """The processes that were started with a path in the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            command = (entry.parent / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command and entry.parent.name != str(os.getpid()):
            found.append(command)
    return found


SBATCH = """#!/bin/bash
# A Slurm of one machine: the job starts at once, in a session of its own.
echo "$@" >> "$SLURM_PLAYED/asked"
number=$(ls "$SLURM_PLAYED" | grep -c '^job-')
cp "$1" "$SLURM_PLAYED/job-$number"
out=$(grep -oP '(?<=--output=).*' "$1"); err=$(grep -oP '(?<=--error=).*' "$1")
setsid bash "$1" > "$out" 2> "$err" < /dev/null &
echo $! > "$SLURM_PLAYED/pid-$number"
echo "Submitted batch job $number"
"""
SQUEUE = """#!/bin/bash
for file in "$SLURM_PLAYED"/pid-*; do
  if kill -0 "$(cat "$file")" 2> /dev/null; then echo "${file##*-} R"; fi
done
"""
SCANCEL = """#!/bin/bash
for number in "$@"; do kill -9 -- "-$(cat "$SLURM_PLAYED/pid-$number")" 2> /dev/null; done
exit 0
"""
SACCT = "#!/bin/bash\necho 'Slurm accounting storage is disabled' >&2\nexit 1\n"


@pytest.fixture
def played_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands of Slurm that run a job as a process; what was submitted is in the folder."""
    programs, jobs = tmp_path / "bin", tmp_path / "jobs"
    jobs.mkdir()
    programs.mkdir()
    for name, text in {"sbatch": SBATCH, "squeue": SQUEUE, "scancel": SCANCEL, "sacct": SACCT}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("SLURM_PLAYED", str(jobs))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return jobs


@needs_parsl
@pytest.mark.slow
def test_a_job_of_slurm_computes_the_cells_and_is_ended_with_the_run(submissions, tmp_path, played_slurm):
    expected = computed_alone(submissions, tmp_path / "alone", world.suite())
    profile = slurm(tmp_path, partition="long", account="me", memory_gb_per_node=4, address="127.0.0.1")
    found = outcomes_of(specs_of(submissions, tmp_path / "many", world.suite()), profile, pytest.fail)
    assert all(outcome.ok for outcome in found.values())
    assert scores(tmp_path / "many") == expected
    (job,) = played_slurm.glob("job-*")
    asked = job.read_text().split("\n")
    for line in ("--partition=long", "--account=me", "--nodes=1", "--time=60", "--mem=4g"):
        assert f"#SBATCH {line}" in asked
    assert not any("exclusive" in line for line in asked)
    assert alive(tmp_path / "parsl") == []


def test_a_task_has_the_threads_and_the_minutes_of_its_worker(monkeypatch):
    monkeypatch.setenv("ART_SPIKING_CELL_MINUTES", "9")  # so that it is put back
    workers.settle.cache_clear()
    assert cluster.in_worker(1, 0.5, workers._limit, (), {}) == 30.0
    workers.settle.cache_clear()


@needs_parsl
def test_the_configuration_is_encrypted_silent_and_on_the_loopback_address(tmp_path):
    config = parsl_config(local(tmp_path), tmp_path / "parsl")
    (executor,) = config.executors
    assert (config.usage_tracking, config.retries, config.run_dir) == (0, 0, str(tmp_path / "parsl"))
    assert (executor.encrypted, executor.address, executor.loopback_address) == (
        True,
        "127.0.0.1",
        "127.0.0.1",
    )
    assert executor.max_workers_per_node == 2


@needs_parsl
def test_a_node_with_gpus_has_a_worker_for_each(tmp_path, played_slurm):
    profile = slurm(
        tmp_path, gpus_per_node=4, workers_per_node=4, nodes=16, nodes_per_job=2, address="10.0.0.1"
    )
    (executor,) = parsl_config(profile, tmp_path).executors
    provider = executor.provider
    assert executor.available_accelerators == ["0", "1", "2", "3"]
    assert (provider.nodes_per_block, provider.max_blocks, provider.walltime) == (2, 8, "01:00:00")
    assert "#SBATCH --gpus-per-node=4\n" in provider.scheduler_options
    assert type(provider.launcher).__name__ == "SrunLauncher"
    assert profile.workers == 64


def test_without_slurm_the_missing_commands_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ClusterUnavailable, match="no sbatch, squeue, scancel on the PATH"):
        check_scheduler(slurm(tmp_path))


def test_without_parsl_the_line_that_installs_it_is_told(submissions, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
    profile = tmp_path / "here.toml"
    profile.write_text('kind = "local"\nworkers_per_node = 2\n')
    assert cli(["leaderboard", "run", str(submissions), "--engine", str(profile)]) != 0
    assert "pip install 'art-spiking-leaderboard[cluster]'" in capsys.readouterr().err


def test_parsl_is_imported_only_where_it_is_used():
    code = (
        "import sys; import art_spiking_leaderboard.working, art_spiking_leaderboard.cluster;"
        "sys.exit('parsl' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_workers_and_an_engine_exclude_each_other(submissions, tmp_path, capsys):
    profile = tmp_path / "here.toml"
    profile.write_text('kind = "local"\nworkers_per_node = 2\n')
    command = ["leaderboard", "run", str(submissions), "--engine", str(profile), "--workers", "3"]
    assert cli(command) == 2
    assert "the profile says how many" in capsys.readouterr().err
