# SPDX-License-Identifier: MIT
"""What an ensemble did and what the trust battery found, as people read them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from art_spiking.records import EnsembleResult, TrustResult

_MEMBER_HEAD = ("member", "tried", "fooled", "alone", "forwards", "backwards", "seconds")
_SAMPLES_SHOWN = 12


def ensemble_table(ensemble: EnsembleResult, *, width: int) -> str:
    """What each member of the ensemble did, in the order in which they ran, and what was left out."""
    rows: list[Sequence[str]] = [_MEMBER_HEAD]
    for m in ensemble.members:
        alone = "-" if m.alone is None else str(m.alone)
        counts = (str(m.tried), str(m.fooled), alone, str(m.forwards), str(m.backwards))
        rows.append((m.name, *counts, f"{m.seconds:.1f}"))
    note = "each member attacked what those before it left; --exhaustive tells what each fools alone"
    if any(member.alone is not None for member in ensemble.members):
        note = "every member attacked every sample; alone: fooled by no other member"
    lines = [f"AutoSpike, ensemble {ensemble.version}", *_columns(rows), note]
    for entry in ensemble.left_out:
        lines.append(_hung(f"left out: {entry.what}{_samples(entry.samples)}: {entry.why}", width))
    return "\n".join(lines)


def trust_table(trust: TrustResult, *, width: int) -> str:
    """What each check found, doubts marked, with its cost; and what was left out."""
    lines = ["Checks of whether the number is to be trusted"]
    for check in trust.checks:
        mark = "DOUBT" if check.code is not None else "ok"
        cost = f"{check.forwards:,} forwards, {check.backwards:,} backwards, {check.seconds:.1f} s"
        text = f"{check.text} ({cost})" if check.forwards or check.backwards else check.text
        lines.append(_hung(f"{mark:5s}  {check.check:11s}  {text}", width, hang=20))
    lines += [_hung(f"left out: {entry}", width) for entry in trust.left_out]
    doubts = sum(check.code is not None for check in trust.checks)
    lines.append(f"{doubts or 'none'} of {len(trust.checks)} checks raises a doubt")
    return "\n".join(lines)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines, the first column to the left and the others to the right, the head underlined."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(t.rjust(w) for t, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines


def _samples(samples: Sequence[int]) -> str:
    if not samples:
        return ""
    shown = ", ".join(str(sample) for sample in samples[:_SAMPLES_SHOWN])
    more = ", ..." if len(samples) > _SAMPLES_SHOWN else ""
    return f" for {len(samples)} {'sample' if len(samples) == 1 else 'samples'} ({shown}{more})"


def _hung(text: str, width: int, *, hang: int = 10) -> str:
    return textwrap.fill(text, width, subsequent_indent=" " * hang, break_on_hyphens=False)
