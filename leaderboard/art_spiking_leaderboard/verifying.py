# SPDX-License-Identifier: MIT
"""What `leaderboard verify` does and prints; returns its exit code."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from art_spiking.errors import InvalidInput
from art_spiking_leaderboard.cells import Cell
from art_spiking_leaderboard.check import Submission, check_submission, find_submissions
from art_spiking_leaderboard.engine import CellSpec, Job, Workbench
from art_spiking_leaderboard.origins import Origin
from art_spiking_leaderboard.signing import SIGNERS, read_log
from art_spiking_leaderboard.verify import (
    BAD,
    AtHand,
    Derivable,
    Finding,
    Verdict,
    choose,
    find_cells,
    in_fresh_process,
    rederive,
    sort_out,
    suite_of,
)

DOUBTFUL, INVALID, INTERRUPTED = 1, 3, 75


@dataclass(frozen=True)
class VerifyOptions:
    """The options of `leaderboard verify`; a `sample` of None is every cell, a `seed` of None a fresh one."""

    records: Path
    submissions: Path
    suite: str | None = None
    sample: int | None = 3
    seed: int | None = None
    data_dir: Path | None = None
    as_json: bool = False


def verify_all(
    options: VerifyOptions,
    workbench: Workbench | None = None,
    derive: Callable[[CellSpec], Cell] = in_fresh_process,
) -> int:
    """Checks every cell's file and digests, derives a sample anew, and prints what was found.

    Raises:
        InvalidInput: no cell there, or none that can be derived anew.
        ArtSpikingError: a suite or the data of a cell are not at hand.
    """
    workbench = Workbench() if workbench is None else workbench
    store, places = find_cells(options.records)
    folders = {folder.name: folder for folder in find_submissions(options.submissions)}
    checked = {
        model: check_submission(folders[model], workbench.names) for model, _ in places if model in folders
    }
    refused = _refused(checked)
    logs_hold = _check_logs(store.root, sorted({model for model, _ in places}))
    derivable: list[Derivable] = []
    findings: list[Finding] = []
    for model, suite in places:
        if model not in refused:
            job = Job(suite_of(suite, options.suite), store.root, options.data_dir)
            at_hand = AtHand.of(checked.get(model), model, job, workbench)
            able, others = sort_out(store.cells(model, suite), at_hand)
            derivable += able
            findings += others
    if not derivable and not refused and all(finding.verdict == "other" for finding in findings):
        raise InvalidInput(
            "no cell there can be derived anew",
            found="; ".join(sorted({finding.text for finding in findings})),
            remedy="give the submissions, the suite and the data that the cells are of",
        )
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    chosen = choose(derivable, options.sample, seed)
    drawn = {entry.cell.identity.key for entry in chosen}
    findings += [
        Finding(entry.spec.model, entry.cell.record.suite.name, entry.spec.case, "whole")
        for entry in derivable
        if entry.cell.identity.key not in drawn
    ]
    here = Origin.here()
    try:
        for number, entry in enumerate(chosen, start=1):
            click.echo(f"{number} of {len(chosen)}: {entry.spec.model} {entry.spec.case}", err=True)
            findings.append(rederive(entry, derive, here))
    except KeyboardInterrupt:
        click.echo("\ninterrupted; nothing was changed", err=True)
        return INTERRUPTED
    _print(findings, seed, as_json=options.as_json)
    if refused:
        return INVALID
    return DOUBTFUL if not logs_hold or any(finding.verdict in BAD for finding in findings) else 0


def _check_logs(records: Path, models: Sequence[str]) -> bool:
    """Prints what the models' logs say, on stderr; whether they hold. A model without a log is let be."""
    holds = True
    for model in models:
        state = read_log(records / model, records / SIGNERS)
        for problem in state.problems:
            click.echo(f"{model}: LOG: {problem}", err=True)
        holds = holds and not state.problems
        if state.entries and not state.problems:
            last = state.entries[-1]
            more = f"; {len(state.unsigned)} cells are newer" if state.unsigned else ""
            click.echo(f"{model}: signed by {last.signer} on {last.date[:10]}: {last.note}{more}", err=True)
    return holds


def _refused(checked: dict[str, Submission]) -> set[str]:
    """Prints the problems of submissions; the names of those that have any."""
    for name, entry in checked.items():
        for problem in entry.problems:
            click.echo(f"{name}: {problem}", err=True)
    return {name for name, entry in checked.items() if entry.problems}


def _print(findings: Sequence[Finding], seed: int, *, as_json: bool) -> None:
    counts = Counter(finding.verdict for finding in findings)
    if as_json:
        click.echo(json.dumps({"seed": seed, "cells": [asdict(finding) for finding in findings]}))
        return
    words = {"same": "the same to the last bit", "other": "not verified", "failed": "FAILED"}
    for finding in findings:
        if finding.verdict != "whole":
            verdict = words.get(finding.verdict, finding.verdict.upper())
            place = " ".join(part for part in (finding.model, finding.suite, finding.case) if part)
            click.echo(f"{place}: {verdict}{f': {finding.text}' if finding.text else ''}")
    meanings: dict[Verdict, str] = {
        "same": "derived anew and the same",
        "differs": "derived anew and not the same",
        "failed": "that could not be derived",
        "broken": "broken",
        "other": "of something else than what is at hand",
        "whole": "whole and not chosen",
    }
    told = [f"{counts[verdict]} {words}" for verdict, words in meanings.items() if counts[verdict]]
    every = f"{len(findings)} cell{'' if len(findings) == 1 else 's'}"
    click.echo(f"{every}: {', '.join(told)}; --seed {seed} chooses the same cells")
