# SPDX-License-Identifier: MIT
"""What art-spiking finds through the entry point; it is imported for every command, so it stays light."""

from __future__ import annotations

from art_spiking.hookspecs import Register, hookimpl


@hookimpl
def art_spiking_register_frameworks(register: Register) -> None:
    """Offers SpikingJelly; the adapter is imported only when somebody uses it, SpikingJelly not even then."""
    register(
        "spikingjelly",
        "art_spiking_spikingjelly.adapter:SpikingJellyAdapter",
        "Models of SpikingJelly's activation-based neurons, step modes s and m.",
    )
