# SPDX-License-Identifier: MIT
"""The leaderboard in Python: any submitted model as an estimator, any table as a data frame."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier
from art_spiking.graphs import ModelProblems
from art_spiking.registry import unknown_name
from art_spiking.suites import load_suite
from art_spiking_leaderboard.cells import CellStore
from art_spiking_leaderboard.check import Names, build_classifier, check_submission, find_submissions
from art_spiking_leaderboard.current import standings, tables
from art_spiking_leaderboard.site.exports import results_csv
from art_spiking_leaderboard.site.views import Board

if TYPE_CHECKING:
    import pandas

_SUBMISSIONS = Path("leaderboard/submissions")
_RECORDS = Path("leaderboard/records")

Folder = str | os.PathLike[str]


def load_model(name: str, *, submissions: Folder = _SUBMISSIONS) -> SpikingClassifier:
    """A submitted model as it is scored: an ART estimator with its readout, behind its own defences.

    Args:
        name: Of the submission.
        submissions: The folder of submissions.

    Raises:
        UnknownName: There is no submission of that name.
        ModelProblems: The submission does not pass the check.
    """
    found = {folder.name: folder for folder in find_submissions(Path(submissions))}
    if name not in found:
        raise unknown_name("submissions", name, list(found))
    names = Names.installed()
    submission = check_submission(found[name], names)
    if submission.problems:
        raise ModelProblems(submission.problems, remedy=f"`art-spiking leaderboard check {found[name]}`")
    return build_classifier(submission, names)


def results(
    suite: str, *, records: Folder = _RECORDS, submissions: Folder = _SUBMISSIONS
) -> pandas.DataFrame:
    """One row per model and case of a suite, ranked models first; the columns are those of results.csv.

    Args:
        suite: Its name, or a .toml file.
        records: The folder of cells.
        submissions: The folder of submissions.

    Raises:
        InvalidInput: pandas is not installed, or no such folder.
        UnknownName: There is no such suite.
    """
    try:
        import pandas
    except ImportError as error:
        raise InvalidInput(
            "a data frame needs pandas", remedy="pip install 'art-spiking-leaderboard[frames]'"
        ) from error
    wanted, names = load_suite(suite), Names.installed()
    checked = [check_submission(folder, names) for folder in find_submissions(Path(submissions))]
    standing = standings(checked, names)
    found = tables(standing, CellStore(Path(records)), wanted, _warn)
    boards = [Board(table.suite, table.data, table.rows) for table in found]
    manifests = {entry.name: entry.manifest for entry in checked if entry.manifest is not None}
    # Through the published form, so that a frame and the page's download can never disagree.
    return pandas.read_csv(io.StringIO(results_csv(boards, manifests)))


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=3)
