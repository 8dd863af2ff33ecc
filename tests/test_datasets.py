# SPDX-License-Identifier: MIT
"""Data sets: the simulated sensor, the cache, N-MNIST's folders, and what EventData promises."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from art_spiking.datasets import EventData, digits_dvs, load_data, nmnist
from art_spiking.datasets import digits_simulation as simulation
from art_spiking.datasets.digits_cache import Recordings, cached
from art_spiking.errors import InvalidInput, MissingData, PluginError, UnknownName
from art_spiking.events import EVENT_DTYPE, Events, Grid, write_nmnist
from art_spiking.registry import Catalogue

SAMPLES = np.array([0, 1, 700, 1796])


@pytest.fixture(scope="module")
def simulated() -> Recordings:
    return simulation.simulate(SAMPLES)


def recordings_of(number: int) -> Recordings:
    rng = np.random.default_rng(number)
    events = np.zeros(10 * number, dtype=EVENT_DTYPE)
    events["x"], events["t"] = (
        rng.integers(34, size=len(events)),
        np.sort(rng.integers(300_000, size=len(events))),
    )
    return Recordings(events, np.arange(number + 1) * 10, np.arange(number) % 10)


def test_a_recording_is_the_same_in_any_selection(simulated: Recordings) -> None:
    again = simulation.simulate(SAMPLES[[2]])
    np.testing.assert_array_equal(again[0], simulated[2])
    assert len(simulated) == 4 and simulated.labels.tolist() == [0, 1, 2, 8]


def test_simulated_recordings_are_those_of_this_version(simulated: Recordings) -> None:
    """Whoever changes a recording raises VERSION, which names the cached file, and this digest."""
    digest = hashlib.sha256(simulated.events.tobytes()).hexdigest()
    assert (simulation.VERSION, digest[:16]) == (1, "d5865b6ce65b743f")


def test_simulated_recordings_are_what_a_sensor_emits(simulated: Recordings) -> None:
    for i in range(len(simulated)):
        events = simulated[i]
        assert 2_000 < len(events) < 5_000
        assert (np.diff(events["t"]) >= 0).all()
        assert events["t"][0] >= 0 and events["t"][-1] < simulation.DURATION_US
        assert max(events["x"].max(), events["y"].max()) == simulation.SENSOR - 1
        assert 0.4 < events["p"].mean() < 0.6
        pixel = events["y"].astype(int) * simulation.SENSOR + events["x"]
        order = np.lexsort([events["t"], pixel])
        same = np.diff(pixel[order]) == 0
        assert (np.diff(events["t"][order])[same] >= 1_000).all(), "a pixel broke its refractory period"
        # The path starts, turns and stops smoothly: in the middle of a leg there is more to see.
        steps = np.bincount(events["t"] // 10_000, minlength=30)
        assert steps[[4, 5, 14, 15, 24, 25]].min() > 3 * steps[[0, 29]].max()


def test_a_pixel_emits_an_event_at_each_crossing_of_its_threshold() -> None:
    log_intensity = np.array([0, 250, 100, 100, -200], dtype=np.int64).reshape(-1, 1, 1)
    thresholds = np.array([100, 100], dtype=np.int64).reshape(2, 1, 1)
    x, y, t, p = simulation._crossings(log_intensity, thresholds, 1000).T
    assert x.tolist() == y.tolist() == [0] * 6
    # Up past 100 and 200; down from 200 past 100 as it is reached; then past 0, -100 and -200.
    assert p.tolist() == [1, 1, 0, 0, 0, 0]
    assert t.tolist() == [400, 800, 2000, 3333, 3666, 3999]


def test_a_pixel_rests_after_each_event() -> None:
    pixel = np.array([0, 0, 1, 0, 0])
    time = np.array([0, 999, 1000, 1000, 2000])
    assert simulation._rested(pixel, time, 2, 1000).tolist() == [True, False, True, True, True]


def test_the_digit_moves_as_its_path_says() -> None:
    image = np.zeros((8, 8))
    image[2:6, 2:6] = 1
    still, right = simulation._render(image, np.array([[0.0, 0.0], [3.0, 0.0]]))
    np.testing.assert_array_equal(right[:, 3:], still[:, :-3])
    assert (still == still.T).all() and still.max() == 0 > still.min()


def test_the_split_is_fixed_disjoint_and_even() -> None:
    labels = np.repeat(np.arange(10), 180)[:1797]
    train, test = (simulation.split_indices(labels, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (1397, 400)
    assert sorted([*train, *test]) == list(range(1797))
    for part in (train, test):
        share = np.bincount(labels[part], minlength=10) / len(part)
        assert np.abs(share - 0.1).max() < 0.005
        assert len(set(labels[part[:40]])) == 10, "the first samples are not a fair choice"


@pytest.mark.slow
def test_digits_dvs_from_the_users_cache() -> None:
    train, test = (digits_dvs(split) for split in ("train", "test"))
    assert train.x.shape == (1397, 30, 2, 34, 34) and test.x.shape == (400, 30, 2, 34, 34)
    assert np.bincount(test.y).min() >= 39
    assert test.digest() == digits_dvs("test").digest() != train.digest()
    # A nearest-mean classifier of the summed events knows most digits: they are worth learning.
    summed = [data.x.sum(1).reshape(len(data), -1) for data in (train, test)]
    means = np.stack([summed[0][train.y == label].mean(0) for label in range(10)])
    nearest = ((summed[1][:, None] - means) ** 2).sum(2).argmin(1)
    assert (nearest == test.y).mean() > 0.75


def test_digits_dvs_bins_as_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(simulation, "simulate", lambda: recordings_of(1797))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    data = digits_dvs("test", steps=3, dt_us=100_000, binary=False, limit=7)
    assert data.x.shape == (7, 3, 2, 34, 34) and data.x.sum() == 70
    assert data.grid == Grid(3, 100_000, 34, 34, binary=False)
    assert [path.name for path in tmp_path.rglob("*.npz")] == ["digits-dvs-1.npz"]
    with pytest.raises(InvalidInput, match=r"no such folder.*elsewhere.*make the folder"):
        digits_dvs("test", data_dir=tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    elsewhere = digits_dvs("test", steps=3, dt_us=100_000, limit=7, data_dir=tmp_path / "elsewhere")
    assert elsewhere.x.max() == 1 and (tmp_path / "elsewhere" / "digits-dvs-1.npz").is_file()


def never() -> Recordings:
    raise AssertionError("the recordings were made again")


def test_the_cache_gives_back_what_was_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "cache.npz"
    made = cached(path, lambda: recordings_of(5))
    kept = cached(path, never)
    for name in ("events", "offsets", "labels"):
        np.testing.assert_array_equal(getattr(made, name), getattr(kept, name))
    assert [p.name for p in path.parent.iterdir()] == ["cache.npz"]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def _other_content(path: Path) -> None:
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["t"][3] += 1
    np.savez(path, **arrays)


def _other_arrays(path: Path) -> None:
    np.savez(path, surprise=np.zeros(3))


def _no_archive(path: Path) -> None:
    path.write_bytes(b"not an archive")


def _pickled(path: Path) -> None:
    np.savez(path, t=np.array([{"a": 1}], dtype=object))


@pytest.mark.parametrize("damage", [_cut, _other_content, _other_arrays, _no_archive, _pickled])
def test_a_damaged_cache_is_made_again_with_a_warning(damage: Any, tmp_path: Path) -> None:
    path = tmp_path / "cache.npz"
    cached(path, lambda: recordings_of(5))
    damage(path)
    with pytest.warns(UserWarning, match=r"cache\.npz are damaged"):
        assert len(cached(path, lambda: recordings_of(4))) == 4
    assert len(cached(path, never)) == 4


def test_a_cache_that_cannot_be_written_does_not_stop_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        assert len(cached(tmp_path / "cache.npz", lambda: recordings_of(3))) == 3
    assert list(tmp_path.iterdir()) == []


def whole(*first: tuple[int, int, int, int]) -> Events:
    """A recording that lasts as long as N-MNIST's: the events given, and one at 299 ms."""
    return np.array([*first, (33, 33, 299_000, 0)], dtype=EVENT_DTYPE)


def nmnist_folder(root: Path, *, samples: int = 2) -> Path:
    """Recordings in the original layout: the first event's column is the label and its row the turn."""
    for part in ("Train", "Test"):
        for label in range(10):
            folder = root / part / str(label)
            folder.mkdir(parents=True)
            for turn in range(samples):
                write_nmnist(folder / f"{turn:05}.bin", whole((label, turn, 5, 1)))
    return root


@pytest.mark.parametrize("inner", ["", "NMNIST"])
def test_nmnist_in_its_original_layout(inner: str, tmp_path: Path) -> None:
    nmnist_folder(tmp_path / inner)
    data = nmnist("train", data_dir=tmp_path)
    assert data.x.shape == (20, 31, 2, 34, 34) and data.grid.dt_us == 10_000
    assert data.y.tolist() == [*range(10), *range(10)], "classes take turns"
    for x, label, turn in zip(data.x, data.y, np.arange(20) // 10, strict=True):
        assert x.sum() == 2 and x[0, 1, turn, label] == 1 and x[29, 0, 33, 33] == 1
    assert nmnist("test", data_dir=tmp_path, limit=10).y.tolist() == [*range(10)]


def test_nmnist_in_the_small_subsets_layout(tmp_path: Path) -> None:
    (tmp_path / "test100.txt").write_text("#sample #class\n7\t3\n\n12 9\n")
    for number, column in ((7, 1), (12, 2)):
        write_nmnist(tmp_path / f"{number}.bs2", whole((column, 0, 5, 0)))
    data = nmnist("test", data_dir=tmp_path)
    assert data.y.tolist() == [3, 9] and data.x[1, 0, 0, 0, 2] == 1
    with pytest.raises(MissingData, match=r"no Train and no train1K\.txt.*tonic"):
        nmnist("train", data_dir=tmp_path)


def test_missing_nmnist_files_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        MissingData, match=r"no data_dir.*pip install 'art-spiking\[tonic\]'.*NMNIST\(save_to="
    ):
        nmnist("test")
    with pytest.raises(MissingData, match=r"absent.*no such folder.*pip install"):
        nmnist("test", data_dir=tmp_path / "absent")
    root = nmnist_folder(tmp_path / "full")
    cut = root / "Test" / "4" / "00001.bin"
    cut.write_bytes(b"1234567")
    with pytest.raises(MissingData, match=r"truncated.*00001\.bin"):
        nmnist("test", data_dir=root)
    cut.write_bytes(b"")
    with pytest.raises(MissingData, match=r"empty.*00001\.bin"):
        nmnist("test", data_dir=root)
    rng = np.random.default_rng(0)
    for content, problem in (
        (whole((1, 1, 249_999, 0))[:1], "truncated: its last event is at 249999 µs"),
        (whole((1, 1, 8_000, 0), (2, 2, 7_999, 0)), "damaged: time runs backwards after event 0"),
        (whole((34, 5, 9, 0)), "not one of N-MNIST's 34 x 34 pixels: an event at column 34, row 33"),
    ):
        write_nmnist(cut, content)
        with pytest.raises(MissingData, match=rf"{problem}.*00001\.bin.*download"):
            nmnist("test", data_dir=root)
    cut.write_bytes(rng.bytes(5_000))
    with pytest.raises(MissingData, match=r"00001\.bin"):
        nmnist("test", data_dir=root)
    shutil.rmtree(root / "Test" / "4")
    with pytest.raises(MissingData, match="class 4 has no recordings"):
        nmnist("test", data_dir=root)


@pytest.mark.parametrize("line", ["7", "7 10", "7 -1", "seven 3", "7 3 4"])
def test_a_malformed_list_names_the_line(line: str, tmp_path: Path) -> None:
    (tmp_path / "test100.txt").write_text(f"#sample #class\n{line}\n")
    with pytest.raises(InvalidInput, match="line 2 of a list"):
        nmnist("test", data_dir=tmp_path)


@pytest.mark.parametrize("factory", [digits_dvs, nmnist])
def test_options_are_checked_first(factory: Any, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"'tests'.*accepted: test, train"):
        factory("tests", data_dir=tmp_path)
    for wrong in ({"steps": 0}, {"dt_us": 0}, {"limit": 0}, {"data_dir": 5}):
        with pytest.raises(InvalidInput):
            factory("test", **({"data_dir": tmp_path} | wrong))
    with pytest.raises(InvalidInput, match="data_dir is not a path; asked: 5"):
        load_data("digits-dvs", "test", data_dir=5)
    assert list(tmp_path.iterdir()) == []


def test_load_data_finds_what_is_registered(tmp_path: Path) -> None:
    root = nmnist_folder(tmp_path, samples=1)
    data = load_data("nmnist", "test", steps=2, dt_us=7, binary=False, data_dir=root, limit=3)
    assert data.x.shape == (3, 2, 2, 34, 34) and data.grid == Grid(2, 7, 34, 34, binary=False)
    assert load_data("nmnist", "test", data_dir=root, limit=3).grid == Grid(31, 10_000, 34, 34)
    with pytest.raises(UnknownName, match="digits-dvs"):
        load_data("digits-dvss", "test")
    wrong = Catalogue.of("datasets", {"wrong": lambda split, **_: [1, 2]})
    with pytest.raises(PluginError, match="'wrong' did not return EventData"):
        load_data("wrong", "test", datasets=wrong)


GRID = Grid(2, 10, 2, 2)


def test_events_after_the_grids_end_are_counted_and_told(tmp_path: Path) -> None:
    root = nmnist_folder(tmp_path, samples=1)
    late = [(1, 1, 310_000 + time, 0) for time in range(2)]
    write_nmnist(root / "Test" / "0" / "00000.bin", np.r_[whole((0, 0, 5, 1)), np.array(late, EVENT_DTYPE)])
    data = nmnist("test", binary=False, data_dir=root, limit=2)
    assert data.x[0].sum() == 4 and data.x[0, -1, 0, 1, 1] == 2
    assert data.late.tolist() == [0.5, 0.0]
    assert data.subset([1, 0]).late.tolist() == [0.0, 0.5]


def event_data(**change: Any) -> EventData:
    x = np.zeros((4, *GRID.shape))
    x[range(4), 0, 0, 0, 0] = [0, 1, 0, 1]
    return EventData(**({"x": x, "y": np.arange(4), "grid": GRID, "name": "made", "split": "test"} | change))


def test_event_data_is_cast_and_checked() -> None:
    data = event_data(y=np.arange(4, dtype=np.uint8))
    assert data.x.dtype == np.float32 and data.y.dtype == np.int64 and len(data) == 4
    with pytest.raises(InvalidInput, match=r"sample 3 is out of range.*0 to 9"):
        event_data(y=np.array([0, 1, 2, 10]))
    with pytest.raises(InvalidInput, match="sample 0 is out of range"):
        event_data(y=np.array([-1, 1, 2, 3]))
    with pytest.raises(InvalidInput, match="labels do not fit"):
        event_data(y=np.arange(3))
    with pytest.raises(InvalidInput, match="labels do not fit"):
        event_data(y=np.eye(4))
    with pytest.raises(InvalidInput, match="binary"):
        event_data(x=np.full((4, *GRID.shape), 2))
    with pytest.raises(InvalidInput, match="another shape"):
        event_data(x=np.zeros((4, 2, 2, 2, 3)))


def test_shares_of_late_events_are_checked() -> None:
    assert event_data().late.tolist() == [0.0] * 4
    for wrong in (np.zeros(3), np.full(4, 1.5), np.full(4, np.nan)):
        with pytest.raises(InvalidInput, match="late events"):
            event_data(late=wrong)


def test_digest_tells_data_apart_and_ignores_names() -> None:
    same = event_data(name="other", split="train")
    assert same.digest() == event_data().digest() and same.digest().startswith("sha256:")
    x = event_data().x.copy()
    x[3, 1, 1, 1, 1] = 1
    others = [
        event_data(x=x),
        event_data(y=np.array([0, 1, 2, 4])),
        event_data(grid=Grid(2, 11, 2, 2)),
        event_data(grid=Grid(2, 10, 2, 2, binary=False)),
    ]
    assert len({event_data().digest(), *(other.digest() for other in others)}) == 5


def test_subsets() -> None:
    data = event_data()
    assert data.subset(2).y.tolist() == [0, 1] and data.subset([3, 1]).y.tolist() == [3, 1]
    assert data.subset([3]).x.sum() == 1 and data.subset(np.array([0])).x.sum() == 0
    for wrong in (0, 5, [], [4], [-1], [0.5], [[1]]):
        with pytest.raises(InvalidInput):
            data.subset(wrong)  # type: ignore[arg-type]


@pytest.mark.data
def test_the_real_subset(shared_data: Path) -> None:
    folder = shared_data / "nmnist-1100"
    test = nmnist("test", data_dir=folder)
    assert test.x.shape == (100, 31, 2, 34, 34) and set(test.y) == set(range(10))
    assert nmnist("train", data_dir=folder, limit=5, binary=False).x.max() > 1
