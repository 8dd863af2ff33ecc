# SPDX-License-Identifier: MIT
"""An executor whose workers Parsl starts: processes of this machine, or of a cluster's nodes under Slurm."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from art_spiking.errors import ArtSpikingError
from art_spiking_leaderboard.profiles import LocalProfile, Profile
from art_spiking_leaderboard.workers import WorkerLost, settle

_LOOPBACK = "127.0.0.1"
_MANAGER = "parsl.executors.high_throughput.process_worker_pool"
_FAILED_JOBS = 3
_MOST_LOG = 600  # characters of a log that a message repeats


class ClusterUnavailable(ArtSpikingError, RuntimeError):
    """The workers of a profile cannot be had."""


class ClusterPool(Executor):
    """Parsl's `ParslPoolExecutor` as the engine needs it.

    A worker or node that is lost costs its own tasks only: they raise `WorkerLost`, and the others go on.
    What Parsl writes goes into the profile's `run_dir`. Traffic is encrypted; workers of this machine are
    reached on the loopback address alone. Nothing is reported to Parsl's authors.
    """

    def __init__(self, profile: Profile, *, minutes: float | None = None) -> None:
        """Asks for the workers; they come when the machine or Slurm grants them.

        Args:
            profile: where they are.
            minutes: a task that takes longer loses its worker; None for no limit.

        Raises:
            ClusterUnavailable: Parsl is not installed, or Slurm's commands are not there.
        """
        check_parsl()
        check_scheduler(profile)
        from parsl.concurrent import ParslPoolExecutor

        self._profile, self._minutes = profile, minutes
        self._own = profile.run_dir is None
        self.run_dir = Path(profile.run_dir or tempfile.mkdtemp(prefix="art-spiking-parsl."))
        try:
            self._pool = ParslPoolExecutor(parsl_config(profile, self.run_dir))
        except BaseException:
            self._tidy()
            raise

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As every executor; the function and what it takes must be picklable."""
        outer: Future[Any] = Future()
        inner = self._pool.submit(in_worker, self._profile.threads, self._minutes, fn, args, kwargs)

        def settled(done: Future[Any]) -> None:
            error = done.exception()
            if error is None:
                outer.set_result(done.result())
            else:
                outer.set_exception(self._translated(error))

        inner.add_done_callback(settled)
        return outer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the workers: after their tasks, or at once if not to `wait`."""
        try:
            self._pool.shutdown(wait=wait)
        finally:
            self._tidy()

    def _translated(self, error: BaseException) -> BaseException:
        from parsl.errors import ParslError
        from parsl.executors.high_throughput.errors import ManagerLost
        from parsl.executors.high_throughput.errors import WorkerLost as ParslWorkerLost

        if isinstance(error, ParslWorkerLost | ManagerLost):
            return WorkerLost(str(error))
        if isinstance(error, ParslError):
            # The last jobs failed to start: whatever else is submitted fails the same way.
            return ClusterUnavailable(
                "the workers cannot be started",
                found=f"{error}{self._last_words()}"[:_MOST_LOG],
                remedy="mend the profile, or what it names, and run the same command again",
            )
        return error

    def _last_words(self) -> str:
        """What the job that failed last said."""
        logs = [*self.run_dir.rglob("*.err"), *self.run_dir.rglob("*.stderr")]
        said = [log for log in sorted(logs, key=lambda log: log.stat().st_mtime) if log.stat().st_size]
        if not said:
            return ""
        text = said[-1].read_text(errors="replace").strip()
        return f"; {said[-1].name} ends with: {text[-_MOST_LOG // 2 :]}"

    def _tidy(self) -> None:
        if self._own:
            shutil.rmtree(self.run_dir, ignore_errors=True)


def in_worker(
    threads: int, minutes: float | None, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """In a worker: a task, in the surroundings that every worker has."""
    settle(threads, minutes)
    return fn(*args, **kwargs)


def check_parsl() -> None:
    """Raises ClusterUnavailable, with the line that installs it, where Parsl is not installed."""
    if importlib.util.find_spec("parsl") is None:
        raise ClusterUnavailable(
            "--engine needs Parsl, which is not installed",
            remedy="pip install 'art-spiking-leaderboard[cluster]'",
        )


def check_scheduler(profile: Profile) -> None:
    """Raises ClusterUnavailable where a profile needs commands of Slurm that are not on the PATH."""
    if isinstance(profile, LocalProfile):
        return
    missing = [name for name in ("sbatch", "squeue", "scancel") if shutil.which(name) is None]
    if missing:
        raise ClusterUnavailable(
            "this machine cannot submit jobs to Slurm",
            found=f"no {', '.join(missing)} on the PATH",
            remedy="run on a login node of the cluster",
        )


def parsl_config(profile: Profile, run_dir: Path) -> Any:
    """The `parsl.Config` of a profile: one executor, nothing retried by Parsl, nothing reported."""
    from parsl import Config
    from parsl.executors import HighThroughputExecutor

    local = isinstance(profile, LocalProfile)
    python = sys.executable if isinstance(profile, LocalProfile) else profile.python or sys.executable
    executor = HighThroughputExecutor(
        label="workers",
        address=_LOOPBACK if isinstance(profile, LocalProfile) else profile.address,
        loopback_address=_LOOPBACK,
        launch_cmd=_launch_command(python),
        interchange_launch_cmd=[
            sys.executable,
            "-m",
            "art_spiking_leaderboard.interchange",
            str(os.getpid()),
        ],
        max_workers_per_node=profile.workers_per_node,
        cores_per_worker=1e-6,  # the profile says how many, not the node's cores
        available_accelerators=0 if isinstance(profile, LocalProfile) else profile.gpus_per_node,
        heartbeat_period=max(1, profile.heartbeat_seconds // 3),
        heartbeat_threshold=profile.heartbeat_seconds,
        provider=_provider(profile),
        block_error_handler=_give_up,
        encrypted=True,
    )
    return Config(
        executors=[executor],
        run_dir=str(run_dir),
        retries=0,  # the engine's own: it knows whether a cell was written
        strategy="simple",  # starts a node again that was lost
        strategy_period=1 if local else 5,
        usage_tracking=0,
        initialize_logging=False,
    )


def _launch_command(python: str) -> str:
    """By module, not by the script's name: that is on the PATH only where an environment is activated."""
    from parsl.executors.high_throughput.executor import DEFAULT_LAUNCH_CMD

    return f"{shlex.quote(python)} -m {_MANAGER} {DEFAULT_LAUNCH_CMD.split(' ', 1)[1]}"


def _give_up(executor: Any, status: Any) -> None:
    """Ends the run when the last jobs failed or ended unseen and none is left; one lost node is no reason."""
    from parsl.jobs.error_handlers import windowed_error_handler

    if all(each.terminal for each in status.values()):
        windowed_error_handler(executor, status, threshold=_FAILED_JOBS)


def _provider(profile: Profile) -> Any:
    from parsl.launchers import SingleNodeLauncher, SrunLauncher
    from parsl.providers import LocalProvider, SlurmProvider

    if isinstance(profile, LocalProfile):
        return LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1, worker_init=profile.worker_init)
    return SlurmProvider(
        partition=profile.partition,
        account=profile.account,
        qos=profile.qos,
        constraint=profile.constraint,
        nodes_per_block=profile.nodes_per_job,
        cores_per_node=profile.cores_per_node,
        mem_per_node=profile.memory_gb_per_node,
        gpus_per_node=profile.gpus_per_node or None,
        init_blocks=min(1, profile.jobs),
        min_blocks=0,
        max_blocks=profile.jobs,
        walltime=profile.walltime,
        scheduler_options=profile.scheduler_options,
        worker_init=profile.worker_init,
        exclusive=profile.exclusive,
        # A job of one node needs no srun within it.
        launcher=SingleNodeLauncher() if profile.nodes_per_job == 1 else SrunLauncher(),
    )
