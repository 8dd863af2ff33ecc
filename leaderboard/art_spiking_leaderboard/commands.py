# SPDX-License-Identifier: MIT
"""The commands: `art-spiking leaderboard check | run | site`."""

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
