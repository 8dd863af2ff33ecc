# SPDX-License-Identifier: MIT
"""A submitted model in its sandbox, as a module that ART's estimators can hold."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import weakref
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from art_spiking.errors import InvalidModel
from art_spiking_leaderboard.sandbox.frames import (
    TEXT_BYTES,
    Frame,
    FrameError,
    LateError,
    checked,
    read_frame,
    write_frame,
)
from art_spiking_leaderboard.sandbox.policy import Limits, call_filter, command

_HEADER_BYTES = 10_000  # of a safetensors file with one tensor


class ModelFailed(InvalidModel):
    """The submitted code gave no answer, or one that is none."""


class Service:
    """The process of one submission; started at the first question, and ended with this object."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder, self.limits = folder, limits
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, kind: str, tensors: dict[str, Tensor], shape: tuple[int, ...]) -> Tensor:
        """The one tensor of an answer, float32 of the shape that it must have.

        Raises:
            ModelFailed: No answer in time, none at all, or another one; the process is ended.
            SandboxUnavailable: There is nothing to confine it with.
        """
        try:
            process = self._started()
            deadline = time.monotonic() + self.limits.call_seconds
            write_frame(_pipe(process.stdin), Frame(kind, tensors), deadline=deadline)
            name = "logits" if kind == "logits" else "gradient"
            most = 4 * max(1, torch.Size(shape).numel()) + _HEADER_BYTES + TEXT_BYTES
            answer = self._answer(process, most, deadline)
            return checked(answer, kind, {name: shape})[name]
        except (FrameError, OSError) as error:
            raise self._failed(error) from error

    def start(self) -> None:
        """Starts the process, if it does not run.

        Raises:
            ModelFailed: The code cannot be loaded.
            SandboxUnavailable: There is nothing to confine it with.
        """
        try:
            self._started()
        except (FrameError, OSError) as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Ends the process."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copies share the process: it keeps nothing between questions that could tell them apart."""
        return self

    def __getstate__(self) -> dict[str, Any]:
        """A process is not taken along; the other side starts its own."""
        return {"folder": self.folder, "limits": self.limits, "_process": None}

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None:
            return self._process
        with call_filter() as rules:
            process = subprocess.Popen(
                command(self.folder, rules.fileno(), self.limits),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=(rules.fileno(),),
                bufsize=0,
                start_new_session=True,
            )
        self._process = process
        weakref.finalize(self, _end, process)
        os.set_blocking(_pipe(process.stdin), False)
        deadline = time.monotonic() + self.limits.start_seconds
        if self._answer(process, TEXT_BYTES, deadline).kind != "ready":
            raise FrameError("an answer before a question")
        return process

    def _answer(self, process: subprocess.Popen[bytes], most: int, deadline: float) -> Frame:
        answer = read_frame(_pipe(process.stdout), most=most, deadline=deadline)
        if answer is None:
            raise FrameError("its process ended")
        if answer.kind == "error":
            raise FrameError(_printable(answer.text))
        return answer

    def _failed(self, error: Exception) -> ModelFailed:
        self.close()
        found = str(error) if isinstance(error, FrameError) else "its process ended"
        late = isinstance(error, LateError)
        return ModelFailed(
            "the submitted code gave no answer" if late else "the submitted code failed",
            found=found,
            accepted=f"an answer within {self.limits.call_seconds:g} s" if late else None,
        )


class SandboxedModel(nn.Module):
    """The logits of submitted code, with the gradient that it computes itself.

    The gradient is a claim of the submission; `claimed_gradients` holds it against finite differences.

    Attributes:
        digest: SHA-256 of the submission's files, as a buffer, so that it is part of the model's identity.
    """

    digest: Tensor

    def __init__(self, service: Service, nb_classes: int, digest: str) -> None:
        """Takes the service, the number of its logits, and 64 hexadecimal digits."""
        super().__init__()
        self.service, self.nb_classes = service, nb_classes
        self.register_buffer("digest", torch.tensor(list(bytes.fromhex(digest)), dtype=torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, C, H, W) to (N, K).

        Raises:
            ModelFailed: The code gave no answer, or one that is none.
        """
        logits: Tensor = _Asked.apply(x, self.service, self.nb_classes)  # type: ignore[no-untyped-call]
        return logits


class _Asked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, service: Service, classes: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.service = service
        return service.ask("logits", {"x": x.float().cpu()}, (len(x), classes)).to(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        question = {"x": x.float().cpu(), "by": gradients[0].float().cpu()}
        return ctx.service.ask("gradient", question, tuple(x.shape)).to(x), None, None


def _pipe(stream: Any) -> int:
    return int(stream.fileno())


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:300]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kills the sandbox, and with its first process all that it holds."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
        process.wait()
