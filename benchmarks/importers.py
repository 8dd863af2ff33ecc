# SPDX-License-Identifier: MIT
"""How each framework imports a .nir file: as it documents it, and with the work-around that makes it run."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nir
import torch
from torch import Tensor, nn

from art_spiking.semantics import PRESETS, NeuronSemantics

Run = Callable[[Path, Tensor], Tensor]
"""(a .nir file, x (N, T, C, H, W)) to spikes (N, T, K), from a fresh state."""


@dataclass(frozen=True)
class Mended:
    """A way in which an imported model runs.

    Attributes:
        words: What it takes.
        golden: Under which name `golden.GOLDEN` has its figures.
        semantics: What it then computes, by which ours must put out the same spikes.
        run: How.
    """

    words: str
    golden: str
    semantics: NeuronSemantics
    run: Run


@dataclass(frozen=True)
class Importer:
    """A framework's import of NIR graphs.

    Attributes:
        framework: Its import name.
        call: How it is documented.
        plain: The documented way; raises where it fails.
        mended: Ways that work; empty if there is none.
    """

    framework: str
    call: str
    plain: Run
    mended: tuple[Mended, ...]


def _stepped(model: nn.Module, x: Tensor) -> Tensor:
    """A model that returns its output and its state, to be passed in again."""
    outputs, state = [], None
    for frame in x.unbind(1):
        output, state = model(frame, state)
        outputs.append(output)
    return torch.stack(outputs, 1)


def _sinabs(path: Path, x: Tensor) -> Tensor:
    from sinabs.nir import from_nir

    spikes, _ = from_nir(nir.read(path), batch_size=len(x))(x.flatten(0, 1))
    return spikes.unflatten(0, x.shape[:2])


def _sinabs_mended(*, several: bool, clamp: bool, to_zero: bool) -> Run:
    def run(path: Path, x: Tensor) -> Tensor:
        from sinabs import activation, layers
        from sinabs.nir import from_nir

        model = from_nir(nir.read(path), batch_size=len(x))
        for layer in model.modules():
            if isinstance(layer, layers.StatefulLayer):
                layer.spike_fn = activation.MultiSpike if several else activation.SingleSpike
                layer.reset_fn = activation.MembraneReset() if to_zero else activation.MembraneSubtract()
                layer.min_v_mem = layer.min_v_mem if clamp else None
        spikes, _ = model(x.flatten(0, 1))
        return spikes.unflatten(0, x.shape[:2])

    return run


def _norse(path: Path, x: Tensor) -> Tensor:
    from norse.torch import from_nir

    return _stepped(from_nir(nir.read(path)), x)


def _norse_mended(path: Path, x: Tensor) -> Tensor:
    from norse.torch import from_nir

    return _stepped(_flattening_samples_apart(from_nir(nir.read(path))), x)


def _spikingjelly(path: Path, x: Tensor) -> Tensor:
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    return _stepped(import_from_nir(nir.read(path)), x)


def _spikingjelly_mended(path: Path, x: Tensor) -> Tensor:
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    return _stepped(import_from_nir(nir.read(path), dt=1.0), x)


def _snntorch_module(path: Path) -> nn.Module:
    from snntorch.import_nir import import_from_nir

    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        return import_from_nir(nir.read(path))


def _snntorch(path: Path, x: Tensor) -> Tensor:
    module = _snntorch_module(path)
    return torch.stack([module(frame) for frame in x.unbind(1)], 1)


def _snntorch_mended(reset: str) -> Run:
    def run(path: Path, x: Tensor) -> Tensor:
        import snntorch

        layers: list[nn.Module] = []
        for layer in _flattening_samples_apart(_snntorch_module(path)).children():
            if isinstance(layer, snntorch.Leaky):
                threshold = layer.threshold
                layer = snntorch.Leaky(beta=1.0, threshold=threshold, reset_mechanism=reset)
            layers.append(layer)
        potentials: dict[int, Tensor] = {}
        outputs = []
        for frame in x.unbind(1):
            h = frame
            for place, layer in enumerate(layers):
                if isinstance(layer, snntorch.Leaky):
                    h, potentials[place] = layer(h, potentials.get(place, torch.zeros_like(h)))
                else:
                    h = layer(h)
            outputs.append(h)
        return torch.stack(outputs, 1)

    return run


def _nirtorch(path: Path, x: Tensor) -> Tensor:
    from nirtorch import nir_to_torch

    return _stepped(nir_to_torch(nir.read(path), {}), x)


def _flattening_samples_apart(model: nn.Module) -> nn.Module:
    """The model, whose Flatten begins at the first axis after the samples."""
    for module in model.modules():
        if isinstance(module, nn.Flatten):
            module.start_dim = 1
    return model


_TO_ZERO = NeuronSemantics(reset="value", fires="gt")

IMPORTERS = (
    Importer(
        "sinabs",
        "sinabs.nir.from_nir(graph, batch_size=N), fed (N*T, ...)",
        _sinabs,
        (
            Mended("nothing", "subtract, several, clamp -1", PRESETS["sinabs"], _sinabs),
            Mended(
                "SingleSpike, MembraneReset(), min_v_mem None",
                "reset to 0, one",
                NeuronSemantics(reset="value", fires="ge"),
                _sinabs_mended(several=False, clamp=False, to_zero=True),
            ),
            Mended(
                "SingleSpike, min_v_mem None",
                "subtract, one",
                NeuronSemantics(reset="subtract", fires="ge"),
                _sinabs_mended(several=False, clamp=False, to_zero=False),
            ),
            Mended(
                "min_v_mem None",
                "subtract, several",
                NeuronSemantics(reset="subtract", spikes="several", fires="ge"),
                _sinabs_mended(several=True, clamp=False, to_zero=False),
            ),
            Mended(
                "SingleSpike",
                "subtract, one, clamp -1",
                NeuronSemantics(reset="subtract", v_min=-1.0, fires="ge"),
                _sinabs_mended(several=False, clamp=True, to_zero=False),
            ),
        ),
    ),
    Importer(
        "norse",
        "norse.torch.from_nir(graph), stepped with its state",
        _norse,
        (Mended("Flatten(start_dim=1)", "reset to 0, one", _TO_ZERO, _norse_mended),),
    ),
    Importer(
        "spikingjelly",
        "nir_exchange.import_from_nir(graph), stepped with its state",
        _spikingjelly,
        (Mended("dt=1.0", "reset to 0, one", PRESETS["spikingjelly"], _spikingjelly_mended),),
    ),
    Importer(
        "snntorch",
        "snntorch.import_nir.import_from_nir(graph), stepped",
        _snntorch,
        tuple(
            Mended(
                f"own loop over its layers, Flatten(start_dim=1), Leaky(beta=1, reset_mechanism='{reset}')",
                golden,
                semantics,
                _snntorch_mended(reset),
            )
            for reset, golden, semantics in (
                ("zero", "reset to 0, one", _TO_ZERO),
                ("subtract", "subtract, one", NeuronSemantics(reset="subtract", fires="gt")),
            )
        ),
    ),
    Importer("nirtorch", "nirtorch.nir_to_torch(graph, {})", _nirtorch, ()),
)
