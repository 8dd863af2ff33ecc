# SPDX-License-Identifier: MIT
"""What art-spiking finds through the entry point; it is imported for every command, so it stays light."""

from art_spiking.hookspecs import Register, hookimpl


@hookimpl
def art_spiking_register_attacks(register: Register) -> None:
    """Offers the attack by name; its module is imported only when somebody uses it."""
    register(
        "hot-pixels",
        "art_spiking_example.hot_pixels:HotPixels",
        "Bursts at the pixels that are busiest already, as a sensor's hot pixels emit.",
    )


@hookimpl
def art_spiking_register_suites(register: Register) -> None:
    """Offers a suite, a TOML file beside this module."""
    register(
        "hot-pixels-quick",
        "art_spiking_example:hot-pixels-quick.toml",
        "Hot pixels at two budgets, beside random insertions.",
    )
