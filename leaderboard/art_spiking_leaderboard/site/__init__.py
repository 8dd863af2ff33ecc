# SPDX-License-Identifier: MIT
"""The leaderboard as a static site."""

from art_spiking_leaderboard.site.render import Content, render_site
from art_spiking_leaderboard.site.views import Board

__all__ = ["Board", "Content", "render_site"]
