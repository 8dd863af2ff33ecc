# SPDX-License-Identifier: MIT
"""What submitted code may do: the arguments of bubblewrap, and the filter of its system calls."""

from __future__ import annotations

import errno
import os
import shutil
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from art_spiking.errors import ArtSpikingError

_CLONE_THREAD = 0x00010000
_FORBIDDEN = (
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd", "perf_event_open", "bpf"),
    *("keyctl", "add_key", "request_key", "mount", "umount2", "pivot_root", "chroot", "unshare", "setns"),
    *("fsopen", "fsmount", "move_mount", "open_tree", "kexec_load", "init_module", "finit_module"),
    *("socket", "socketpair", "fork", "vfork", "quotactl", "swapon", "reboot", "personality"),
    # The devices in /dev are the host's own: where root runs the sandbox, its code would own them.
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "utime", "utimes"),
    *("futimesat", "utimensat", "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr"),
    "fremovexattr",
)


class SandboxUnavailable(ArtSpikingError, RuntimeError):
    """Submitted code cannot be run here, because there is nothing to confine it."""


@dataclass(frozen=True)
class Limits:
    """What a service may use.

    Attributes:
        memory: Bytes of address space.
        scratch: Bytes in /tmp, and in /dev/shm: the only places to write.
        threads: Processes and threads.
        start_seconds: Until it is ready.
        call_seconds: For one answer.
    """

    memory: int = 8 << 30
    scratch: int = 64 << 20
    threads: int = 64
    start_seconds: float = 120.0
    call_seconds: float = 120.0


def command(folder: Path, filter_fd: int, limits: Limits) -> list[str]:
    """The command line of a service for the code in a folder: no network, no host files, nothing to write to.

    Args:
        folder: Of the submission; its files are seen, read-only, in /model.
        filter_fd: An open file with the filter of system calls.
        limits: What the service may use; it sets those that a process sets itself.

    Raises:
        SandboxUnavailable: There is no bubblewrap.
    """
    program = shutil.which("bwrap")
    if program is None:
        raise SandboxUnavailable(
            "submitted code runs in a sandbox, and there is none here",
            remedy="install bubblewrap (Debian: apt-get install bubblewrap)",
        )
    isolated = ["--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
    if os.getuid() == 0:
        isolated += ["--uid", "65534", "--gid", "65534", "--unshare-user"]
    arguments = [program, *isolated, "--hostname", "sandbox", "--seccomp", str(filter_fd)]
    # First, for the interpreter may lie in one of them.
    arguments += ["--proc", "/proc", "--dev", "/dev"]
    for place in ("/dev/shm", "/tmp"):
        arguments += ["--size", str(limits.scratch), "--tmpfs", place]
    for path in _readable():
        arguments += ["--ro-bind", str(path), str(path)]
    for link in ("/bin", "/sbin", "/lib", "/lib64"):
        if Path(link).is_symlink():
            arguments += ["--symlink", os.readlink(link), link]
        elif Path(link).is_dir():
            arguments += ["--ro-bind", link, link]
    here = Path(__file__).parent
    for name in ("service.py", "frames.py"):
        arguments += ["--ro-bind", str(here / name), f"/service/{name}"]
    arguments += [
        "--ro-bind",
        str(folder.resolve()),
        "/model",
        "--remount-ro",
        "/dev",
        "--remount-ro",
        "/",
        "--chdir",
        "/tmp",
    ]
    for key, value in (("HOME", "/tmp"), ("PATH", "/usr/bin:/bin"), ("OMP_NUM_THREADS", "1")):
        arguments += ["--setenv", key, value]
    numbers = [str(limits.memory), str(limits.threads)]
    return [*arguments, "--", sys.executable, "-B", "-s", "/service/service.py", *numbers]


def _readable() -> Iterator[Path]:
    """The interpreter and its libraries; nothing of the user's, and not the checkout."""
    wanted = {Path("/usr"), Path(sys.prefix), Path(sys.base_prefix), *map(Path, site.getsitepackages())}
    wanted = {path.resolve() for path in wanted if path.exists()} | {Path(sys.prefix)}
    for path in sorted(wanted):
        if not any(other != path and path.is_relative_to(other) for other in wanted):
            yield path


def call_filter() -> IO[bytes]:
    """A file with the compiled filter: system calls that no model needs fail, and no process is started.

    Threads are allowed; a new process is not, so that none can be left behind or multiply.

    Raises:
        SandboxUnavailable: pyseccomp or its library is missing.
    """
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError) as error:
        raise SandboxUnavailable(
            "submitted code runs behind a filter of system calls, which cannot be made here",
            found=str(error),
            remedy="pip install 'art-spiking-leaderboard[sandbox]' (Debian: apt-get install libseccomp2)",
        ) from error
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    refuse = pyseccomp.ERRNO(errno.EPERM)
    for name in _FORBIDDEN:
        try:
            rules.add_rule(refuse, name)
        except (ValueError, OSError, RuntimeError):
            continue  # a call that this machine does not have
    rules.add_rule(refuse, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, _CLONE_THREAD, 0))
    # glibc then takes clone, whose flags a filter can see.
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    file = tempfile.TemporaryFile()  # noqa: SIM115  the caller closes it
    rules.export_bpf(file)
    file.seek(0)
    return file


def check_available() -> None:
    """Tries the sandbox on a program that does nothing.

    Raises:
        SandboxUnavailable: Something is missing, or the machine lets nobody make one.
    """
    with call_filter() as rules, tempfile.TemporaryDirectory() as folder:
        arguments = command(Path(folder), rules.fileno(), Limits())
        place = arguments.index("--")
        tried = subprocess.run(
            [*arguments[: place + 1], "/bin/true"],
            pass_fds=(rules.fileno(),),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    if tried.returncode:
        raise SandboxUnavailable(
            "submitted code runs in a sandbox, and this machine lets nobody make one",
            found=tried.stderr.strip()[:200],
            remedy="allow user namespaces, or evaluate code submissions elsewhere",
        )
