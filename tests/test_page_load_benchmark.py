# SPDX-License-Identifier: MIT
"""The page for many models: all of them are there, found, and sorted; the benchmark tells how fast."""

from __future__ import annotations

from pathlib import Path

import pytest
from art_spiking_leaderboard.site import render_site
from site_browser import Visit

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def page_load(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import page_load as module

    return module


@pytest.mark.slow
@pytest.mark.browser
def test_500_models_are_all_there_and_one_is_found(page_load, browser, tmp_path):
    render_site(page_load.made_up(500, 1), tmp_path)
    visit = Visit(browser, viewport={"width": 1280, "height": 900})
    visit.page.goto(f"file://{tmp_path}/index.html")
    assert len(visit.names()) == 500
    assert "494 more are in the table" in visit.page.locator("figure.plot").nth(2).inner_text()
    visit.page.get_by_role("button", name="Area").click()
    areas = [float(text) for text in visit.page.locator("td[data-label=Area]").all_inner_texts()]
    assert areas == sorted(areas, reverse=True)
    visit.page.get_by_label("Filter models").fill("model-123")
    assert visit.names() == ["model-123"]
    assert visit.page.locator("output.found").inner_text() == "1 of 500 models"
    visit.page.goto(f"file://{tmp_path}/boards/suite-0-made-up.html")
    assert len(visit.names("#heat-table")) == 500
    visit.leave(tmp_path)


@pytest.mark.browser
def test_the_benchmark_measures_a_page(page_load, browser, tmp_path):
    page = render_site(page_load.made_up(3, 2), tmp_path)
    assert len(list(tmp_path.rglob("*.html"))) == 9
    first, whole = page_load.paint(browser, page, repeats=1)
    assert first > 0
    assert whole > 0
