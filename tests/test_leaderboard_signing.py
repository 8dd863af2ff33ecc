# SPDX-License-Identifier: MIT
"""The signed log of a model's records: what is edited, forged or lost shows."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace

import leaderboard_world as world
import pytest
from art_spiking_leaderboard.cells import CellStore
from art_spiking_leaderboard.check import check_submission
from art_spiking_leaderboard.current import standings, tables
from art_spiking_leaderboard.engine import Job, plan, run_cell
from art_spiking_leaderboard.signing import LOG, SIGNERS, hashes, read_log, sign
from art_spiking_leaderboard.table import table_text
from art_spiking_leaderboard.verifying import VerifyOptions, verify_all
from test_leaderboard_commands import suite_file

from art_spiking.cli import run
from art_spiking.errors import InvalidInput

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="signatures need ssh-keygen")


def make_key(folder, name):
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name], check=True
    )
    return folder / name


@pytest.fixture(scope="module")
def world_of_records(tmp_path_factory):
    """One model's three cells, Ada's key, and the list that knows her."""
    root = tmp_path_factory.mktemp("signed")
    world.write_submission(root / "submissions" / "one")
    records = root / "records"
    submission = check_submission(root / "submissions" / "one", world.names())
    bench = world.workbench()
    for spec in plan(submission, Job(world.suite(), records), bench):
        run_cell(spec, bench)
    for name in ("ada", "eve"):
        make_key(root, name)
    kind, key, *_ = (root / "ada.pub").read_text().split()
    (records / SIGNERS).write_text(f'ada namespaces="art-spiking" {kind} {key}\n')
    return root


@pytest.fixture
def root(world_of_records, tmp_path):
    shutil.copytree(world_of_records, tmp_path / "world")
    return tmp_path / "world"


def signed(root, who="ada", **options):
    options = {"signer": "ada", "note": "first evaluation", **options}
    return sign(root / "records" / "one", root / who, **options)


def state(root):
    return read_log(root / "records" / "one", root / "records" / SIGNERS)


def table_of(root):
    names = world.names()
    standing = standings([check_submission(root / "submissions" / "one", names)], names)
    warnings = []
    (table,) = tables(standing, CellStore(root / "records"), world.suite(), warnings.append)
    return table, warnings


def test_a_signed_log_holds_and_grows(root):
    first = signed(root)
    assert len(first.cells) == 3
    second = signed(root, note="looked again")
    found = state(root)
    assert list(found.entries) == [first, second]
    assert found.problems == []
    assert found.unsigned == []
    assert found.withdrawn is None


def test_cells_that_came_later_are_unsigned_and_no_problem(root):
    path = next((root / "records" / "one").glob("*/*.json"))
    content = path.read_bytes()
    path.unlink()
    signed(root)
    path.write_bytes(content)
    found = state(root)
    assert found.problems == []
    assert found.unsigned == [path.relative_to(root / "records" / "one").as_posix()]


def edit_cell(root):
    path = next((root / "records" / "one").glob("*/*.json"))
    path.write_text(path.read_text().replace('"seed":0', '"seed":1', 1))


def lose_cell(root):
    next((root / "records" / "one").glob("*/*.json")).unlink()


def edit_log(root, change):
    path = root / "records" / "one" / LOG
    first, *others = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(change(json.loads(first))), *others]) + "\n")


ATTACKS = {
    "an edited cell": (edit_cell, "was changed after it was signed"),
    "a lost cell": (lose_cell, "is not there"),
    "an edited note": (lambda root: edit_log(root, lambda e: {**e, "note": "better"}), "does not hold"),
    "a forged hash": (
        lambda root: edit_log(root, lambda e: {**e, "cells": hashes(root / "records" / "one") | {"x": "0"}}),
        "does not hold",
    ),
    "another's log": (lambda root: edit_log(root, lambda e: {**e, "model": "two"}), "does not follow"),
    "a field more": (lambda root: edit_log(root, lambda e: {**e, "more": 1}), "is no entry"),
    "not JSON": (lambda root: (root / "records" / "one" / LOG).write_text("{"), "is no entry"),
    "brackets": (lambda root: (root / "records" / "one" / LOG).write_text("[" * 10**5), "is no entry"),
    "no list of signers": (lambda root: (root / "records" / SIGNERS).unlink(), "nobody is known"),
}


@pytest.mark.parametrize(("attack", "words"), ATTACKS.values(), ids=ATTACKS)
def test_what_was_tampered_with_shows(root, attack, words):
    signed(root)
    signed(root, note="again")
    assert state(root).problems == []
    attack(root)
    assert any(words in problem for problem in state(root).problems), state(root).problems


def test_a_line_taken_out_of_the_middle_shows(root):
    for note in ("one", "two", "three"):
        signed(root, note=note)
    path = root / "records" / "one" / LOG
    first, _, third = path.read_text().splitlines()
    path.write_text(f"{first}\n{third}\n")
    assert any("does not follow" in problem for problem in state(root).problems)


def test_a_key_that_is_not_on_the_list_does_not_count(root):
    signed(root, who="eve")
    assert any("does not hold" in problem for problem in state(root).problems)


def test_a_name_that_is_not_on_the_list_does_not_count(root):
    signed(root, signer="mallory")
    assert any("'mallory'" in problem for problem in state(root).problems)


def test_nothing_is_added_to_a_log_that_does_not_hold_together(root):
    signed(root)
    edit_log(root, lambda entry: {**entry, "model": "two"})
    with pytest.raises(InvalidInput, match="not to be trusted"):
        signed(root)


def test_a_key_that_cannot_sign_is_told(root):
    (root / "no-key").write_text("nothing")
    with pytest.raises(InvalidInput, match="cannot sign"):
        signed(root, who="no-key")
    assert not (root / "records" / "one" / LOG).exists()


def test_a_withdrawn_model_has_no_rank_and_stays_visible(root):
    table, _ = table_of(root)
    assert table.rows[0].rank == 1
    signed(root, note="trained on the test split", withdrawn=True)
    table, warnings = table_of(root)
    assert warnings == []
    assert table.rows[0].rank is None
    assert "withdrawn: trained on the test split" in table_text(table)


def test_a_withdrawal_that_nobody_signed_is_told_and_does_not_count(root):
    signed(root, who="eve", note="go away", withdrawn=True)
    table, warnings = table_of(root)
    assert table.rows[0].rank == 1
    assert any("not to be trusted" in warning for warning in warnings)


def test_verify_checks_the_log_too(root, capsys):
    options = VerifyOptions(
        root / "records", root / "submissions", suite=str(suite_file(root, world.suite())), sample=1, seed=0
    )
    bench = world.workbench()

    def derive(spec):
        return run_cell(spec, bench)

    signed(root)
    assert verify_all(options, bench, derive) == 0
    assert "signed by ada" in capsys.readouterr().err
    edit_log(root, lambda entry: {**entry, "note": "better"})
    assert verify_all(replace(options, sample=1), bench, derive) == 1
    assert "LOG:" in capsys.readouterr().err


def test_the_command_signs(root, capsys):
    folder = root / "records" / "one"
    arguments = [
        "leaderboard",
        "sign",
        str(folder),
        "--key",
        str(root / "ada"),
        "--as",
        "ada",
        "--note",
        "new",
    ]
    assert run(arguments) == 0
    assert "Signed one: 3 cells" in capsys.readouterr().out
    assert state(root).problems == []


@pytest.mark.parametrize(
    "change",
    [
        {"cells": "a.json"},
        {"cells": ["a"]},
        {"signature": {}},
        {"signature": None},
        {"made": 1},
        {"signer": "a\0"},
        {"signature": "\ud800"},
    ],
)
def test_a_line_with_fields_of_another_kind_is_no_entry(root, change):
    """Found by benchmarks/fuzz_submissions.py."""
    signed(root)
    path = root / "records" / "one" / LOG
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}) + "\n")
    assert any("is no entry" in problem for problem in state(root).problems)
