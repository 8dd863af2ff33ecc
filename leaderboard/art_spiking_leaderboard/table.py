# SPDX-License-Identifier: MIT
"""The ranking as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from art_spiking.metrics import Share, accuracy
from art_spiking_leaderboard.current import Table
from art_spiking_leaderboard.ranking import RANK_RULE, Row

_NOTE = (
    "worst case: share of the test samples that stay right under every case, with its 95% Wilson interval; "
    "mean: of the accuracies in the cases, which changes no rank; random: the worst case over the random "
    "controls; then the accuracy in each case. "
)


def table_text(table: Table, *, width: int = 100) -> str:
    """One table: ranked models, then those without a rank and why."""
    ranked = [row for row in table.rows if row.rank is not None]
    lines = [f"{table.suite.name} on {table.data}"]
    if ranked:
        lines += ["", *_aligned([_head(table), *(_line(row, table) for row in ranked)])]
        lines += ["", textwrap.fill(_NOTE + RANK_RULE, width)]
    for row in table.rows:
        if row.reasons:
            lines += ["", f"{row.name} is not ranked:"]
            lines += [_wrapped(reason, width, first="  - ") for reason in row.reasons]
    flags = [
        f"  {row.name}, {case}: {flag.text}" for row in table.rows for case, flag in row.flags if row.rank
    ]
    if flags:
        lines += ["", "Flags, which say why a number may flatter:"]
        lines += [_wrapped(flag, width) for flag in flags]
    return "\n".join(lines)


def _head(table: Table) -> list[str]:
    return [
        "rank",
        "model",
        "worst case",
        "mean",
        "clean",
        "random",
        *(case.name for case in table.suite.cases),
    ]


def _line(row: Row, table: Table) -> list[str]:
    cases = []
    for case in table.suite.cases:
        record = row.records[case.name]
        cases.append(f"{accuracy(record.labels, record.adversarial).value:.2f}")
    control = f"{row.control.value:.2f}" if row.control else "-"
    mean = "-" if row.mean is None else f"{row.mean:.2f}"
    return [str(row.rank), row.name, _share(row.robust), mean, _share(row.clean), control, *cases]


def _share(share: Share | None) -> str:
    return "-" if share is None else f"{share.value:.2f} [{share.low:.2f}, {share.high:.2f}]"


def _wrapped(text: str, width: int, *, first: str = "") -> str:
    """Lines of at most `width`; names are not broken at their hyphens."""
    return textwrap.fill(text, width, initial_indent=first, subsequent_indent="    ", break_on_hyphens=False)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        cells = [
            text.ljust(w) if column == 1 else text.rjust(w)
            for column, (text, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
        if number == 0:
            lines.append("  ".join("-" * w for w in widths))
    return lines
