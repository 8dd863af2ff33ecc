# SPDX-License-Identifier: MIT
"""Attacks in the event domain: their results are exactly valid under a threat model."""

from art_spiking.attacks.auto import AutoSpike, MemberOutcome
from art_spiking.attacks.base import SAMPLE_SURROGATE, EventAttack, UniversalAttack
from art_spiking.attacks.boundary import EventHopSkipJump, EventSignOPT
from art_spiking.attacks.controls import RandomEvents, RandomPatch, RandomUniversal
from art_spiking.attacks.ensemble_transfer import EventTransfer
from art_spiking.attacks.flip_frequency import HeatmapPerturbation, IterativePerturbation
from art_spiking.attacks.genetic import EventGenetic, EventGreedy
from art_spiking.attacks.gradient import EventGradientAttack
from art_spiking.attacks.gumbel import GumbelEventAttack
from art_spiking.attacks.minimal import MinimalEdits
from art_spiking.attacks.patch import SpikingAdversarialPatch
from art_spiking.attacks.perturbations import EditMask, Patch, Perturbation
from art_spiking.attacks.retiming import RandomRetiming, SpikeRetiming
from art_spiking.attacks.robust_universal import RobustUniversalPerturbation
from art_spiking.attacks.sparse_dynamic import SparseDynamicAttack
from art_spiking.attacks.spike_fool import SpikeFool
from art_spiking.attacks.square import EventSquare
from art_spiking.attacks.ternary import TernaryGradientAttack
from art_spiking.attacks.transfer import TransferMatrix, transfer_matrix
from art_spiking.attacks.universal import SpikingUniversalPerturbation

__all__ = [
    "SAMPLE_SURROGATE",
    "AutoSpike",
    "EditMask",
    "EventAttack",
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
