# SPDX-License-Identifier: MIT
"""Checks at the estimator's door: does a batch, do its labels, fit what the classifier declared?"""

from __future__ import annotations

import numpy as np
import torch

from art_spiking.errors import InvalidInput

Array = np.ndarray | torch.Tensor

_AXES = {4: ("T", "C", "H", "W"), 2: ("T", "F")}


def axis_names(rank: int, *, folded: bool = False) -> tuple[str, ...]:
    """The names of a sample's axes, without the batch axis."""
    if folded and rank == 3:
        return ("T*C", "H", "W")
    return _AXES.get(rank, ("T", *(f"axis {axis}" for axis in range(2, rank + 1))))


def layout_text(shape: tuple[int, ...], *, folded: bool = False) -> str:
    """The expected batch in words, such as `(N, T, C, H, W) = (N, 31, 2, 34, 34)`."""
    names = ", ".join(axis_names(len(shape), folded=folded))
    return f"(N, {names}) = (N, {', '.join(str(size) for size in shape)})"


def check_shape(found: tuple[int, ...], expected: tuple[int, ...], *, folded: bool = False) -> None:
    """Checks a batch's shape (N, *expected).

    Raises:
        InvalidInput: the rank or an axis differs, or the batch is empty; the message names the axes.
    """
    layout = layout_text(expected, folded=folded)
    if len(found) != len(expected) + 1:
        hint = "add the batch axis: x[None]" if found == expected else "batch first, time second"
        raise InvalidInput(f"the input has {len(found)} axes", found=found, accepted=layout, remedy=hint)
    wrong = [
        f"{name} is {size}, expected {wanted}"
        for name, size, wanted in zip(
            axis_names(len(expected), folded=folded), found[1:], expected, strict=True
        )
        if size != wanted
    ]
    if wrong:
        remedy: str | None = None
        if not folded and len(expected) == 4 and found[1] != expected[0]:
            remedy = (
                "time-first data (T, N, C, H, W) needs its first two axes swapped"
                if found[0] == expected[0]
                else "bin the events on the classifier's grid"
            )
        raise InvalidInput(
            f"the input does not fit: {'; '.join(wrong)}", found=found, accepted=layout, remedy=remedy
        )
    if found[0] == 0:
        raise InvalidInput("the batch is empty", found=found, accepted=f"{layout} with N of at least 1")


def check_finite(x: Array) -> None:
    """Checks that every entry is a finite number.

    One sum finds both NaN and infinity, in a single pass and without a mask as large as the input.

    Raises:
        InvalidInput: NaN, infinity, or an array that does not hold numbers.
    """
    if isinstance(x, np.ndarray) and x.dtype.kind not in "biuf":
        raise InvalidInput("the input does not hold numbers", found=x.dtype, accepted="float32 event counts")
    total = float(x.sum(dtype=np.float64) if isinstance(x, np.ndarray) else x.detach().sum())
    if not np.isfinite(total):
        values = x if isinstance(x, np.ndarray) else x.detach().cpu().numpy()
        bad = ~np.isfinite(values)
        if bad.any():
            where = tuple(int(i) for i in np.argwhere(bad)[0])
            raise InvalidInput(
                "the input is not finite",
                found=f"{int(bad.sum())} entries NaN or infinite, the first at {where}",
                accepted="finite event counts",
            )


def label_indices(y: Array, samples: int, classes: int) -> Array:
    """Returns labels as int64 indices (N,), from indices (N,) or (N, 1) or one-hot or soft rows (N, K).

    Raises:
        InvalidInput: another shape, another number of labels than samples, a label out of range, NaN, or a
            row without one largest entry.
    """
    check_labels(y, samples, classes)
    if y.ndim == 2 and y.shape[1] == classes and classes > 1:
        check_one_largest(y)
        return y.argmax(axis=1) if isinstance(y, np.ndarray) else y.argmax(dim=1)
    flat = y.reshape(-1)
    return flat.astype(np.int64) if isinstance(flat, np.ndarray) else flat.long()


def check_one_largest(y: Array) -> None:
    """Checks that every row (N, K) says which class is meant; argmax would quietly take the first of a tie.

    Raises:
        InvalidInput: a row is all zero, or several of its entries are the largest; the message names the row.
    """
    values = y.detach().cpu().numpy() if isinstance(y, torch.Tensor) else y
    largest = values.max(axis=1, keepdims=True)
    wrong = np.flatnonzero(((values == largest).sum(axis=1) != 1) | (largest[:, 0] <= 0))
    if wrong.size:
        row = values[wrong[0]]
        shown = ", ".join(f"{value:g}" for value in row[:12]) + (", ..." if len(row) > 12 else "")
        raise InvalidInput(
            f"label row {wrong[0]} does not say which class is meant",
            found=f"[{shown}]" + (f", and {wrong.size - 1} more such rows" if wrong.size > 1 else ""),
            accepted="one entry larger than all others, as in a one-hot row",
            remedy="pass class indices (N,), or mend those rows",
        )


def plain_array(x: np.ndarray) -> np.ndarray:
    """Returns the array as torch takes it: a copy where it runs backwards, is read-only or byte-swapped."""
    if any(step < 0 for step in x.strides) or not x.flags.writeable or not x.dtype.isnative:
        return np.array(x, dtype=x.dtype.newbyteorder("="), order="C")
    return x


def check_labels(y: Array, samples: int, classes: int) -> None:
    """Checks labels: indices (N,) or (N, 1), or one-hot or soft rows (N, K).

    Raises:
        InvalidInput: see `label_indices`.
    """
    accepted = f"indices (N,) of 0 to {classes - 1}, or one-hot rows (N, {classes}), with N = {samples}"
    shape = tuple(y.shape)
    if shape not in {(samples,), (samples, 1), (samples, classes)}:
        raise InvalidInput("the labels do not fit the batch", found=f"shape {shape}", accepted=accepted)
    values = y.detach().cpu().numpy() if isinstance(y, torch.Tensor) else y
    if values.dtype.kind not in "biuf":
        raise InvalidInput("the labels are not numbers", found=values.dtype, accepted=accepted)
    if not np.isfinite(values).all():
        raise InvalidInput("the labels are not finite", found="NaN or infinity", accepted=accepted)
    if shape[1:] == (classes,):
        if values.min() < 0:
            raise InvalidInput("a label row has a negative share", found=values.min(), accepted=accepted)
        return
    wrong = values[(values < 0) | (values >= classes) | (values != np.floor(values))]
    if wrong.size:
        raise InvalidInput("a label is out of range", found=f"{wrong.reshape(-1)[0]:g}", accepted=accepted)
