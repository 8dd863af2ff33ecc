# SPDX-License-Identifier: MIT
"""Simulates recordings of moving digits: scikit-learn's images under an event sensor."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from art_spiking.datasets.digits_cache import Recordings
from art_spiking.events import EVENT_DTYPE, Events

SENSOR = 34
"""Rows and columns of the simulated sensor."""

DURATION_US = 300_000
"""Length of every recording in µs: three legs of 100 ms."""

TEST_SAMPLES = 400
"""Test recordings; the other 1,397 are for training."""

VERSION = 1
"""Goes up with every change of a recording; part of the cached file's name."""

_SEED = 20_150_608
_STEP_US = 1_000
_REFRACTORY_US = 1_000
_NOISE_HZ = 0.5
_DIGIT = 28
# Corners of the path, columns and rows in pixels from the sensor's middle.
_CORNERS = np.array([[-2.0, -2.0], [0.0, 2.0], [2.0, -2.0], [-2.0, -2.0]])
_JITTER = 1.0
# Log intensity in whole units of 2**-16, so that the events are the same on every machine.
_UNIT = 2**16
_LEVELS = 2**12
_THRESHOLD, _SPREAD = 0.35, 0.04
_DARK = 0.15


def simulate(samples: npt.NDArray[np.int64] | None = None) -> Recordings:
    """Simulates recordings of scikit-learn's digits, in the order of that data set.

    An 8 x 8 digit is enlarged to 28 x 28 pixels and moved along three straight legs of 100 ms, as the
    saccades of N-MNIST are (Orchard et al. 2015), each with a smooth start and stop; where it starts differs
    from sample to sample. Each of 34 x 34 pixels emits an event whenever its log intensity has changed by its
    threshold since its last crossing (Lichtsteiner et al. 2008); intensity is linear between renderings 1 ms
    apart, as in ESIM (Rebecq et al. 2018). Thresholds differ from pixel to pixel and between polarities,
    background events are Poisson, and a pixel is silent for 1 ms after each event. Left out: leak events,
    limited bandwidth, arbiter.

    Args:
        samples: indices into the 1,797 digits; None for all.

    Returns:
        The recordings; the same index gives the same recording in any selection and on any machine.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8) / 16.0
    chosen = np.arange(len(images)) if samples is None else np.asarray(samples, dtype=np.int64)
    sensor = np.random.default_rng([_SEED, 0])
    spread = sensor.normal(_THRESHOLD, _SPREAD, size=(2, SENSOR, SENSOR)).clip(_THRESHOLD / 2)
    thresholds = np.rint(spread * _UNIT).astype(np.int64)
    parts = [_record(images[i], thresholds, np.random.default_rng([_SEED, 1, i])) for i in chosen]
    offsets = np.r_[0, np.cumsum([len(part) for part in parts])].astype(np.int64)
    return Recordings(np.concatenate(parts), offsets, labels[chosen].astype(np.int64))


def split_indices(labels: npt.NDArray[np.int64], split: str) -> npt.NDArray[np.int64]:
    """The fixed split: 400 test recordings, drawn evenly from every class, and the others for training.

    Returns:
        Indices in shuffled order, so that the first n are a fair sample.
    """
    order = np.random.default_rng([_SEED, 2]).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    positions = ((np.arange(TEST_SAMPLES) + 0.5) * len(labels) / TEST_SAMPLES).astype(np.int64)
    in_test = np.isin(order, by_class[positions])
    chosen: npt.NDArray[np.int64] = order[in_test if split == "test" else ~in_test]
    return chosen


def _record(
    image: npt.NDArray[np.float64], thresholds: npt.NDArray[np.int64], rng: np.random.Generator
) -> Events:
    """One recording, sorted by time."""
    crossings = _crossings(_render(image, _path(rng)), thresholds, _STEP_US)
    number = rng.poisson(_NOISE_HZ * SENSOR * SENSOR * DURATION_US / 1e6)
    noise = [rng.integers(high, size=number) for high in (SENSOR, SENSOR, DURATION_US, 2)]
    events = np.empty(len(crossings) + number, dtype=EVENT_DTYPE)
    for name, own, background in zip("xytp", crossings.T, noise, strict=True):
        events[name] = np.r_[own, background]
    events = events[np.lexsort([events[name] for name in "pxyt"])]
    pixel = events["y"].astype(np.int64) * SENSOR + events["x"]
    rested: Events = events[_rested(pixel, events["t"], SENSOR * SENSOR, _REFRACTORY_US)]
    return rested


def _path(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Where the digit's centre is at each rendering, in pixels from the sensor's: (renderings, 2)."""
    renderings = DURATION_US // _STEP_US
    corners = _CORNERS + rng.uniform(-_JITTER, _JITTER, size=2)
    progress = np.arange(renderings + 1) / renderings * (len(corners) - 1)
    leg = np.minimum(progress.astype(np.int64), len(corners) - 2)
    part = progress - leg
    part = part * part * (3 - 2 * part)
    result: npt.NDArray[np.float64] = corners[leg] + part[:, None] * (corners[leg + 1] - corners[leg])
    return result


def _render(image: npt.NDArray[np.float64], path: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Log intensity at each rendering, in whole units: (renderings, rows, columns)."""
    columns, rows = (_weights(path[:, axis]) for axis in (0, 1))
    bright = np.matmul(rows, np.matmul(image, columns.transpose(0, 2, 1)))
    # Steeper than scikit-learn's averages of 4 x 4 pixels, as the digits were before.
    level = np.rint((1.6 * (bright - 0.5) + 0.5).clip(0.0, 1.0) * (_LEVELS - 1)).astype(np.int64)
    logarithm = np.log(np.linspace(_DARK, 1.0, _LEVELS)) * _UNIT
    result: npt.NDArray[np.int64] = np.rint(logarithm).astype(np.int64)[level]
    return result


def _weights(shift: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weights of the image's 8 rows in each of the sensor's: (renderings, sensor, 8); cubic convolution."""
    at = (np.arange(SENSOR) - (SENSOR - 1) / 2 - shift[:, None]) * 8 / _DIGIT + 3.5
    gap = np.abs(at[..., None] - np.arange(8))
    near = ((1.5 * gap - 2.5) * gap) * gap + 1
    far = ((-0.5 * gap + 2.5) * gap - 4) * gap + 2
    weights: npt.NDArray[np.float64] = np.where(gap < 1, near, np.where(gap < 2, far, 0.0))
    return weights


@numba.njit
def _crossings(
    log_intensity: npt.NDArray[np.int64], thresholds: npt.NDArray[np.int64], step_us: int
) -> npt.NDArray[np.int64]:
    """Where each pixel's log intensity crosses its thresholds: rows of x, y, t and p, rendering by rendering.

    All arithmetic is on whole numbers; thresholds are (polarity, rows, columns).
    """
    renderings, rows, columns = log_intensity.shape
    # Two passes, the first to count: growing an array takes the compiler longer than the events do.
    found = np.empty((0, 4), dtype=np.int64)
    for write in (False, True):
        reference = log_intensity[0].copy()
        count = 0
        for k in range(1, renderings):
            for y in range(rows):
                for x in range(columns):
                    before, after = log_intensity[k - 1, y, x], log_intensity[k, y, x]
                    p = 1 if after > reference[y, x] else 0
                    change = thresholds[p, y, x] * (2 * p - 1)
                    while abs(after - reference[y, x]) >= thresholds[p, y, x]:
                        reference[y, x] += change
                        if write:
                            passed = step_us * (reference[y, x] - before) // (after - before)
                            found[count, 0] = x
                            found[count, 1] = y
                            found[count, 2] = min((k - 1) * step_us + passed, (renderings - 1) * step_us - 1)
                            found[count, 3] = p
                        count += 1
        if not write:
            found = np.empty((count, 4), dtype=np.int64)
    return found


@numba.njit
def _rested(
    pixel: npt.NDArray[np.int64], time: npt.NDArray[np.int64], pixels: int, refractory_us: int
) -> npt.NDArray[np.bool_]:
    """Which events come a refractory period or more after the last one kept of their pixel."""
    last = np.full(pixels, -refractory_us, dtype=np.int64)
    kept = np.zeros(len(pixel), dtype=np.bool_)
    for i in range(len(pixel)):
        if time[i] - last[pixel[i]] >= refractory_us:
            kept[i] = True
            last[pixel[i]] = time[i]
    return kept
