# SPDX-License-Identifier: MIT
"""The contract of a data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from art_spiking.datasets import SPLITS, EventData
from art_spiking.testing.contracts import require, run_contract, same, subject_of

_SAMPLES = 4
_STEPS = 7
_DT_US = 20_000


def check_dataset(factory: Callable[..., EventData], *, data_dir: Path | None = None) -> None:
    """Checks a data set as the host calls it: `factory(split, steps=, dt_us=, binary=, data_dir=, limit=)`.

    Args:
        factory: what a plugin registers.
        data_dir: the folder of recordings, for data sets that need one.

    Raises:
        ContractBroken: names every property that does not hold.
    """

    def load(split: str, *, binary: bool = True, limit: int = _SAMPLES) -> EventData:
        return factory(split, steps=_STEPS, dt_us=_DT_US, binary=binary, data_dir=data_dir, limit=limit)

    def splits() -> None:
        for split in SPLITS:
            found = load(split)
            require(isinstance(found, EventData), f"it returned {type(found).__name__}, not EventData")
            require(found.split == split, f"the split '{split}' says that it is '{found.split}'")

    def repeats() -> None:
        for split in SPLITS:
            require(
                load(split).digest() == load(split).digest(), f"the split '{split}' differs between calls"
            )

    def grid() -> None:
        found = load("test").grid
        require((found.steps, found.dt_us) == (_STEPS, _DT_US), f"it was binned on {found}")
        require(found.binary and not load("test", binary=False).grid.binary, "binary is not heeded")

    def counts() -> None:
        binary, counted = load("test"), load("test", binary=False)
        require(same(binary.x, counted.x.clip(max=1)), "binary frames are not the counts cut off at 1")

    def limits() -> None:
        few, more = load("test", limit=2), load("test", limit=_SAMPLES)
        require(
            (len(few), len(more)) == (2, _SAMPLES), f"limits 2 and {_SAMPLES} gave {len(few)}, {len(more)}"
        )
        require(
            same(few.x, more.x[:2]) and same(few.y, more.y[:2]), "a limit does not give the first samples"
        )

    def apart() -> None:
        require(load("train").digest() != load("test").digest(), "both splits hold the same samples")

    run_contract(
        f"the data set {subject_of(factory)}",
        [
            ("has both splits", splits),
            ("repeats itself", repeats),
            ("heeds its grid", grid),
            ("counts events", counts),
            ("heeds its limit", limits),
            ("keeps its splits apart", apart),
        ],
    )
