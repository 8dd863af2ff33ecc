# SPDX-License-Identifier: MIT
"""The commands: `art-spiking leaderboard check | run | verify | site`."""

from __future__ import annotations

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
    weights.safetensors; it is data, and nothing in it is run as code.
    """


@leaderboard.command("check")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the problems as JSON.")
def check_command(path: Path, as_json: bool) -> int:
    """List every problem of the submissions in PATH; exit code 3 if there is one."""
    from art_spiking_leaderboard.working import check_all

    return check_all(path, as_json=as_json)


@leaderboard.command("run")
@click.argument("path", type=click.Path(path_type=Path), default=_SUBMISSIONS)
@click.option("--suite", default="events-quick", show_default=True, help="A suite's name, or a .toml file.")
@click.option("--out", type=_FOLDER, default=_RECORDS, show_default=True, help="Where the cells are kept.")
@click.option("--only", multiple=True, metavar="NAME", help="This submission only; may be given again.")
@click.option("--figures", type=_FOLDER, help="Draw clean and adversarial events of every case here.")
@click.option("--data-dir", type=_FOLDER, help="Where recordings are, for data sets that need a folder.")
def run_command(path: Path, **options: Any) -> int:
    """Evaluate the submissions in PATH under a suite, and print the ranking.

    Each case of each model is a cell, written whole when it is finished. A run that was stopped goes on where
    it was when the same command is given again; a case that failed is tried again.

    Exit codes: 0 done; 1 a case failed, the others are kept; 3 an invalid submission, the others were
    evaluated; 75 stopped, run the same command again to resume.
    """
    from art_spiking_leaderboard.working import RunOptions, run_all

    command = ("art-spiking", *sys.argv[1:])
    return run_all(RunOptions(path, command=command, width=_width(), **options))


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
    processes, and must give the same predictions, costs, flags and counts, sample by sample. Nothing is
    written into RECORDS.

    Exit codes: 0 the same; 1 a cell differs, is broken, or cannot be derived; 2 nothing to verify; 3 an
    invalid submission; 75 stopped.
    """
    from art_spiking_leaderboard.verifying import VerifyOptions, verify_all

    return verify_all(VerifyOptions(records, sample=None if everything else sample, **options))


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
