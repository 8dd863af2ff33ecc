# SPDX-License-Identifier: MIT
"""The commands: `art-spiking leaderboard new | check | run | index | query | verify | claim | sign | ...`."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import click

_FOLDER = click.Path(path_type=Path, file_okay=False)
_SUBMISSIONS = Path("leaderboard/submissions")
_RECORDS = Path("leaderboard/records")


@click.group("leaderboard", context_settings={"max_content_width": 100})
def leaderboard() -> None:
    """Check submissions, evaluate them under a suite, and render the ranking as a site.

    PATH is one submission or a folder of them. A submission holds submission.toml, graph.json and
    weights.safetensors, and is data; one of the code division holds model.py, which runs in a sandbox only.
    """


@leaderboard.command("new")
@click.argument("name")
@click.option(
    "--from",
    "model",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    metavar="MODEL",
    help="A .nir file, or a folder that `art-spiking pack` wrote.",
)
@click.option("--semantics", metavar="TEXT", help="As for `art-spiking pack`; for a .nir file.")
@click.option("--dt-us", type=click.IntRange(1, 1_000_000), metavar="US", help="Likewise.")
@click.option("--steps", type=click.IntRange(1, 10_000), metavar="N", help="Likewise.")
@click.option("--readout", default="spike-count", show_default=True, help="What turns spikes into logits.")
@click.option(
    "--data", metavar="NAME", help="Its data set; the clean accuracy is measured on the test split."
)
@click.option("--binary/--counts", default=True, show_default=True, help="Entries of 0 and 1, or counts.")
@click.option("--data-dir", type=_FOLDER, help="Where recordings are, for data sets that need a folder.")
@click.option(
    "--into", type=_FOLDER, default=_SUBMISSIONS, show_default=True, help="The folder it goes into."
)
def new_command(name: str, *, model: Path, into: Path, readout: str, **options: Any) -> int:
    """Make the folder of a submission from MODEL, with a manifest that explains every key.

    What the model's files and the data tell is filled in; the rest is listed, and `check` names it until it
    is there.

    Example: art-spiking leaderboard new my-model --from cnn.nir --semantics sinabs --dt-us 10000 --steps 31
    """
    from art_spiking_leaderboard.newcomers import NewOptions, new_submission

    asked = {key: options.pop(key) for key in ("semantics", "dt_us", "steps")}
    return new_submission(NewOptions(name, model, into, asked, readout, **options))


@leaderboard.command("schema")
def schema_command() -> int:
    """Print the JSON Schema of submission.toml, for editors that complete and check TOML."""
    from art_spiking_leaderboard.manifest import manifest_schema

    click.echo(json.dumps(manifest_schema(), indent=2))
    return 0


@leaderboard.command("check")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Run each model too: its claimed accuracy, code's gradients.")
@click.option("--data-dir", type=_FOLDER, help="For --strict: where recordings are, if a folder is needed.")
@click.option("--json", "as_json", is_flag=True, help="Print the problems as JSON.")
def check_command(path: Path, strict: bool, data_dir: Path | None, as_json: bool) -> int:
    """List every problem of the submissions in PATH.

    Nothing is run, unless --strict asks for it: then each model classifies the whole test split of its data,
    and the gradients of code are compared with finite differences.

    Exit codes: 0 none; 3 there is one; 4 only code is left to run, and there is no sandbox for it.
    """
    from art_spiking_leaderboard.working import check_all

    return check_all(path, as_json=as_json, strict=strict, data_dir=data_dir)


@leaderboard.command("run")
@click.argument("path", type=click.Path(path_type=Path), default=_SUBMISSIONS)
@click.option("--suite", default="events-quick", show_default=True, help="A suite's name, or a .toml file.")
@click.option("--out", type=_FOLDER, default=_RECORDS, show_default=True, help="Where the cells are kept.")
@click.option("--only", multiple=True, metavar="NAME", help="This submission only; may be given again.")
@click.option("--figures", type=_FOLDER, help="Draw clean and adversarial events of every case here.")
@click.option("--data-dir", type=_FOLDER, help="Where recordings are, for data sets that need a folder.")
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    help="Processes that compute cells at the same time, each with its share of the cores; 1: this one.",
)
@click.option(
    "--engine",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="PROFILE",
    help="A TOML file that says where the workers are: this machine or a Slurm cluster, by Parsl.",
)
@click.option(
    "--cell-minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="A cell that takes longer is stopped, tried once more, and given up.",
)
@click.option(
    "--keep-events", is_flag=True, help="Keep the attacked samples beside the cells, for `transfer`."
)
@click.option("--index", metavar="URL", help="Keep this database's index of the cells up to date meanwhile.")
def run_command(path: Path, *, engine: Path | None, **options: Any) -> int:
    """Evaluate the submissions in PATH under a suite, and print the ranking.

    Each case of each model is a cell, written whole when it is finished. A run that was stopped goes on where
    it was when the same command is given again; a case that failed is tried again. A worker that dies costs
    its cell one retry, and no finished cell.

    Exit codes: 0 done; 1 a case failed, the others are kept; 3 an invalid submission, the others were
    evaluated; 4 code was submitted and there is no sandbox for it; 75 stopped, run the same command again to
    resume.
    """
    from art_spiking_leaderboard.profiles import read_profile
    from art_spiking_leaderboard.working import RunOptions, run_all

    if engine is not None and options["workers"] != 1:
        raise click.UsageError("--workers and --engine cannot be given together: the profile says how many.")
    profile = None if engine is None else read_profile(engine)
    command = ("art-spiking", *sys.argv[1:])
    return run_all(RunOptions(path, command=command, width=_width(), engine=profile, **options))


@leaderboard.command("index")
@click.argument("records", type=_FOLDER, default=_RECORDS)
@click.option("--url", help="The database: sqlite:///FILE, or postgresql+psycopg://USER@HOST/NAME.")
@click.option(
    "--submissions",
    type=_FOLDER,
    default=_SUBMISSIONS,
    show_default=True,
    help="Of these it knows what is missing.",
)
@click.option(
    "--suite", "suites", multiple=True, help="A suite they should have; by default all that have cells."
)
def index_command(records: Path, url: str | None, submissions: Path, suites: tuple[str, ...]) -> int:
    """Build the index of the cells in RECORDS anew, in index.sqlite there or in the database of --url.

    The index answers `art-spiking leaderboard query`. It may be deleted at any time.
    """
    from art_spiking_leaderboard.indexing import build_index

    return build_index(records, url, submissions, suites)


@leaderboard.command("query")
@click.argument("records", type=_FOLDER, default=_RECORDS)
@click.option("--url", help="The database, if it is not index.sqlite in RECORDS.")
@click.option("--state", metavar="STATE", help="missing, failed, refused, broken, flagged or ok.")
@click.option("--model", help="Of this model only.")
@click.option("--suite", help="Of this suite only.")
@click.option("--flag", metavar="CODE", help="With this flag only.")
@click.option("--slowest", type=click.IntRange(min=1), metavar="N", help="The N cells that took longest.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
def query_command(records: Path, *, url: str | None, as_json: bool, **question: Any) -> int:
    """Print the cells that need a hand, from the index.

    Examples: `query --state missing --suite events-v1`; `query --state failed`; `query --slowest 10`.
    """
    from art_spiking_leaderboard.index import default_url
    from art_spiking_leaderboard.indexing import Question, print_answer

    return print_answer(url or default_url(records), Question(**question), as_json=as_json, width=_width())


@leaderboard.command("verify")
@click.argument("records", type=click.Path(path_type=Path), default=_RECORDS)
@click.option(
    "--submissions", type=_FOLDER, default=_SUBMISSIONS, show_default=True, help="The folder of submissions."
)
@click.option("--suite", help="The .toml file of the cells' suite, if it is not an installed one.")
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="How many to derive anew.",
)
@click.option("--all", "everything", is_flag=True, help="Derive every cell anew.")
@click.option("--seed", type=click.IntRange(min=0), help="Chooses the cells; a fresh one if not given.")
@click.option("--data-dir", type=_FOLDER, help="Where recordings are, for data sets that need a folder.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def verify_command(records: Path, *, sample: int, everything: bool, **options: Any) -> int:
    """Derive a sample of the cells in RECORDS anew and compare them bit for bit.

    RECORDS is a folder of cells, or a model's folder in it. Every cell's file is checked against its hash,
    and its digests of model, suite and data against those at hand. The chosen cells are computed in fresh
    processes, and must give the same predictions, costs, flags and counts, sample by sample. A model's log,
    if it has one, is checked first: its signatures, and that no signed cell was changed or lost. Nothing is
    written into RECORDS.

    Exit codes: 0 the same; 1 a cell differs, is broken, or cannot be derived; 2 nothing to verify; 3 an
    invalid submission; 75 stopped.
    """
    from art_spiking_leaderboard.verifying import VerifyOptions, verify_all

    return verify_all(VerifyOptions(records, sample=None if everything else sample, **options))


@leaderboard.command("claim")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--records", type=_FOLDER, default=_RECORDS, show_default=True, help="Where the cells are.")
@click.option(
    "--submissions", type=_FOLDER, default=_SUBMISSIONS, show_default=True, help="The folder of submissions."
)
@click.option("--data-dir", type=_FOLDER, help="Where recordings are, for data sets that need a folder.")
def claim_command(folder: Path, *, records: Path, submissions: Path, data_dir: Path | None) -> int:
    """Lower a model's number by the events of a stronger attack.

    FOLDER holds claim.toml, what is claimed by whom, and events.safetensors, the attacked samples. They are
    checked against the threat model of the case and scored in the deployed readout; an accepted claim is kept
    beside the cells and counts in the worst case.
    """
    from art_spiking_leaderboard.engine import Workbench
    from art_spiking_leaderboard.working import claim_all

    return claim_all(folder, submissions, records, data_dir, Workbench)


@leaderboard.command("transfer")
@click.argument("records", type=_FOLDER, default=_RECORDS)
@click.option("--suite", default="events-quick", show_default=True, help="A suite's name, or a .toml file.")
@click.option(
    "--submissions", type=_FOLDER, default=_SUBMISSIONS, show_default=True, help="The folder of submissions."
)
@click.option("--only", multiple=True, metavar="NAME", help="This submission only; may be given again.")
def transfer_command(records: Path, *, suite: str, submissions: Path, only: tuple[str, ...]) -> int:
    """Score the attacked samples of each model on all the others.

    RECORDS is a folder that `run --keep-events` wrote. The ranked models of the data division that take the
    same samples are scored on what was made for each of them; the matrix goes into RECORDS, and from there
    onto the page. It takes one pass over the test samples for each case and pair of models.
    """
    from art_spiking_leaderboard.transferring import TransferOptions, transfer_all

    return transfer_all(TransferOptions(records, submissions, suite, only))


@leaderboard.command("sign")
@click.argument("records", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--key",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="Your SSH key, ~/.ssh/id_ed25519.",
)
@click.option("--as", "signer", required=True, metavar="NAME", help="Your name in RECORDS' allowed_signers.")
@click.option("--note", required=True, help="What changed, or why the model is withdrawn.")
@click.option("--withdraw", is_flag=True, help="The model loses its rank, and stays visible with the note.")
def sign_command(records: Path, *, key: Path, signer: str, note: str, withdraw: bool) -> int:
    """Sign the cells of a model, or withdraw it: append an entry to its log.

    RECORDS is a model's folder of cells. The entry, a line of log.jsonl in it, holds the hash of every cell
    and of the line before, and your signature. `verify` and `site` check it against the allowed_signers in
    the folder of records.
    """
    from art_spiking_leaderboard.signing import LOG, sign

    entry = sign(records.resolve(), key, signer=signer, note=note, withdrawn=withdraw)
    click.echo(
        f"{'Withdrew' if withdraw else 'Signed'} {entry.model}: {len(entry.cells)} cells, {records / LOG}"
    )
    return 0


@leaderboard.command("site")
@click.option("--records", type=_FOLDER, default=_RECORDS, show_default=True, help="Where the cells are.")
@click.option(
    "--submissions", type=_FOLDER, default=_SUBMISSIONS, show_default=True, help="The folder of submissions."
)
@click.option("--out", type=_FOLDER, required=True, help="The folder to write the site into.")
@click.option("--suite", "suites", multiple=True, help="Show this suite; by default all that have cells.")
@click.option("--figures", type=_FOLDER, help="The pictures that `run --figures` drew.")
def site_command(
    records: Path, submissions: Path, out: Path, suites: tuple[str, ...], figures: Path | None
) -> int:
    """Render the ranking as a static site: open index.html in OUT, or put the folder on any web server."""
    from art_spiking_leaderboard.working import SiteOptions, write_site

    return write_site(SiteOptions(records, submissions, out, suites, figures))


def _width() -> int:
    return min(110, max(80, shutil.get_terminal_size().columns))
