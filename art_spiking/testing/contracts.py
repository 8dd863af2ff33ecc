# SPDX-License-Identifier: MIT
"""A contract: named properties of which every broken one is told, not only the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

Property = Callable[[], None]


class ContractBroken(AssertionError):
    """Something does not keep its contract; `problems` maps each broken property to what was found."""

    def __init__(self, subject: str, problems: dict[str, str]) -> None:
        self.subject = subject
        self.problems = problems
        lines = [f"{subject} breaks {len(problems)} of its contract's properties:"]
        lines += [f"  {name}: {text}" for name, text in problems.items()]
        super().__init__("\n".join(lines))


class Broken(Exception):
    """One property does not hold; the text says what was found."""


def require(holds: bool, text: str) -> None:
    """Ends a property as broken unless the condition holds."""
    if not holds:
        raise Broken(text)


def run_contract(subject: str, properties: Iterable[tuple[str, Property]]) -> None:
    """Runs every property.

    Raises:
        ContractBroken: at least one does not hold or raised.
    """
    problems = {}
    for name, check in properties:
        try:
            check()
        except Broken as error:
            problems[name] = str(error)
        except Exception as error:
            problems[name] = f"raised {type(error).__name__}: {' '.join(str(error).split())}"
    if problems:
        raise ContractBroken(subject, problems)


def same(first: npt.ArrayLike, second: npt.ArrayLike) -> bool:
    """Whether two arrays are equal, entry by entry."""
    return bool(np.array_equal(np.asarray(first), np.asarray(second)))


def subject_of(factory: object) -> str:
    """What to call the thing under test."""
    return str(getattr(factory, "__qualname__", None) or type(factory).__qualname__)
