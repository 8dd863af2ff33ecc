# SPDX-License-Identifier: MIT
"""Threat models: what an attacker may change, in events, µs and pixels."""

from art_spiking.threats.base import Cost, Edits, EventThreat, ThreatModel, Violation
from art_spiking.threats.edits import EventEdits
from art_spiking.threats.forms import threat_from_dict
from art_spiking.threats.linf import Linf
from art_spiking.threats.objects import ObjectRegion
from art_spiking.threats.retiming import Retiming
from art_spiking.threats.rules import AllOf, PatchRegion, PixelRate

__all__ = [
    "AllOf",
    "Cost",
    "Edits",
    "EventEdits",
    "EventThreat",
    "Linf",
    "ObjectRegion",
    "PatchRegion",
    "PixelRate",
    "Retiming",
    "ThreatModel",
    "Violation",
    "threat_from_dict",
]
