# SPDX-License-Identifier: MIT
"""Which code and which packages cells come from, and whether they are the ones at hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from art_spiking.evaluate import checkout_commit, package_versions
from art_spiking.records import Provenance, Record

_SHORT = 12  # hexadecimal digits of a commit that a line for people repeats


@dataclass(frozen=True)
class Origin:
    """The code that a result comes from.

    Attributes:
        commit: of art-spiking's checkout, with "-dirty" when it was changed; None when it was installed.
        packages: name -> version of what decides a result.
    """

    commit: str | None
    packages: Mapping[str, str]

    @classmethod
    def here(cls) -> Origin:
        """What a cell computed now would come from."""
        return cls(checkout_commit(), package_versions())

    @classmethod
    def of(cls, made: Provenance) -> Origin:
        """What a record comes from."""
        return cls(made.commit, made.packages)

    def told(self, beside: Origin) -> str:
        """The commit, short, and the versions that differ from those of another origin."""
        names = sorted(self.packages.keys() | beside.packages.keys())
        other = [
            f"{name} {self.packages.get(name, 'not stated')}"
            for name in names
            if self.packages.get(name) != beside.packages.get(name)
        ]
        return commit_words(self.commit) + (f" with {', '.join(other)}" if other else "")


def commit_words(commit: str | None) -> str:
    """A commit as a line for people shows it."""
    if commit is None:
        return "an installed art-spiking"
    digits, dash, changed = commit.partition("-")
    return f"commit {digits[:_SHORT]}{' and changes to it' if dash and changed else ''}"


def resumed_from_elsewhere(records: Sequence[Record], here: Origin) -> str | None:
    """One line on the cells that other code, or other versions of packages, computed; None without any."""
    told = Counter(
        Origin.of(record.provenance).told(here) for record in records if Origin.of(record.provenance) != here
    )
    if not told:
        return None
    count = sum(told.values())
    groups = ", ".join(f"{number} by {words}" for words, number in sorted(told.items()))
    return (
        f"{count} of {len(records)} cells that were there already come from other code or packages than this "
        f"run's: {groups}; here it is {here.told(here)}; to compute them anew, choose a fresh --out"
    )


def commit_counts(records: Iterable[Record]) -> tuple[tuple[str, int], ...]:
    """(commit in full, number of cells) of every commit, most cells first."""
    counts = Counter(record.provenance.commit or "an installed art-spiking" for record in records)
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
