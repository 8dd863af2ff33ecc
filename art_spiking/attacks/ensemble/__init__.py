# SPDX-License-Identifier: MIT
"""AutoSpike: which attacks run, in which order, within which time."""
