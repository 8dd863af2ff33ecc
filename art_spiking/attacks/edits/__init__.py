# SPDX-License-Identifier: MIT
"""The fewest edits of one recording, by gradients."""
