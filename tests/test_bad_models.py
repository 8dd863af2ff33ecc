# SPDX-License-Identifier: MIT
"""Bad and hostile model files: each a clear error, in a process that may take 200 MB and no more."""

import json
import subprocess
import sys
import zlib
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
from graph_samples import ones, values

SECONDS = 60  # for the process and all files in it: a file that takes one alone would not fit
MEGABYTES = 200

# Reads every file with a limit on the address space, and says what each came to.
READ_ALL = """
import json, pathlib, re, resource, sys
from art_spiking.errors import InvalidModel
from art_spiking.nir_graphs import read_nir
import h5py, numpy
kibibytes = int(re.search(r"VmSize:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
room = kibibytes * 1024 + int(sys.argv[2]) * 1_000_000
resource.setrlimit(resource.RLIMIT_AS, (room, room))
found = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.nir")):
    try:
        read_nir(path)
        found[path.stem] = "was read"
    except InvalidModel as error:
        found[path.stem] = str(error)
print(json.dumps(found))
"""


def good() -> nir.NIRGraph:
    nodes = {
        "input": nir.Input(np.array([3])),
        "a": nir.IF(ones(3), ones(3)),
        "b": nir.Linear(values(4, 3)),
        "c": nir.Linear(values(3, 4)),
        "output": nir.Output(np.array([3])),
    }
    edges = [("input", "a"), ("a", "b"), ("b", "c"), ("c", "output")]
    return nir.NIRGraph(nodes, edges, type_check=False)


def cycle(path: Path) -> None:
    graph = good()
    graph.edges.append(("c", "b"))
    nir.write(path, graph)


def dangling(path: Path) -> None:
    graph = good()
    graph.edges.append(("c", "nowhere"))
    nir.write(path, graph)


def twice(path: Path) -> None:
    """HDF5 holds each name once: the second comes out of a graph inside the graph."""
    ends = {"in": nir.Input(np.array([3])), "x": nir.Scale(ones(3)), "out": nir.Output(np.array([3]))}
    graph = good()
    graph.nodes |= {
        "g": nir.NIRGraph(ends, [("in", "x"), ("x", "out")], type_check=False),
        "g.x": nir.Scale(ones(3)),
    }
    graph.edges += [("c", "g"), ("g", "output")]
    nir.write(path, graph)


def shapes(path: Path) -> None:
    graph = good()
    graph.nodes["c"] = nir.Linear(values(3, 5))
    nir.write(path, graph)


def weight(path: Path, **storage) -> h5py.File:
    """The good file without the weight of node b, open, for a hostile one."""
    nir.write(path, good())
    file = h5py.File(path, "a")
    del file["node/nodes/b/weight"]
    return file


def external_storage(path: Path) -> None:
    secret = path.with_name("secret.bin")
    secret.write_bytes(bytes(48))
    with weight(path) as file:
        file.create_dataset("node/nodes/b/weight", (4, 3), "f4", external=[(str(secret), 0, 48)])


def external_link(path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["w"] = values(4, 3)
    with weight(path) as file:
        file["node/nodes/b/weight"] = h5py.ExternalLink("other.h5", "/w")


def soft_loop(path: Path) -> None:
    with weight(path) as file:
        file["node/nodes/b/weight"] = h5py.SoftLink("/node/nodes/b/weight")


def hard_loop(path: Path) -> None:
    with weight(path) as file:
        file["node/nodes/b/more"] = file["node"]


def claims_gigabytes(path: Path) -> None:
    """38 KB that say they hold 8 GB."""
    with weight(path) as file:
        chunk = (1 << 10, 1 << 10)
        made = file.create_dataset("node/nodes/b/weight", (1 << 20, 1 << 11), "f4", chunks=chunk)
        made.id.write_direct_chunk((0, 0), bytes(4 << 10))


def inflates(path: Path) -> None:
    """One part of 48 bytes that inflates to 400 MB."""
    with weight(path) as file:
        made = file.create_dataset("node/nodes/b/weight", (4, 3), "f4", chunks=(4, 3), compression="gzip")
        made.id.write_direct_chunk((0, 0), zlib.compress(bytes(400_000_000), 9))


def virtual(path: Path) -> None:
    layout = h5py.VirtualLayout(shape=(4, 3), dtype="f4")
    layout[:] = h5py.VirtualSource(".", "node/nodes/a/r", shape=(4, 3))
    with weight(path) as file:
        file.create_virtual_dataset("node/nodes/b/weight", layout)


def unknown_filter(path: Path) -> None:
    with weight(path) as file:
        file.create_dataset("node/nodes/b/weight", data=values(4, 3), compression="lzf")


def objects(path: Path) -> None:
    with weight(path) as file:
        kind = h5py.vlen_dtype(np.float32)
        made = file.create_dataset("node/nodes/b/weight", (4,), kind)
        made[0] = np.zeros(3, np.float32)


def halves(path: Path) -> None:
    with weight(path) as file:
        file["node/nodes/b/weight"] = values(4, 3).astype(np.float16)


BAD = {
    cycle: "edge 'c' -> 'b': expected a neuron with a state, or a delay above zero, in every cycle",
    dangling: "edge 'c' -> 'nowhere': expected edges between nodes of the graph, found no node 'nowhere'",
    twice: "node 'g.x': expected a name that no unfolded node has, found the name twice",
    shapes: "edge 'b' -> 'c' (Linear.weight): expected input (5,), found (4,)",
    external_storage: "external storage",
    external_link: "a soft, external or user-defined link",
    soft_loop: "a soft, external or user-defined link",
    hard_loop: "a second link to an object, or a cycle of links",
    claims_gigabytes: "datasets that claim 8589934708 bytes or more",
    inflates: "damaged or larger than declared",
    virtual: "a virtual dataset",
    unknown_filter: "gzip and shuffle, each at most once",
    objects: "accepted: float32, float64, integers of 8 to 64 bits, text",
    halves: "/node/nodes/b/weight is refused; found: the type float16",
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict[str, str]:
    """What a fresh process makes of all of them, in one go."""
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc to read the size of a process from")
    folder = tmp_path_factory.mktemp("bad")
    for write in BAD:
        write(folder / f"{write.__name__}.nir")
        assert (folder / f"{write.__name__}.nir").stat().st_size < 1_000_000
    nir.write(folder / "good.nir", good())
    command = [sys.executable, "-c", READ_ALL, str(folder), str(MEGABYTES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("good") == "was read"
    return found


@pytest.mark.parametrize("write", BAD, ids=lambda write: write.__name__)
def test_a_bad_file_is_a_clear_error_in_little_memory(write, answers):
    assert BAD[write] in answers[write.__name__]


def test_the_limit_is_one(tmp_path):
    """The process above would have died of what the files claim."""
    script = READ_ALL.replace("found = {}", "numpy.ones(100_000_000)")
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), str(MEGABYTES)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert "Unable to allocate" in done.stderr
