# SPDX-License-Identifier: MIT
"""The transfer matrix on the page: every number where it belongs, with and without JavaScript."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from art_spiking_leaderboard.ranking import Entrant, rank
from art_spiking_leaderboard.site import Board, Content, render_site
from art_spiking_leaderboard.site.transfers import MOST_SHOWN
from art_spiking_leaderboard.transfer import Scored, Source, Transfer
from leaderboard_samples import LABELS, SUITE, hash_of, make_manifest, make_record
from site_browser import Visit
from site_samples import rich_content

BOARD = "boards/rich-suite-digits-dvs.html"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    render_site(rich_content(), out)
    return out


@pytest.fixture
def visit(browser: Any, site: Path) -> Iterator[Visit]:
    visited = Visit(browser, viewport={"width": 1280, "height": 900})
    visited.page.goto(f"file://{site}/index.html")
    yield visited
    visited.leave(site)


@pytest.mark.browser
class TestInTheBrowser:
    def test_the_front_page_leads_to_it(self, visit, site):
        visit.page.get_by_role("link", name="Does what fools one model fool another?").click()
        assert visit.page.url == f"file://{site}/{BOARD}#transfer"
        assert visit.page.locator("#transfer-table").is_visible()

    def test_lines_are_whom_it_was_made_for_and_columns_whom_it_was_shown_to(self, visit, site):
        visit.page.goto(f"file://{site}/{BOARD}")
        rows = visit.page.locator("#transfer-table tbody tr")
        texts = [row.locator("td").all_inner_texts() for row in rows.all()]
        assert texts == [["92.0", "96.0"], ["30.0\n(made for it)", "41.0"]]
        heads = visit.page.locator("#transfer-table thead th").all_inner_texts()
        assert heads[0] == "Made for"
        assert heads[1].strip() == "Model alpha"
        assert visit.page.locator("#transfer-table td.own").count() == 1
        assert rows.nth(1).locator(".model a").get_attribute("href") == "../models/alpha.html"

    def test_it_sorts(self, visit, site):
        visit.page.goto(f"file://{site}/{BOARD}")
        table = visit.page.locator("#transfer-table")
        table.get_by_role("button", name="Model alpha").click()
        assert table.locator("tbody th").first.inner_text() == "nobody: no attack"
        table.get_by_role("button", name="Model alpha").click()
        assert table.locator("tbody th").first.inner_text() == "Model alpha"
        assert visit.page.url.endswith("#transfer-table.sort=1a")

    def test_a_case_alone_unfolds_by_keyboard(self, visit, site):
        visit.page.goto(f"file://{site}/{BOARD}")
        summary = visit.page.locator("summary", has_text="Under edits-5 alone")
        summary.focus()
        visit.page.keyboard.press("Enter")
        cells = visit.page.locator("details[open] tbody tr").nth(1).locator("td").all_inner_texts()
        assert cells == ["80.0\n(made for it)", "90.0"]

    def test_without_javascript_the_numbers_stand_there(self, browser, site):
        plain = Visit(browser, java_script_enabled=False)
        plain.page.goto(f"file://{site}/{BOARD}")
        rows = plain.page.locator("#transfer-table tbody tr").all_inner_texts()
        plain.context.close()
        assert len(rows) == 2


def test_who_is_left_out_is_named_with_the_reason(site):
    page = (site / BOARD).read_text()
    assert "Left out: " in page
    assert "(attacked only: &lt;script&gt;document.title=" in page


def test_the_download_has_the_whole_matrix(site):
    (board,) = json.loads((site / "results.json").read_text())["boards"]
    assert board["transfer"]["sources"][0]["worst"] == [30, 41]
    assert [model["name"] for model in board["transfer"]["models"]] == ["alpha", "beta"]


def test_of_many_models_the_best_are_shown_and_the_others_told(tmp_path):
    names = [f"m{k:02d}" for k in range(MOST_SHOWN + 3)]
    entrants = [
        Entrant(name, "d", 0.9, {case.name: make_record(case.name, control=None) for case in SUITE.cases})
        for name in names
    ]
    transfer = Transfer(
        suite=SUITE.name,
        suite_digest=SUITE.digest(),
        data="d",
        test=f"sha256:{hash_of('data')}",
        samples=len(LABELS),
        models=tuple(Scored(name=name, digest=f"sha256:{hash_of(name)}", clean=9) for name in names),
        sources=tuple(
            Source(name=name, events={}, right={}, worst=tuple((k + j) % 10 for j in range(len(names))))
            for k, name in enumerate(names)
        ),
    )
    manifests = {name: make_manifest(name) for name in names}
    digests = {name: f"sha256:{hash_of(name)}" for name in names}
    render_site(Content([Board(SUITE, "d", rank(entrants, SUITE), transfer)], manifests, digests), tmp_path)
    page = (tmp_path / "boards" / "tiny-suite-d.html").read_text()
    assert f"The first {MOST_SHOWN} models by rank; 3 more are in" in page
    table = page[page.index('id="transfer-table"') :]
    table = table[: table.index("</table>")]
    assert table.count("<tr") == 2 + MOST_SHOWN
    assert table.count("<td") == (1 + MOST_SHOWN) * MOST_SHOWN
