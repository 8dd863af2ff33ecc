# SPDX-License-Identifier: MIT
"""What art-spiking finds through the entry point; it is imported for every command, so it stays light."""

from __future__ import annotations

from art_spiking.hookspecs import Register, hookimpl


@hookimpl
def art_spiking_register_frameworks(register: Register) -> None:
    """Offers Norse; the adapter is imported only when somebody uses it, Norse not even then."""
    register(
        "norse",
        "art_spiking_norse.adapter:NorseAdapter",
        "Models of Norse's cells and of its modules over time.",
    )
