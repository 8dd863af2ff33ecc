# SPDX-License-Identifier: MIT
"""What this distribution adds to art-spiking: the command group `leaderboard`."""

from __future__ import annotations

from art_spiking.hookspecs import Register, hookimpl


@hookimpl
def art_spiking_register_commands(register: Register) -> None:
    """The command group."""
    register(
        "leaderboard",
        "art_spiking_leaderboard.commands:leaderboard",
        "Check submissions, evaluate them under a suite, and render the ranking as a site.",
    )
