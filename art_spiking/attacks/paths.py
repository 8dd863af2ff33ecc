# SPDX-License-Identifier: MIT
"""The gradient paths that an attack is asked to take, and the model as it is differentiated by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from art_spiking.attacks.choosing import SWEEP
from art_spiking.errors import InvalidInput
from art_spiking.estimators import SpikingClassifier, warn_of_own_surrogate
from art_spiking.gradient_paths import GradientPath, path_from_dict, path_named
from art_spiking.surrogates import Atan

SAMPLE_SURROGATE = Atan(alpha=3.0, through_reset=True)
"""The spike derivative that attacks on single samples use unless told otherwise.

The gradient through the reset tells the attack that a spike brought forward is not a spike gained: on the
community N-MNIST network under `subtract` it halved the accuracy that 250 inserted events leave. From one
step to the next it multiplies by 1 - h(u); a derivative higher than 2, an alpha above 4, makes that grow
without bound (measured: attacks all but fail from alpha 5 on).
"""

OneSurrogate = GradientPath | Mapping[str, Any] | str
"""A gradient path, its `to_dict`, its name in `gradient_paths.PATHS`, or "sweep"; see `EventAttack.tune`."""

Surrogates = OneSurrogate | Sequence[OneSurrogate] | None


def attack_views(estimator: SpikingClassifier, surrogates: Surrogates) -> list[SpikingClassifier]:
    """Returns the estimator as the attacker differentiates it, once for each surrogate.

    Args:
        estimator: the model under attack.
        surrogates: a gradient path, its `to_dict` or its name, or several; None, or a network that has no
            exchangeable one, leaves the estimator's own. The latter is told by an `OwnSurrogateWarning`.

    Raises:
        InvalidInput: a path that the network cannot have, or a sweep that was not made.
    """
    if surrogates is None:
        return [estimator]
    if not estimator.exchanges_surrogate:
        warn_of_own_surrogate(estimator)
        return [estimator]
    if surrogates == SWEEP:
        raise InvalidInput(
            "the attack's surrogate is yet to be chosen",
            asked=repr(surrogates),
            remedy="call tune(x, y) with a craft split first, or name a gradient path",
        )
    return [estimator.with_surrogate(surrogate) for surrogate in checked_surrogates(surrogates)]


def labels_of(estimator: SpikingClassifier, surrogates: Surrogates) -> list[dict[str, Any]]:
    """Returns what records call the views of `attack_views`, in their order: by path, None for the own."""
    if surrogates is None or not estimator.exchanges_surrogate:
        return [{"path": None}]
    return [{"path": path.to_dict()} for path in checked_surrogates(surrogates)]


def checked_surrogates(surrogates: Surrogates) -> list[GradientPath]:
    """Returns gradient paths given as themselves, as the dicts that suites hold, or by name.

    Empty for None, and for "sweep", which leaves them to be chosen.

    Raises:
        InvalidInput: neither, or an empty sequence.
        UnknownName: a dict or a name that names none.
    """
    if surrogates is None or surrogates == SWEEP:
        return []
    several = surrogates if isinstance(surrogates, list | tuple) else [surrogates]
    read = [_path(one) for one in several]
    result = [path for path in read if isinstance(path, GradientPath)]
    if not result or len(result) < len(read):
        raise InvalidInput(
            "a surrogate does not fit",
            asked=repr(surrogates),
            accepted="a gradient path or Surrogate, its to_dict or name, several of these, or None",
        )
    return result


def _path(one: Any) -> Any:
    if isinstance(one, str):
        return path_named(one)
    return path_from_dict(one) if isinstance(one, Mapping) else one
