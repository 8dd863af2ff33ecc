# SPDX-License-Identifier: MIT
"""The data sets of art-spiking, and loading any registered one by name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from art_spiking.datasets.data import EventData
from art_spiking.errors import InvalidInput, PluginError
from art_spiking.events import Events, Grid, bin_events, late_share
from art_spiking.registry import Catalogue, catalogue, unknown_name

SPLITS = ("train", "test")


def load_data(
    name: str,
    split: str,
    *,
    steps: int | None = None,
    dt_us: int | None = None,
    binary: bool = True,
    data_dir: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    datasets: Catalogue | None = None,
) -> EventData:
    """Loads a split of a registered data set.

    Args:
        name: as `art-spiking list datasets` shows it.
        split: "train" or "test".
        steps: time steps; None for the data set's own.
        dt_us: width of a step in µs; None for the data set's own.
        binary: whether a cell keeps min(count, 1).
        data_dir: the folder of recordings, for data sets that need one.
        limit: the first so many samples only.
        datasets: where to look the name up; by default everything installed.

    Raises:
        UnknownName: nobody offers that data set, or there is no such split.
        MissingData: its files are absent or truncated.
        InvalidInput: an option that does not fit.
    """
    _check_folder(data_dir)
    factory = (catalogue("datasets") if datasets is None else datasets)[name].load()
    grid = {key: value for key, value in (("steps", steps), ("dt_us", dt_us)) if value is not None}
    data = factory(split, **grid, binary=binary, data_dir=data_dir, limit=limit)
    if not isinstance(data, EventData):
        raise PluginError(
            f"the data set '{name}' did not return EventData", found=type(data).__name__, accepted="EventData"
        )
    return data


def digits_dvs(
    split: str,
    *,
    steps: int = 30,
    dt_us: int = 10_000,
    binary: bool = True,
    data_dir: str | os.PathLike[str] | None = None,
    limit: int | None = None,
) -> EventData:
    """scikit-learn's 1,797 digits moved under a simulated 34 x 34 event sensor; no download.

    `digits_simulation.simulate` tells how. The split is fixed: 1,397 train and 400 test recordings, drawn
    evenly from every class; scikit-learn does not tell the writers apart, so a writer may be in both. The
    recordings are simulated once and kept in `data_dir`, a folder that is there, by default the folder
    art-spiking in the user's cache (XDG_CACHE_HOME, or ~/.cache).

    Raises:
        UnknownName: no such split.
        InvalidInput: an option that does not fit, or `data_dir` is no folder.
    """
    from art_spiking.datasets import digits_cache
    from art_spiking.datasets.digits_simulation import SENSOR, VERSION, simulate, split_indices

    _check_split(split)
    grid = Grid(steps, dt_us, SENSOR, SENSOR, binary=binary)
    _check_limit(limit)
    _check_folder(data_dir)
    folder = _cache_folder() if data_dir is None else Path(data_dir)
    if data_dir is not None and not folder.is_dir():
        raise InvalidInput(
            "no such folder: digits-dvs needs no recordings, and keeps in data_dir those that it simulates",
            asked=str(folder),
            remedy="leave data_dir out for the user's cache, or make the folder",
        )
    recordings = digits_cache.cached(folder / f"digits-dvs-{VERSION}.npz", simulate)
    chosen = split_indices(recordings.labels, split)[:limit]
    return _binned((recordings[i] for i in chosen), recordings.labels[chosen], grid, "digits-dvs", split)


def nmnist(
    split: str,
    *,
    steps: int = 31,
    dt_us: int = 10_000,
    binary: bool = True,
    data_dir: str | os.PathLike[str] | None = None,
    limit: int | None = None,
) -> EventData:
    """Neuromorphic MNIST (Orchard et al. 2015), read from a folder you have; 34 x 34 pixels, about 310 ms.

    `nmnist_files.read_split` tells which folders are known.

    Raises:
        UnknownName: no such split.
        MissingData: the folder or a recording is absent, truncated or empty; tells how to download it.
        InvalidInput: an option that does not fit.
    """
    from art_spiking.datasets.nmnist_files import SENSOR, read_split

    _check_split(split)
    grid = Grid(steps, dt_us, SENSOR, SENSOR, binary=binary)
    _check_limit(limit)
    _check_folder(data_dir)
    recordings, labels = read_split(data_dir, split, limit=limit)
    return _binned(recordings, labels, grid, "nmnist", split)


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise InvalidInput("a limit of samples does not fit", asked=limit, accepted="1 or more")


def _check_folder(data_dir: str | os.PathLike[str] | None) -> None:
    if data_dir is not None and not isinstance(data_dir, str | os.PathLike):
        raise InvalidInput("data_dir is not a path", asked=repr(data_dir), accepted="the path of a folder")


def _binned(
    recordings: Iterable[Events], labels: npt.NDArray[np.int64], grid: Grid, name: str, split: str
) -> EventData:
    x = np.empty((len(labels), *grid.shape), dtype=np.float32)
    late = np.empty(len(labels))
    for sample, events in enumerate(recordings):
        x[sample] = bin_events(events, grid)
        late[sample] = late_share(events, grid)
    return EventData(x, labels, grid, name, split, late=late)


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "art-spiking"
