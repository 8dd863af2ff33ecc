# SPDX-License-Identifier: MIT
"""The site in a real browser: offline, within its policy, usable by keyboard and without JavaScript."""

from __future__ import annotations

import csv
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import art_spiking_leaderboard
import pytest
from art_spiking_leaderboard.ranking import Entrant, rank
from art_spiking_leaderboard.site import Board, Content, render_site
from art_spiking_leaderboard.site.words import flag_words
from leaderboard_samples import SUITE, hash_of, make_manifest, make_record
from site_browser import Visit

import art_spiking
from art_spiking.graphs import ModelProblem
from art_spiking.records import Flag, Record

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\"'{{7*7}}"
FLAG = Flag(code="control-as-strong", text="the random control is as strong as the attack: 0.50")
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
LABELS = tuple(i % 10 for i in range(100))


def made_by(record: Record, letter: str) -> Record:
    """The record with a commit of that letter's code point."""
    provenance = record.provenance.model_copy(update={"commit": f"{ord(letter):x}" * 20})
    return record.model_copy(update={"provenance": provenance})


def content(figures: Path | None = None) -> Content:
    numbers = {"alpha": (70, 60, 92), "beta": (20, 30, 96), "gamma": (65, 66, 90)}
    entrants, manifests = [], {}
    for name, (first, second, clean) in numbers.items():
        records = {
            "edits-5": make_record("edits-5", right=first, clean=clean, control=clean - 2, labels=LABELS),
            "patch-5": make_record("patch-5", right=second, clean=clean, control=None, labels=LABELS),
        }
        if name == "gamma":
            records["edits-5"] = records["edits-5"].model_copy(update={"flags": (FLAG,)})
            records = {case: made_by(record, case[0]) for case, record in records.items()}
        entrants.append(Entrant(name, "digits-dvs", clean / 100, records))
        manifests[name] = make_manifest(name, defences=() if name == "beta" else make_manifest().defences)
    manifests["beta"] = manifests["beta"].model_copy(update={"title": HOSTILE, "authors": (HOSTILE,)})
    failed = {"edits-5": make_record("edits-5", status="error", labels=LABELS, clean=50)}
    entrants.append(Entrant("delta", "digits-dvs", 0.5, failed))
    manifests["delta"] = make_manifest("delta", paper="https://example.org/paper")
    return Content(
        boards=[Board(SUITE, "digits-dvs", rank(entrants, SUITE))],
        manifests=manifests,
        digests={name: f"sha256:{hash_of(name)}" for name in manifests},
        refused={HOSTILE: [ModelProblem("submission.toml", "name", "a name", HOSTILE)]},
        figures=figures,
        cells=7,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    figures = tmp_path_factory.mktemp("figures")
    picture = figures / "alpha" / SUITE.name / "edits-5.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(PIXEL)
    out = tmp_path_factory.mktemp("site")
    render_site(content(figures), out)
    return out


@pytest.fixture
def visit(browser: Any, site: Path) -> Iterator[Visit]:
    visited = Visit(browser, viewport={"width": 1280, "height": 900})
    visited.page.goto(f"file://{site}/index.html")
    yield visited
    visited.leave(site)


@pytest.mark.browser
class TestInTheBrowser:
    def test_the_ranking_is_there_in_order(self, visit):
        assert visit.names() == ["gamma", "alpha", "beta"]
        ranks = visit.page.locator("td.rank").all_inner_texts()
        assert ranks == ["1", "1", "3"]

    def test_every_column_sorts_both_ways_and_says_so(self, visit):
        heads = visit.page.locator("table.ranking thead th:has(button)")
        assert heads.count() == 8
        for index in range(heads.count()):
            head = heads.nth(index)
            seen = []
            for _ in range(2):
                head.locator("button").click()
                seen.append((head.get_attribute("aria-sort"), visit.names()))
                assert visit.page.locator("table.ranking th[aria-sort]").count() == 1
            assert {direction for direction, _ in seen} == {"ascending", "descending"}

    def test_the_mean_over_cases_tells_models_apart(self, visit):
        """Of alpha's cases 70 and 60 samples of 100 stay right."""
        row = visit.page.locator("tbody tr", has_text="Model alpha")
        assert row.locator("td").nth(2).inner_text() == "65.0"
        assert "mean over cases 65.0" in row.locator("svg.bar").get_attribute("aria-label")
        visit.page.get_by_role("link", name="Model alpha", exact=True).click()
        assert visit.page.locator(".tiles div", has_text="Mean over cases").inner_text().endswith("65.0")

    def test_clean_accuracy_sorts_from_the_top(self, visit):
        button = visit.page.get_by_role("button", name="Clean").first
        button.click()
        assert visit.names() == ["beta", "alpha", "gamma"]
        button.click()
        assert visit.names() == ["gamma", "alpha", "beta"]

    def test_sorting_works_by_keyboard(self, visit):
        visit.page.get_by_role("button", name="Model").focus()
        visit.page.keyboard.press("Enter")
        head = visit.page.locator("table.ranking th[aria-sort]")
        assert head.inner_text().strip() == "Model"
        first = visit.names()
        visit.page.keyboard.press("Space")
        assert visit.names() == first[::-1]

    def test_the_filter_narrows_the_table_and_counts(self, visit):
        visit.page.get_by_label("Filter models").fill("background alpha")
        assert visit.names() == ["alpha"]
        assert visit.page.locator("output").inner_text() == "1 of 3 models"
        visit.page.get_by_label("Filter models").fill("nobody")
        assert visit.names() == []
        visit.page.get_by_label("Filter models").fill("")
        assert len(visit.names()) == 3

    def test_flagged_models_can_be_left_out(self, visit):
        visit.page.get_by_label("only without flags").check()
        assert visit.names() == ["alpha", "beta"]

    def test_a_hostile_name_is_shown_as_text(self, visit):
        assert HOSTILE in visit.page.locator("table.ranking").inner_text()
        assert visit.page.title() == "art-spiking leaderboard"
        assert visit.page.locator("img").count() == 0
        assert "49" not in visit.page.locator("table.ranking .model").all_inner_texts()[2]

    def test_the_models_page_tells_case_by_case(self, visit):
        visit.page.get_by_role("link", name="Model gamma", exact=True).click()
        text = visit.page.locator("main").inner_text()
        for words in (
            "Up to 5 events inserted or deleted",
            "Any events inside one square that covers 5% of the sensor",
            "Control as strong",
            "the random control is as strong as the attack: 0.50",
            "--only gamma --suite tiny-suite",
            "torch 2.13.0",
            f"sha256:{hash_of('gamma')}",
            "65.0 55\u201374",
        ):
            assert words in " ".join(text.split()), words
        visit.page.get_by_role("link", name="Ranking").first.click()
        assert visit.page.url.split("#")[0].endswith("/index.html")

    def test_cases_sort_on_the_models_page(self, visit, site):
        visit.page.goto(f"file://{site}/models/alpha.html")
        cases = visit.page.locator("table.cases tbody th .casekind")
        before = cases.all_inner_texts()
        visit.page.get_by_role("button", name="Accuracy").click()
        visit.page.get_by_role("button", name="Accuracy").click()
        assert cases.all_inner_texts() == before[::-1]

    def test_figures_are_shown(self, visit, site):
        visit.page.goto(f"file://{site}/models/alpha.html")
        picture = visit.page.locator("figure img")
        picture.scroll_into_view_if_needed()
        visit.page.wait_for_function("document.images[0].complete")
        assert picture.evaluate("image => image.naturalWidth") == 1

    def test_a_model_without_rank_says_why(self, visit):
        assert "edits-5 failed: ValueError: it broke" in visit.page.locator("main").inner_text()
        visit.page.get_by_role("link", name="Model delta").click()
        assert "Not ranked" in visit.page.locator("main").inner_text()
        assert (
            visit.page.get_by_role("link", name="paper").get_attribute("href") == "https://example.org/paper"
        )

    def test_downloads_are_linked(self, visit, site):
        for name in ("results.json", "results.csv"):
            assert visit.page.locator(f"a[href='{name}'][download]").count() == 1
            assert (site / name).is_file()

    @pytest.mark.parametrize("page", ["index.html", "models/beta.html", "models/delta.html"])
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_a_phone_needs_no_sideways_scrolling(self, browser, site, page, scheme):
        phone = Visit(browser, viewport={"width": 390, "height": 844}, color_scheme=scheme)
        phone.page.goto(f"file://{site}/{page}")
        wide = phone.page.evaluate("document.documentElement.scrollWidth")
        background = phone.page.evaluate("getComputedStyle(document.body).backgroundColor")
        phone.context.close()
        assert wide == 390
        assert (background == "rgb(17, 23, 28)") == (scheme == "dark")
        assert phone.complaints == []

    def test_without_javascript_it_is_a_whole_table(self, browser, site):
        plain = Visit(browser, java_script_enabled=False)
        plain.page.goto(f"file://{site}/index.html")
        rows = plain.page.locator("table.ranking tbody tr")
        texts = rows.all_inner_texts()
        forms = plain.page.locator("form:visible").count()
        buttons = plain.page.locator("button").count()
        plain.context.close()
        assert len(texts) == 3
        assert "Model alpha" in texts[1]
        assert (forms, buttons) == (0, 0)

    def test_the_policy_stops_what_it_should(self, browser, site, tmp_path):
        """The policy is what keeps a slip in escaping harmless: an injected script does not run."""
        page = (site / "index.html").read_text()
        hurt = page.replace("</main>", "<script>document.title='owned'</script></main>")
        (tmp_path / "index.html").write_text(hurt)
        attacked = Visit(browser)
        attacked.page.goto(f"file://{tmp_path}/index.html")
        title = attacked.page.title()
        attacked.context.close()
        assert title == "art-spiking leaderboard"
        assert any("Content Security Policy" in text for text in attacked.complaints)


def test_pages_name_nothing_outside_but_the_papers(site):
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert "default-src 'none'" in html.unescape(text)
        assert text.count("https://") == text.count("https://example.org/paper"), page
        assert "http://" not in text
        assert " style=" not in text
        assert " onclick=" not in text


def test_the_json_holds_what_the_page_shows(site):
    found = json.loads((site / "results.json").read_text())
    (board,) = found["boards"]
    by_name = {model["manifest"]["name"]: model for model in board["models"]}
    assert by_name["alpha"]["worst_case"]["count"] == 60
    assert by_name["alpha"]["cases"][0]["median_events_added"] == 3.0
    assert by_name["delta"]["rank"] is None
    assert by_name["delta"]["cases"][0]["error"] == "ValueError: it broke"
    assert board["suite_digest"] == SUITE.digest()


def test_every_commit_behind_a_models_numbers_is_named(site):
    """Of gamma's two cases one was computed by commit 6565..., one by 7070...; alpha's state none."""
    page = (site / "models" / "gamma.html").read_text()
    assert f"<dt>Code commits</dt><dd>{'65' * 20} (1 case); {'70' * 20} (1 case)</dd>" in page
    alpha = (site / "models" / "alpha.html").read_text()
    assert "<dt>Code commit</dt><dd>an installed art-spiking</dd>" in alpha
    models = json.loads((site / "results.json").read_text())["boards"][0]["models"]
    (gamma,) = [model for model in models if model["manifest"]["name"] == "gamma"]
    assert gamma["commits"] == {"65" * 20: 1, "70" * 20: 1}


def test_every_flag_that_can_be_raised_is_explained():
    raised = {
        code
        for package in (art_spiking, art_spiking_leaderboard)
        for path in Path(package.__file__).parent.rglob("*.py")
        for code in re.findall(r'(?:Flag\(code=|Finding\("[a-z-]+", text, )"([a-z-]+)"', path.read_text())
    }
    assert {"zero-gradient", "saturated-loss", "gradient-misleads"} < raised
    assert len(raised) > 14
    assert [code for code in sorted(raised) if flag_words(code, "unexplained") == "unexplained"] == []


def test_the_csv_has_a_line_per_model_and_case_and_no_formula(tmp_path):
    shown = content()
    evil = shown.manifests["beta"].model_copy(update={"title": '=HYPERLINK("http://x")'})
    render_site(Content(shown.boards, {**shown.manifests, "beta": evil}, shown.digests, cells=1), tmp_path)
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert len(rows) == 8
    titles = {row["model"]: row["title"] for row in rows}
    assert titles["beta"] == '\'=HYPERLINK("http://x")'
    alpha = next(row for row in rows if row["model"] == "alpha" and row["case"] == "patch-5")
    assert float(alpha["accuracy"]) == 0.6
    assert alpha["control"] == ""


def test_rendering_twice_gives_the_same_bytes(site, tmp_path):
    render_site(content(), tmp_path)
    assert (tmp_path / "index.html").read_bytes() == (site / "index.html").read_bytes()


def test_an_empty_board_says_so(tmp_path):
    page = render_site(Content([], {}, {}), tmp_path)
    assert "No model has been evaluated yet" in page.read_text()
