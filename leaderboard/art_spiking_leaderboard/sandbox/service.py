# SPDX-License-Identifier: MIT
"""Inside the sandbox: loads the submitted /model/model.py and answers with its logits and gradients.

It is run as a program of its own. Whatever the submitted code does to it, it can only harm its own answers:
those are checked outside.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import sys
from typing import Any

_MOST = 1 << 30  # bytes of a question


def _limit(memory: int, threads: int) -> None:
    for kind, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_NPROC, threads),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (value, value))


def _built() -> Any:
    """What `build()` of the submitted file returns, ready to be asked."""
    found = importlib.util.spec_from_file_location("model", "/model/model.py")
    if found is None or found.loader is None:
        raise ImportError("model.py cannot be loaded")
    module = importlib.util.module_from_spec(found)
    sys.modules["model"] = module
    found.loader.exec_module(module)
    model = module.build()
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


def main() -> None:
    """Answers until its input ends."""
    _limit(int(sys.argv[1]), int(sys.argv[2]))
    answers = os.dup(1)
    with open(os.devnull, "w") as nowhere:  # what the model prints is no answer
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    sys.path.insert(0, "/service")
    import torch
    from frames import Frame, read_frame, write_frame  # type: ignore[import-not-found]

    torch.set_num_threads(1)
    try:
        model = _built()
    except BaseException as error:
        write_frame(answers, Frame("error", text=f"{type(error).__name__}: {error}"))
        return
    write_frame(answers, Frame("ready"))
    while True:
        question = read_frame(0, most=_MOST)
        if question is None:
            return
        try:
            answer = _answer(model, question.kind, question.tensors)
        except BaseException as error:
            write_frame(answers, Frame("error", text=f"{type(error).__name__}: {error}"))
            continue
        write_frame(answers, Frame(question.kind, answer))


def _answer(model: Any, kind: str, tensors: Any) -> dict[str, Any]:
    import torch

    x = tensors["x"]
    if kind == "logits":
        with torch.no_grad():
            return {"logits": model(x).float()}
    x.requires_grad_()
    logits = model(x)
    (gradient,) = torch.autograd.grad(logits, x, tensors["by"].to(logits.dtype))
    return {"gradient": gradient.float()}


if __name__ == "__main__":
    main()
