# SPDX-License-Identifier: MIT
"""Attacks in the event domain: their results are exactly valid under a threat model."""

from art_spiking.attacks.base import EventAttack
from art_spiking.attacks.controls import RandomEvents, RandomPatch, RandomUniversal
from art_spiking.attacks.edits.exchange import EventExchange
from art_spiking.attacks.edits.gradient import EventGradientAttack
from art_spiking.attacks.edits.gumbel import GumbelEventAttack
from art_spiking.attacks.edits.minimal import MinimalEdits
from art_spiking.attacks.edits.sparse_dynamic import SparseDynamicAttack
from art_spiking.attacks.edits.spike_fool import SpikeFool
from art_spiking.attacks.edits.ternary import TernaryGradientAttack
from art_spiking.attacks.ensemble.auto import AutoSpike, MemberOutcome
from art_spiking.attacks.paths import SAMPLE_SURROGATE
from art_spiking.attacks.queries.boundary import EventHopSkipJump, EventSignOPT
from art_spiking.attacks.queries.genetic import EventGenetic, EventGreedy
from art_spiking.attacks.queries.retiming import RetimingSquare
from art_spiking.attacks.queries.square import EventSquare
from art_spiking.attacks.queries.transfer import EventTransfer
from art_spiking.attacks.retiming import RandomRetiming, SpikeRetiming
from art_spiking.attacks.universal.attack import UniversalAttack
from art_spiking.attacks.universal.flip_frequency import HeatmapPerturbation, IterativePerturbation
from art_spiking.attacks.universal.patch import SpikingAdversarialPatch
from art_spiking.attacks.universal.perturbations import EditMask, Patch, Perturbation
from art_spiking.attacks.universal.robust import RobustUniversalPerturbation
from art_spiking.attacks.universal.spiking import SpikingUniversalPerturbation
from art_spiking.attacks.universal.transfer import TransferMatrix, transfer_matrix

__all__ = [
    "SAMPLE_SURROGATE",
    "AutoSpike",
    "EditMask",
    "EventAttack",
    "EventExchange",
    "EventGenetic",
    "EventGradientAttack",
    "EventGreedy",
    "EventHopSkipJump",
    "EventSignOPT",
    "EventSquare",
    "EventTransfer",
    "GumbelEventAttack",
    "HeatmapPerturbation",
    "IterativePerturbation",
    "MemberOutcome",
    "MinimalEdits",
    "Patch",
    "Perturbation",
    "RandomEvents",
    "RandomPatch",
    "RandomRetiming",
    "RandomUniversal",
    "RetimingSquare",
    "RobustUniversalPerturbation",
    "SparseDynamicAttack",
    "SpikeFool",
    "SpikeRetiming",
    "SpikingAdversarialPatch",
    "SpikingUniversalPerturbation",
    "TernaryGradientAttack",
    "TransferMatrix",
    "UniversalAttack",
    "transfer_matrix",
]
