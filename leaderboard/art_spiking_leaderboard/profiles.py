# SPDX-License-Identifier: MIT
"""Where the workers of a run are: a TOML profile of this machine, or of a cluster under Slurm."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from art_spiking.errors import InvalidInput
from art_spiking.suites import problems_of

_MOST_BYTES = 64 * 1024  # tomllib recurses per bracket
_KINDS = ("local", "slurm")

_Some = Annotated[int, Field(ge=1, le=100_000)]
_Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9@._:+,/-]{0,200}$")]
_Walltime = Annotated[str, Field(pattern=r"^\d{1,3}:[0-5]\d:[0-5]\d$")]
_Path = Annotated[str, Field(pattern=r"^/[^\s'\"$`\\]+$")]
"""Absolute, and safe in the scripts that Slurm and the shell read."""


class _Profile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    workers_per_node: _Some
    threads: _Some = 1
    heartbeat_seconds: Annotated[int, Field(ge=2, le=3600)] = 30
    worker_init: str = ""


class LocalProfile(_Profile):
    """Workers on this machine, managed by Parsl: to try a cluster's way of working without one.

    Attributes:
        workers_per_node: cells computed at the same time.
        threads: of each worker, for torch's operations.
        heartbeat_seconds: how long a silent node counts as alive.
        worker_init: shell lines that a node runs before its workers start.
        run_dir: where Parsl keeps its logs; by default a temporary folder, deleted at the end.
    """

    kind: Literal["local"]
    run_dir: _Path | None = None
    device: ClassVar[str] = "cpu"

    @property
    def workers(self) -> int:
        """Cells computed at the same time, at most."""
        return self.workers_per_node


class SlurmProfile(_Profile):
    """Workers on the nodes of a cluster under Slurm. The folders of a run lie on a disk that all nodes see.

    Attributes:
        nodes: how many are asked for, at most.
        nodes_per_job: how many of them one Slurm job holds.
        walltime: of a job, HH:MM:SS; a new job follows while there is work. A cell that takes longer than
            this is never finished.
        run_dir: where Parsl keeps scripts, keys and logs; on the shared disk.
        partition, account, qos, constraint: as `sbatch` takes them.
        cores_per_node, memory_gb_per_node: what a job asks of each node.
        gpus_per_node: as many workers as there are, each with one of its own; the cells are then computed on
            it, and their keys say so.
        exclusive: whether other jobs are kept off the nodes.
        scheduler_options: further #SBATCH lines.
        python: the interpreter on the nodes; by default the path of this one.
        address: of this machine as the nodes reach it; by default all of its addresses are tried.
    """

    kind: Literal["slurm"]
    nodes: _Some
    walltime: _Walltime
    run_dir: _Path
    nodes_per_job: _Some = 1
    partition: _Word | None = None
    account: _Word | None = None
    qos: _Word | None = None
    constraint: Annotated[str, Field(pattern=r"^[^\s;'\"$`\\]{1,200}$")] | None = None
    cores_per_node: _Some | None = None
    memory_gb_per_node: _Some | None = None
    gpus_per_node: Annotated[int, Field(ge=0, le=64)] = 0
    exclusive: bool = False
    scheduler_options: Annotated[str, Field(pattern=r"^(#SBATCH [^\n]+\n?)*$")] = ""
    python: _Path | None = None
    address: Annotated[str, Field(pattern=r"^[0-9a-fA-F.:]{2,45}$")] | None = None

    @property
    def workers(self) -> int:
        """Cells computed at the same time, at most."""
        return self.workers_per_node * self.nodes

    @property
    def device(self) -> str:
        """What cells are computed on."""
        return "cuda" if self.gpus_per_node else "cpu"

    @property
    def jobs(self) -> int:
        """Slurm jobs at the same time, at most."""
        return self.nodes // self.nodes_per_job


Profile = LocalProfile | SlurmProfile

_FORM: TypeAdapter[Profile] = TypeAdapter(Annotated[Profile, Field(discriminator="kind")])


def read_profile(path: Path) -> Profile:
    """A profile from a TOML file.

    Raises:
        InvalidInput: the file cannot be read, or is no profile; all problems are listed.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InvalidInput(f"cannot read the profile {path}", found=error.strerror or error) from error
    if len(content) > _MOST_BYTES:
        raise InvalidInput(f"the profile {path} is too long", accepted=f"at most {_MOST_BYTES} bytes")
    try:
        given = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"the profile {path} is not TOML", found=error) from error
    if given.get("kind") not in _KINDS:
        raise InvalidInput(
            f"the profile {path} does not say what it is of",
            asked=f"kind = {given['kind']!r}" if "kind" in given else "no kind",
            accepted=" or ".join(f'kind = "{kind}"' for kind in _KINDS),
        )
    try:
        profile = _FORM.validate_python(given)
    except ValidationError as error:
        found = re.sub(rf"(^|; )({'|'.join(_KINDS)})\.", r"\1", problems_of(error))
        raise InvalidInput(f"the profile {path} is not valid", found=found) from error
    wrong = "; ".join(_contradictions(profile))
    if wrong:
        raise InvalidInput(f"the profile {path} is not valid", found=wrong)
    return profile


def _contradictions(profile: Profile) -> list[str]:
    """Keys that do not go together."""
    if isinstance(profile, LocalProfile):
        return []
    told = []
    if profile.nodes % profile.nodes_per_job:
        told.append(f"nodes: {profile.nodes} is no multiple of nodes_per_job = {profile.nodes_per_job}")
    if profile.gpus_per_node and profile.gpus_per_node != profile.workers_per_node:
        told.append(
            f"workers_per_node: {profile.workers_per_node} is not gpus_per_node = {profile.gpus_per_node}; "
            "each worker has a GPU of its own"
        )
    cores = profile.cores_per_node
    if cores is not None and profile.workers_per_node * profile.threads > cores:
        told.append(
            f"threads: {profile.workers_per_node} workers of {profile.threads} threads need more than "
            f"cores_per_node = {cores}"
        )
    return told
