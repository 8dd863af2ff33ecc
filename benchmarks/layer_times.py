# SPDX-License-Identifier: MIT
"""Where the time of our gradient goes: forward and backward of every layer, by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from art_spiking.network import SpikingNetwork


@dataclass
class Spent:
    """Seconds in one layer, since the stop watch was put on it."""

    forward: float = 0.0
    backward: float = 0.0


@contextmanager
def watched(network: SpikingNetwork) -> Iterator[dict[str, Spent]]:
    """Adds up the time of every layer inside a `with` block, by node name.

    Forward is the time of the layer's call; backward that from when the gradient of its output is there until
    the gradient of its input is. In a chain, both follow each other without a gap but for what is between
    layers. A layer whose input needs no gradient has no backward.
    """
    spent = {name: Spent() for name in network.node_names}
    with ExitStack() as stack:
        for name, layer in zip(network.node_names, network.layers, strict=True):
            for remove in _watch(layer, spent[name]):
                stack.callback(remove)
        yield spent


def _watch(layer: nn.Module, spent: Spent) -> list[Callable[[], None]]:
    started: list[float] = []

    def before(_layer: nn.Module, _arguments: Any) -> None:
        started.append(time.perf_counter())

    def after(_layer: nn.Module, arguments: Any, output: Any) -> None:
        spent.forward += time.perf_counter() - started.pop()
        given, returned = arguments[0], output[0] if isinstance(output, tuple) else output
        if not (isinstance(given, Tensor) and given.requires_grad and returned.requires_grad):
            return
        entered: list[float] = []

        def enter(_gradient: Tensor) -> None:
            entered.append(time.perf_counter())

        def leave(_gradient: Tensor) -> None:
            if entered:
                spent.backward += time.perf_counter() - entered.pop()

        returned.register_hook(enter)
        given.register_hook(leave)

    return [
        layer.register_forward_pre_hook(before).remove,
        layer.register_forward_hook(after).remove,
    ]


def layer_rows(network: SpikingNetwork, gradient: Callable[[], object], repeats: int) -> list[dict[str, Any]]:
    """Forward and backward of every layer, medians in ms over the repeats, and what is left of the whole."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in network.node_names}
    whole, rest = [], []
    for _ in range(repeats):
        with watched(network) as watches:
            start = time.perf_counter()
            gradient()
            whole.append(1e3 * (time.perf_counter() - start))
        for name, watch in watches.items():
            spent[name].append((1e3 * watch.forward, 1e3 * watch.backward))
        rest.append(whole[-1] - sum(map(sum, (found[-1] for found in spent.values()))))
    nodes = network.to_graph().nodes
    rows = []
    for name, found in spent.items():
        forward, backward = np.median(found, axis=0)
        share = float(np.median([sum(pair) / total for pair, total in zip(found, whole, strict=True)]))
        rows.append(
            {
                "layer": name,
                "type": nodes[name].type,
                "forward ms": float(forward),
                "backward ms": float(backward),
                "share": share,
            }
        )
    share = float(np.median([part / total for part, total in zip(rest, whole, strict=True)]))
    rows.append({"layer": "other", "type": "", "rest ms": float(np.median(rest)), "share": share})
    return rows
