# SPDX-License-Identifier: MIT
"""The pages beside the ranking in a real browser: player, heat map, plots, attacks, threats, permalinks."""

from __future__ import annotations

import csv
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from art_spiking_leaderboard.site import render_site
from site_browser import Visit
from site_samples import HOSTILE, STEPS, moving_bar, rich_content, write_figures

BOARD = "boards/rich-suite-digits-dvs.html"
PLAYER = "players/alpha/rich-suite/edits-50.html"
PAGES = [
    "index.html",
    BOARD,
    PLAYER,
    "players/beta/rich-suite/edits-50.html",
    "attacks/event-gradient.html",
    "attacks/adversarial-patch.html",
    "threats.html",
    *(f"models/{name}.html" for name in ("alpha", "beta", "gamma", "delta")),
]


@pytest.fixture(scope="module")
def warnings() -> list[str]:
    return []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, warnings: list[str]) -> Path:
    figures = tmp_path_factory.mktemp("figures")
    write_figures(figures)
    out = tmp_path_factory.mktemp("site")
    render_site(rich_content(figures), out, warn=warnings.append)
    return out


@pytest.fixture
def visit(browser: Any, site: Path) -> Iterator[Visit]:
    visited = Visit(browser, viewport={"width": 1280, "height": 900})
    yield visited
    visited.leave(site)


@pytest.fixture
def player(visit: Visit, site: Path) -> Any:
    visit.page.goto(f"file://{site}/{PLAYER}")
    return visit.page


def coloured(page: Any, canvas: str, name: str) -> int:
    """How many pixels of a canvas have exactly the colour of that name."""
    return page.evaluate(
        """([id, name]) => {
            const canvas = document.getElementById(id);
            const copy = document.createElement("canvas");
            [copy.width, copy.height] = [canvas.width, canvas.height];
            const pen = copy.getContext("2d", { willReadFrequently: true });
            pen.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
            pen.fillRect(0, 0, 1, 1);
            const [r, g, b] = pen.getImageData(0, 0, 1, 1).data;
            pen.drawImage(canvas, 0, 0);
            const { data } = pen.getImageData(0, 0, copy.width, copy.height);
            let count = 0;
            for (let i = 0; i < data.length; i += 4) {
                count += data[i] === r && data[i + 1] === g && data[i + 2] === b;
            }
            return count;
        }""",
        [canvas, name],
    )


def wait_until(page: Any, true: Any) -> None:
    """Looks again and again; the browser's own waiting would need eval, which the policy forbids."""
    for _ in range(400):
        if true():
            return
        page.wait_for_timeout(10)
    pytest.fail("it did not come to that")


def picture(page: Any, canvas: str) -> str:
    return page.evaluate("id => document.getElementById(id).toDataURL()", canvas)


@pytest.mark.browser
class TestPlayer:
    def test_it_is_linked_from_the_models_page(self, visit, site):
        visit.page.goto(f"file://{site}/models/alpha.html")
        visit.page.get_by_role("link", name="Play edits-50 event by event").click()
        assert visit.page.url == f"file://{site}/{PLAYER}"
        assert visit.page.locator("#player").is_visible()

    def test_added_events_are_on_the_attacked_side_and_removed_ones_on_the_clean_side(self, player):
        player.get_by_label("Show").select_option("1")
        player.get_by_role("button", name="One step forward").click()
        assert coloured(player, "attacked", "added") > 20
        assert coloured(player, "clean", "removed") > 20
        assert coloured(player, "attacked", "removed") == coloured(player, "clean", "added") == 0

    def test_it_plays_to_the_end_and_round_and_pauses(self, player):
        player.get_by_label("Speed").select_option("60")
        player.get_by_role("button", name="Play").click()
        scrub = player.locator("#scrub")
        wait_until(player, lambda: int(scrub.input_value()) > 3)
        wait_until(player, lambda: int(scrub.input_value()) < 3)
        player.get_by_role("button", name="Pause").click()
        held = scrub.input_value()
        player.wait_for_timeout(150)
        assert scrub.input_value() == held
        assert player.url.endswith(f"#step={int(held) + 1}")

    def test_buttons_step_and_stop_at_the_ends(self, player):
        scrub = player.locator("#scrub")
        back = player.get_by_role("button", name="One step back")
        forward = player.get_by_role("button", name="One step forward")
        back.click()
        assert scrub.input_value() == "0"
        for _ in range(STEPS + 2):
            forward.click()
        assert scrub.input_value() == str(STEPS - 1)
        back.click()
        assert scrub.input_value() == str(STEPS - 2)

    def test_scrubbing_says_where_it_is(self, player):
        player.locator("#scrub").fill("5")
        said = "step 6 of 12, from 50 ms: 19 kept, 1 added, 1 removed"
        assert player.locator("#now").inner_text() == said
        assert player.locator("#scrub").get_attribute("aria-valuetext") == said
        assert player.locator("#counts tr.now th").inner_text() == "6"

    def test_the_trail_shows_earlier_steps(self, player):
        player.locator("#scrub").fill("8")
        amounts = []
        for choice in ("1", "5", "all"):
            player.get_by_label("Show").select_option(choice)
            amounts.append(player.evaluate("document.getElementById('clean').toDataURL()"))
        assert len(set(amounts)) == 3

    def test_the_whole_of_it_works_by_keyboard(self, player):
        scrub = player.locator("#scrub")
        for key, step in (("ArrowRight", 1), ("End", STEPS - 1), ("ArrowLeft", STEPS - 2), ("Home", 0)):
            player.keyboard.press(key)
            assert scrub.input_value() == str(step), key
        player.keyboard.press("Space")
        assert player.locator("#play").inner_text() == "Pause"
        player.keyboard.press("Space")
        assert player.locator("#play").inner_text() == "Play"
        player.locator("#play").focus()
        for wanted in ("back", "forward", "scrub", "speed", "trail"):
            player.keyboard.press("Tab")
            assert player.evaluate("document.activeElement.id") == wanted

    def test_arrow_keys_and_drags_turn_the_view_and_a_button_resets_it(self, player):
        space = player.locator("#space")
        seen = [picture(player, "space")]
        space.focus()
        for key in ("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"):
            player.keyboard.press(key)
            seen.append(picture(player, "space"))
        assert len(set(seen[:4])) == 4
        assert seen[4] == seen[0], "there and back"
        space.scroll_into_view_if_needed()
        box = space.bounding_box()
        player.mouse.move(box["x"] + 300, box["y"] + 100)
        player.mouse.down()
        player.mouse.move(box["x"] + 360, box["y"] + 120, steps=3)
        player.mouse.up()
        assert picture(player, "space") != seen[0]
        player.get_by_role("button", name="Reset the angle").click()
        assert picture(player, "space") == seen[0]

    def test_the_view_can_be_flat(self, player):
        deep = picture(player, "space")
        player.get_by_label("View of all steps").select_option("flat")
        assert picture(player, "space") != deep
        assert not player.get_by_role("button", name="Reset the angle").is_visible()
        assert player.url.endswith("&view=flat")

    @pytest.mark.parametrize("kind", ["kept", "added", "removed"])
    def test_kinds_of_events_can_be_left_out(self, player, kind):
        before = picture(player, "space")
        player.get_by_role("checkbox", name=kind).uncheck()
        assert picture(player, "space") != before
        if kind != "kept":
            assert coloured(player, "space", kind) == 0

    def test_an_address_holds_step_and_view(self, visit, site):
        visit.page.goto(f"file://{site}/{PLAYER}#step=4&view=flat")
        assert visit.page.locator("#scrub").input_value() == "3"
        assert visit.page.get_by_label("View of all steps").input_value() == "flat"
        for odd, step in (("#step=999", "11"), ("#step=-3", "0"), ("#step=x", "0"), ("#main", "0")):
            visit.page.evaluate("hash => { location.hash = hash }", odd)
            wait_until(visit.page, lambda step=step: visit.page.locator("#scrub").input_value() == step)

    def test_many_events_are_shown_flat(self, visit, site):
        page = (site / PLAYER).read_text()
        start = page.index('id="events">') + len('id="events">')
        data = json.loads(page[start : page.index("</script>", start)])
        data["kept"] = data["kept"] * 200
        many = (site / PLAYER).with_name("many.html")
        many.write_text(page[:start] + json.dumps(data) + page[page.index("</script>", start) :])
        visit.page.goto(f"file://{many}")
        assert visit.page.get_by_label("View of all steps").input_value() == "flat"
        many.unlink()

    def test_without_javascript_picture_and_table_stand_there(self, browser, site):
        plain = Visit(browser, java_script_enabled=False)
        plain.page.goto(f"file://{site}/{PLAYER}")
        controls = plain.page.locator("#player").is_visible()
        rows = plain.page.locator("#counts tbody tr").all_inner_texts()
        image = plain.page.locator("figure.still img").get_attribute("src")
        plain.context.close()
        assert not controls
        assert [text.split() for text in rows[:2]] == [
            ["1", "0", "20", "0", "+1", "21"],
            ["2", "10", "20", "\u22121", "+1", "20"],
        ]
        assert len(rows) == STEPS
        assert image == "../../../figures/alpha/rich-suite/edits-50.png"


@pytest.mark.browser
class TestTables:
    def test_the_heat_map_has_every_model_and_case(self, visit, site):
        visit.page.goto(f"file://{site}/{BOARD}")
        assert visit.names("#heat-table") == ["alpha", "beta", "delta", "gamma"]
        cells = visit.page.locator("#heat-table tbody tr", has_text="Model alpha").locator("td")
        assert cells.all_inner_texts() == ["92.0", "30.0", "80.0", "60.0", "50.0"]
        waiting = visit.page.locator("#heat-table tbody tr", has_text="Model delta").locator("td")
        assert waiting.all_inner_texts() == ["90.0", "\u2013", "80.0", "\u2013", "\u2013"]

    def test_the_heat_map_sorts_and_filters(self, visit, site):
        visit.page.goto(f"file://{site}/{BOARD}")
        visit.page.locator("#heat-table").get_by_role("button", name="Patch 5%").click()
        assert visit.names("#heat-table") == ["alpha", "gamma", "beta", "delta"]
        visit.page.get_by_label("Filter models").fill("gamma")
        assert visit.names("#heat-table") == ["gamma"]
        visit.page.get_by_label("only without flags").check()
        assert visit.names("#heat-table") == ["gamma"]

    def test_the_numbers_behind_a_curve_are_linked(self, visit, site):
        visit.page.goto(f"file://{site}/index.html")
        visit.page.get_by_role("link", name="The numbers as a table").nth(2).click()
        assert visit.page.url == f"file://{site}/{BOARD}#curve-edits-5"
        row = visit.page.locator("#curve-edits-5-table tbody tr", has_text="Model alpha").locator("td")
        assert [text.split()[0] for text in row.all_inner_texts()] == ["56.0", "92.0", "80.0", "60.0", "28.0"]

    def test_plots_name_their_axes_and_lead_to_models(self, visit, site):
        visit.page.goto(f"file://{site}/index.html")
        texts = visit.page.locator("figure.plot").all_inner_texts()
        for axis in ("clean accuracy, %", "worst case, %"):
            assert axis in texts[0]
        for axis in ("events edited", "samples still right, %", "dashed: random changes"):
            assert axis in texts[2]
        visit.page.get_by_role("link", name="Model alpha: clean 92.0, worst case 28.0").click()
        assert visit.page.url == f"file://{site}/models/alpha.html"

    def test_the_area_is_a_column_that_sorts(self, visit, site):
        visit.page.goto(f"file://{site}/index.html")
        visit.page.get_by_role("button", name="Area").click()
        assert visit.names() == ["alpha", "beta"]
        shown = visit.page.locator("table.ranking td[data-label=Area]").all_inner_texts()
        assert shown == ["56.0", "42.5"]

    def test_an_address_holds_order_and_filter(self, visit, site):
        visit.page.goto(f"file://{site}/index.html")
        visit.page.get_by_role("button", name="Clean").first.click()
        visit.page.get_by_label("Filter models").fill("model")
        visit.page.get_by_label("only without flags").check()
        address = visit.page.url
        visit.page.goto("about:blank")
        visit.page.goto(address)
        head = visit.page.locator("table.ranking th[aria-sort]")
        assert (head.inner_text().strip(), head.get_attribute("aria-sort")) == ("Clean", "descending")
        assert visit.page.get_by_label("Filter models").input_value() == "model"
        assert visit.page.get_by_label("only without flags").is_checked()
        visit.page.get_by_label("Filter models").fill("")
        visit.page.get_by_label("only without flags").uncheck()
        assert visit.page.url.endswith("#rich-suite-digits-dvs-table.sort=5d")

    def test_a_strange_address_does_no_harm(self, visit, site):
        table = "rich-suite-digits-dvs-table"
        for odd in (f"#{table}.sort=99d", f"#{table}.sort=4a", f"#{table}.find={HOSTILE}", "#=&=&%%"):
            visit.page.goto("about:blank")
            visit.page.goto(f"file://{site}/index.html{odd}")
            assert visit.page.title() == "art-spiking leaderboard"
            assert visit.page.locator("table.ranking th[aria-sort]").inner_text().strip() == "Rank"

    def test_the_numbers_of_a_models_plot_unfold_by_keyboard(self, visit, site):
        visit.page.goto(f"file://{site}/models/alpha.html")
        table = visit.page.locator("details table.numbers")
        assert not table.is_visible()
        visit.page.locator("summary").focus()
        visit.page.keyboard.press("Enter")
        assert table.is_visible()

    def test_a_case_leads_to_its_attack_and_that_to_its_threat_model(self, visit, site):
        visit.page.goto(f"file://{site}/models/alpha.html")
        visit.page.locator("table.cases").get_by_role("link", name="Patch 5%").click()
        text = visit.page.locator("main").inner_text()
        assert '{"kind": "patch-region", "area": 0.05}' in text
        assert "A small region of events, fitted on a craft split, for every sample." in text
        visit.page.get_by_role("button", name="Patch 5%").click()
        assert visit.names("#use-1")[0] == "alpha"
        visit.page.get_by_role("link", name="patch-region").click()
        assert visit.page.url == f"file://{site}/threats.html#patch-region"


@pytest.mark.browser
class TestEveryPage:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_a_phone_needs_no_sideways_scrolling(self, browser, site, scheme):
        phone = Visit(browser, viewport={"width": 390, "height": 844}, color_scheme=scheme)
        for page in PAGES:
            phone.page.goto(f"file://{site}/{page}")
            wide = phone.page.evaluate("document.documentElement.scrollWidth")
            shade = phone.page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (page, wide, shade == "rgb(17, 23, 28)") == (page, 390, scheme == "dark")
        phone.leave(site)

    @pytest.mark.parametrize("width", [390, 1280])
    def test_every_diagram_is_seen(self, visit, site, width):
        visit.page.set_viewport_size({"width": width, "height": 844})
        visit.page.goto(f"file://{site}/threats.html")
        shown = [picture.is_visible() for picture in visit.page.locator("section.threat svg[role=img]").all()]
        assert shown == [True] * 8

    def test_hostile_texts_stay_texts(self, visit, site):
        for page in PAGES:
            visit.page.goto(f"file://{site}/{page}")
            assert visit.page.title() != "owned", page
            assert visit.page.locator("img[src=x]").count() == 0, page
            scripts = visit.page.locator("script").evaluate_all("all => all.map(s => s.type)")
            assert scripts in ([""], ["application/json", ""]), page
            if "beta" in page or page in ("index.html", BOARD):
                assert HOSTILE in visit.page.locator("main").inner_text(), page


def test_accepted_claims_and_withdrawn_models_are_shown(site):
    alpha = html.unescape((site / "models" / "alpha.html").read_text())
    assert "Accepted claims" in alpha
    assert f"<b>edits-50</b>: 2 samples by {HOSTILE}, 2027-02-03" in alpha
    index = html.unescape((site / "index.html").read_text())
    assert "1 claim</span>" in index
    assert "code, in a sandbox" in index
    assert f"withdrawn: its authors asked {HOSTILE}" in index
    assert "withdrawn" in (site / "models" / "gamma.html").read_text()


def test_areas_and_claims_are_in_the_downloads(site):
    (board,) = json.loads((site / "results.json").read_text())["boards"]
    alpha = next(model for model in board["models"] if model["manifest"]["name"] == "alpha")
    assert alpha["areas_under_edits"] == {"edits-5": pytest.approx(0.56)}
    assert alpha["accepted_claims"] == [
        {"case": "edits-50", "samples": 2, "date": "2027-02-03T00:00:00+00:00"}
    ]
    lines = list(csv.DictReader((site / "results.csv").read_text().splitlines()))
    found = {(line["model"], line["areas_under_edits"], line["accepted_claims"]) for line in lines}
    assert ("alpha", "edits-5 0.5600", "1") in found
    assert ("delta", "", "0") in found


def test_a_recording_that_cannot_be_read_is_left_out_and_told(site, warnings):
    assert not (site / "players" / "gamma").exists()
    assert len(warnings) == 1
    assert "is no recording of an attack" in warnings[0]


def test_a_player_holds_the_events_and_nothing_else(site):
    page = (site / PLAYER).read_text()
    start = page.index('id="events">') + len('id="events">')
    data = json.loads(page[start : page.index("</script>", start)])
    made = moving_bar()
    assert {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()} == {
        "shape": made.shape,
        "dt_us": made.dt_us,
        "kept": made.kept,
        "added": made.added,
        "removed": made.removed,
    }


def test_the_policy_holds_on_every_page(site):
    pages = sorted(str(path.relative_to(site)) for path in site.rglob("*.html"))
    assert pages == sorted(PAGES)
    for page in pages:
        text = (site / page).read_text()
        policy = html.unescape(text[text.index("default-src") : text.index("form-action")])
        assert "unsafe" not in policy and "http" not in policy
        for wrong in (" style=", " onclick=", " onload=", "http://", "javascript:"):
            assert wrong not in text.replace(html.escape(HOSTILE), ""), (page, wrong)


def test_every_link_leads_somewhere(site):
    for path in site.rglob("*.html"):
        text = path.read_text()
        for href in re.findall(r'(?:href|src)="([^"#]*)(?:#[^"]*)?"', text):
            if href and not href.startswith("https://"):
                assert (path.parent / href).resolve().is_file(), (path, href)
        for anchor in re.findall(r'href="#([^"]+)"', text):
            assert f'id="{anchor}"' in text, (path, anchor)
