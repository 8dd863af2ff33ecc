# SPDX-License-Identifier: MIT
"""The index: what the files say and nothing else, on SQLite and on PostgreSQL, rebuilt at will."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import time
from dataclasses import replace

import leaderboard_world as world
import numpy as np
import pytest
import torch
from art_spiking_leaderboard import index as module
from art_spiking_leaderboard.cells import Cell, CellIdentity, CellStore
from art_spiking_leaderboard.check import check_submission
from art_spiking_leaderboard.claims import Claim, ClaimForm, keep, read_events, write_claim
from art_spiking_leaderboard.coordinator import Crew, run_on
from art_spiking_leaderboard.current import standings
from art_spiking_leaderboard.engine import run, run_cell
from art_spiking_leaderboard.index import Index, default_url
from art_spiking_leaderboard.indexing import Question, ask, build_index, following
from art_spiking_leaderboard.working import RunOptions, run_all
from leaderboard_samples import make_record
from leaderboard_world import forked, many_cells, specs_of
from sqlalchemy import create_engine, make_url, text
from test_leaderboard_commands import suite_file

from art_spiking.cli import run as cli
from art_spiking.errors import InvalidInput, UnknownName
from art_spiking.records import Failure, Flag

POSTGRES = os.environ.get("ART_SPIKING_TEST_POSTGRES")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'index.sqlite'}"
    if not POSTGRES:
        pytest.skip("no PostgreSQL: ART_SPIKING_TEST_POSTGRES holds no URL")
    engine = create_engine(POSTGRES)
    with engine.begin() as connection:
        for table in module._ALL:
            connection.execute(text(f"DROP TABLE IF EXISTS {table.name}"))
    engine.dispose()
    return POSTGRES


@pytest.fixture
def submissions(tmp_path):
    for seed, name in enumerate(("one", "two")):
        world.write_submission(tmp_path / "submissions" / name, seed=seed)
    return tmp_path / "submissions"


def compute_all(submissions, records, suite):
    bench = world.workbench()
    specs = specs_of(submissions, records, suite)
    return list(run(specs, lambda spec: run_cell(spec, bench), warn=pytest.fail))


def standing_of(submissions):
    names = world.names()
    return standings([check_submission(f, names) for f in sorted(submissions.iterdir())], names)


def found(url, **question):
    return [(row["model"], row["case"]) for row in ask(url, Question(**question))]


def dump(url):
    with Index(url) as index:
        return [
            index.rows(table.select().order_by(*table.primary_key)) for table in (module.cells, module.log)
        ]


def test_a_maintainer_finds_what_is_missing_failed_refused_and_slow(submissions, tmp_path, url):
    suite, records = world.suite(b="raise", c="cheat"), tmp_path / "records"
    outcomes = compute_all(submissions, records, suite)
    first = outcomes[0]
    CellStore(records).path("one", "small", first.spec.identity.key).unlink()
    with Index(url) as index:
        count = index.rebuild(records, standing_of(submissions), [suite])
    assert (count.cells, count.broken, count.wanted) == (5, 0, 6)
    assert found(url, state="missing") == [("one", "flips-a")]
    assert found(url, state="failed") == [("one", "flips-b"), ("two", "flips-b")]
    assert found(url, state="refused", model="two") == [("two", "flips-c")]
    assert found(url, state="ok") == [("two", "flips-a")]
    (row,) = ask(url, Question(state="failed", model="one"))
    assert row["why"] == "ValueError: this attack is broken"
    slowest = ask(url, Question(slowest=2))
    assert len(slowest) == 2
    assert slowest[0]["seconds"] >= slowest[1]["seconds"]
    (ok,) = ask(url, Question(state="ok"))
    record = next(o.cell.record for o in outcomes if (o.spec.model, o.spec.case) == ("two", "flips-a"))
    assert ok["seconds"] == record.wall_seconds
    assert (
        ok["adversarial"] == sum(a == y for a, y in zip(record.adversarial, record.labels, strict=True)) / 12
    )


def test_cells_of_other_weights_are_missing_too(submissions, tmp_path, url):
    compute_all(submissions, tmp_path / "records", world.suite())
    world.write_submission(submissions / "two", seed=5)
    with Index(url) as index:
        index.rebuild(tmp_path / "records", standing_of(submissions), [world.suite()])
    assert found(url, state="missing") == [("two", f"flips-{letter}") for letter in "abc"]


def test_broken_files_flags_and_odd_texts(tmp_path, url):
    records = tmp_path / "records"
    odd = Failure(type="Odd\0Error", message="a \0")
    base = make_record(status="error")
    flagged = make_record(flags=(Flag(code="state-leak", text="%_"), Flag(code="unsure", text="b")))
    for number, record in enumerate((base.model_copy(update={"failure": odd}), flagged)):
        identity = CellIdentity(record.key(), {}, shard=(number, 2))
        CellStore(records).write("m", "tiny-suite", Cell(identity, record, "2027-01-01T00:00:00+00:00"))
    (records / "m" / "tiny-suite" / f"{'0' * 64}.json").write_text("{")
    with Index(url) as index:
        count = index.rebuild(records)
    assert (count.cells, count.broken) == (3, 1)
    (broken,) = ask(url, Question(state="broken"))
    assert "torn" in broken["why"]
    assert [row["flags"] for row in ask(url, Question(state="flagged"))] == [",state-leak,unsure,"]
    assert len(ask(url, Question(flag="state-leak"))) == 1
    assert ask(url, Question(flag="leak")) == []
    assert ask(url, Question(flag="state_leak")) == []
    assert module._storable({"note": "half a pair \ud800", "line": 1}) == {"note": "half a pair ?", "line": 1}
    (failed,) = ask(url, Question(state="failed"))
    assert failed["why"] == "Odd�Error: a �"


def test_claims_are_in_it_and_changed_ones_say_so(tmp_path, url):
    records = tmp_path / "records"
    form = ClaimForm(
        schema_version=1,
        model="one",
        suite="small",
        case="flips-c",
        authors=("B. Reaker",),
        description="All off.",
        samples=(0, 4),
    )
    write_claim(tmp_path / "claim", form, np.zeros((2, world.STEPS, *world.SHAPE), np.float32))
    raw = read_events(tmp_path / "claim")
    events = hashlib.sha256(raw).hexdigest()
    path = keep(Claim(form, "result", events, (1, 2), "2027-01-01"), raw, records)
    with Index(url) as index:
        assert index.rebuild(records).claims == 1
        (row,) = index.rows(module.claims.select())
        assert (row["case"], row["samples"], row["why"]) == ("flips-c", 2, "")
        path.with_suffix(".safetensors").write_bytes(b"other")
        index.rebuild(records)
        (row,) = index.rows(module.claims.select())
        assert "no claim that was accepted" in row["why"]


def test_the_rows_of_an_older_index_are_thrown_away(submissions, tmp_path, url, monkeypatch):
    compute_all(submissions, tmp_path / "records", world.suite())
    with Index(url) as index:
        index.rebuild(tmp_path / "records")
    monkeypatch.setattr(module, "INDEX_VERSION", module.INDEX_VERSION + 1)
    with pytest.raises(InvalidInput, match="nobody has built"):
        ask(url, Question())
    with Index(url) as index:
        assert index.rebuild(tmp_path / "records").cells == 6


def test_a_run_keeps_it_up_to_date(submissions, tmp_path, url, capsys):
    suite = world.suite()
    options = RunOptions(submissions, str(suite_file(tmp_path, suite)), tmp_path / "records", index=url)
    assert run_all(replace(options, only=("one",)), world.workbench) == 0
    assert len(found(url)) == 3
    assert run_all(options, world.workbench) == 0
    assert len(found(url, state="ok")) == 6
    kept = dump(url)
    with Index(url) as index:
        index.rebuild(tmp_path / "records")
    assert dump(url) == kept


def test_two_who_read_while_one_writes(submissions, tmp_path, url):
    compute_all(submissions, tmp_path / "records", world.suite())
    with Index(url) as writer, Index(url) as reader:
        writer.rebuild(tmp_path / "records")
        with writer._engine.begin() as connection:
            connection.execute(module.cells.delete())
            assert len(reader.rows(module.cells.select())) == 6
    assert found(url) == []


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://host/name", "not supported"),
        ("sqlite://", "not supported"),
        ("nonsense", "cannot be used"),
        ("sqlite:////proc/nowhere/index", "cannot be used"),
        ("postgresql+psycopg://ada:secret@127.0.0.1:1/x", "cannot be used"),
    ],
)
def test_a_url_that_cannot_be_used_is_one_line_without_the_password(url, told):
    with pytest.raises(InvalidInput, match=told) as error:
        Index(url)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "index").write_text("not a database, but long enough to be taken for one" * 100)
    with pytest.raises(InvalidInput, match="not a database"):
        Index(f"sqlite:///{tmp_path / 'index'}")


def test_an_unknown_state_is_named(tmp_path):
    with pytest.raises(UnknownName, match="failed"):
        ask(f"sqlite:///{tmp_path / 'i'}", Question(state="fialed"))


def test_the_commands(submissions, tmp_path, capsys):
    records = tmp_path / "records"
    compute_all(submissions, records, world.suite(b="raise"))
    assert cli(["leaderboard", "index", str(records), "--submissions", str(tmp_path / "none")]) == 0
    assert "Indexed 6 cells (0 broken)" in capsys.readouterr().out
    assert cli(["leaderboard", "query", str(records), "--state", "failed"]) == 0
    shown = capsys.readouterr()
    assert "error one small flips-b" in shown.out
    assert "this attack is broken" in shown.out
    assert "2 cells" in shown.err
    assert cli(["leaderboard", "query", str(records), "--slowest", "1", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1
    assert (
        build_index(records, None, submissions, (str(suite_file(tmp_path, world.suite())),), world.names())
        == 0
    )
    assert "the 6 cells that 2 submissions should have" in capsys.readouterr().out
    assert (
        len(found(default_url(records), state="missing")) == 6
    )  # of another digest than the suite that raises


@pytest.mark.slow
def test_kills_of_the_coordinator_leave_an_index_that_is_the_files(submissions, tmp_path, url):
    """SIGKILL while a run puts cells into the index or builds it; the next run's index is complete."""
    kills = 40 if make_url(url).get_backend_name() == "sqlite" else 20
    suite, records, rng = many_cells(25), tmp_path / "records", random.Random(1)
    specs = specs_of(submissions, records, suite)
    torch.set_num_threads(1)

    def coordinate():
        with following(url, records) as put:
            for outcome in run_on(specs, Crew(forked, 2, world.workbench), warn=lambda text: None):
                put(outcome)

    with Index(url) as index:
        index.rebuild(records.parent)
    for number in range(kills):
        if number % 10 == 9:
            for path in list(records.rglob("*.json"))[::2]:
                path.unlink()  # so that there is something left to do
        pid = os.fork()
        if pid == 0:
            try:
                coordinate()
            finally:
                os._exit(0)
        time.sleep(rng.uniform(0.02, 0.4))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with Index(url) as index:  # readable at any time
            assert len(index.rows(module.cells.select())) <= len(specs)
    coordinate()
    kept = dump(url)
    assert len(kept[0]) == len(specs)
    with Index(url) as index:
        index.rebuild(records)
    assert dump(url) == kept
