# SPDX-License-Identifier: MIT
"""Renders the site: pages for rankings, models, attacks and recordings, and the numbers as JSON and CSV."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from art_spiking.graphs import ModelProblem
from art_spiking.registry import catalogue
from art_spiking_leaderboard.manifest import Manifest
from art_spiking_leaderboard.ranking import RANK_RULE
from art_spiking_leaderboard.site.attacks import attack_views, threat_kinds
from art_spiking_leaderboard.site.curves import curve_of, edit_families, families
from art_spiking_leaderboard.site.exports import results, results_csv
from art_spiking_leaderboard.site.folder import SiteFolder
from art_spiking_leaderboard.site.loads import front_of, load_plot
from art_spiking_leaderboard.site.players import Figure, Play, figures_of
from art_spiking_leaderboard.site.plots import board_plots, curve_plots, pareto_plot
from art_spiking_leaderboard.site.transfers import transfer_view
from art_spiking_leaderboard.site.views import (
    Board,
    CaseView,
    RowView,
    case_view,
    model_facts,
    model_section,
    row_view,
)
from art_spiking_leaderboard.site.words import amount

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Content:
    """Everything a site shows.

    Attributes:
        boards: one per suite and data set.
        manifests: of every submission that is in a board, by name.
        digests: of the models, by name.
        refused: submissions with problems, by the name of their folder.
        figures: a folder with `<model>/<suite>/<case>.png` and `.events.json`, or None.
        cells: how many cells the numbers come from.
    """

    boards: Sequence[Board]
    manifests: Mapping[str, Manifest]
    digests: Mapping[str, str]
    refused: Mapping[str, Sequence[ModelProblem]] = field(default_factory=dict)
    figures: Path | None = None
    cells: int = 0


@dataclass(frozen=True)
class _Table:
    board: Board
    rows: Sequence[RowView]

    @property
    def ranked(self) -> Sequence[RowView]:
        return [row for row in self.rows if row.row.rank is not None]

    @property
    def incomplete(self) -> Sequence[RowView]:
        return [row for row in self.rows if row.row.rank is None]

    @property
    def samples(self) -> int | None:
        return next((row.row.robust.total for row in self.rows if row.row.robust is not None), None)

    @property
    def cases(self) -> Sequence[CaseView]:
        """The columns of the heat map."""
        return [case_view(case, None) for case in self.board.suite.cases]


class _Pages:
    """Writes pages that share a frame, a policy and a footer."""

    def __init__(self, folder: SiteFolder, cells: int) -> None:
        self.folder = folder
        self._environment = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["amount"] = amount
        self._shared = {"version": version("art-spiking-leaderboard"), "cell_count": cells}

    def write(
        self,
        path: str,
        template: str,
        values: Mapping[str, object],
        *,
        style: tuple[str, ...] = ("style.css", "plots.css"),
        script: str = "table.js",
    ) -> Path:
        styles = "".join((_HERE / name).read_text("utf-8") for name in style)
        code = (_HERE / script).read_text("utf-8")
        page = self._environment.get_template(template).render(
            self._shared | dict(values),
            root="../" * path.count("/"),
            policy=_policy(styles, code),
            # Our own files, not a stranger's text: these two alone are not escaped.
            style=Markup(styles),
            script=Markup(code),
        )
        return self.folder.write(path, page.encode())


def render_site(content: Content, out: Path, *, warn: Callable[[str], object] = lambda message: None) -> Path:
    """Writes the site into a folder and returns the path of its front page.

    What an earlier rendering wrote there and this one does not is removed; other files are left alone.

    Args:
        content: what it shows.
        out: the folder.
        warn: told of recordings that cannot be read, and of old pages that were left.

    Raises:
        CannotWrite: full disk, or no permission.
    """
    folder = SiteFolder(out)
    pages = _Pages(folder, content.cells)
    tables = [_table(content, board) for board in content.boards]
    _models(content, pages, warn)
    for table in tables:
        _board(table, pages)
    known = catalogue("attacks")
    summaries = {name: known[name].summary for name in known}
    for attack in attack_views([(table.board, table.rows) for table in tables], summaries):
        pages.write(f"attacks/{attack.name}.html", "attack.html", {"attack": attack})
    used: dict[str, list[tuple[str, CaseView]]] = {}
    for table in tables:
        for case in table.board.suite.cases:
            for kind in threat_kinds(case.threat):
                used.setdefault(kind, []).append((case.attack, case_view(case, None)))
    pages.write("threats.html", "threats.html", {"used": used})
    numbers = json.dumps(results(content.boards, content.manifests), indent=1, allow_nan=False)
    folder.write("results.json", numbers.encode())
    folder.write("results.csv", results_csv(content.boards, content.manifests).encode())
    page = pages.write("index.html", "index.html", _front(content, tables))
    folder.finish(warn)
    return page


def _models(content: Content, pages: _Pages, warn: Callable[[str], object]) -> None:
    for name, manifest in content.manifests.items():
        sections = [
            model_section(board, row, manifest, f"models/{row.name}.html")
            for board in content.boards
            for row in board.rows
            if row.name == name
        ]
        figures = {
            section.board.suite.name: _figures(content, section.board, manifest, pages, warn)
            for section in sections
        }
        pages.write(
            f"models/{name}.html",
            "model.html",
            {
                "manifest": manifest,
                "sections": sections,
                "figures": figures,
                "curves": {
                    section.board.anchor: curve_plots([section.row_view], families(section.board.suite))
                    for section in sections
                },
                "facts": model_facts(manifest, content.digests[name]),
            },
        )


def _figures(
    content: Content, board: Board, manifest: Manifest, pages: _Pages, warn: Callable[[str], object]
) -> list[Figure]:
    """Copies a model's pictures into the site and writes its players' pages."""
    if content.figures is None:
        return []
    found = list(figures_of(content.figures, manifest.name, board.suite, warn))
    for figure in found:
        if figure.picture:
            pages.folder.write(figure.picture, figure.source.read_bytes())
        if figure.recording is not None:
            play = Play(manifest.name, manifest.title, board.suite.name, figure, figure.recording)
            style = ("style.css", "player.css")
            pages.write(figure.player, "player.html", {"play": play}, style=style, script="player.js")
    return found


def _board(table: _Table, pages: _Pages) -> None:
    curves = [
        (family, [(row, curve_of(row.row, family)) for row in table.rows])
        for family in families(table.board.suite)
    ]
    counted = [row for row in table.ranked if row.row.load is not None]
    front = front_of(counted)
    values = {"curves": curves, "front": front, "transfer": transfer_view(table.board, table.ranked)}
    pages.write(f"boards/{table.board.anchor}.html", "board.html", {"table": table, **values})


def _table(content: Content, board: Board) -> _Table:
    rows = [
        row_view(row, board.suite, content.manifests[row.name], f"models/{row.name}.html")
        for row in board.rows
    ]
    return _Table(board, rows)


def _front(content: Content, tables: Sequence[_Table]) -> dict[str, object]:
    flags: dict[str, str] = {}
    for table in tables:
        for row in table.rows:
            for flag in row.flags:
                flags.setdefault(flag.title, flag.meaning)
    return {
        "boards": [
            {
                "table": table,
                "families": edit_families(table.board.suite),
                "curves": board_plots(table.ranked),
                "pareto": pareto_plot(table.ranked),
                "loads": load_plot(table.ranked),
            }
            for table in tables
        ],
        "attacks": sorted({case.attack for table in tables for case in table.board.suite.cases}),
        "flag_words": sorted(flags.items()),
        "rank_rule": RANK_RULE,
        "refused": [
            {"name": name, "problems": [str(problem) for problem in problems]}
            for name, problems in sorted(content.refused.items())
        ],
    }


def _policy(style: str, script: str) -> str:
    """Only these two inline texts and our own pictures; nothing is fetched, sent or framed.

    Hashes, not 'self': a page opened as a file has no origin that 'self' could stand for in every browser.
    """
    return (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "img-src 'self' file:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
