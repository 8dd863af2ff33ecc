# SPDX-License-Identifier: MIT
"""Is a robust accuracy to be trusted? A battery of experiments on a model, told as findings and flags."""

from art_spiking.trust.battery import CHECKS, Battery, examine, trust
from art_spiking.trust.findings import Finding

__all__ = ["CHECKS", "Battery", "Finding", "examine", "trust"]
