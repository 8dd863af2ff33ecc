# SPDX-License-Identifier: MIT
"""Events and spike tensors: the grid between them, and N-MNIST files in and out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from art_spiking.errors import InvalidInput, MissingData
from art_spiking.files import write_atomically

EVENT_DTYPE = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<i8"), ("p", "u1")])
"""One event: column, row, time in µs from the start of the recording, polarity bit."""

Events = npt.NDArray[np.void]
SpikeArray = npt.NDArray[np.float32]

_NMNIST_BYTES = 5
_NMNIST_LAST_TIME = 2**23 - 1
# Rows are one byte, and 240 marks no event but a time stamp that has run over.
_OVERFLOW_ROW = 240
_OVERFLOW_US = 2**13


@dataclass(frozen=True)
class Grid:
    """The cells that events are counted in: time steps of one width, polarity channels, rows and columns.

    Step k holds the times from k * dt_us up to, not including, (k + 1) * dt_us. Channel p holds the events
    of polarity bit p; with one polarity, both bits share channel 0. A binary grid keeps min(count, 1).

    Raises:
        InvalidInput: a size below 1, or other than one or two polarities.
    """

    steps: int
    dt_us: int
    height: int
    width: int
    polarities: int = 2
    binary: bool = True

    def __post_init__(self) -> None:
        """Checks the sizes."""
        for name in ("steps", "dt_us", "height", "width"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise InvalidInput(
                    f"a grid's {name} does not fit", found=repr(value), accepted="a whole number of 1 or more"
                )
        if self.polarities not in (1, 2):
            raise InvalidInput(
                "a grid's polarities do not fit", found=repr(self.polarities), accepted="1 or 2"
            )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The spike tensor of one recording: (T, C, H, W)."""
        return (self.steps, self.polarities, self.height, self.width)

    @property
    def duration_us(self) -> int:
        """The end of the last step, in µs."""
        return self.steps * self.dt_us


def bin_events(events: Events, grid: Grid) -> SpikeArray:
    """Counts events on the grid's cells; every event falls in exactly one.

    The start is always time 0 and the end the grid's own, whatever the first and last events are: a start at
    the first event would let one added event shift all others. Events later than the last step are counted
    into it.

    Args:
        events: structured array with integer fields x, y, t (µs) and p, sorted or not.
        grid: the cells.

    Returns:
        Float32 (T, C, H, W): counts, or min(count, 1) on a binary grid.

    Raises:
        InvalidInput: a field is missing or not integer, a time is negative, or an event lies off the sensor.
    """
    counts = np.bincount(_cell_index(events, grid), minlength=int(np.prod(grid.shape)))
    if grid.binary:
        counts = np.minimum(counts, 1)
    return counts.astype(np.float32).reshape(grid.shape)


def late_share(events: Events, grid: Grid) -> float:
    """The share of a recording's events that come after the grid's end, from 0 to 1; 0 for no events.

    `bin_events` counts them into the last step, which is then no longer what the sensor saw in it.
    """
    return float((_as_events(events)["t"] >= grid.duration_us).mean()) if len(events) else 0.0


def unbin_events(tensor: SpikeArray, grid: Grid) -> Events:
    """Turns a spike tensor into events; `bin_events` returns exactly the same tensor.

    A cell's n events divide its step evenly: the k-th lies at (2 k + 1) / (2 n) of it, rounded down to a µs,
    so that a single event lies in the middle.

    Args:
        tensor: (T, C, H, W) of the grid's shape, whole counts >= 0; 0 or 1 on a binary grid.
        grid: the cells.

    Returns:
        Events sorted by time; ties by polarity, row, column.

    Raises:
        InvalidInput: the tensor is not a valid spike tensor of this grid.
    """
    counts = validate_spike_tensor(np.asarray(tensor)[None], shape=grid.shape, binary=grid.binary)[0].astype(
        np.int64
    )
    return _events_in_cells(counts, grid)


def edited_events(recording: Events, clean: SpikeArray, adversarial: SpikeArray, grid: Grid) -> Events:
    """Writes the edits between two spike tensors into the recording itself.

    Events that are kept keep their time and polarity, to the µs. A cell that was emptied loses its events; a
    cell whose count fell loses its latest ones; a cell that gained gets new events as in `unbin_events`.

    Args:
        recording: the events that `clean` was binned from.
        clean: (T, C, H, W), `bin_events(recording, grid)`.
        adversarial: (T, C, H, W), the tensor to reach.
        grid: the cells of both.

    Returns:
        Events sorted by time, for which `bin_events` returns exactly `adversarial`.

    Raises:
        InvalidInput: `clean` is not the recording's own tensor, or `adversarial` is not valid on the grid.
    """
    both = np.stack([np.asarray(clean), np.asarray(adversarial)])
    before, after = validate_spike_tensor(both, shape=grid.shape, binary=grid.binary).astype(np.int64)
    if not np.array_equal(before, bin_events(recording, grid)):
        raise InvalidInput(
            "the clean spike tensor is not the recording binned on this grid",
            found=f"{int(before.sum())} counts in the tensor, {len(recording)} events in the recording",
            remedy="pass bin_events(recording, grid) as clean",
        )
    ordered = _as_events(recording)
    ordered = ordered[np.argsort(ordered["t"], kind="stable")]
    cell = _cell_index(ordered, grid)
    # A binary cell of 1 may hold many events: it is kept whole or emptied.
    allowed = np.where(after.ravel() >= before.ravel(), np.iinfo(np.int64).max, after.ravel())
    kept = ordered[_rank_in_cell(cell) < allowed[cell]]
    added = _events_in_cells(np.maximum(after - before, 0), grid)
    merged = np.concatenate([kept, added])
    return merged[np.argsort(merged["t"], kind="stable")]


def read_nmnist(path: str | os.PathLike[str]) -> Events:
    """Reads a recording of N-MNIST's `.bin` format, which is SLAYER's `.bs2` as well.

    Five bytes an event: column, row, then one bit polarity and 23 bits time in µs, big-endian (Orchard et al.
    2015, "Converting static image datasets to spiking neuromorphic datasets using saccades"). A row of 240
    marks a time stamp that has run over by 8192 µs, and is no event.

    Returns:
        Events in the order of the file.

    Raises:
        MissingData: no such file, or its size is not a whole number of events.
    """
    file = Path(path)
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise MissingData(
            "a recording cannot be read",
            asked=str(file),
            found=error.strerror or type(error).__name__,
            remedy="check the path, or download the recordings again",
        ) from error
    if len(raw) % _NMNIST_BYTES:
        raise MissingData(
            "a recording is truncated or not in N-MNIST's format",
            asked=str(file),
            found=f"{len(raw)} bytes",
            accepted=f"a multiple of {_NMNIST_BYTES} bytes",
            remedy="download or copy the file again",
        )
    columns = np.frombuffer(raw, dtype=np.uint8).reshape(-1, _NMNIST_BYTES).astype(np.int64)
    time = (columns[:, 2] & 0x7F) << 16 | columns[:, 3] << 8 | columns[:, 4]
    overflow = columns[:, 1] == _OVERFLOW_ROW
    time += np.cumsum(overflow) * _OVERFLOW_US
    events = np.empty(len(columns), dtype=EVENT_DTYPE)
    events["x"], events["y"], events["t"], events["p"] = (
        columns[:, 0],
        columns[:, 1],
        time,
        columns[:, 2] >> 7,
    )
    kept: Events = events[~overflow]
    return kept


def write_nmnist(path: str | os.PathLike[str], events: Events) -> None:
    """Writes events as an N-MNIST `.bin` file, whole or not at all; `read_nmnist` reads the same.

    The folder is made if need be.

    Raises:
        InvalidInput: a column above 255, a row above 239, a polarity above 1, or a time outside 0 to
            8388607 µs, which the format cannot hold.
        CannotWrite: full disk, or no permission.
    """
    ordered = _as_events(events)
    limits = {"x": 255, "y": _OVERFLOW_ROW - 1, "t": _NMNIST_LAST_TIME, "p": 1}
    for name, limit in limits.items():
        column = ordered[name].astype(np.int64)
        wrong = np.flatnonzero((column < 0) | (column > limit))
        if wrong.size:
            raise InvalidInput(
                f"event {wrong[0]} cannot be written in N-MNIST's format",
                asked=str(path),
                found=f"{name} = {column[wrong[0]]}",
                accepted=f"{name} from 0 to {limit}",
            )
    time, polarity = ordered["t"], ordered["p"].astype(np.int64)
    columns = (ordered["x"], ordered["y"], polarity << 7 | time >> 16, time >> 8 & 0xFF, time & 0xFF)
    raw = np.stack([np.asarray(column, dtype=np.uint8) for column in columns], axis=1).tobytes()
    write_atomically(path, raw)


def validate_spike_tensor(x: Any, *, shape: tuple[int, ...] | None = None, binary: bool = True) -> SpikeArray:
    """Checks a batch of spike tensors and returns it as float32; no copy where it is that already.

    Args:
        x: array or tensor (N, T, C, H, W), or (N, T, F) for data without a sensor.
        shape: the shape of one sample, without N; None accepts any sizes.
        binary: entries must be 0 or 1; otherwise whole counts >= 0.

    Raises:
        InvalidInput: an empty batch, a wrong rank or axis, NaN or infinity, a negative or a fractional entry,
            or an entry above 1 where binary is declared.
    """
    detach = getattr(x, "detach", None)
    array = np.asarray(x if detach is None else detach().cpu())
    if array.dtype.kind not in "fiub":
        raise InvalidInput(
            "spike tensors hold numbers", found=f"dtype {array.dtype}", accepted="real numbers"
        )
    _check_axes(array.shape, shape)
    with np.errstate(over="ignore"):
        result = array.astype(np.float32, copy=False)
    # In blocks: data sets are large, and each comparison makes an array of its own.
    rows = max(1, 2**22 // max(1, result[0].size))
    for start in range(0, len(result), rows):
        if not _holds_counts(array[start : start + rows], result[start : start + rows], binary):
            raise _wrong_entry(array, result)
    return result


def _holds_counts(array: npt.NDArray[Any], result: SpikeArray, binary: bool) -> bool:
    if binary:
        return bool(((array == 0) | (array == 1)).all())
    return bool((np.isfinite(result) & (result >= 0) & (np.floor(array) == array)).all())


def _wrong_entry(array: npt.NDArray[Any], result: SpikeArray) -> InvalidInput:
    """The error for the first entry that is wrong in the plainest way."""
    bad = _first(~np.isfinite(result))
    if bad is not None:
        return InvalidInput(f"spike tensors are finite; entry {bad} is not", found=result[bad])
    bad = _first(result < 0)
    if bad is not None:
        return InvalidInput(f"a cell holds no negative count; entry {bad} does", found=result[bad])
    bad = _first(array != np.floor(array))
    if bad is not None:
        return InvalidInput(
            f"a cell holds a whole number of events; entry {bad} does not",
            found=array[bad],
            remedy="pass spikes, not rates; encode images first",
        )
    bad = _first(result > 1)
    return InvalidInput(
        f"binary spike tensors were declared; entry {bad} is a count",
        found=result[bad],
        accepted="0 or 1",
        remedy="bin with binary=True, or declare counts with binary=False",
    )


def _first(wrong: npt.NDArray[np.bool_]) -> tuple[int, ...] | None:
    """The index of the first true entry, or None."""
    if not wrong.any():
        return None
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))


def _check_axes(found: tuple[int, ...], sample: tuple[int, ...] | None) -> None:
    ranks = {3: "NTF", 5: "NTCHW"}
    rank = len(found) if sample is None else len(sample) + 1
    if sample is None:
        accepted = "(N, T, C, H, W) or (N, T, F)"
    else:
        names = ranks.get(rank, "N" + "?" * len(sample))[1:]
        accepted = f"(N, {', '.join(f'{n}={size}' for n, size in zip(names, sample, strict=True))})"
    if len(found) != rank or rank not in ranks or (sample is not None and found[1:] != tuple(sample)):
        raise InvalidInput(
            "a batch of spike tensors has another shape",
            found=found,
            accepted=accepted,
            remedy="axes are batch, time step, polarity, row, column; a single sample needs x[None]",
        )
    if 0 in found:
        raise InvalidInput("a batch of spike tensors is empty", found=found, accepted="at least one sample")


def _as_events(events: Events) -> Events:
    """The events as `EVENT_DTYPE`; the fields are checked first, the values are the caller's to check."""
    names = getattr(getattr(events, "dtype", None), "names", None) or ()
    wrong = [f for f in ("x", "y", "t", "p") if f not in names or events.dtype[f].kind not in "iub"]
    if wrong or events.ndim != 1:
        raise InvalidInput(
            "events are a one-dimensional structured array with integer fields x, y, t and p",
            found=getattr(events, "dtype", type(events).__name__),
            accepted=EVENT_DTYPE,
        )
    if events.dtype == EVENT_DTYPE:
        return events
    converted = np.empty(len(events), dtype=EVENT_DTYPE)
    for name in ("x", "y", "t", "p"):
        column = events[name].astype(np.int64)
        converted[name] = column
        changed = np.flatnonzero(converted[name].astype(np.int64) != column)
        if changed.size:
            raise InvalidInput(
                f"event {changed[0]} does not fit an event array",
                found=f"{name} = {column[changed[0]]}",
                accepted=f"values of {EVENT_DTYPE[name]}",
            )
    return converted


def _cell_index(events: Events, grid: Grid) -> npt.NDArray[np.int64]:
    """The flat cell of every event, after checking that all lie on the sensor."""
    checked = _as_events(events)
    limits = {"x": grid.width - 1, "y": grid.height - 1, "p": 1, "t": np.iinfo(np.int64).max}
    for name, limit in limits.items():
        column = checked[name]
        wrong = np.flatnonzero((column < 0) | (column > limit))
        if wrong.size:
            raise InvalidInput(
                f"event {wrong[0]} lies outside the grid",
                found=f"{name} = {column[wrong[0]]}",
                accepted=f"{name} from 0 to {limit}" if name != "t" else "t of 0 µs or more",
                remedy="times count from the recording's start" if name == "t" else "check the sensor's size",
            )
    step = np.minimum(checked["t"] // grid.dt_us, grid.steps - 1)
    channel = checked["p"].astype(np.int64) if grid.polarities == 2 else 0
    rows = (step * grid.polarities + channel) * grid.height + checked["y"]
    index: npt.NDArray[np.int64] = rows * grid.width + checked["x"]
    return index


def _rank_in_cell(cell: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many earlier entries share the same cell."""
    order = np.argsort(cell, kind="stable")
    grouped = cell[order]
    starts = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]]) if len(cell) else np.zeros(0, np.int64)
    lengths = np.diff(np.r_[starts, len(cell)])
    rank = np.empty(len(cell), dtype=np.int64)
    rank[order] = np.arange(len(cell)) - np.repeat(starts, lengths)
    return rank


def _events_in_cells(counts: npt.NDArray[np.int64], grid: Grid) -> Events:
    """Places `counts` events evenly in the steps of their cells."""
    step, channel, row, column = np.nonzero(counts)
    number = counts[step, channel, row, column]
    cell = np.repeat(np.arange(len(number)), number)
    offset = (2 * _rank_in_cell(cell) + 1) * grid.dt_us // (2 * number[cell])
    events = np.empty(len(cell), dtype=EVENT_DTYPE)
    events["x"], events["y"] = column[cell], row[cell]
    events["t"] = step[cell] * grid.dt_us + offset
    events["p"] = channel[cell]
    return events[np.argsort(events["t"], kind="stable")]
