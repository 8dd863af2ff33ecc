# SPDX-License-Identifier: MIT
"""Pictures of an attack: clean events, adversarial events, and what was added and removed."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from art_spiking.errors import InvalidInput
from art_spiking.events import SpikeArray, validate_spike_tensor
from art_spiking.files import write_atomically

Image = npt.NDArray[np.float64]
Colour = tuple[float, float, float]
Layer = tuple[Colour, Image]

# Colours of Okabe and Ito, which people with any kind of colour vision tell apart.
_ON, _OFF = (0.0, 0.447, 0.698), (0.835, 0.369, 0.0)
_ADDED, _REMOVED, _KEPT = (0.0, 0.620, 0.451), (0.8, 0.475, 0.655), (0.55, 0.55, 0.55)
_BOTH = (0.418, 0.408, 0.349)  # the mean of ON and OFF
_FAINTEST = 0.35


def attack_figure(clean: SpikeArray, adversarial: SpikeArray, *, title: str, dt_us: int) -> Figure:
    """Draws one sample before and after an attack, and the difference.

    The upper row shows the sensor, with the events of all steps; the lower row shows one row of pixels over
    time: the one with most edits, or with most events if there are none. Darker is more events.

    Args:
        clean: (T, C, H, W) counts, one or two polarity channels.
        adversarial: the same sample after the attack.
        title: a line above all.
        dt_us: width of a step in µs.

    Returns:
        A figure of its own, which `save_figure` writes; pyplot is not involved.

    Raises:
        InvalidInput: the tensors are no spike tensors of one shape with one or two channels.
    """
    before, after = _checked(clean, adversarial)
    change = after - before
    edits = np.abs(change).sum(axis=(0, 1, 3))
    row = int(np.argmax(edits if edits.any() else (before + after).sum(axis=(0, 1, 3))))
    figure = Figure(figsize=(10.5, 6.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    axes = figure.subplots(2, 3)
    edited = f"{int(change.clip(min=0).sum())} added, {int(-change.clip(max=0).sum())} removed"
    heads = (
        f"clean: {int(before.sum())} events",
        f"adversarial: {int(after.sum())} events",
        f"difference: {edited}",
    )
    layers = (_polarity_layers(before), _polarity_layers(after), _change_layers(before, after))
    # One scale for clean and adversarial, so that the two can be compared.
    scales = [max(float(part.sum(0).max()) for _, part in layers[0] + layers[1])] * 2
    scales.append(max(float(part.sum(0).max()) for _, part in layers[2]))
    for column, (head, layer, scale) in enumerate(zip(heads, layers, scales, strict=True)):
        mix = column < 2
        _draw_sensor(axes[0, column], head, _blend([(c, part.sum(0)) for c, part in layer], scale, mix=mix))
        line = [(colour, part[:, row].T) for colour, part in layer]
        deepest = max(float(part.max()) for _, part in line)
        _draw_line(axes[1, column], row, _blend(line, deepest, mix=mix), dt_us)
    polarities = [("ON", _ON), ("OFF", _OFF), ("both", _BOTH)] if before.shape[1] == 2 else [("event", _ON)]
    figure.legend(handles=_handles(polarities), loc="outside lower left", ncols=3, frameon=False)
    changes = [("added", _ADDED), ("removed", _REMOVED), ("kept", _KEPT)]
    figure.legend(handles=_handles(changes), loc="outside lower right", ncols=3, frameon=False)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a figure as PNG, whole or not at all; the folder is made if need be.

    The same figure gives the same bytes: no date and no version is written.

    Raises:
        CannotWrite: full disk, or no permission.
    """
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    write_atomically(path, png.getvalue())


def _checked(clean: SpikeArray, adversarial: SpikeArray) -> SpikeArray:
    first = np.asarray(clean)
    if first.ndim != 4 or first.shape[1] not in (1, 2):
        raise InvalidInput(
            "a figure of an attack shows one recording",
            found=first.shape,
            accepted="(T, C, H, W) with one or two polarity channels",
        )
    return np.concatenate(
        [
            validate_spike_tensor(np.asarray(x)[None], shape=first.shape, binary=False)
            for x in (first, adversarial)
        ]
    )


def _polarity_layers(counts: SpikeArray) -> list[Layer]:
    """Colours and (T, H, W) counts, one pair per polarity; a single channel is drawn as ON is."""
    channels = counts.astype(np.float64)
    colours = [_OFF, _ON] if channels.shape[1] == 2 else [_ON]
    return [(colour, channels[:, i]) for i, colour in enumerate(colours)]


def _change_layers(before: SpikeArray, after: SpikeArray) -> list[Layer]:
    change = after.astype(np.float64) - before
    kept = np.minimum(before, after).astype(np.float64).sum(1)
    # Kept events are drawn fainter than any edit, however many they are.
    faint = 0.15 * kept / max(kept.sum(0).max(), 1.0) * max(np.abs(change).sum(axis=(0, 1)).max(), 1.0)
    return [(_REMOVED, (-change).clip(min=0).sum(1)), (_ADDED, change.clip(min=0).sum(1)), (_KEPT, faint)]


def _blend(layers: list[Layer], scale: float, *, mix: bool) -> Image:
    """One picture on white; where layers meet, their colours mix by weight, or else the heaviest wins."""
    weights = np.stack([part for _, part in layers])
    colours = np.array([colour for colour, _ in layers])
    total = weights.sum(0)
    if mix:
        shares = weights / np.maximum(total, 1e-12)
    else:
        shares = (np.arange(len(layers))[:, None, None] == weights.argmax(0)).astype(np.float64)
    colour = np.einsum("l...,lc->...c", shares, colours)
    strength = np.sqrt(np.minimum(total / max(scale, 1e-12), 1.0))
    depth = np.where(total > 0, _FAINTEST + (1 - _FAINTEST) * strength, 0.0)[..., None]
    picture: Image = 1 - depth * (1 - colour)
    return picture


def _draw_sensor(axes: Any, head: str, picture: Image) -> None:
    height, width = picture.shape[:2]
    axes.imshow(picture, interpolation="nearest", extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    axes.set_title(head, fontsize="medium")
    axes.set_xlabel("x (pixels)")
    axes.set_ylabel("y (pixels)")


def _draw_line(axes: Any, row: int, picture: Image, dt_us: int) -> None:
    width, steps = picture.shape[:2]
    end = steps * dt_us / 1000
    extent = (0, end, width - 0.5, -0.5)
    axes.imshow(picture, interpolation="nearest", aspect="auto", extent=extent)
    axes.set_title(f"row y = {row}", fontsize="medium")
    axes.set_xlabel("t (ms)")
    axes.set_ylabel("x (pixels)")


def _handles(entries: list[tuple[str, Colour]]) -> list[Patch]:
    return [Patch(color=colour, label=label) for label, colour in entries]
