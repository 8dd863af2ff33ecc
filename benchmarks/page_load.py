# SPDX-License-Identifier: MIT
"""How long the leaderboard's page takes: to render for many made-up models, and until a browser shows it.

    python benchmarks/page_load.py --models 500 --suites 8

Needs Debian's chromium. Nothing is asserted: the times are the machine's.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from art_spiking_leaderboard.manifest import Data, FileEntry, Files, Manifest, Training
from art_spiking_leaderboard.ranking import Entrant, rank
from art_spiking_leaderboard.site import Board, Content, render_site
from art_spiking_leaderboard.transfer import Scored, Source, Transfer

from art_spiking.records import (
    Activity,
    Costs,
    DataIdentity,
    Footprint,
    ModelIdentity,
    Provenance,
    Record,
    SuiteIdentity,
)
from art_spiking.suites import Case, Control, Suite

SAMPLES, CLASSES = 100, 10
SCORED = 50
"""Models in the transfer matrix of each suite."""
BUDGETS = (5, 10, 25, 50, 100)
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]


_PAINTED = """() => new Promise((done) => {
    new PerformanceObserver((list) => {
        const [entry] = list.getEntriesByName("first-contentful-paint");
        if (entry) done(entry.startTime);
    }).observe({ type: "paint", buffered: true });
})"""


def made_up(models: int, suites: int, seed: int = 0) -> Content:
    """Boards of random outcomes: five budgets of edits and a patch in each suite."""
    rng = np.random.default_rng(seed)
    boards = [_board(_suite(number), models, rng) for number in range(suites)]
    manifests = {_name(i): _manifest(i) for i in range(models)}
    digests = {name: f"sha256:{_hash(name)}" for name in manifests}
    return Content(boards, manifests, digests, cells=models * suites * (len(BUDGETS) + 1))


def _suite(number: int) -> Suite:
    control = Control(attack="random-events")
    edits = [
        Case(
            name=f"edits-{budget}",
            attack="auto-spike",
            threat={"kind": "event-edits", "max_edits": budget},
            control=control,
        )
        for budget in BUDGETS
    ]
    patch = Case(name="patch-5", attack="adversarial-patch", threat={"kind": "patch-region", "area": 0.05})
    return Suite(name=f"suite-{number}", version=1, cases=(*edits, patch))


def _board(suite: Suite, models: int, rng: np.random.Generator) -> Board:
    labels = rng.integers(0, CLASSES, SAMPLES)
    entrants = []
    for i in range(models):
        strength, work = rng.uniform(0.3, 1.0), 10 ** rng.uniform(5, 8)
        clean = _predictions(labels, rng.random(SAMPLES) < 0.8 + 0.2 * rng.random())
        records = {}
        for case in suite.cases:
            budget = case.threat.get("max_edits", 40)
            kept = rng.random(SAMPLES) < strength / (1 + float(str(budget)) / 40)
            made = _record(suite, case, labels, clean, _predictions(labels, kept))
            records[case.name] = made.model_copy(update=_loads(work, rng))
        entrants.append(Entrant(_name(i), "made-up", float(np.mean(np.asarray(clean) == labels)), records))
    return Board(suite, "made-up", rank(entrants, suite), _transfer(suite, min(models, SCORED), rng))


def _loads(work: float, rng: np.random.Generator) -> dict[str, Any]:
    """A footprint, and what the neurons did without and under an attack, of about so many operations."""

    def activity(factor: float) -> Activity:
        operations = (factor * work * rng.uniform(0.5, 1.5, SAMPLES)).astype(int)
        return Activity(spikes=tuple((operations // 80).tolist()), operations=tuple(operations.tolist()))

    parameters = int(work / 40)
    return {
        "footprint": Footprint(parameters=parameters, bytes=4 * parameters),
        "clean_activity": activity(1.0),
        "activity": activity(rng.uniform(1.0, 1.4)),
    }


def _transfer(suite: Suite, models: int, rng: np.random.Generator) -> Transfer:
    """Some models' samples on all of these."""
    names = [_name(number) for number in range(models)]

    def counts() -> tuple[int, ...]:
        return tuple(rng.integers(0, SAMPLES, models).tolist())

    cases = [case.name for case in suite.cases]
    return Transfer(
        suite=suite.name,
        suite_digest=suite.digest(),
        data="made-up",
        test=f"sha256:{_hash('data')}",
        samples=SAMPLES,
        models=tuple(Scored(name=name, digest=f"sha256:{_hash(name)}", clean=90) for name in names),
        sources=tuple(
            Source(
                name=name,
                events={case: _hash(case) for case in cases},
                right={case: counts() for case in cases},
                worst=counts(),
            )
            for name in names
        ),
    )


def _predictions(labels: np.ndarray, right: np.ndarray) -> tuple[int, ...]:
    return tuple(int(k) for k in np.where(right, labels, (labels + 1) % CLASSES))


def _record(
    suite: Suite, case: Case, labels: np.ndarray, clean: tuple[int, ...], attacked: tuple[int, ...]
) -> Record:
    cost = Costs(added=(3,) * SAMPLES, removed=(2,) * SAMPLES, moved=(0,) * SAMPLES, own=(900,) * SAMPLES)
    control = clean if case.control else ()
    return Record(
        status="ok",
        model=ModelIdentity(name="m", digest=f"sha256:{_hash('m')}", readout="spike-count"),
        suite=SuiteIdentity(name=suite.name, version=1, digest=suite.digest()),
        case=case,
        craft=_data("train"),
        test=_data("test"),
        labels=tuple(labels.tolist()),
        clean=clean,
        adversarial=attacked,
        control=control,
        cost=cost,
        control_cost=cost if control else Costs(),
        provenance=Provenance(
            packages={}, providers={}, device="cpu", threads=1, started="2027-01-01T00:00:00+00:00"
        ),
    )


def _data(split: str) -> DataIdentity:
    return DataIdentity(
        name="made-up",
        split=split,
        samples=SAMPLES,
        digest=f"sha256:{_hash('data')}",
        grid={"steps": 30},
    )


def _name(number: int) -> str:
    return f"model-{number:03d}"


def _manifest(number: int) -> Manifest:
    name = _name(number)
    entry = FileEntry(sha256=_hash(name), size=100_000)
    return Manifest(
        schema_version=1,
        name=name,
        title=f"A made-up model, the {number}th",
        authors=("A. Author", "B. Author"),
        licence="MIT",
        framework="art-spiking 0.1.0",
        input_shape=(30, 2, 34, 34),
        nb_classes=CLASSES,
        readout="spike-count",
        semantics="nir",
        data=Data(name="made-up", dt_us=10_000, steps=30, binary=True),
        training=Training(description="Not at all.", claimed_clean_accuracy=0.9),
        files=Files(graph=entry, weights=entry),
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def paint(browser: Any, page: Path, repeats: int) -> tuple[float, float]:
    """Milliseconds until a page was first painted, and until it was loaded whole: medians."""
    first, whole = [], []
    for _ in range(repeats):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        shown = context.new_page()
        shown.goto(f"file://{page}")
        first.append(shown.evaluate(_PAINTED))
        whole.append(shown.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
        context.close()
    return float(np.median(first)), float(np.median(whole))


@click.command(help=__doc__)
@click.option("--models", default=500, show_default=True)
@click.option("--suites", default=8, show_default=True)
@click.option("--repeats", default=5, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Keep the site here.")
def main(models: int, suites: int, repeats: int, out: Path | None) -> None:
    """Renders, loads, prints."""
    if shutil.which("chromium") is None:
        sys.exit("Debian's chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    shown = made_up(models, suites)
    with tempfile.TemporaryDirectory() as folder:
        site = (out or Path(folder)).resolve()
        start = time.perf_counter()
        render_site(shown, site)
        spent = time.perf_counter() - start
        pages = sorted(site.rglob("*.html"))
        size = sum(page.stat().st_size for page in pages) / 1e6
        click.echo(f"{models} models x {suites} suites: {len(pages)} pages, {size:.0f} MB, in {spent:.0f} s")
        click.echo("page                            size    first paint    loaded (medians)")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
            for name in (
                "index",
                f"boards/{shown.boards[0].anchor}",
                f"models/{_name(0)}",
                "attacks/auto-spike",
                "threats",
            ):
                page = site / f"{name}.html"
                first, whole = paint(browser, page, repeats)
                mb = page.stat().st_size / 1e6
                click.echo(f"{name:28s} {mb:6.2f} MB  {first:8.0f} ms  {whole:8.0f} ms")
            browser.close()


if __name__ == "__main__":
    main()
