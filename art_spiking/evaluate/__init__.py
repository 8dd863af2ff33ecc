# SPDX-License-Identifier: MIT
"""Evaluates a model under a suite: one record per case, checked by the host and not by the attacks."""

from art_spiking.evaluate.runs import (
    OnAdversarial,
    evaluate,
    evaluate_case,
    evaluate_shard,
    failed_case,
    merge_shards,
)
from art_spiking.evaluate.settings import (
    Providers,
    Setting,
    Splits,
    checkout_commit,
    identify_data,
    identify_model,
    package_versions,
    prepare,
)
from art_spiking.evaluate.shards import shards_of
from art_spiking.evaluate.threats import build_threat, kinds_in

__all__ = [
    "OnAdversarial",
    "Providers",
    "Setting",
    "Splits",
    "build_threat",
    "checkout_commit",
    "evaluate",
    "evaluate_case",
    "evaluate_shard",
    "failed_case",
    "identify_data",
    "identify_model",
    "kinds_in",
    "merge_shards",
    "package_versions",
    "prepare",
    "shards_of",
]
