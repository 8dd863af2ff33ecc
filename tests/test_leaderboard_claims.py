# SPDX-License-Identifier: MIT
"""Claims: a stronger attack counts once the host has checked and scored its events, and never otherwise."""

from __future__ import annotations

import shutil

import leaderboard_world as world
import numpy as np
import pytest
from art_spiking_leaderboard import claims
from art_spiking_leaderboard.cells import CellStore
from art_spiking_leaderboard.check import check_submission
from art_spiking_leaderboard.claims import CLAIM, EVENTS, ClaimForm, kept, read_form, write_claim
from art_spiking_leaderboard.current import standings, tables
from art_spiking_leaderboard.engine import Job, plan, run_cell
from art_spiking_leaderboard.packed_events import unpack_events
from art_spiking_leaderboard.working import claim_all

from art_spiking.errors import InvalidInput, UnknownName
from art_spiking.graphs import ModelProblems
from art_spiking.suites import Case, Suite

SUITE = Suite(
    name="small",
    version=1,
    craft=6,
    test=12,
    cases=(
        Case(name="flips-few", attack="flips", threat={"kind": "event-edits", "max_edits": 1}),
        Case(name="flips-more", attack="flips", threat={"kind": "event-edits", "max_edits": 118}),
    ),
)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    root = tmp_path_factory.mktemp("claims")
    world.write_submission(root / "submissions" / "one")
    submission = check_submission(root / "submissions" / "one", world.names())
    bench = world.workbench()
    for spec in plan(submission, Job(SUITE, root / "records"), bench):
        run_cell(spec, bench)
    return root


@pytest.fixture
def root(evaluated, tmp_path, monkeypatch):
    monkeypatch.setattr("art_spiking_leaderboard.working.load_suite", lambda name: SUITE)
    return shutil.copytree(evaluated, tmp_path / "world")


def clean():
    return world.tiny_events("test", steps=world.STEPS, dt_us=world.DT_US, binary=True).x[:12]


def stronger(rows, edits=118):
    """Takes away the events that a class lives of, as far as the budget goes."""
    x = clean()[rows].copy()
    for sample in x:
        place = np.argwhere(sample == 1)
        bright = place[np.argsort(-sample.sum((0, 1, 3))[place[:, 2]], kind="stable")][:edits]
        sample[tuple(bright.T)] = 0
    return x


def form(**changes):
    values = {
        "schema_version": 1,
        "model": "one",
        "suite": "small",
        "case": "flips-more",
        "authors": ("B. Reaker",),
        "description": "Takes the brightest rows away.",
        "samples": (2, 0, 5),
    }
    return ClaimForm(**{**values, **changes})


def claim(root, x=None, **changes):
    made = form(**changes)
    write_claim(root / "claim", made, stronger(list(made.samples)) if x is None else x)
    return claim_all(root / "claim", root / "submissions", root / "records", None, world.workbench)


def row(root):
    names, warnings = world.names(), []
    standing = standings([check_submission(root / "submissions" / "one", names)], names)
    (table,) = tables(standing, CellStore(root / "records"), SUITE, warnings.append)
    return table.rows[0], warnings


def test_an_accepted_claim_lowers_the_worst_case(root, capsys):
    before, _ = row(root)
    assert before.robust.count == 12
    assert claim(root) == 0
    assert "Accepted: one under flips-more from 1.000 to 0.750" in capsys.readouterr().out
    after, warnings = row(root)
    assert warnings == []
    assert after.robust.count == 9
    assert len(after.claims) == 1
    assert after.records.keys() == before.records.keys()


def test_counts_and_bits_are_packed_and_come_back(tmp_path):
    for top in (2, 5):
        x = np.random.default_rng(top).integers(0, top, (3, 2, 2, 3, 3)).astype(np.float32)
        write_claim(tmp_path, form(), x)
        raw = (tmp_path / EVENTS).read_bytes()
        np.testing.assert_array_equal(unpack_events(raw, x.shape, binary=top == 2, file=EVENTS), x)
        assert read_form(tmp_path) == form()


REFUSED = {
    "over the budget": ({"case": "flips-few"}, None, "break rule"),
    "not binary": ({}, lambda x: 2 * x, "events"),
    "nothing fooled": ({}, lambda x: clean()[[2, 0, 5]], "lowers nothing"),
    "a sample that is not there": ({"samples": (2, 0, 12)}, lambda x: clean()[:3], "do not fit"),
    "a sample twice": ({"samples": (2, 2, 5)}, lambda x: clean()[:3], "do not fit"),
}


@pytest.mark.parametrize(("changes", "change", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_allowed_is_refused_and_lowers_nothing(root, changes, change, words):
    x = None if change is None else change(stronger([2, 0, 5]))
    with pytest.raises((InvalidInput, ModelProblems), match=words):
        claim(root, x, **changes)
    assert row(root)[0].robust.count == 12
    assert not (root / "records" / "one" / "small" / claims.FOLDER).exists()


@pytest.mark.parametrize("changes", [{"model": "two"}, {"case": "flips-many"}])
def test_a_name_that_is_not_there_is_told(root, changes):
    with pytest.raises((UnknownName, InvalidInput)):
        claim(root, **changes)


def test_without_a_number_there_is_nothing_to_lower(root):
    for path in (root / "records").rglob("*.json"):
        path.unlink()
    with pytest.raises(InvalidInput, match="no number"):
        claim(root)


def test_every_problem_of_a_form_is_told_at_once(tmp_path):
    write_claim(tmp_path, form(), stronger([2, 0, 5]))
    text = (tmp_path / CLAIM).read_text()
    (tmp_path / CLAIM).write_text(
        text.replace('"one"', '"No Name"').replace('["B. Reaker"]', "[]") + "more = 1\n"
    )
    with pytest.raises(ModelProblems) as caught:
        read_form(tmp_path)
    assert {problem.key for problem in caught.value.problems} == {"model", "authors", "more"}


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04", b"\x80\x04", b"\xff" * 100, (10**9).to_bytes(8, "little") + b"{}"],
    ids=["empty", "zip", "pickle", "noise", "header"],
)
def test_hostile_events_are_refused(root, content):
    write_claim(root / "claim", form(), stronger([2, 0, 5]))
    (root / "claim" / EVENTS).write_bytes(content)
    with pytest.raises(ModelProblems, match=r"events\.safetensors"):
        claim_all(root / "claim", root / "submissions", root / "records", None, world.workbench)


def test_a_link_is_not_followed(root):
    write_claim(root / "claim", form(), stronger([2, 0, 5]))
    (root / "claim" / CLAIM).rename(root / "elsewhere")
    (root / "claim" / CLAIM).symlink_to(root / "elsewhere")
    with pytest.raises((ModelProblems, InvalidInput)):
        claim_all(root / "claim", root / "submissions", root / "records", None, world.workbench)


@pytest.mark.parametrize("change", ["events", "predicted", "lost"])
def test_a_kept_claim_that_was_changed_does_not_count(root, change):
    claim(root)
    folder = root / "records" / "one" / "small" / claims.FOLDER
    (path,) = folder.glob("*.json")
    if change == "events":
        events = path.with_suffix(".safetensors")
        events.write_bytes(events.read_bytes()[:-1] + b"\x00")
    elif change == "predicted":
        path.write_text(path.read_text().replace('"predicted": [', '"predicted": [1, '))
    else:
        path.with_suffix(".safetensors").unlink()
    found, warnings = row(root)
    assert found.robust.count == 12
    assert any("is left out" in warning for warning in warnings)
    assert all(isinstance(each, str) for each in kept(root / "records", "one", "small"))


def test_a_claim_on_another_model_of_the_same_name_does_not_count(root):
    claim(root)
    world.write_submission(root / "submissions" / "one", seed=1)
    submission = check_submission(root / "submissions" / "one", world.names())
    bench = world.workbench()
    for spec in plan(submission, Job(SUITE, root / "records"), bench):
        run_cell(spec, bench)
    found, _ = row(root)
    assert found.claims == ()
    assert found.robust.count == 12
