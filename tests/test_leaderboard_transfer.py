# SPDX-License-Identifier: MIT
"""`leaderboard transfer`: kept samples of each model scored by all, and nothing that was tampered with."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from art_spiking_leaderboard.cells import Cell, CellStore
from art_spiking_leaderboard.check import check_submission
from art_spiking_leaderboard.current import standings, tables
from art_spiking_leaderboard.engine import Job, plan, run_cell
from art_spiking_leaderboard.kept_events import FOLDER, keep_events, kept_events
from art_spiking_leaderboard.manifest import MANIFEST, Files
from art_spiking_leaderboard.manifest_text import manifest_text
from art_spiking_leaderboard.transfer import (
    LeftOut,
    Scored,
    Source,
    Transfer,
    read_transfer,
    transfer_file,
    write_transfer,
)
from art_spiking_leaderboard.transferring import TransferOptions, transfer_all
from leaderboard_samples import hash_of
from leaderboard_world import DT_US, SHAPE, STEPS, names, network, suite, workbench, write_submission
from pydantic import ValidationError
from test_leaderboard_commands import suite_file

from art_spiking.cli import run
from art_spiking.errors import InvalidInput, UnknownName
from art_spiking.model_files import save_model

# Of another grid, and of a claim that is not true.
ODD = {
    "longer": {
        "data": {"name": "tiny-events", "dt_us": DT_US, "steps": STEPS + 1, "binary": True},
        "input_shape": (STEPS + 1, *SHAPE),
    },
    "boastful": {"training": {"description": "By hand.", "claimed_clean_accuracy": 0.2}},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models with kept samples, one without, one of another grid, one that is not ranked."""
    root = tmp_path_factory.mktemp("transfer")
    bench = workbench()
    for seed, name in enumerate(("one", "two", "three", "silent", "longer", "boastful")):
        folder = root / "submissions" / name
        manifest = write_submission(folder, seed=4 * seed, **ODD.get(name, {}))
        if name == "longer":
            save_model(network(seed), folder, steps=STEPS + 1)
            manifest = manifest.model_copy(update={"files": Files.of(folder)})
            (folder / MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")
        job = Job(suite(), root / "records", keep_events=name != "silent")
        for spec in plan(check_submission(folder, bench.names), job, bench):
            run_cell(spec, bench)
    suite_file(root, suite())
    return root


@pytest.fixture
def options(world: Path, tmp_path: Path) -> TransferOptions:
    root = tmp_path / "world"
    shutil.copytree(world, root)
    (file,) = root.glob("*.toml")
    return TransferOptions(root / "records", root / "submissions", str(file))


def cells_of(options: TransferOptions, model: str) -> dict[str, Cell]:
    cells = CellStore(options.records).cells(model, "small")
    return {cell.record.case.name: cell for cell in cells if isinstance(cell, Cell)}


def scored(options: TransferOptions) -> Transfer:
    assert transfer_all(options, names()) == 0
    found = read_transfer(options.records, "small", "tiny-events")
    assert found is not None
    return found


def test_every_count_is_what_the_models_say_themselves(options, capsys):
    found = scored(options)
    bench = workbench()
    settings = {}
    for model in found.models:
        job = Job(suite(), options.records)
        spec = plan(check_submission(options.submissions / model.name, bench.names), job, bench)[0]
        settings[model.name] = bench.setting(spec)
    assert {model.name for model in found.models} == {"one", "two", "three", "silent"}
    labels = np.asarray(settings["one"].labels)
    for source in found.sources:
        held = {model.name: np.asarray(settings[model.name].clean) == labels for model in found.models}
        for case, cell in cells_of(options, source.name).items():
            x_adv, digest = kept_events(
                options.records / source.name / "small", cell.identity.key, (12, STEPS, *SHAPE), binary=True
            )
            assert source.events[case] == digest
            for place, model in enumerate(found.models):
                right = settings[model.name].estimator.predict(x_adv).argmax(1) == labels
                assert source.right[case][place] == right.sum()
                held[model.name] &= right
        assert source.worst == tuple(held[model.name].sum() for model in found.models)
    assert "no attack" in capsys.readouterr().out


def test_the_diagonal_is_the_models_own_worst_case(options):
    found = scored(options)
    bench = workbench()
    checked = [check_submission(folder, bench.names) for folder in sorted(options.submissions.iterdir())]
    for table in tables(standings(checked, bench.names), CellStore(options.records), suite(), print):
        worst = {row.name: row.robust.count for row in table.rows if row.robust}
        places = [model.name for model in found.models]
        assert len(found.sources) == 3
        for source in found.sources:
            assert source.worst[places.index(source.name)] == worst[source.name]
        assert table.transfer == found


def test_who_is_left_out_is_told_why(options, capsys):
    why = {entry.name: entry.why for entry in scored(options).left_out}
    assert set(why) == {"silent", "longer", "boastful"}
    assert "were not kept; `run --keep-events` keeps them" in why["silent"]
    assert why["longer"] == f"it takes other samples: {STEPS + 1} steps of {DT_US} µs, 6 x 6"
    assert why["boastful"] == "it is not ranked"
    assert "boastful is left out: it is not ranked" in capsys.readouterr().out


def test_code_is_not_asked(options, monkeypatch):
    def as_code(folder, known):
        found = check_submission(folder, known)
        if found.name != "two":
            return found
        return replace(found, manifest=found.manifest.model_copy(update={"division": "code"}))

    monkeypatch.setattr("art_spiking_leaderboard.transferring.check_submission", as_code)
    found = scored(options)
    assert [entry.why for entry in found.left_out if entry.name == "two"] == [
        "it is code, and runs for its own cells only"
    ]
    assert "two" not in {model.name for model in found.models}


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def test_samples_that_were_changed_are_not_shown_to_anybody(options, capsys):
    flip(next((options.records / "one" / "small" / FOLDER).iterdir()))
    found = scored(options)
    assert {source.name for source in found.sources} == {"two", "three"}
    assert "one" in {model.name for model in found.models}
    assert "one is attacked, and not attacked from" in capsys.readouterr().err


def test_samples_of_somebody_else_are_seen_by_what_they_do(options):
    """A whole file under its right hash, that the record's own attack did not make."""
    place = options.records / "one" / "small"
    cell = cells_of(options, "one")["flips-c"]
    x_adv, _ = kept_events(place, cell.identity.key, (12, STEPS, *SHAPE), binary=True)
    keep_events(place, cell.identity.key, np.zeros_like(x_adv))
    found = scored(options)
    why = {entry.name: entry.why for entry in found.left_out}
    assert why["one"] == "attacked only: the samples kept of flips-c do not give its own record's predictions"


def test_cells_that_were_put_together_from_shards_are_sources_too(options, tmp_path):
    """Divided by samples, the attacked samples and what they do are the same."""
    whole, bench = scored(options), workbench()
    divided = suite().model_copy(update={"shard": 5})
    job = Job(divided, tmp_path / "divided", keep_events=True)
    for name in ("one", "two"):
        for spec in plan(check_submission(options.submissions / name, bench.names), job, bench):
            assert spec.shards
            run_cell(spec, bench)
    file = suite_file(tmp_path, divided)
    file.write_text(f"shard = {divided.shard}\n{file.read_text()}")
    found = scored(TransferOptions(job.records, options.submissions, str(file)))
    for source in found.sources:
        (same,) = (each for each in whole.sources if each.name == source.name)
        places = [[model.name for model in each.models].index("two") for each in (found, whole)]
        assert source.worst[places[0]] == same.worst[places[1]]
        assert {case: column[places[0]] for case, column in source.right.items()} == {
            case: column[places[1]] for case, column in same.right.items()
        }
    assert {source.name for source in found.sources} == {"one", "two"}


def test_nothing_kept_is_said_with_the_remedy(options):
    for model in ("one", "two", "three"):
        shutil.rmtree(options.records / model / "small" / FOLDER)
    with pytest.raises(InvalidInput, match=r"nothing to exchange.*--keep-events"):
        transfer_all(options, names())
    assert not list(options.records.glob("transfer.*"))


def test_only_some_may_be_asked_for(options):
    found = scored(replace(options, only=("one", "silent")))
    assert [model.name for model in found.models] == ["one", "silent"]
    with pytest.raises(UnknownName, match="did you mean three"):
        transfer_all(replace(options, only=("tree",)), names())


def test_a_model_that_changed_since_is_not_in_the_table_any_more(options):
    scored(options)
    write_submission(options.submissions / "two", seed=77)
    bench = workbench()
    job = Job(suite(), options.records)
    for spec in plan(check_submission(options.submissions / "two", bench.names), job, bench):
        run_cell(spec, bench)
    checked = [check_submission(folder, bench.names) for folder in sorted(options.submissions.iterdir())]
    (table,) = tables(standings(checked, bench.names), CellStore(options.records), suite(), print)
    assert {model.name for model in table.transfer.models} == {"one", "three", "silent"}
    assert {source.name for source in table.transfer.sources} == {"one", "three"}
    assert all(len(source.worst) == 3 for source in table.transfer.sources)
    assert (
        LeftOut(name="two", why="it was changed since, or is not ranked any more") in table.transfer.left_out
    )


@pytest.mark.parametrize("damage", ["{", "[]", '{"sha256": "x", "transfer": {}}', None])
def test_a_changed_matrix_is_told_and_not_shown(options, damage):
    scored(options)
    path = options.records / transfer_file("small", "tiny-events")
    values = json.loads(path.read_text())
    values["transfer"]["sources"][0]["worst"][0] += 1
    path.write_text(json.dumps(values) if damage is None else damage)
    warnings: list[str] = []
    bench = workbench()
    checked = [check_submission(folder, bench.names) for folder in sorted(options.submissions.iterdir())]
    (table,) = tables(standings(checked, bench.names), CellStore(options.records), suite(), warnings.append)
    assert table.transfer is None
    assert table.rows[0].rank == 1
    (warning,) = warnings
    assert "is no transfer matrix" in warning


def tiny_transfer(**changes: object) -> Transfer:
    values = {
        "suite": "small",
        "suite_digest": f"sha256:{hash_of('s')}",
        "data": "d",
        "test": f"sha256:{hash_of('t')}",
        "samples": 10,
        "models": (Scored(name="a", digest=f"sha256:{hash_of('a')}", clean=9),),
        "sources": (Source(name="a", events={"c": "e"}, right={"c": (5,)}, worst=(4,)),),
    }
    return Transfer(**{**values, **changes})


def test_a_matrix_comes_back_as_it_was_written(tmp_path):
    write_transfer(tiny_transfer(), tmp_path)
    assert read_transfer(tmp_path, "small", "d") == tiny_transfer()
    assert read_transfer(tmp_path, "small", "other") is None
    shutil.copy(tmp_path / transfer_file("small", "d"), tmp_path / transfer_file("small", "other"))
    with pytest.raises(InvalidInput, match="it is about small on d"):
        read_transfer(tmp_path, "small", "other")


@pytest.mark.parametrize(
    "source",
    [
        {"name": "b", "events": {}, "right": {}, "worst": (4,)},
        {"name": "a", "events": {}, "right": {"c": (5,)}, "worst": (4,)},
        {"name": "a", "events": {}, "right": {}, "worst": (4, 4)},
        {"name": "a", "events": {}, "right": {}, "worst": (11,)},
        {"name": "a", "events": {}, "right": {}, "worst": (-1,)},
    ],
)
def test_what_does_not_fit_together_is_refused(source):
    with pytest.raises(ValidationError):
        tiny_transfer(sources=(Source.model_validate(source),))


def test_the_command_says_what_is_missing(tmp_path, capsys):
    (tmp_path / "submissions").mkdir()
    code = run(["leaderboard", "transfer", str(tmp_path), "--submissions", str(tmp_path / "submissions")])
    assert code == 2
    assert "no submission there" in capsys.readouterr().err
