# SPDX-License-Identifier: MIT
"""One perturbation for every recording: masks of edits and patches."""
