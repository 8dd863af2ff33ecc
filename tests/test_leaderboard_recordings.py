# SPDX-License-Identifier: MIT
"""Recordings of an attack: what they hold is the attack, and nothing in a file is believed unseen."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from art_spiking_leaderboard.check import check_submission
from art_spiking_leaderboard.engine import Job, plan, run_cell
from art_spiking_leaderboard.recordings import Recording, read_recording, recording_of, write_recording
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from leaderboard_world import DT_US, SHAPE, STEPS, suite, workbench, write_submission

from art_spiking.errors import InvalidInput

COUNTS = hnp.arrays(np.float32, (3, 2, 4, 5), elements=st.integers(0, 3).map(float))


def rebuilt(recording: Recording, *parts: tuple[int, ...]) -> np.ndarray:
    cells = np.concatenate([np.asarray(part, dtype=np.int64) for part in parts])
    return np.bincount(cells, minlength=int(np.prod(recording.shape))).reshape(recording.shape)


@given(COUNTS, COUNTS)
def test_both_recordings_can_be_rebuilt_from_what_was_kept_added_and_removed(clean, adversarial):
    made = recording_of(clean, adversarial, dt_us=1000, sample=4, classes=(1, 1, 2))
    assert (rebuilt(made, made.kept, made.removed) == clean).all()
    assert (rebuilt(made, made.kept, made.added) == adversarial).all()
    assert not set(made.added) & set(made.removed)
    steps = np.asarray(made.per_step())
    assert (steps[:, 0] + steps[:, 2] == clean.sum(axis=(1, 2, 3))).all()
    assert (steps[:, 0] + steps[:, 1] == adversarial.sum(axis=(1, 2, 3))).all()


def test_a_recording_survives_its_file(tmp_path):
    made = Recording((2, 1, 2, 2), 1000, 3, 0, 0, 1, kept=(0, 0, 5), added=(7,), removed=())
    write_recording(made, tmp_path / "x.events.json")
    assert read_recording(tmp_path / "x.events.json") == made


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"added": [8]}, "outside the grid of 8 cells"),
        ({"added": [-1]}, "greater than or equal to 0"),
        ({"kept": ["</script>"]}, "valid integer"),
        ({"shape": [2, 2, 2]}, "shape"),
        ({"shape": [10**9, 1, 1, 1]}, "100000"),
        ({"more": 1}, "more"),
        ({"recording_version": 2}, "recording_version"),
    ],
)
def test_a_file_that_is_no_recording_is_refused(tmp_path, change, found):
    path = tmp_path / "x.events.json"
    write_recording(Recording((2, 1, 2, 2), 1000, 3, 0, 0, 1, (0, 5), (7,), (1,)), path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InvalidInput, match=found):
        read_recording(path)


@pytest.mark.parametrize("text", ["", "[]", "{" * 20, '{"kept": [NaN]}', '{"kept": [], "kept": []}'])
def test_text_that_is_no_recording_is_refused(tmp_path, text):
    (tmp_path / "x.events.json").write_text(text)
    with pytest.raises(InvalidInput, match="no recording of an attack"):
        read_recording(tmp_path / "x.events.json")


def test_a_run_writes_the_events_beside_the_picture(tmp_path):
    """The stand-in attack of these tests adds exactly as many events as its budget allows."""
    write_submission(tmp_path / "mine")
    bench = workbench()
    submission = check_submission(tmp_path / "mine", bench.names)
    job = replace(Job(suite(), tmp_path / "records"), figures=tmp_path / "figures")
    cell = run_cell(plan(submission, job, bench)[1], bench)
    folder = tmp_path / "figures" / "mine" / "small"
    assert (folder / "flips-b.png").exists()
    made = read_recording(folder / "flips-b.events.json")
    assert (made.shape, made.dt_us) == ((STEPS, *SHAPE), DT_US)
    assert (len(made.added), len(made.removed)) == (4, 0)
    assert made.label == cell.record.labels[made.sample]
    assert made.clean_class == cell.record.clean[made.sample]
    assert made.adversarial_class == cell.record.adversarial[made.sample]
