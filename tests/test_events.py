# SPDX-License-Identifier: MIT
"""Events and spike tensors: binning loses nothing, edits can be written as event files and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from art_spiking.errors import InvalidInput, MissingData
from art_spiking.events import (
    EVENT_DTYPE,
    Events,
    Grid,
    bin_events,
    edited_events,
    late_share,
    read_nmnist,
    unbin_events,
    validate_spike_tensor,
    write_nmnist,
)
from art_spiking.threats import EventEdits

grids = st.builds(
    Grid,
    steps=st.integers(1, 6),
    dt_us=st.sampled_from([1, 7, 1000, 10_000]),
    height=st.integers(1, 4),
    width=st.integers(1, 4),
    polarities=st.sampled_from([1, 2]),
    binary=st.booleans(),
)


def events_of(rows: list[tuple[int, int, int, int]]) -> Events:
    return np.array(rows, dtype=EVENT_DTYPE)


@st.composite
def recordings(draw: st.DrawFn, grid: Grid) -> Events:
    """Unsorted events on the grid's sensor, some of them later than its end."""
    row = st.tuples(
        st.integers(0, grid.width - 1),
        st.integers(0, grid.height - 1),
        st.integers(0, grid.duration_us * 3 // 2),
        st.integers(0, 1),
    )
    return events_of(draw(st.lists(row, max_size=40)))


@st.composite
def tensors(draw: st.DrawFn, grid: Grid) -> np.ndarray:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    most = 1 if grid.binary else draw(st.integers(1, 9))
    filled = rng.random(grid.shape) < draw(st.sampled_from([0.0, 0.2, 1.0]))
    return (filled * rng.integers(1, most + 1, grid.shape)).astype(np.float32)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_every_event_is_counted_in_the_one_cell_it_belongs_to(data: st.DataObject) -> None:
    grid = data.draw(grids)
    recording = data.draw(recordings(grid))
    expected = np.zeros(grid.shape, dtype=np.float32)
    for x, y, t, p in recording:
        expected[min(t // grid.dt_us, grid.steps - 1), p if grid.polarities == 2 else 0, y, x] += 1
    found = bin_events(recording, grid)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.minimum(expected, 1) if grid.binary else expected)
    np.testing.assert_array_equal(bin_events(np.sort(recording, order="t"), grid), found)


def test_one_added_event_changes_one_cell() -> None:
    """A start at the first event would move all others."""
    grid = Grid(31, 10_000, 34, 34, binary=False)
    rng = np.random.default_rng(0)
    late = events_of([(rng.integers(34), rng.integers(34), t, 1) for t in range(50_000, 300_000, 1000)])
    with_first = np.concatenate([late, events_of([(5, 6, 0, 0)])])
    changed = bin_events(with_first, grid) - bin_events(late, grid)
    assert np.abs(changed).sum() == 1 and changed[0, 0, 6, 5] == 1


def test_the_share_of_late_events() -> None:
    grid = Grid(3, 10, 4, 4)
    assert late_share(events_of([(0, 0, 0, 0), (0, 0, 29, 0), (0, 0, 30, 0), (0, 0, 99, 1)]), grid) == 0.5
    assert late_share(events_of([]), grid) == 0.0


def test_polarity_bit_p_is_channel_p() -> None:
    grid = Grid(1, 10, 1, 1)
    assert bin_events(events_of([(0, 0, 3, 1)]), grid).ravel().tolist() == [0, 1]
    assert bin_events(events_of([(0, 0, 3, 0)]), grid).ravel().tolist() == [1, 0]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_unbinned_events_bin_to_the_same_tensor(data: st.DataObject) -> None:
    grid = data.draw(grids)
    tensor = data.draw(tensors(grid))
    events = unbin_events(tensor, grid)
    assert len(events) == tensor.sum() and events.dtype == EVENT_DTYPE
    assert (np.diff(events["t"]) >= 0).all()
    assert ((events["t"] >= 0) & (events["t"] < grid.duration_us)).all()
    np.testing.assert_array_equal(bin_events(events, grid), tensor)


def test_events_lie_evenly_in_their_step() -> None:
    tensor = np.zeros((2, 1, 1, 2), dtype=np.float32)
    tensor[1, 0, 0] = [1, 2]
    times = unbin_events(tensor, Grid(2, 100, 1, 2, polarities=1, binary=False))
    assert times["t"].tolist() == [125, 150, 175] and times["x"].tolist() == [1, 0, 1]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_an_adversarial_example_is_written_and_read_back_unchanged(data: st.DataObject) -> None:
    grid = data.draw(grids)
    recording = data.draw(recordings(grid))
    clean, adversarial = bin_events(recording, grid), data.draw(tensors(grid))
    edited = edited_events(recording, clean, adversarial, grid)
    np.testing.assert_array_equal(bin_events(edited, grid), adversarial)
    assert (np.diff(edited["t"]) >= 0).all()
    # Kept events keep column, row, time and polarity: cell by cell they are the earliest of the recording.
    for index in zip(*np.nonzero((clean > 0) & (adversarial > 0)), strict=True):
        own = events_in(recording, grid, index)
        kept = own if grid.binary else own[: int(adversarial[index])]
        assert {*map(tuple, kept.tolist())} <= {*map(tuple, events_in(edited, grid, index).tolist())}
        if grid.binary or adversarial[index] <= clean[index]:
            np.testing.assert_array_equal(np.sort(kept), np.sort(events_in(edited, grid, index)))


def events_in(events: Events, grid: Grid, index: tuple[int, ...]) -> Events:
    ordered = events[np.argsort(events["t"], kind="stable")]
    step = np.minimum(ordered["t"] // grid.dt_us, grid.steps - 1)
    channel = ordered["p"] if grid.polarities == 2 else np.zeros_like(ordered["p"])
    place = np.stack([step, channel, ordered["y"], ordered["x"]])
    return ordered[(place == np.array(index)[:, None]).all(0)]


def test_no_edit_gives_the_recording_itself() -> None:
    grid = Grid(2, 100, 2, 2)
    recording = events_of([(0, 1, 5, 0), (0, 1, 7, 0), (1, 1, 120, 1), (1, 0, 500, 1)])
    clean = bin_events(recording, grid)
    np.testing.assert_array_equal(edited_events(recording, clean, clean, grid), recording)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_projected_edits_survive_an_event_file(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    grid = Grid(6, 10_000, 8, 8)
    rng = np.random.default_rng(seed)
    rows = [tuple(rng.integers((8, 8, 60_000, 2))) for _ in range(80)]
    recording = events_of(rows)
    clean = torch.from_numpy(bin_events(recording, grid))[None]
    threat = EventEdits(20, refractory_us=1000, dt_us=10_000)
    adversarial = threat.project(clean + torch.from_numpy(rng.normal(size=clean.shape)), clean)
    path = tmp_path_factory.getbasetemp() / "adversarial.bin"
    write_nmnist(path, edited_events(recording, clean[0].numpy(), adversarial[0].numpy(), grid))
    back = torch.from_numpy(bin_events(read_nmnist(path), grid))[None]
    assert torch.equal(back, adversarial)
    assert threat.violations(back, clean) == []


def test_edits_need_the_recordings_own_tensor() -> None:
    grid = Grid(1, 10, 1, 2)
    clean = bin_events(events_of([(0, 0, 1, 1)]), grid)
    with pytest.raises(InvalidInput, match="not the recording binned"):
        edited_events(events_of([(1, 0, 1, 1)]), clean, clean, grid)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 255), st.integers(0, 239), st.integers(0, 2**23 - 1), st.integers(0, 1)),
        max_size=20,
    )
)
def test_event_files_round_trip(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, ...]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "events.bin"
    events = events_of(rows)  # type: ignore[arg-type]
    write_nmnist(path, events)
    assert path.stat().st_size == 5 * len(events)
    np.testing.assert_array_equal(read_nmnist(path), events)


def test_the_files_bytes_are_nmnists(tmp_path: Path) -> None:
    path = tmp_path / "new" / "one.bin"
    write_nmnist(path, events_of([(3, 4, 0x123456, 1), (5, 6, 7, 0)]))
    assert path.read_bytes() == bytes([3, 4, 0x80 | 0x12, 0x34, 0x56, 5, 6, 0, 0, 7])
    assert [p.name for p in path.parent.iterdir()] == ["one.bin"]


def test_times_that_run_over_are_continued(tmp_path: Path) -> None:
    path = tmp_path / "long.bin"
    path.write_bytes(bytes([1, 2, 0, 0, 9, 0, 240, 0, 0, 0, 3, 4, 0x80, 0, 5]))
    assert read_nmnist(path).tolist() == [(1, 2, 9, 0), (3, 4, 8192 + 5, 1)]


@pytest.mark.parametrize(
    "row", [(256, 0, 0, 0), (0, 240, 0, 0), (0, 0, 2**23, 0), (0, 0, -1, 0), (0, 0, 0, 2)]
)
def test_what_the_format_cannot_hold_is_refused(tmp_path: Path, row: tuple[int, int, int, int]) -> None:
    with pytest.raises(InvalidInput, match="event 1 cannot be written"):
        write_nmnist(tmp_path / "bad.bin", events_of([(0, 0, 0, 0), row]))
    assert list(tmp_path.iterdir()) == []


def test_missing_and_truncated_files_say_so(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"absent\.bin.*check the path"):
        read_nmnist(tmp_path / "absent.bin")
    (tmp_path / "cut.bin").write_bytes(b"1234567")
    with pytest.raises(MissingData, match=r"truncated.*cut\.bin.*7 bytes.*download"):
        read_nmnist(tmp_path / "cut.bin")
    with pytest.raises(MissingData):
        read_nmnist(tmp_path)


@pytest.mark.parametrize("row", [(2, 0, 0, 0), (0, 3, 0, 0), (0, 0, -1, 0), (0, 0, 0, 2)])
def test_events_off_the_sensor_are_refused(row: tuple[int, int, int, int]) -> None:
    with pytest.raises(InvalidInput, match="event 1 lies outside the grid"):
        bin_events(events_of([(0, 0, 0, 0), row]), Grid(2, 10, 3, 2))


def test_other_integer_fields_are_taken_and_others_refused() -> None:
    grid = Grid(1, 10, 2, 2)
    other = np.dtype([("t", "i4"), ("p", "?"), ("x", "i2"), ("y", "i2"), ("weight", "f4")])
    events = np.array([(3, True, 1, 0, 0.5)], dtype=other)
    assert bin_events(events, grid)[0, 1, 0, 1] == 1
    events["x"] = -1
    with pytest.raises(InvalidInput, match="x = -1"):
        bin_events(events, grid)
    for wrong in (np.zeros((3, 4)), np.zeros(3, dtype=[("x", "f4"), ("y", "u1"), ("t", "i8"), ("p", "u1")])):
        with pytest.raises(InvalidInput, match="integer fields"):
            bin_events(wrong, grid)


@pytest.mark.parametrize(
    "change", [{"steps": 0}, {"dt_us": -1}, {"height": 1.5}, {"width": True}, {"polarities": 3}]
)
def test_grids_are_checked(change: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=f"a grid's {next(iter(change))}"):
        Grid(**({"steps": 1, "dt_us": 1, "height": 1, "width": 1} | change))  # type: ignore[arg-type]


def test_grid_sizes() -> None:
    grid = Grid(31, 10_000, 34, 35)
    assert grid.shape == (31, 2, 34, 35) and grid.duration_us == 310_000


def valid() -> np.ndarray:
    return np.zeros((2, 3, 2, 4, 4))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.nan, "finite"),
        (np.inf, "finite"),
        (1e300, "finite"),
        (-1.0, "negative"),
        (0.5, "whole number"),
        (2.0, "binary"),
    ],
)
def test_entries_that_no_sensor_counts_are_refused(value: float, text: str) -> None:
    x = valid()
    x[1, 2, 0, 3, 1] = value
    with pytest.raises(InvalidInput, match=rf"{text}.*\(1, 2, 0, 3, 1\)"):
        validate_spike_tensor(x)


def test_counts_are_taken_where_declared() -> None:
    x = valid()
    x[0, 0, 0, 0, 0] = 7
    assert validate_spike_tensor(x, binary=False).max() == 7


@pytest.mark.parametrize(
    "shape", [(3, 2, 4, 4), (2, 3, 2, 4), (2, 4, 2, 4, 4), (2, 3, 2, 4, 5), (2, 2, 3, 4, 4), ()]
)
def test_other_shapes_are_refused_with_the_axes_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match=r"\(N, T=3, C=2, H=4, W=4\)"):
        validate_spike_tensor(np.zeros(shape), shape=(3, 2, 4, 4))


def test_shapes_without_declaration() -> None:
    assert validate_spike_tensor(np.zeros((2, 3, 5))).shape == (2, 3, 5)
    assert validate_spike_tensor(np.zeros((2, 3, 5)), shape=(3, 5)).shape == (2, 3, 5)
    with pytest.raises(InvalidInput, match=r"\(N, T=3, F=6\)"):
        validate_spike_tensor(np.zeros((2, 3, 5)), shape=(3, 6))
    with pytest.raises(InvalidInput, match=r"\(N, T, F\)"):
        validate_spike_tensor(np.zeros((2, 3)))


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(InvalidInput, match="empty"):
        validate_spike_tensor(valid()[:0])


def test_tensors_and_other_types() -> None:
    x = torch.zeros(1, 2, 3, requires_grad=True)
    assert validate_spike_tensor(x).dtype == np.float32
    assert validate_spike_tensor(np.ones((1, 2, 3), dtype=bool)).sum() == 6
    with pytest.raises(InvalidInput, match="real numbers"):
        validate_spike_tensor(np.zeros((1, 2, 3), dtype=complex))


@pytest.mark.data
def test_real_recordings_bin_without_loss(shared_data: Path) -> None:
    grid = Grid(31, 10_000, 34, 34, binary=False)
    for number in range(60_001, 60_011):
        events = read_nmnist(shared_data / "nmnist-1100" / f"{number}.bs2")
        assert bin_events(events, grid).sum() == len(events) > 1000
