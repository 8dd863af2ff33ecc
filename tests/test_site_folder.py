# SPDX-License-Identifier: MIT
"""Rendering into a folder that was rendered into before: old pages go, other people's files stay."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from art_spiking_leaderboard.site import render_site
from art_spiking_leaderboard.site.folder import LIST, SiteFolder
from hypothesis import given
from hypothesis import strategies as st
from site_samples import rich_content, write_figures


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def rendered(out: Path, *names: str) -> list[str]:
    warnings: list[str] = []
    folder = SiteFolder(out)
    for name in names:
        folder.write(name, name.encode())
    folder.finish(warnings.append)
    return warnings


def test_the_page_of_a_model_that_is_gone_is_gone(tmp_path):
    figures, out = tmp_path / "figures", tmp_path / "site"
    write_figures(figures)
    render_site(rich_content(figures), out)
    (out / "CNAME").write_text("ours")
    (out / "models" / "notes.html").write_text("ours")
    full = rich_content(figures)
    (board,) = full.boards
    fewer = replace(
        full,
        boards=[replace(board, rows=[row for row in board.rows if row.name != "alpha"])],
        manifests={name: manifest for name, manifest in full.manifests.items() if name != "alpha"},
    )
    before = files_in(out)
    render_site(fewer, out)
    gone = before - files_in(out)
    assert {path for path in gone if path.endswith(".html")} == {
        "models/alpha.html",
        "players/alpha/rich-suite/edits-50.html",
    }
    assert "figures/alpha/rich-suite/edits-50.png" in gone
    assert not (out / "players" / "alpha").exists()
    assert (out / "CNAME").read_text() == (out / "models" / "notes.html").read_text() == "ours"
    render_site(fewer, tmp_path / "fresh")
    assert files_in(tmp_path / "fresh") == files_in(out) - {"CNAME", "models/notes.html"}


def test_a_changed_page_is_left_and_told(tmp_path):
    rendered(tmp_path, "index.html", "models/a.html")
    (tmp_path / "models" / "a.html").write_text("somebody's own words")
    (warning,) = rendered(tmp_path, "index.html")
    assert "models/a.html belongs to an earlier rendering and was changed since" in warning
    assert (tmp_path / "models" / "a.html").exists()
    assert rendered(tmp_path, "index.html") == []


def test_no_link_is_followed(tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    rendered(out, "index.html", "models/a.html", "b.html")
    other.mkdir()
    (out / "models" / "a.html").rename(other / "a.html")
    (out / "models").rmdir()
    (out / "models").symlink_to(other)
    (out / "b.html").rename(other / "b.html")
    (out / "b.html").symlink_to(other / "b.html")
    assert rendered(out, "index.html") == []
    assert files_in(other) == {"a.html", "b.html"}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"rendered_version": 2, "files": {}}',
        '{"rendered_version": 1, "files": ["victim"]}',
        '{"rendered_version": 1, "files": {"../victim": "x"}}',
        '{"rendered_version": 1, "files": {"/victim": "x"}}',
        '{"rendered_version": 1, "files": {"a/../../victim": "x"}}',
        '{"rendered_version": 1, "files": {"": "x"}}',
    ],
)
def test_a_list_that_no_rendering_wrote_removes_nothing(tmp_path, content):
    victim = tmp_path / "victim"
    victim.write_text("x")
    out = tmp_path / "out"
    rendered(out, "index.html", "old.html")
    (out / LIST).write_text(content)
    (warning,) = rendered(out, "index.html")
    assert "cannot be used" in warning
    assert victim.exists() and (out / "old.html").exists()
    assert json.loads((out / LIST).read_text())["files"].keys() == {"index.html"}


_NAMES = st.lists(st.sampled_from(["a.html", "b/c.html", "b/d/e.png", "f/g.html"]), unique=True)


@given(_NAMES, _NAMES, st.sets(st.sampled_from(["own.txt", "b/own", "b/d/own", "f/own"])))
def test_what_is_left_is_what_was_written_last_and_what_was_never_ours(tmp_path_factory, first, then, own):
    out = tmp_path_factory.mktemp("site")
    rendered(out, *first)
    for name in own:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("own")
    assert rendered(out, *then) == []
    assert files_in(out) == {*then, *own, LIST}
