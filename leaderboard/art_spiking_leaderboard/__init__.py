# SPDX-License-Identifier: MIT
"""The leaderboard of art-spiking: submissions, runs, ranking, page.

from art_spiking_leaderboard import load_model, results
"""

from __future__ import annotations

from typing import Any

__all__ = ["load_model", "results"]


def __getattr__(name: str) -> Any:
    """Imports what is asked for; the program imports this package for every command."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from art_spiking_leaderboard import zoo

    return getattr(zoo, name)
