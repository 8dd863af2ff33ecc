# SPDX-License-Identifier: MIT
"""Attacked samples kept beside their cells: what comes back is what was scored, or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from art_spiking_leaderboard.cells import CellStore
from art_spiking_leaderboard.check import check_submission
from art_spiking_leaderboard.engine import Job, plan, run_cell
from art_spiking_leaderboard.kept_events import FOLDER, keep_events, kept_events
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from leaderboard_world import SHAPE, STEPS, suite, workbench, write_submission

from art_spiking.errors import InvalidInput

KEY = "a" * 64
X = np.random.default_rng(0).integers(0, 2, (3, 2, 2, 3, 3)).astype(np.float32)


@given(arrays(np.float32, (2, 2, 1, 3, 3), elements=st.integers(0, 255)))
def test_counts_come_back_as_they_were(tmp_path_factory, x):
    place = tmp_path_factory.mktemp("cells")
    keep_events(place, KEY, x)
    found, digest = kept_events(place, KEY, x.shape, binary=x.max(initial=0) <= 1)
    assert np.array_equal(found, x)
    (path,) = (place / FOLDER).iterdir()
    assert path.name == f"{KEY}.{digest}.safetensors"


@pytest.mark.parametrize("entry", [256, 0.5, -1])
def test_what_no_file_holds_is_not_kept(tmp_path, entry):
    assert keep_events(tmp_path, KEY, np.where(X == 1, entry, X)) is None
    assert kept_events(tmp_path, KEY, X.shape, binary=True) is None


def test_the_latest_is_the_one_that_is_kept(tmp_path):
    keep_events(tmp_path, KEY, X)
    keep_events(tmp_path, "b" * 64, X)
    keep_events(tmp_path, KEY, 1 - X)
    assert np.array_equal(kept_events(tmp_path, KEY, X.shape, binary=True)[0], 1 - X)
    assert np.array_equal(kept_events(tmp_path, "b" * 64, X.shape, binary=True)[0], X)
    assert len(list((tmp_path / FOLDER).iterdir())) == 2


def test_a_flipped_bit_is_seen(tmp_path):
    path = keep_events(tmp_path, KEY, X)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 128
    path.write_bytes(raw)
    with pytest.raises(InvalidInput, match="was changed"):
        kept_events(tmp_path, KEY, X.shape, binary=True)


@pytest.mark.parametrize("shape", [(2, 2, 2, 3, 3), (3, 2, 2, 3, 4)])
def test_another_shape_is_refused(tmp_path, shape):
    keep_events(tmp_path, KEY, X)
    with pytest.raises(InvalidInput, match="holds no attacked samples"):
        kept_events(tmp_path, KEY, shape, binary=True)


def test_a_link_is_not_followed(tmp_path):
    path = keep_events(tmp_path, KEY, X)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidInput, match="holds no attacked samples"):
        kept_events(tmp_path, KEY, X.shape, binary=True)


@pytest.mark.parametrize("asked", [True, False])
def test_a_run_keeps_what_it_scored_if_asked(tmp_path: Path, asked):
    write_submission(tmp_path / "one")
    bench = workbench()
    job = Job(suite(), tmp_path / "records", keep_events=asked)
    spec = plan(check_submission(tmp_path / "one", bench.names), job, bench)[2]
    record = run_cell(spec, bench).record
    place = tmp_path / "records" / "one" / "small"
    found = kept_events(place, spec.identity.key, (12, STEPS, *SHAPE), binary=True)
    assert next(iter(CellStore(job.records).cells("one", "small"))).record == record
    if not asked:
        assert found is None
        return
    setting = bench.setting(spec)
    assert tuple(setting.estimator.predict(found[0]).argmax(1)) == record.adversarial
    assert (
        tuple((found[0] - setting.splits.test.x).clip(0).sum((1, 2, 3, 4)).astype(int)) == record.cost.added
    )
