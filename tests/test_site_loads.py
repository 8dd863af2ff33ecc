# SPDX-License-Identifier: MIT
"""Activity, synaptic operations and size: who is on the front, where the marks stand, what the tables say."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from art_spiking_leaderboard.ranking import Entrant, Load, rank
from art_spiking_leaderboard.site import Board, Content, render_site
from art_spiking_leaderboard.site.loads import MOST_JOINED, front_of, load_plot
from art_spiking_leaderboard.site.plots import HEIGHT, MOST_CURVES, WIDTH
from art_spiking_leaderboard.site.views import RowView, row_view
from art_spiking_leaderboard.site.words import amount
from hypothesis import given
from hypothesis import strategies as st
from leaderboard_samples import SUITE, hash_of, make_manifest, make_record
from site_browser import Visit
from site_samples import rich_content

LABELS = tuple(i % 10 for i in range(100))
BOARD = "boards/tiny-suite-digits-dvs.html"

# name: (clean, right under the two cases, operations without and under them)
MODELS = {
    "small": (90, (50, 40), (200_000, 210_000)),
    "large": (99, (70, 60), (2_000_000, 2_600_000)),
    "beaten": (90, (45, 40), (900_000, 950_000)),
}


def entrant(name: str, clean: int, right: tuple[int, int], operations: tuple[int, int] | None) -> Entrant:
    records = {
        case.name: make_record(
            case.name,
            right=count,
            clean=clean,
            control=None,
            labels=LABELS,
            operations=None if operations is None else (operations[0], operations[1] + 1000 * place),
        )
        for place, (case, count) in enumerate(zip(SUITE.cases, right, strict=True))
    }
    return Entrant(name, "digits-dvs", clean / 100, records)


def content() -> Content:
    entrants = [entrant(name, *numbers) for name, numbers in MODELS.items()]
    entrants.append(entrant("secret", 95, (55, 50), None))
    manifests = {each.name: make_manifest(each.name) for each in entrants}
    manifests["secret"] = manifests["secret"].model_copy(update={"division": "code"})
    digests = {name: f"sha256:{hash_of(name)}" for name in manifests}
    return Content([Board(SUITE, "digits-dvs", rank(entrants, SUITE))], manifests, digests, cells=8)


def views(*numbers: tuple[int, int, int]) -> list[RowView]:
    """Rows of (clean, worst case, thousands of operations), best first."""
    rows = rank(
        [
            entrant(f"m{k:02d}", clean, (min(worst, clean),) * 2, (1000 * each, 1100 * each))
            for k, (clean, worst, each) in enumerate(numbers)
        ],
        SUITE,
    )
    return [row_view(row, SUITE, make_manifest(row.name), f"models/{row.name}.html") for row in rows]


def test_the_load_under_attack_is_per_sample_the_most_over_all_cases():
    each = entrant("one", 90, (50, 40), (1000, 2000))
    first = each.records["edits-5"]
    uneven = first.activity.model_copy(update={"operations": (9000, *first.activity.operations[1:])})
    records = {**each.records, "edits-5": first.model_copy(update={"activity": uneven})}
    (row,) = rank([replace(each, records=records)], SUITE)
    assert row.load == Load(100, 1000)
    # Ninety-nine samples take 3000 at most, in the second case, and one 9000, in the first.
    assert row.worst_load.operations == pytest.approx((99 * 3000 + 9000) / 100)
    assert row.footprint.parameters == 18_182


def test_a_case_that_nobody_counted_leaves_the_load_under_attack_open():
    each = entrant("one", 90, (50, 40), (1000, 2000))
    older = each.records["patch-5"].model_copy(update={"activity": None, "clean_activity": None})
    (row,) = rank([replace(each, records={**each.records, "patch-5": older})], SUITE)
    assert (row.load, row.worst_load) == (Load(100, 1000), None)
    assert row.rank == 1


@given(st.lists(st.tuples(*[st.integers(1, 4)] * 3), min_size=1, max_size=8))
def test_nobody_on_the_front_is_beaten_and_everybody_else_is(numbers):
    rows = views(*((20 * a, 10 * b, c) for a, b, c in numbers))
    front = front_of(rows)
    assert front
    points = {r.row.name: (r.row.clean.count, r.row.robust.count, -r.row.load.operations) for r in rows}
    for name, own in points.items():
        beaten = [p for p in points.values() if p != own and all(x >= y for x, y in zip(p, own, strict=True))]
        assert (name in front) == (not beaten)


@given(
    st.lists(
        st.tuples(st.integers(0, 100), st.integers(0, 100), st.integers(1, 10**6)), min_size=1, max_size=20
    )
)
def test_marks_stand_on_the_plot_and_names_on_nothing_else(numbers):
    plot = load_plot(views(*numbers))
    xs = [x for x, _ in plot.ticks]
    assert 2 <= len(xs) <= 9
    assert all(0 <= x <= WIDTH for x in xs)
    assert xs == sorted(xs)
    boxes = []
    for mark in plot.marks:
        for x, y in (mark.clean, mark.worst):
            assert 0 < x < WIDTH and 0 <= y <= HEIGHT
        assert mark.clean[0] < mark.worst[0], "a tenth more under attack"
        if mark.label:
            assert mark.joined
            x, y = mark.label_at
            wide = 8 * len(mark.label)
            boxes.append(
                (x - wide if mark.label_end else x, y - 13, x if mark.label_end else x + wide, y + 3)
            )
    for k, (left, top, right, bottom) in enumerate(boxes):
        assert left >= 0 and right <= WIDTH
        assert not any(left < r and a < right and top < b and t < bottom for a, t, r, b in boxes[k + 1 :])
        for mark in plot.marks:
            if mark.joined:
                assert not any(left < x < right and top < y < bottom for x, y in (mark.clean, mark.worst))


def test_of_many_models_the_front_alone_is_drawn_in_full():
    many = views(*((50, 50 - k % 7, 100 + k) for k in range(40)))
    plot = load_plot(many)
    assert [mark.row.name for mark in plot.marks if mark.joined] == ["m00"] == list(front_of(many))
    assert len(plot.marks) == 40 and plot.marks[-1].joined
    assert all(mark.joined for mark in load_plot(many[:MOST_JOINED]).marks)
    assert not plot.keyed and load_plot(many[:MOST_CURVES]).keyed


@pytest.mark.browser
def test_many_models_are_drawn_by_the_front(browser, tmp_path):
    entrants = [
        entrant(f"m{k:02d}", 90 - k, (50, 40), (10_000 * (k + 1), 20_000 * (k + 1))) for k in range(14)
    ]
    manifests = {each.name: make_manifest(each.name) for each in entrants}
    digests = {name: f"sha256:{hash_of(name)}" for name in manifests}
    render_site(Content([Board(SUITE, "d", rank(entrants, SUITE))], manifests, digests), tmp_path)
    visit = Visit(browser)
    visit.page.goto(f"file://{tmp_path}/index.html")
    figure = visit.page.locator("figure.plot", has_text="Accuracy, robustness and synaptic operations")
    assert figure.locator("circle.best").count() == figure.locator("text.name").count() == 1
    assert figure.locator("text.name").text_content() == "Model m00"
    assert figure.locator("circle.beaten").count() == 13
    visit.leave(tmp_path)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (3.14159, "3.14"),
        (999.6, "1 k"),
        (851_799.9, "852 k"),
        (1.14e6, "1.14 M"),
        (2e9, "2 G"),
        (3e12, "3 T"),
    ],
)
def test_amounts_have_three_digits(value, text):
    assert amount(value) == text.replace(" ", "\u202f")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    render_site(content(), out)
    return out


@pytest.fixture
def visit(browser: Any, site: Path) -> Iterator[Visit]:
    visited = Visit(browser, viewport={"width": 1280, "height": 900})
    visited.page.goto(f"file://{site}/index.html")
    yield visited
    visited.leave(site)


@pytest.mark.browser
class TestInTheBrowser:
    def test_operations_are_columns_that_sort(self, visit):
        row = visit.page.locator("table.ranking tbody tr", has_text="Model small").locator("td")
        assert [text.replace("\u202f", " ") for text in row.all_inner_texts()[-2:]] == ["200 k", "211 k"]
        heads = visit.page.locator("table.ranking").get_by_role("button", name="Operations")
        heads.nth(0).click()
        assert visit.names() == ["large", "beaten", "small", "secret"], "what nobody counted comes last"
        heads.nth(0).click()
        assert visit.names() == ["small", "beaten", "large", "secret"]
        heads.nth(1).click()
        assert visit.names() == ["large", "beaten", "small", "secret"]
        assert visit.page.url.endswith("#tiny-suite-digits-dvs-table.sort=8d")

    def test_the_plot_leads_to_its_numbers_and_to_the_models(self, visit, site):
        figure = visit.page.locator("figure.plot", has_text="Accuracy, robustness and synaptic operations")
        assert "1 is not here: nobody could count." in figure.inner_text()
        for axis in ("synaptic operations per sample", "accuracy, %"):
            assert axis in figure.inner_text()
        marks = figure.locator("svg a")
        assert marks.count() == 3
        words = "Model small: clean 90.0 at 200\u202fk operations, worst case 40.0 at 211\u202fk"
        assert visit.page.get_by_role("link", name=words).locator("title").text_content() == words
        key = figure.locator("ul.legend li").all_inner_texts()
        assert [" ".join(text.split()) for text in key] == [
            "Model large front",
            "Model small front",
            "Model beaten",
            "front no other beats it in all three",
        ]
        assert figure.locator("svg a.s1 .hollow").count() == figure.locator("svg a.s1 .mark").count() == 1
        figure.get_by_role("link", name="The numbers as a table").click()
        assert visit.page.url == f"file://{site}/{BOARD}#load"
        front = visit.page.locator("#load-table tr", has_text="front").locator(".model > a").all_inner_texts()
        assert sorted(front) == ["Model large", "Model small"]

    def test_the_table_behind_it_has_every_number_and_sorts(self, visit, site):
        visit.page.goto(f"file://{site}/{BOARD}")
        row = visit.page.locator("#load-table tbody tr", has_text="Model small").locator("td")
        shown = [text.replace("\u202f", " ") for text in row.all_inner_texts()]
        assert shown == ["90.0", "40.0", "20 k", "21.1 k", "200 k", "211 k", "+5.5%", "18.2 k", "72.7 k"]
        hidden = visit.page.locator("#load-table tbody tr", has_text="Model secret").locator("td")
        assert hidden.all_inner_texts()[2:] == ["\u2013"] * 7
        for column in range(1, 10):
            head = visit.page.locator("#load-table thead th").nth(column)
            head.locator("button").click()
            assert head.get_attribute("aria-sort") == "descending"
            values = visit.page.locator(f"#load-table tbody td:nth-of-type({column})").evaluate_all(
                "all => all.map(cell => cell.dataset.value).filter(Boolean).map(Number)"
            )
            assert values == sorted(values, reverse=True)

    @pytest.mark.parametrize("page", ["index.html", BOARD])
    def test_the_division_filters_and_is_in_the_address(self, visit, site, page):
        front = page == "index.html"
        table, first = ("tiny-suite-digits-dvs-table",) * 2 if front else ("load-table", "heat-table")
        visit.page.goto(f"file://{site}/{page}")
        form = visit.page.locator(f"form[data-filters^={first}]")
        form.get_by_label("Division").select_option("code")
        assert visit.names(f"#{table}") == ["secret"]
        assert form.locator("output").inner_text() == "1 of 4 models"
        address = visit.page.url
        assert address.endswith(f"#{first}.division=code")
        form.get_by_label("Division").select_option("data")
        assert sorted(visit.names(f"#{table}")) == ["beaten", "large", "small"]
        visit.page.goto("about:blank")
        visit.page.goto(address)
        assert form.get_by_label("Division").input_value() == "code"
        assert visit.names(f"#{table}") == ["secret"]
        form.get_by_label("Division").select_option("")
        assert len(visit.names(f"#{table}")) == 4
        assert "division" not in visit.page.url
        visit.page.goto("about:blank")
        visit.page.goto(address.replace("=code", "=nonsense"))
        assert form.get_by_label("Division").input_value() == ""
        assert len(visit.names(f"#{table}")) == 4

    def test_the_division_is_chosen_by_keyboard(self, visit):
        visit.page.get_by_label("Filter models").focus()
        visit.page.keyboard.press("Tab")
        assert visit.page.evaluate("document.activeElement.tagName") == "SELECT"
        visit.page.keyboard.press("c")
        assert visit.names() == ["secret"]

    def test_a_models_page_tells_its_load_case_by_case(self, visit, site):
        visit.page.goto(f"file://{site}/models/small.html")
        tiles = " ".join(visit.page.locator(".tiles").inner_text().replace("\u202f", " ").split())
        assert "Synaptic operations a sample 200 k attacked 211 k" in tiles
        assert "Parameters 18.2 k 72.7 kB" in tiles
        cells = visit.page.locator("table.cases td[data-label=Operations]").all_inner_texts()
        assert [" ".join(text.replace("\u202f", " ").split()) for text in cells] == [
            "210 k +5.0%",
            "211 k +5.5%",
        ]
        visit.page.goto(f"file://{site}/models/secret.html")
        assert "Synaptic operations" not in visit.page.locator(".tiles").inner_text()
        assert visit.page.locator("table.cases td[data-label=Operations]").all_inner_texts() == ["\u2013"] * 2

    def test_without_javascript_the_numbers_stand_there(self, browser, site):
        plain = Visit(browser, java_script_enabled=False)
        plain.page.goto(f"file://{site}/{BOARD}")
        rows = plain.page.locator("#load-table tbody tr").count()
        forms = plain.page.locator("form:visible").count()
        plain.context.close()
        assert (rows, forms) == (4, 0)


def test_the_downloads_hold_the_loads(site):
    (board,) = json.loads((site / "results.json").read_text())["boards"]
    by_name = {model["manifest"]["name"]: model for model in board["models"]}
    small, secret = by_name["small"], by_name["secret"]
    assert small["footprint"] == {"parameters": 18_182, "bytes": 72_728}
    assert small["clean_load"] == {"spikes": 20_000, "synaptic_operations": 200_000}
    assert small["worst_load"]["synaptic_operations"] == 211_000
    assert [case["load"]["synaptic_operations"] for case in small["cases"]] == [210_000, 211_000]
    assert (secret["footprint"], secret["clean_load"], secret["worst_load"]) == (None, None, None)
    lines = list(csv.DictReader((site / "results.csv").read_text().splitlines()))
    (line,) = (each for each in lines if each["model"] == "small" and each["case"] == "patch-5")
    assert (line["division"], line["parameters"], line["weight_bytes"]) == ("data", "18182", "72728")
    assert float(line["clean_synaptic_operations"]) == 200_000
    assert float(line["worst_synaptic_operations"]) == float(line["synaptic_operations"]) == 211_000
    (hidden, _) = (each for each in lines if each["model"] == "secret")
    assert (hidden["division"], hidden["clean_spikes"], hidden["spikes"]) == ("code", "", "")


def test_nobody_counted_anything(tmp_path):
    """Code alone: no plot, and a table of dashes."""
    full = content()
    (board,) = full.boards
    alone = replace(full, boards=[replace(board, rows=[row for row in board.rows if row.name == "secret"])])
    page = render_site(alone, tmp_path).read_text()
    assert "Accuracy, robustness and synaptic operations" not in page
    assert re.search(r'data-label="Operations" data-value="">&#8211;', page)
    assert (tmp_path / BOARD).exists()
    render_site(rich_content(), tmp_path)
