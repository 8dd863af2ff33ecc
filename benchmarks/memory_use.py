# SPDX-License-Identifier: MIT
"""The memory that one gradient takes at its peak, in a process of its own; Linux only.

What the system gave the process (VmHWM) is compared with what it held before (VmRSS), after a warm-up on a
few frames: that counts all memory, of numba and of oneDNN too, where PyTorch's own profiler sees its tensors.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from contenders import linear_alone, ours
from measuring import Setting

from art_spiking.memory import keep_freed_memory
from art_spiking.semantics import NeuronSemantics
from art_spiking.surrogates import Atan

MAKERS = {"ours": ours, "linear alone": linear_alone}
SEMANTICS = NeuronSemantics(reset="subtract", fires="gt")
_WARM_STEPS = 2


def peak_of(name: str, setting: Setting, steps: int, *, threads: int, plain: bool) -> float:
    """MiB that a contender's gradient takes, measured in a fresh process.

    Raises:
        RuntimeError: The process failed, or the system has no /proc.
    """
    asked = {
        "name": name,
        "model": str(setting.model),
        "data_dir": str(setting.data_dir),
        "samples": setting.samples,
        "steps": steps,
        "threads": threads,
        "plain": plain,
    }
    command = [sys.executable, str(Path(__file__).resolve()), json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the memory of '{name}' could not be measured: {done.stderr.strip()[-500:]}")
    return float(json.loads(done.stdout)["MiB"])


def _measure(asked: dict[str, Any]) -> float:
    if not asked["plain"]:
        keep_freed_memory()
    torch.set_num_threads(asked["threads"])
    setting = Setting(Path(asked["model"]), Path(asked["data_dir"]), asked["samples"])
    network = setting.network(SEMANTICS, Atan(2.0))
    x, y = setting.recordings(asked["steps"])
    make = MAKERS[asked["name"]]
    gradient = make(network, x, y)
    make(network, x[:1, :_WARM_STEPS].copy(), y[:1])()
    gc.collect()
    before = _status("VmRSS")
    gradient()
    return (_status("VmHWM") - before) / 1024


def _status(key: str) -> int:
    """A figure of /proc/self/status, in KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {key}")


if __name__ == "__main__":
    print(json.dumps({"MiB": _measure(json.loads(sys.argv[1]))}))
