# SPDX-License-Identifier: MIT
"""Spikes, synaptic operations and size of a model, counted on the samples that are scored."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from art_spiking.errors import InvalidModel
from art_spiking.estimators.blackbox import BlackBoxEventClassifier
from art_spiking.inspection import sample_counts
from art_spiking.records import Activity, Footprint
from art_spiking.surroundings import own_surroundings

if TYPE_CHECKING:
    from art_spiking.estimators import EventClassifier


def activity_of(estimator: EventClassifier, x: npt.NDArray[np.float32], *, batch: int) -> Activity | None:
    """What the neurons do with samples, behind the model's defences; no query is counted.

    One pass more, in the batches that are scored: a model that draws random numbers may do otherwise in
    another one.

    Args:
        estimator: the model.
        x: samples (N, T, C, H, W).
        batch: samples per pass.

    Returns:
        None for a model that nobody can look into: submitted code, a module of another framework, or a
        network without neurons.
    """
    network = estimator.network
    if network is None or isinstance(estimator, BlackBoxEventClassifier):
        return None
    with own_surroundings(zlib.crc32(np.ascontiguousarray(x).data)):
        parts = torch.split(torch.from_numpy(x).to(estimator.device), batch)
        given = torch.cat([estimator._apply_preprocessing(part, y=None, fit=False)[0] for part in parts])
    try:
        found = sample_counts(network, given, batch=batch)
    except InvalidModel:
        return None
    return Activity(spikes=tuple(found.spikes.tolist()), operations=tuple(found.operations.tolist()))


def footprint_of(estimator: EventClassifier) -> Footprint | None:
    """How many parameters a model has, and what they take; None where it shows none."""
    box = isinstance(estimator, BlackBoxEventClassifier)
    held = [] if box else list(estimator.model.network.parameters())
    if not held:
        return None
    return Footprint(
        parameters=sum(p.numel() for p in held), bytes=sum(p.numel() * p.element_size() for p in held)
    )
