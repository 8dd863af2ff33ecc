# SPDX-License-Identifier: MIT
"""axe-core finds nothing that keeps people out, on any kind of page, light and dark, wide and narrow."""

from __future__ import annotations

from pathlib import Path

import pytest
from art_spiking_leaderboard.site import Content, render_site
from site_browser import Visit, axe_source
from site_samples import rich_content, write_figures

from art_spiking.graphs import ModelProblem

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of page, an empty board's among them."""
    figures = tmp_path_factory.mktemp("figures")
    write_figures(figures)
    out = tmp_path_factory.mktemp("site")
    render_site(rich_content(figures), out)
    problems = {"broken": [ModelProblem("submission.toml", "name", "a name", "none")]}
    render_site(Content([], {}, {}, refused=problems), out / "empty")
    return out


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_axe_finds_nothing(browser, site, width, scheme):
    source, broken = axe_source(), []
    visited = Visit(browser, viewport={"width": width, "height": 900}, color_scheme=scheme)
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        visited.page.goto(f"file://{page}")
        visited.page.evaluate(source)
        found = visited.page.evaluate("axe.run()")
        assert len(found["passes"]) > 15, page
        broken += [(page.name, rule["id"], rule["nodes"][0]["html"]) for rule in found["violations"]]
    visited.leave(site)
    assert broken == []


def test_axe_would_find_something(browser, site, tmp_path):
    """The check itself: a picture without a name, and text that nobody can read."""
    page = (site / "threats.html").read_text().replace("</main>", "<img src='x.png'></main>")
    (tmp_path / "index.html").write_text(page)
    visited = Visit(browser)
    visited.page.goto(f"file://{tmp_path}/index.html")
    visited.page.evaluate(axe_source())
    found = {rule["id"] for rule in visited.page.evaluate("axe.run()")["violations"]}
    visited.context.close()
    assert "image-alt" in found
