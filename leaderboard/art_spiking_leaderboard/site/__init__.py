# SPDX-License-Identifier: MIT
"""The leaderboard as a static site."""

from art_spiking_leaderboard.site.render import render_site

__all__ = ["render_site"]
