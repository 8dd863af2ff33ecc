# SPDX-License-Identifier: MIT
"""Says when an attack has to do without the spike derivative that it asks for."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from art_spiking.estimators.classifier import SpikingClassifier


class OwnSurrogateWarning(UserWarning):
    """An attack goes by the model's own spike derivative, since the network cannot exchange it.

    The attack may be far weaker for it. A SpikingNetwork inside a plain module is the usual case: give the
    classifier the SpikingNetwork itself, or give the module a method `with_surrogate(surrogate)` that returns
    one like it with that derivative.
    """


def own_surrogate_text(estimator: SpikingClassifier) -> str:
    """Why the attack's surrogate could not be used, and what it used instead."""
    return (
        f"the attack's surrogate could not be used: {type(estimator.model.network).__name__} has no "
        "with_surrogate(surrogate), so the attack went by the model's own spike derivative"
    )


def warn_of_own_surrogate(estimator: SpikingClassifier, *, stacklevel: int = 2) -> None:
    """Warns with `OwnSurrogateWarning`, once for a classifier.

    Args:
        estimator: the classifier whose network cannot exchange its surrogate.
        stacklevel: as in `warnings.warn`; 2 blames the caller of this function.
    """
    if not estimator.told_own_surrogate:
        estimator.told_own_surrogate = True
        warnings.warn(own_surrogate_text(estimator), OwnSurrogateWarning, stacklevel=stacklevel)
