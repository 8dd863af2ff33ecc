# SPDX-License-Identifier: MIT
"""Renders the site: a page for all models, a page for each, and the numbers as JSON and CSV."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from art_spiking.files import write_atomically
from art_spiking.graphs import ModelProblem
from art_spiking_leaderboard.manifest import Manifest
from art_spiking_leaderboard.ranking import RANK_RULE, Row
from art_spiking_leaderboard.site.exports import results, results_csv
from art_spiking_leaderboard.site.views import (
    Board,
    CaseView,
    Figure,
    RowView,
    case_view,
    model_facts,
    model_section,
    row_view,
)

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Content:
    """Everything a site shows.

    Attributes:
        boards: one per suite and data set.
        manifests: of every submission that is in a board, by name.
        digests: of the models, by name.
        refused: submissions with problems, by the name of their folder.
        figures: a folder with `<model>/<suite>/<case>.png`, or None.
        cells: how many cells the numbers come from.
    """

    boards: Sequence[Board]
    manifests: Mapping[str, Manifest]
    digests: Mapping[str, str]
    refused: Mapping[str, Sequence[ModelProblem]] = field(default_factory=dict)
    figures: Path | None = None
    cells: int = 0


def render_site(content: Content, out: Path) -> Path:
    """Writes the site into a folder and returns the path of its front page.

    Raises:
        CannotWrite: full disk, or no permission.
    """
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = ((_HERE / name).read_text("utf-8") for name in ("style.css", "table.js"))
    shared = {
        "policy": _policy(style, script),
        # Our own files, not a stranger's text: these two alone are not escaped.
        "style": Markup(style),
        "script": Markup(script),
        "version": version("art-spiking-leaderboard"),
        "cell_count": content.cells,
    }
    figures = _figures(content, out)
    for name, manifest in content.manifests.items():
        sections = [
            model_section(board, row, figures.get((name, board.suite.name), ()))
            for board in content.boards
            for row in board.rows
            if row.name == name
        ]
        page = environment.get_template("model.html").render(
            shared,
            root="../",
            manifest=manifest,
            sections=sections,
            facts=model_facts(manifest, content.digests[name]),
        )
        write_atomically(out / "models" / f"{name}.html", page.encode())
    index = environment.get_template("index.html").render(shared, root="", **_front(content))
    write_atomically(out / "index.html", index.encode())
    numbers = json.dumps(results(content.boards, content.manifests), indent=1, allow_nan=False)
    write_atomically(out / "results.json", numbers.encode())
    write_atomically(out / "results.csv", results_csv(content.boards, content.manifests).encode())
    return out / "index.html"


@dataclass(frozen=True)
class _Table:
    board: Board
    ranked: Sequence[RowView]
    incomplete: Sequence[RowView]
    samples: int | None

    @property
    def cases(self) -> Sequence[CaseView]:
        """The columns on the right of the table."""
        return [case_view(case, None) for case in self.board.suite.cases]


def _front(content: Content) -> dict[str, object]:
    tables = []
    for board in content.boards:
        ranked = [_row_view(content, board, row) for row in board.rows if row.rank is not None]
        incomplete = [_row_view(content, board, row) for row in board.rows if row.rank is None]
        totals = {row.robust.total for row in board.rows if row.robust is not None}
        tables.append(_Table(board, ranked, incomplete, totals.pop() if totals else None))
    cases = {case.words: case for table in tables for case in table.cases}
    flags: dict[str, str] = {}
    for table in tables:
        for row in (*table.ranked, *table.incomplete):
            for flag in row.flags:
                flags.setdefault(flag.title, flag.meaning)
    return {
        "boards": tables,
        "all_cases": list(cases.values()),
        "flag_words": sorted(flags.items()),
        "rank_rule": RANK_RULE,
        "refused": [
            {"name": name, "problems": [str(problem) for problem in problems]}
            for name, problems in sorted(content.refused.items())
        ],
    }


def _row_view(content: Content, board: Board, row: Row) -> RowView:
    return row_view(row, board.suite, content.manifests[row.name], f"models/{row.name}.html")


def _figures(content: Content, out: Path) -> dict[tuple[str, str], list[Figure]]:
    """Copies the pictures of every case in a board; (model, suite) -> the pictures' places in the site."""
    found: dict[tuple[str, str], list[Figure]] = {}
    if content.figures is None:
        return found
    for board in content.boards:
        for row in board.rows:
            for case in board.suite.cases:
                view = case_view(case, None)
                name = f"figures/{row.name}/{board.suite.name}/{case.name}.png"
                source = content.figures / row.name / board.suite.name / f"{case.name}.png"
                if not source.is_file():
                    continue
                write_atomically(out / name, source.read_bytes())
                title = f"{view.kind} {view.short}"
                alt = f"Events of one sample, clean and attacked ({title}), by polarity and over time"
                found.setdefault((row.name, board.suite.name), []).append(Figure(name, alt, title))
    return found


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
