# SPDX-License-Identifier: MIT
"""What is kept of a cell beside its numbers: a picture and the events of one sample; all samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from art_spiking.records import Record
from art_spiking_leaderboard.cells import Cell
from art_spiking_leaderboard.kept_events import are_kept, keep_events
from art_spiking_leaderboard.recordings import SUFFIX, recording_of, write_recording
from art_spiking_leaderboard.specs import CellSpec

SpikeArray = npt.NDArray[np.float32]


def lacks_events(spec: CellSpec, cell: Cell) -> bool:
    """Whether files of a finished cell are missing that its job asks for; a shard keeps its samples."""
    if cell.record.status != "ok" or not spec.job.shows_events:
        return False
    kept = spec.shard is not None or spec.job.keep_events
    if kept and not are_kept(spec.place, spec.key):
        return True
    figures = spec.job.figures
    if spec.shard is not None or figures is None:
        return False
    return not all(path.exists() for path in _drawings(spec, figures))


def show_events(spec: CellSpec, record: Record, clean: SpikeArray, x_adv: SpikeArray, *, dt_us: int) -> None:
    """Writes the files of a cell that its job asks for; called before the cell itself is written.

    Args:
        spec: the cell.
        record: what it came to.
        clean: the test samples, (n, T, C, H, W).
        x_adv: the same after the attack.
        dt_us: width of a step in µs.

    Raises:
        CannotWrite: full disk, or no permission.
    """
    if spec.job.keep_events:
        keep_events(spec.place, spec.key, x_adv)
    if spec.job.figures is None:
        return
    from art_spiking.figures import attack_figure, save_figure

    picture, events = _drawings(spec, spec.job.figures)
    index = _telling_sample(record)
    before, after = clean[index], x_adv[index]
    figure = attack_figure(before, after, title=f"{spec.model}, {spec.case}", dt_us=dt_us)
    save_figure(figure, picture)
    classes = (record.labels[index], record.clean[index], record.adversarial[index])
    write_recording(recording_of(before, after, dt_us=dt_us, sample=index, classes=classes), events)


def _drawings(spec: CellSpec, figures: Path) -> tuple[Path, Path]:
    """The picture and the recording of a cell."""
    place = figures / spec.model / spec.job.suite.name
    return place / f"{spec.case}.png", place / f"{spec.case}{SUFFIX}"


def _telling_sample(record: Record) -> int:
    """The first sample that the attack fooled, or else the first."""
    outcomes = zip(record.labels, record.clean, record.adversarial, strict=True)
    return next((i for i, (label, clean, adv) in enumerate(outcomes) if clean == label != adv), 0)
