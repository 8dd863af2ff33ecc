# SPDX-License-Identifier: MIT
"""Thousands of damaged submissions, claims, logs and cells: each must end in a reported problem, quickly.

    python benchmarks/fuzz_submissions.py --count 10000 [--seed 0] [--json] [--unconfined]

Starts from the bundled submissions and one of code, which is checked and not run, and damages them by seeded
mutations: bytes flipped, cut and repeated; keys doubled, dropped and renamed; values of other types, huge
numbers, deep nesting, odd unicode; weights of NaN; headers that lie about shapes and places; links, pipes,
devices, sparse files of a terabyte; names that are no text. Where files were damaged, the manifest's hashes
are mostly put right again, so that the check goes on behind them. All of it happens behind bubblewrap, where
nothing but a scratch folder can be written; `--unconfined` is for machines that have none. The memory is what
the process held at most, over what it held before the first (Linux).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from art_spiking_leaderboard.cells import Cell, CellIdentity, CellStore
from art_spiking_leaderboard.check import Names, build_classifier, check_submission
from art_spiking_leaderboard.claims import ClaimForm, read_events, read_form, score, write_claim
from art_spiking_leaderboard.manifest import CODE_FILE, IN_CODE, MANIFEST, FileEntry, Files
from art_spiking_leaderboard.manifest_text import manifest_text
from art_spiking_leaderboard.signing import Entry, hashes, read_log
from confining import run_confined
from mutations import clear, damage_bytes, damage_folder, damage_text, mend_hashes

from art_spiking.datasets import load_data
from art_spiking.errors import ArtSpikingError
from art_spiking.evaluate import Splits, evaluate_case, prepare
from art_spiking.suites import Case, Suite

BUNDLED = Path(__file__).resolve().parents[1] / "leaderboard" / "submissions"
SECONDS = 5
SHARES = {"submission": 0.8, "claim": 0.1, "log": 0.05, "cell": 0.05}


class Hang(Exception):
    """Something took longer than it may."""


@dataclass
class Tally:
    """What came of the damaged ones."""

    outcomes: Counter[str] = field(default_factory=Counter)
    escaped: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")

    def run(self, label: str, step: Callable[[], str]) -> None:
        """Counts what a step comes to; an exception or a hang has escaped."""
        start = time.perf_counter()
        try:
            with _at_most(SECONDS):
                outcome = step()
        except (Exception, SystemExit) as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            outcome = "escaped"
            self.escaped.append(
                f"{label}: {type(error).__name__}: {error!s:.120} ({Path(last.filename).name}:{last.lineno})"
            )
        self.outcomes[f"{label.split()[0]}: {outcome}"] += 1
        self.slowest = max(self.slowest, (time.perf_counter() - start, label))


class World:
    """Whole files to damage: a submission in each division, a claim, a log and a cell."""

    def __init__(self, root: Path) -> None:
        self.root, self.names = root, Names.installed()
        self.submissions = sorted(path for path in BUNDLED.iterdir() if path.is_dir())
        self.submissions.append(written_as_code(root / "coded", self.names))
        plain = check_submission(BUNDLED / "digits-plain", self.names)
        case = Case(name="edits-20", attack="random-events", threat={"kind": "event-edits", "max_edits": 20})
        suite = Suite(name="small", version=1, craft=4, test=4, cases=(case,))
        train, test = (
            load_data("digits-dvs", split, steps=30, dt_us=10_000, limit=4) for split in ("train", "test")
        )
        classifier = build_classifier(plain, self.names)
        self.setting = prepare(classifier, Splits(train, test), suite, name="digits-plain")
        self.record = evaluate_case(self.setting, case)
        self.claim = root / "whole-claim"
        form = ClaimForm(
            schema_version=1,
            model="digits-plain",
            suite="small",
            case="edits-20",
            authors=("B. Reaker",),
            description="By hand.",
            samples=(0, 2),
        )
        write_claim(self.claim, form, test.x[[0, 2]])
        self.records = root / "records"
        self.cell = Cell(CellIdentity(self.record.key(), {}), self.record, "2027-01-01T00:00:00+00:00")
        self.cell_path = CellStore(self.records).write("digits-plain", "small", self.cell)
        folder = self.records / "digits-plain"
        entry = Entry("digits-plain", hashes(folder), "", "first", False, "ada", "2027-01-01", "", "SSHSIG")
        self.log = entry.line() + "\n"
        key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHzr8LvXnVDYzBQrTUNjIGvBJuUe+mVrFTCZKV2Kpjpi"
        (self.records / "allowed_signers").write_text(f'ada namespaces="art-spiking" {key}\n')

    def submission(self, rng: random.Random) -> str:
        """A damaged submission, checked; built where nothing was found."""
        whole = rng.choice(self.submissions)
        folder = self.root / "fuzzed" / whole.name
        clear(folder.parent)
        shutil.copytree(whole, folder)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            with contextlib.suppress(OSError, RecursionError):  # damaged before: a link to nowhere, say
                damage_folder(folder, rng)
        if rng.random() < 0.7:
            mend_hashes(folder)
        checked = check_submission(folder, self.names)
        if checked.problems:
            str([str(problem) for problem in checked.problems])
            return "refused"
        if checked.stored is not None:  # code would be run
            build_classifier(checked, self.names)
        return "still whole"

    def damaged_claim(self, rng: random.Random) -> str:
        """A damaged claim, read and scored."""
        folder = self.root / "claim"
        clear(folder)
        shutil.copytree(self.claim, folder)
        damage_folder(folder, rng)
        try:
            score(read_events(folder), read_form(folder), self.setting, self.record)
        except ArtSpikingError:
            return "refused"
        return "accepted"

    def damaged_log(self, rng: random.Random) -> str:
        """A damaged log, read and verified."""
        path = self.records / "digits-plain" / "log.jsonl"
        damage = damage_text if rng.random() < 0.7 else damage_bytes
        path.write_bytes(damage(self.log.encode(), rng))
        try:
            state = read_log(path.parent, self.records / "allowed_signers")
        except ArtSpikingError:
            return "refused"
        finally:
            path.unlink()
        return "refused" if state.problems else "an empty log"

    def damaged_cell(self, rng: random.Random) -> str:
        """A damaged cell, read."""
        whole = self.cell_path.read_bytes()
        damage = damage_text if rng.random() < 0.7 else damage_bytes
        self.cell_path.write_bytes(damage(whole, rng))
        try:
            CellStore(self.records).read("digits-plain", "small", self.cell_path.stem)
        except ArtSpikingError:
            return "refused"
        finally:
            self.cell_path.write_bytes(whole)
        return "still whole"


def written_as_code(folder: Path, names: Names) -> Path:
    """A submission of the code division, which is checked and not run."""
    manifest = check_submission(BUNDLED / "digits-plain", names).manifest
    if manifest is None:
        raise TypeError("digits-plain has problems")
    code = b"import torch\n\n\ndef build():\n    return torch.nn.Flatten()\n"
    entry = FileEntry(sha256=hashlib.sha256(code).hexdigest(), size=len(code))
    changes = {"name": folder.name, "division": "code", "readout": IN_CODE, "files": Files(code=entry)}
    folder.mkdir()
    (folder / CODE_FILE).write_bytes(code)
    (folder / MANIFEST).write_text(manifest_text(manifest.model_copy(update=changes)))
    return folder


def fuzz(count: int, seed: int) -> tuple[Tally, float]:
    """Damages and reads `count` files or folders; what came of them, and the memory at its peak in MB."""
    tally = Tally()
    np.seterr(all="ignore")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        world = World(Path(folder))
        steps = dict(
            zip(
                SHARES,
                (world.submission, world.damaged_claim, world.damaged_log, world.damaged_cell),
                strict=True,
            )
        )
        before = _memory("VmRSS")
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
        for number in range(count):
            rng = random.Random(f"{seed} {number}")
            kind = rng.choices(list(SHARES), list(SHARES.values()))[0]
            tally.run(f"{kind} {number}", partial(steps[kind], rng))
    return tally, _memory("VmHWM") - before


def _memory(what: str) -> float:
    """MB that this process holds, or held at most."""
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{what}:")[1].split()[0]) * 1024 / 1e6


@contextlib.contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    def late(*_: Any) -> None:
        raise Hang(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--unconfined", action="store_true", help="Not behind bubblewrap.")
    asked = parser.parse_args()
    if not asked.unconfined:
        code = run_confined([sys.executable, "-B", __file__, *sys.argv[1:], "--unconfined"])
        if code is None:
            print("There is no bubblewrap that works here: give --unconfined to do without.", file=sys.stderr)
        return 2 if code is None else code
    start = time.perf_counter()
    tally, megabytes = fuzz(asked.count, asked.seed)
    found = {
        "count": asked.count,
        "outcomes": dict(sorted(tally.outcomes.items())),
        "escaped": tally.escaped,
        "slowest_seconds": round(tally.slowest[0], 3),
        "slowest": tally.slowest[1],
        "peak_megabytes": round(megabytes),
        "seconds": round(time.perf_counter() - start),
    }
    if asked.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            if name not in ("outcomes", "escaped"):
                print(f"{name}: {value}")
        for name, number in found["outcomes"].items():
            print(f"  {name}: {number}")
        print("\n".join(tally.escaped[:20]))
    return 1 if tally.escaped or megabytes > 500 else 0


if __name__ == "__main__":
    sys.exit(main())
