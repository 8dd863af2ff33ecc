# SPDX-License-Identifier: MIT
"""Records: they survive a round trip, refuse what is inconsistent, and are written whole or not at all."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from art_spiking.errors import CannotWrite, InvalidInput
from art_spiking.records import (
    Activity,
    CheckResult,
    Costs,
    DataIdentity,
    EnsembleResult,
    Failure,
    Flag,
    Footprint,
    MemberResult,
    ModelIdentity,
    Provenance,
    Record,
    SuiteIdentity,
    TrustResult,
    read_record,
    write_record,
)
from art_spiking.suites import Case, Control

DIGEST = "sha256:" + "0" * 64
GRID = {"steps": 5, "dt_us": 1000, "height": 6, "width": 6, "polarities": 2, "binary": True}


def record(**changes):
    fields = {
        "status": "ok",
        "model": ModelIdentity(
            name="tiny", digest=DIGEST, readout="spike-count", semantics={"reset": "value", "v_min": None}
        ),
        "suite": SuiteIdentity(name="small", version=1, digest=DIGEST),
        "case": Case(
            name="edits",
            attack="event-gradient",
            threat={"kind": "event-edits", "max_edits": 0.1},
            control=Control(attack="random-events"),
        ),
        "craft": DataIdentity(name="noise", split="train", digest=DIGEST, samples=2, grid=GRID),
        "test": DataIdentity(name="noise", split="test", digest=DIGEST, samples=3, grid=GRID),
        "labels": (0, 1, 2),
        "clean": (0, 1, 1),
        "adversarial": (1, 1, 1),
        "control": (0, 1, 1),
        "cost": Costs(added=(1, 2, 0), removed=(0, 0, 0), moved=(0, 0, 0), own=(9, 8, 7)),
        "control_cost": Costs(added=(2, 2, 2), removed=(0, 0, 0), moved=(0, 0, 0), own=(9, 8, 7)),
        "flags": (Flag(code="zero-gradient", text="the gradient is zero", value=0.25),),
        "forwards": 12.5,
        "backwards": 10,
        "wall_seconds": 0.1,
        "provenance": Provenance(
            packages={"torch": "2"},
            providers={"attack event-gradient": "art-spiking 0.1.0"},
            device="cpu",
            threads=2,
            started="2026-01-01T00:00:00+00:00",
        ),
    }
    return Record(**{**fields, **changes})


FAILED = {
    "status": "error",
    "adversarial": (),
    "control": (),
    "cost": Costs(),
    "control_cost": Costs(),
    "failure": Failure(type="RuntimeError", message="no", traceback=("a.py:1 in f",)),
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        FAILED,
        {"status": "invalid", "adversarial": (), "cost": Costs()},
        {"control": (), "control_cost": Costs()},
        {"flags": ()},
        {
            "footprint": Footprint(parameters=7, bytes=28),
            "clean_activity": Activity(spikes=(1, 2, 3), operations=(4, 5, 6)),
            "activity": Activity(spikes=(1, 2, 4), operations=(4, 5, 2**40)),
        },
    ],
)
def test_a_record_survives_a_round_trip(changes):
    before = record(**changes)
    after = Record.from_json(before.to_json())
    assert after == before
    assert type(after.labels) is tuple
    assert after.to_json() == before.to_json()
    assert json.loads(before.to_json())["schema_version"] == 1


@given(
    st.lists(st.tuples(*[st.integers(0, 9)] * 4), min_size=1, max_size=5),
    st.floats(0, 1e9, allow_nan=False),
    st.text(max_size=20),
)
def test_any_outcome_survives_a_round_trip(rows, seconds, text):
    labels, clean, adversarial, control = (tuple(column) for column in zip(*rows, strict=True))
    cost = Costs(added=labels, removed=clean, moved=control, own=adversarial)
    test = DataIdentity(name=text, split="test", digest=DIGEST, samples=len(rows), grid=GRID)
    before = record(
        test=test,
        labels=labels,
        clean=clean,
        adversarial=adversarial,
        control=control,
        cost=cost,
        control_cost=cost,
        wall_seconds=seconds,
        flags=(Flag(code="x", text=text, value=seconds),),
    )
    assert Record.from_json(before.to_json()) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adversarial": (1, 1)}, "3 adversarial predictions"),
        ({"labels": (0, 1)}, "labels and clean"),
        ({"status": "invalid"}, "0 adversarial predictions"),
        ({"status": "invalid", "adversarial": (), "cost": Costs(), "flags": ()}, "say why in its flags"),
        ({**FAILED, "failure": None}, "a failure belongs to status 'error'"),
        ({"failure": FAILED["failure"]}, "a failure belongs to status 'error'"),
        ({"cost": Costs()}, "the cost must have one entry"),
        ({"control": (0,)}, "control and its cost"),
        ({"control_cost": Costs()}, "control and its cost"),
        ({"wall_seconds": float("nan")}, "finite"),
        ({"forwards": float("inf")}, "finite"),
        ({"labels": (0, 1, -1)}, "greater than or equal to 0"),
        ({"schema_version": 2}, "schema_version"),
        ({"speed": 3}, "speed"),
        ({"activity": Activity(spikes=(1,), operations=(1,))}, "an activity must have one entry"),
        ({"clean_activity": Activity(spikes=(1,), operations=(1,))}, "an activity must have one entry"),
        ({**FAILED, "activity": Activity(spikes=(1, 1, 1), operations=(1, 1, 1))}, "belongs to status 'ok'"),
        ({"labels": ("0", 1, 2)}, "integer"),
    ],
)
def test_what_is_inconsistent_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        record(**changes)


def test_a_record_from_before_activity_was_counted_is_read():
    older = json.loads(record().to_json())
    for name in ("footprint", "clean_activity", "activity"):
        del older[name]
    read = Record.from_json(json.dumps(older))
    assert (read.footprint, read.clean_activity, read.activity) == (None, None, None)
    assert read.key() == record(clean_activity=Activity(spikes=(1,) * 3, operations=(1,) * 3)).key()
    assert Record.from_json(read.to_json()) == read


def test_spikes_and_operations_belong_together():
    with pytest.raises(ValidationError, match="one entry per sample"):
        Activity(spikes=(1, 2), operations=(1,))


def test_not_a_number_is_refused_everywhere():
    with pytest.raises(ValidationError, match="NaN and infinity are refused"):
        ModelIdentity(name="m", digest=DIGEST, readout="r", semantics={"deep": [{"v_min": float("inf")}]})
    with pytest.raises(ValidationError, match="finite"):
        Flag(code="x", text="x", value=float("nan"))
    text = record().to_json().replace("12.5", "NaN")
    with pytest.raises(InvalidInput, match="a record is not valid"):
        Record.from_json(text)


def test_columns_of_a_cost_have_one_length():
    with pytest.raises(ValidationError, match="one entry per sample"):
        Costs(added=(1,), removed=(), moved=(), own=(1,))


def test_another_schema_version_is_refused_by_name():
    text = record().to_json().replace('"schema_version":1', '"schema_version":2')
    with pytest.raises(InvalidInput, match="schema_version"):
        Record.from_json(text)


def test_records_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        record().status = "error"


def test_the_key_leaves_out_what_does_not_decide_the_result():
    same = record(
        wall_seconds=9.0, model=ModelIdentity(**{**record().model.model_dump(), "name": "other name"})
    )
    other = record(model=ModelIdentity(**{**record().model.model_dump(), "readout": "membrane-mean"}))
    assert same.key() == record().key() != other.key()


def test_a_record_is_written_and_read(tmp_path):
    path = tmp_path / "new" / "edits.json"
    write_record(record(), path)
    assert read_record(path) == record()
    assert [entry.name for entry in path.parent.iterdir()] == ["edits.json"]


def test_a_full_disk_keeps_the_record_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / "edits.json"
    write_record(record(), path)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CannotWrite, match=r"cannot write .*edits\.json; found: no room left on the disk"):
        write_record(record(flags=()), path)
    assert read_record(path) == record()
    assert [entry.name for entry in tmp_path.iterdir()] == ["edits.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"status": "ok"}', "\udcff"])
def test_a_file_that_is_no_record_is_named(tmp_path, content):
    path = tmp_path / "torn.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InvalidInput, match=r"the record .*torn\.json is not valid"):
        read_record(path)


def test_an_absent_record_is_named(tmp_path):
    with pytest.raises(InvalidInput, match=r"cannot read the record .*absent\.json.*No such file"):
        read_record(Path(tmp_path / "absent.json"))


def test_the_result_leaves_out_when_where_and_how_fast():
    member = {"name": "m", "tried": 1, "fooled": 1, "alone": None, "forwards": 1, "backwards": 1}
    check = {
        "check": "c",
        "text": "t",
        "code": None,
        "value": None,
        "samples": 1,
        "forwards": 1,
        "backwards": 1,
    }

    def took(seconds: float) -> Record:
        ensemble = EnsembleResult(version=1, members=(MemberResult(**member, seconds=seconds),))
        trust = TrustResult(checks=(CheckResult(**check, seconds=seconds),))
        more = {"ensemble": ensemble, "trust": trust, "wall_seconds": seconds}
        return record().model_copy(update=more)

    assert took(1.0).result() == took(2.0).result()
    assert took(1.0).result()["ensemble"]["members"] == [member]
    assert record().result().keys() == record().model_dump().keys() - {"provenance", "wall_seconds"}
