# SPDX-License-Identifier: MIT
"""What art-spiking finds through the entry point; it is imported for every command, so it stays light."""

from __future__ import annotations

from art_spiking.hookspecs import Register, hookimpl


@hookimpl
def art_spiking_register_frameworks(register: Register) -> None:
    """Offers Sinabs; the adapter is imported only when somebody uses it, Sinabs not even then."""
    register(
        "sinabs",
        "art_spiking_sinabs.adapter:SinabsAdapter",
        "Models of Sinabs' layers, batch first or squeezed.",
    )
