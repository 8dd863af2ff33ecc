# SPDX-License-Identifier: MIT
"""A problem found in a submission: which file, which key, what was expected, what was found."""

from __future__ import annotations

from dataclasses import asdict, dataclass

SHOWN = 100  # characters of a stranger's value that a message repeats


@dataclass(frozen=True)
class Problem:
    """One thing to put right; `key` is empty when the file as a whole is meant."""

    file: str
    key: str
    expected: str
    found: str

    @property
    def text(self) -> str:
        """One line for a terminal."""
        where = f"{self.file}: {self.key}" if self.key else self.file
        return f"{where}: expected {self.expected}; found {self.found}"

    def to_dict(self) -> dict[str, str]:
        """The four fields, for JSON."""
        return asdict(self)


def shown(value: object) -> str:
    """A value as a message repeats it: its repr, one line, printable, not longer than `SHOWN`."""
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
