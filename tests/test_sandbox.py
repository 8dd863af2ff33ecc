# SPDX-License-Identifier: MIT
"""Submitted code in its sandbox: honest code gives its logits and gradients, hostile code gets nothing."""

from __future__ import annotations

import copy
import hashlib
import os
import pickle
import textwrap
import time
from pathlib import Path

import leaderboard_world as world
import pytest
import torch
from art_spiking_leaderboard.check import build_classifier, check_submission, model_identity
from art_spiking_leaderboard.engine import Job, plan, run_cell
from art_spiking_leaderboard.manifest import MANIFEST
from art_spiking_leaderboard.sandbox import policy
from art_spiking_leaderboard.sandbox.client import ModelFailed, SandboxedModel, Service
from art_spiking_leaderboard.sandbox.frames import Frame, FrameError, checked, read_frame, write_frame
from art_spiking_leaderboard.sandbox.policy import Limits, SandboxUnavailable, check_available
from art_spiking_leaderboard.working import RunOptions, run_all
from leaderboard_samples import make_manifest
from test_leaderboard_commands import suite_file


def missing():
    try:
        check_available()
    except SandboxUnavailable as error:
        return str(error)
    return None


REASON = missing()
confined = pytest.mark.skipif(REASON is not None, reason=f"no sandbox here: {REASON}")
QUICK = Limits(call_seconds=4, memory=4 << 30)
HONEST = """
    import torch

    class Model(torch.nn.Module):
        def forward(self, x):
            rows = torch.stack([x[..., 2 * k : 2 * k + 2, :].sum((1, 2, 3, 4)) for k in range(3)], 1)
            return rows.sqrt() + 0.1 * rows

    def build():
        return Model()
"""


def write_code(folder: Path, code: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(textwrap.dedent(code))
    return folder


def write_code_submission(folder: Path, code: str = HONEST) -> Path:
    from art_spiking_leaderboard.manifest_text import manifest_text

    content = write_code(folder, code).joinpath("model.py").read_bytes()
    manifest = make_manifest(
        name=folder.name,
        division="code",
        readout="in-code",
        semantics=None,
        input_shape=(world.STEPS, *world.SHAPE),
        nb_classes=world.CLASSES,
        defences=(),
        data={"name": "tiny-events", "dt_us": world.DT_US, "steps": world.STEPS, "binary": True},
        training={"description": "By hand.", "claimed_clean_accuracy": 1.0},
        files={"code": {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}},
    )
    (folder / MANIFEST).write_text(manifest_text(manifest))
    return folder


def module_of(folder: Path) -> torch.nn.Module:
    space: dict = {}
    exec(compile((folder / "model.py").read_text(), "model.py", "exec"), space)
    return space["build"]()


@confined
def test_logits_and_gradients_are_the_codes_own(tmp_path):
    folder = write_code(tmp_path / "honest", HONEST)
    model = SandboxedModel(Service(folder, Limits()), 3, "00" * 32)
    x = torch.rand(4, world.STEPS, *world.SHAPE)
    by = torch.randn(4, 3)
    results = []
    for each in (model, module_of(folder)):
        leaf = x.clone().requires_grad_()
        logits = each(leaf)
        (gradient,) = torch.autograd.grad(logits, leaf, by)
        results.append((logits.detach(), gradient))
    (ours, our_gradient), (theirs, their_gradient) = results
    assert torch.equal(ours, theirs)
    assert torch.equal(our_gradient, their_gradient)


@confined
def test_copies_share_the_process_and_pickles_start_their_own(tmp_path):
    model = SandboxedModel(Service(write_code(tmp_path / "honest", HONEST), Limits()), 3, "00" * 32)
    x = torch.rand(1, world.STEPS, *world.SHAPE)
    logits = model(x)
    pid = model.service._process.pid
    assert copy.deepcopy(model).service._process.pid == pid
    other = pickle.loads(pickle.dumps(model))
    assert torch.equal(other(x), logits)
    assert other.service._process.pid != pid


HOSTILE = {
    "read a host file": ("open('/etc/passwd').read()", "No such file"),
    "read the checkout": (f"open({str(Path(__file__).resolve())!r}).read()", "No such file"),
    "read the home": ("os.listdir(os.path.expanduser('~root'))[0]", "No such file|list index|Permission"),
    "read the environment": ("os.environ['ART_SPIKING_SECRET']", "KeyError"),
    "write beside the model": ("open('/model/x', 'w')", "Read-only"),
    "write into the interpreter": ("open(sys.prefix + '/x', 'w')", "Read-only"),
    "write to the root": ("open('/x', 'w')", "Read-only"),
    "write to the devices": ("open('/dev/x', 'w')", "Read-only"),
    "change a device of the host": ("os.chmod('/dev/full', 0o666)", "not permitted"),
    "touch a device of the host": ("os.utime('/dev/full')", "not permitted"),
    "give a device of the host away": ("os.chown('/dev/full', 65534, 65534)", "not permitted"),
    "open a socket": ("socket.socket()", "not permitted"),
    "fork": ("os.fork()", "not permitted"),
    "start a program": ("subprocess.run(['/bin/true'])", "not permitted"),
    "fill the disk": ("open('/tmp/x', 'wb').write(b'x' * (1 << 28))", "No space"),
    "fill the shared memory": ("open('/dev/shm/x', 'wb').write(b'x' * (1 << 28))", "No space"),
    "exhaust the memory": ("torch.zeros(1 << 34)", "allocate memory"),
    "trace": ("0 / (1 + ctypes.CDLL(None).ptrace(0, 0, 0, 0))", "ZeroDivisionError"),
    "use io_uring": ("0 / (1 + ctypes.CDLL(None).syscall(425, 1, 0))", "ZeroDivisionError"),
    "see other processes": ("[][len([p for p in os.listdir('/proc') if p.isdigit()])]", "list index"),
    "leave": ("os._exit(0)", "its process ended"),
    "raise": ("1 / 0", "ZeroDivisionError"),
    "spin": ("[0 for _ in iter(int, 1)]", "no answer in time"),
    "answer NaN": ("torch.full((len(x), 3), float('nan'))", "NaN"),
    "answer another shape": ("torch.zeros(len(x), 4)", "were expected"),
    "answer too much": ("torch.zeros(len(x), 1 << 22)", "at most"),
    "write no frame": ("[os.write(fd, b'lies' * 99) for fd in range(3, 30) if is_open(fd)]", "than a frame"),
    "write half a frame": (
        "[os.write(fd, b'ASF1logits\\0\\0\\x00\\x01\\x00\\x00ab') for fd in range(3, 30) if is_open(fd)]"
        " and os._exit(0)",
        "broke off",
    ),
}


@confined
@pytest.mark.parametrize(("code", "words"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_code_gets_nothing(tmp_path, monkeypatch, code, words):
    monkeypatch.setenv("ART_SPIKING_SECRET", "it")
    source = f"""
    import ctypes, os, socket, subprocess, sys, torch

    def is_open(fd):
        try:
            os.fstat(fd)
            return True
        except OSError:
            return False

    class Model(torch.nn.Module):
        def forward(self, x):
            answer = {code}
            return answer if isinstance(answer, torch.Tensor) else torch.zeros(len(x), 3)

    def build():
        return Model()
    """
    service = Service(write_code(tmp_path / "hostile", source), QUICK)
    began = time.monotonic()
    with pytest.raises(ModelFailed, match=words):
        SandboxedModel(service, 3, "00" * 32)(torch.rand(2, world.STEPS, *world.SHAPE))
    assert time.monotonic() - began < 60
    assert service._process is None


@confined
def test_threads_are_bounded_and_nothing_is_left_behind(tmp_path):
    source = """
    import threading, time, torch
    def build():
        for _ in range(1000):
            threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    """
    with pytest.raises(ModelFailed, match="thread"):
        Service(write_code(tmp_path / "many", source), QUICK).start()
    deadline = time.monotonic() + 20
    while left := [p for p in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in read(p)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@confined
def test_a_code_submission_is_checked_evaluated_and_told_by_its_digest(tmp_path):
    folder = write_code_submission(tmp_path / "submissions" / "coded")
    submission = check_submission(folder, world.names())
    assert submission.problems == ()
    identity = model_identity(submission, world.names())
    (spec, *_) = plan(submission, Job(world.suite(), tmp_path / "records"), world.workbench())
    cell = run_cell(spec, world.workbench())
    assert cell.record.status == "ok"
    assert cell.record.model == identity
    assert cell.record.clean == cell.record.labels
    write_code_submission(folder, HONEST.replace("0.1", "0.2"))
    assert model_identity(check_submission(folder, world.names()), world.names()).digest != identity.digest


@confined
def test_the_command_evaluates_code_beside_data(tmp_path, capsys):
    write_code_submission(tmp_path / "submissions" / "coded")
    world.write_submission(tmp_path / "submissions" / "plain")
    options = RunOptions(
        tmp_path / "submissions", str(suite_file(tmp_path, world.suite())), tmp_path / "records"
    )
    assert run_all(options, world.workbench) == 0
    assert "coded" in capsys.readouterr().out


def test_without_a_sandbox_code_is_refused_and_data_is_not(tmp_path, monkeypatch, capsys):
    write_code_submission(tmp_path / "submissions" / "coded")
    world.write_submission(tmp_path / "submissions" / "plain")
    monkeypatch.setattr(policy.shutil, "which", lambda name: None)
    options = RunOptions(
        tmp_path / "submissions", str(suite_file(tmp_path, world.suite())), tmp_path / "records"
    )
    assert run_all(options, world.workbench) == 4
    shown = capsys.readouterr()
    assert "coded is left out" in shown.err
    assert "bubblewrap" in shown.err or "seccomp" in shown.err
    assert "plain" in shown.out
    with pytest.raises(SandboxUnavailable):
        build_classifier(check_submission(tmp_path / "submissions" / "coded", world.names()), world.names())


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (('readout = "in-code"', 'readout = "spike-count"'), "readout"),
        (("[files.code]", "[files.graph]"), "files.code"),
        (('division = "code"', 'division = "data"'), "semantics"),
        (('division = "code"', 'division = "both"'), "division"),
        (('title = "', 'semantics = "nir"\ntitle = "'), "semantics"),
    ],
)
def test_a_manifest_that_mixes_the_divisions_is_refused(tmp_path, change, key):
    folder = write_code_submission(tmp_path / "coded")
    text = (folder / MANIFEST).read_text()
    old, new = change
    assert old in text
    (folder / MANIFEST).write_text(text.replace(old, new, 1))
    assert key in {problem.key for problem in check_submission(folder, world.names()).problems}


def test_other_files_links_and_changed_code_are_found(tmp_path):
    folder = write_code_submission(tmp_path / "coded")
    (folder / "extra.py").write_text("")
    (folder / "weights.safetensors").symlink_to("/etc/passwd")
    (folder / "model.py").write_text("changed = 1\n")
    found = {(problem.file, problem.key) for problem in check_submission(folder, world.names()).problems}
    assert {("'extra.py'", ""), ("weights.safetensors", ""), (MANIFEST, "files.code.sha256")} <= found


@pytest.mark.parametrize("division", ["data", "code", "neither"])
def test_files_of_the_other_division_are_named_and_not_opened(tmp_path, division):
    """A link, and a file larger than its kind may be, in a folder whose manifest may be in ruins."""
    folder = write_code_submission(tmp_path / "mixed")
    if division == "data":
        world.write_submission(folder)
    if division == "neither":
        (folder / MANIFEST).write_text("[" * 100)
    for name in {"data": ["model.py"], "code": ["graph.json"], "neither": ["model.py", "graph.json"]}[
        division
    ]:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to("/etc/passwd")
    if division != "code":
        (folder / "model.py").unlink()
        (folder / "model.py").write_bytes(bytes(1 << 19))
    found = {problem.file for problem in check_submission(folder, world.names()).problems}
    assert found >= {"data": {"'model.py'"}, "code": {"'graph.json'"}, "neither": {"'model.py'"}}[division]


def pipe_with(content: bytes) -> int:
    reader, writer = os.pipe()
    os.write(writer, content)
    os.close(writer)
    return reader


def test_a_frame_survives_the_pipe():
    reader, writer = os.pipe()
    x = torch.rand(3, 4)
    write_frame(writer, Frame("logits", {"logits": x}))
    frame = read_frame(reader, most=1000)
    assert torch.equal(checked(frame, "logits", {"logits": (3, 4)})["logits"], x)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"ASF1", "broke off"),
        (b"LIES" + b"logits\0\0" + b"\0" * 4, "something else"),
        (b"ASF1" + b"\xff" * 8 + b"\0" * 4, "something else"),
        (b"ASF1" + b"logits\0\0" + (2001).to_bytes(4, "little"), "2001 bytes"),
        (b"ASF1" + b"logits\0\0" + (9).to_bytes(4, "little") + b"not safe!", "without tensors"),
        (b"ASF1" + b"logits\0\0" + (9).to_bytes(4, "little") + b"half", "broke off"),
    ],
)
def test_what_is_no_frame_is_refused(content, words):
    with pytest.raises(FrameError, match=words):
        read_frame(pipe_with(content), most=2000)


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"other": torch.zeros(2, 3)},
        {"logits": torch.zeros(2, 3, dtype=torch.float64)},
        {"logits": torch.full((2, 3), torch.inf)},
    ],
    ids=["none", "name", "type", "infinity"],
)
def test_an_answer_that_was_not_asked_for_is_refused(tensors):
    with pytest.raises(FrameError):
        checked(Frame("logits", tensors), "logits", {"logits": (2, 3)})
