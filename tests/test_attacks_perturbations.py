"""Perturbations: what applying one does, and that files neither lose nor smuggle anything."""

import json
import zipfile

import attack_samples as samples
import numpy as np
import pytest
import torch

from art_spiking.attacks import EditMask, Patch, Perturbation
from art_spiking.errors import CannotWrite, InvalidInput, MissingData
from art_spiking.threats import EventEdits, PatchRegion


def mask(insert=(), delete=(), **options):
    arrays = {}
    for name, cells in (("insert", insert), ("delete", delete)):
        arrays[name] = np.zeros(samples.SHAPE, np.float32)
        for cell, priority in dict(cells).items():
            arrays[name][cell] = priority
    return EditMask(**arrays, **options)


HERE, THERE = (0, 0, 1, 2), (3, 1, 5, 5)


def test_insertions_fill_empty_cells_and_deletions_empty_full_ones():
    x = np.zeros((2, *samples.SHAPE), np.float32)
    x[1][HERE] = x[1][THERE] = 1
    found = mask({HERE: 0.4}, {THERE: 0.3}).apply(x)
    assert found[0][HERE] == 1
    assert found[0].sum() == 1
    assert found[1][HERE] == 1
    assert found[1].sum() == 1


def test_a_cell_in_both_masks_is_flipped():
    x = np.zeros((2, *samples.SHAPE), np.float32)
    x[1][HERE] = 1
    found = mask({HERE: 1.0}, {HERE: 1.0}).apply(x)
    assert [sample[HERE] for sample in found] == [1, 0]


def test_counts_change_by_one_event_up_to_the_declared_count():
    x = np.zeros((1, *samples.SHAPE), np.float32)
    x[0][HERE], x[0][THERE] = 2, 3
    assert mask({HERE: 1.0}, {THERE: 1.0}).apply(x)[0][HERE] == 2
    found = mask({HERE: 1.0}, {THERE: 1.0}, max_count=3).apply(x)
    assert (found[0][HERE], found[0][THERE]) == (3, 2)


def test_a_threat_drops_the_edits_of_least_priority():
    x = np.zeros((1, *samples.SHAPE), np.float32)
    edits = {HERE: 0.5, THERE: 0.9, (1, 1, 1, 1): 0.7}
    found = mask(edits, threat=EventEdits(2)).apply(x)
    assert found.sum() == 2
    assert found[0][HERE] == 0


def test_arrays_and_tensors_give_the_same_and_stay_as_they_are():
    x = samples.recordings(5)
    for perturbation in (mask({HERE: 1.0}, max_shift=2), patch(max_shift=1)):
        before = x.copy()
        found = perturbation.apply(x, seed=4)
        tensor = torch.from_numpy(x)
        again = perturbation.apply(tensor, seed=4)
        assert isinstance(again, torch.Tensor)
        np.testing.assert_array_equal(again.numpy(), found)
        np.testing.assert_array_equal(x, before)


def test_a_shift_turns_the_mask_in_time_and_loses_nothing():
    x = np.zeros((200, *samples.SHAPE), np.float32)
    found = mask({HERE: 1.0, THERE: 1.0}, max_shift=2).apply(x, seed=1)
    assert (found.reshape(200, -1).sum(1) == 2).all()
    steps = found[:, :, 0, 1, 2].argmax(1)
    assert set(steps) == {0, 1, 2, 4, 5}
    other = found[:, :, 1, 5, 5].argmax(1)
    np.testing.assert_array_equal((other - steps) % samples.STEPS, 3)


def test_a_translation_moves_the_whole_mask_and_loses_what_leaves_the_sensor():
    x = np.zeros((300, *samples.SHAPE), np.float32)
    found = mask({HERE: 1.0, THERE: 1.0}, max_translation=2).apply(x, seed=1)
    stayed = found[:, 3, 1].reshape(300, -1).sum(1)
    assert (stayed == 1).all()
    there = np.stack(np.unravel_index(found[:, 3, 1].reshape(300, -1).argmax(1), (8, 8)), 1)
    assert {tuple(place) for place in there} == {(r, c) for r in range(3, 8) for c in range(3, 8)}
    for sample, (row, column) in zip(found, there, strict=True):
        expected = np.zeros((8, 8))
        if row - 4 >= 0 and column - 3 >= 0:
            expected[row - 4, column - 3] = 1
        np.testing.assert_array_equal(sample[0, 0], expected)


def patch(**options):
    events = np.zeros((samples.STEPS, 2, 3, 3), np.float32)
    events[1, 0] = 1
    return Patch(events=events, **options)


def test_a_patch_replaces_the_pixels_it_covers():
    x = np.ones((1, *samples.SHAPE), np.float32)
    found = patch(location=(2, 4)).apply(x)
    window = found[0, :, :, 2:5, 4:7]
    np.testing.assert_array_equal(window, patch().events)
    found[0, :, :, 2:5, 4:7] = 1
    np.testing.assert_array_equal(found, x)


def test_random_places_cover_the_whole_sensor_and_follow_the_seed():
    x = np.zeros((400, *samples.SHAPE), np.float32)
    found = patch().apply(x, seed=3)
    rows = found.sum((1, 2, 4)).argmax(1)
    columns = found.sum((1, 2, 3)).argmax(1)
    assert set(rows) == set(columns) == set(range(6))
    np.testing.assert_array_equal(patch().apply(x, seed=3), found)
    assert (patch().apply(x, seed=4) != found).any()


def test_batches_of_another_shape_are_refused():
    for shape in ((2, 5, 2, 8, 8), (2, 6, 1, 8, 8), (2, 6, 128)):
        with pytest.raises(InvalidInput):
            mask({HERE: 1.0}).apply(np.zeros(shape, np.float32))
        with pytest.raises(InvalidInput):
            patch().apply(np.zeros(shape, np.float32))
    with pytest.raises(InvalidInput, match="does not lie on the sensor"):
        patch(location=(6, 0)).apply(np.zeros((1, *samples.SHAPE), np.float32))


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy], ids=["array", "tensor"])
@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "finite"), (np.inf, "finite"), (0.5, "whole number"), (-1.0, "negative")],
)
def test_what_no_sensor_emits_is_refused(kind, value, message):
    x = samples.recordings(3)
    x[1, 2, 0, 4, 5] = value
    for perturbation in (mask({HERE: 1.0}), patch()):
        with pytest.raises(InvalidInput, match=rf"{message}.*\(1, 2, 0, 4, 5\)|\(1, 2, .*{message}"):
            perturbation.apply(kind(x))


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy], ids=["array", "tensor"])
def test_batches_of_no_sample_are_refused(kind):
    for shape in ((0, *samples.SHAPE), ()):
        with pytest.raises(InvalidInput):
            patch().apply(kind(np.zeros(shape, np.float32)))


def test_tensors_of_another_kind_are_refused():
    for dtype in (torch.bool, torch.complex64):
        with pytest.raises(InvalidInput, match="does not hold counts"):
            patch().apply(torch.from_numpy(samples.recordings(1)).to(dtype))


@pytest.mark.parametrize("seed", ["a", 1.5, -1, None, True, 2**63])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(InvalidInput, match="seed does not fit"):
        patch().apply(samples.recordings(1), seed=seed)


def test_fields_that_do_not_fit_are_refused():
    good = np.zeros(samples.SHAPE, np.float32)
    for options in (
        {"insert": good + 2, "delete": good},
        {"insert": good * np.nan, "delete": good},
        {"insert": good[0], "delete": good},
        {"insert": good + 1e-9, "delete": good},
        {"insert": good, "delete": good[:3]},
        {"insert": good, "delete": good, "max_count": 0},
        {"insert": good, "delete": good, "max_shift": -1},
        {"insert": good, "delete": good, "max_translation": -1},
        {"insert": good, "delete": good, "max_translation": True},
        {"insert": good, "delete": good, "max_translation": 8},
        {"insert": good[:, 0, 0], "delete": good[:, 0, 0], "max_translation": 1},
    ):
        with pytest.raises(InvalidInput):
            EditMask(**options)
    for options in ({"events": good + 0.5}, {"events": good, "location": (-1, 0)}, {"events": good[0]}):
        with pytest.raises(InvalidInput):
            Patch(**options)


@pytest.mark.parametrize(
    "original",
    [
        mask({HERE: 0.5}, {THERE: 0.25}, max_shift=2, max_count=2),
        mask({HERE: 1.0}, max_translation=2),
        mask({HERE: 1.0}, threat=EventEdits(1, refractory_us=2000, dt_us=1000)),
        patch(),
        patch(location=(1, 2), max_shift=3, threat=PatchRegion(0.2, delete=False)),
    ],
)
def test_a_file_holds_everything(tmp_path, original):
    path = tmp_path / "perturbation.npz"
    original.save(path)
    loaded = Perturbation.load(path)
    assert type(loaded) is type(original)
    x = samples.recordings(6)
    np.testing.assert_array_equal(loaded.apply(x, seed=2), original.apply(x, seed=2))
    arrays, fields = original.contents()
    found, found_fields = loaded.contents()
    assert fields == found_fields
    assert (loaded.max_shift, loaded.threat) == (original.max_shift, original.threat)
    for name, values in arrays.items():
        np.testing.assert_array_equal(found[name], values)
    assert [file.name for file in tmp_path.iterdir()] == ["perturbation.npz"]


def rewritten(path, change):
    """The file with a changed header."""
    with np.load(path, allow_pickle=False) as data:
        arrays = dict(data)
    header = json.loads(str(arrays.pop("header")))
    change(header)
    np.savez(path, header=np.array(json.dumps(header)), **arrays)


def test_files_that_are_no_perturbation_are_refused(tmp_path):
    path = tmp_path / "perturbation.npz"
    with pytest.raises(MissingData, match="no such perturbation"):
        Perturbation.load(path)
    path.write_bytes(b"not a zip")
    with pytest.raises(InvalidInput, match="damaged"):
        Perturbation.load(path)
    np.savez(path, values=np.zeros(3))
    with pytest.raises(InvalidInput, match="not a perturbation"):
        Perturbation.load(path)
    patch().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInput, match="damaged"):
        Perturbation.load(path)
    for change in (
        lambda header: header.update(version=99),
        lambda header: header.update(kind="spell"),
        lambda header: header.update(fields=[]),
        lambda header: header["fields"].pop("location"),
        lambda header: header["fields"].update(location="here"),
        lambda header: header["fields"].update(max_shift="long"),
        lambda header: header["fields"].update(surprise=1),
        lambda header: header["fields"].update(threat={"kind": "no-such"}),
        lambda header: header["fields"].update(threat={"kind": "linf", "eps": 0.5}),
    ):
        path.write_bytes(whole)
        rewritten(path, change)
        with pytest.raises((InvalidInput, LookupError)):
            Perturbation.load(path)


def test_a_header_of_brackets_is_refused(tmp_path):
    path = tmp_path / "perturbation.npz"
    np.savez(path, header=np.array("[" * 100_000))
    with pytest.raises(InvalidInput, match=r"damaged.*perturbation.npz.*brackets"):
        Perturbation.load(path)


def test_pickled_objects_in_a_file_are_never_loaded(tmp_path):
    path = tmp_path / "perturbation.npz"
    patch().save(path)
    with np.load(path, allow_pickle=False) as data:
        header = data["header"]
    np.savez(path, header=header, events=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InvalidInput, match="damaged"):
        Perturbation.load(path)


def test_a_file_that_claims_too_much_is_refused(tmp_path):
    path = tmp_path / "perturbation.npz"
    patch().save(path)
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(9):
            archive.writestr(f"extra{number}.npy", b"")
    with pytest.raises(InvalidInput, match="not a perturbation"):
        Perturbation.load(path)


def test_a_path_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CannotWrite, match="cannot write"):
        patch().save(tmp_path / "file" / "patch.npz")
