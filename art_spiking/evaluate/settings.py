# SPDX-License-Identifier: MIT
"""What the cases of one evaluation share: model, data, providers, and who they are."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import subprocess
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

import art_spiking
from art_spiking.checks import model_flags
from art_spiking.errors import InvalidInput, InvalidModel
from art_spiking.estimators.blackbox import BlackBoxEventClassifier
from art_spiking.estimators.draws import DECISION_DRAWS, decide
from art_spiking.evaluate.activity import activity_of, footprint_of
from art_spiking.records import Activity, DataIdentity, Flag, Footprint, ModelIdentity, SuiteIdentity
from art_spiking.registry import Catalogue, catalogue, plugin_manager
from art_spiking.suites import Suite, digest_of
from art_spiking.surroundings import own_surroundings
from art_spiking.time_steps import check_step

if TYPE_CHECKING:
    from art_spiking.datasets import EventData
    from art_spiking.estimators import EventClassifier

SCORING_BATCH = 50
"""Samples scored at a time."""

LATE_SHARE = 0.01
"""From above this share of events after the grid's end on, the last step is no longer what was recorded."""

_PACKAGES = ("art-spiking", "adversarial-robustness-toolbox", "torch", "numpy", "numba", "nir", "snntorch")


@dataclass(frozen=True)
class Splits:
    """The samples that universal attacks are fitted on, and those that every attack is scored on."""

    craft: EventData
    test: EventData

    def limited(self, suite: Suite) -> Splits:
        """At most as many samples as the suite takes."""
        return Splits(craft=_limited(self.craft, suite.craft), test=_limited(self.test, suite.test))


@dataclass(frozen=True)
class Providers:
    """Where the names of a suite's attacks and threat models are looked up."""

    attacks: Catalogue
    threats: Catalogue

    @classmethod
    def installed(cls) -> Providers:
        """The built-ins and every installed plugin."""
        manager = plugin_manager()
        return cls(catalogue("attacks", manager), catalogue("threats", manager))


@dataclass(frozen=True)
class Setting:
    """What all cases of one evaluation share; `prepare` makes it.

    Attributes:
        labels, clean: classes of the test samples, and as predicted without an attack, (N,).
        flags: the doubts that the model itself raises.
        draws: forward passes whose majority decides a class; above 1 where the model draws random numbers.
        packages: versions of the packages that decide a result.
        footprint, activity: how large the model is, and what it does with the clean samples; None where
            nobody can count it.
        commit: of the checkout that art-spiking runs from, if it runs from one; "-dirty" when it was changed.
        command: how the program was called, if it was.
        shard: how many test samples are attacked by themselves; None for all.
    """

    estimator: EventClassifier
    splits: Splits
    providers: Providers
    model: ModelIdentity
    suite: SuiteIdentity
    craft: DataIdentity
    test: DataIdentity
    labels: tuple[int, ...]
    clean: tuple[int, ...]
    flags: tuple[Flag, ...]
    draws: int
    footprint: Footprint | None
    activity: Activity | None
    packages: dict[str, str]
    commit: str | None
    command: tuple[str, ...] = ()
    shard: int | None = None


def prepare(
    estimator: EventClassifier,
    splits: Splits,
    suite: Suite,
    *,
    name: str = "model",
    providers: Providers | None = None,
    command: tuple[str, ...] = (),
) -> Setting:
    """Checks that model and data fit, identifies them, scores the clean samples and checks the model.

    Args:
        estimator: the classifier, with its deployed readout and defences.
        splits: craft and test samples; the suite's numbers limit them.
        suite: the suite that the cases belong to.
        name: what people call the model.
        providers: where attacks and threat models are looked up; by default everything installed.
        command: how the program was called, for the record.

    Raises:
        InvalidInput: samples of another shape than the model takes, or labels beyond its classes.
        InvalidModel: the model returns NaN.

    Warns:
        DifferentTimeStep: the data is binned at another step than the model's time constants are for.
    """
    splits = splits.limited(suite)
    for data in (splits.craft, splits.test):
        _check_data(data, estimator)
    if estimator.network is not None and estimator.network.dt_us is not None:
        graph = estimator.network.to_graph()
        check_step(graph, splits.test.grid.dt_us, stated_us=estimator.network.dt_us)
    clean = predict(estimator, splits.test.x)
    flags = list(model_flags(estimator, splits.test.x, splits.test.y))
    draws = DECISION_DRAWS if any(flag.code == "non-deterministic" for flag in flags) else 1
    if draws > 1:
        clean = predict(estimator, splits.test.x, draws=draws)
    if splits.craft.digest() == splits.test.digest():
        text = "universal attacks are fitted on the very samples they are scored on"
        flags.append(Flag(code="craft-is-test", text=text))
    flags += [flag for data in (splits.craft, splits.test) if (flag := _late_flag(data)) is not None]
    return Setting(
        estimator=estimator,
        splits=splits,
        providers=Providers.installed() if providers is None else providers,
        model=identify_model(estimator, name),
        suite=SuiteIdentity(name=suite.name, version=suite.version, digest=suite.digest()),
        craft=identify_data(splits.craft),
        test=identify_data(splits.test),
        labels=tuple(int(label) for label in splits.test.y),
        clean=tuple(int(label) for label in clean),
        flags=tuple(flags),
        draws=draws,
        footprint=footprint_of(estimator),
        activity=activity_of(estimator, splits.test.x, batch=SCORING_BATCH),
        packages=package_versions(),
        commit=checkout_commit(),
        command=tuple(command),
        shard=suite.shard,
    )


def predict(
    estimator: EventClassifier, x: npt.NDArray[np.float32], *, draws: int = 1
) -> npt.NDArray[np.int64]:
    """Classes (N,) in the deployed readout; the lowest class wins a tie.

    What a random model draws depends on the samples alone: no attack had these draws in hand, and the same
    samples get the same classes.

    Args:
        estimator: the model.
        x: samples, (N, T, C, H, W).
        draws: passes, the majority of which decides.

    Raises:
        InvalidModel: a logit is NaN or infinite.
    """
    seed = zlib.crc32(np.ascontiguousarray(x).data)
    with own_surroundings(seed):
        given = torch.from_numpy(x)
        found, logits = decide(estimator, given, draws=draws, batch_size=SCORING_BATCH)
    logits = logits.cpu()
    if not bool(torch.isfinite(logits).all()):
        samples = int((~torch.isfinite(logits)).any(dim=1).sum())
        raise InvalidModel(
            "the model returns NaN or infinity", found=f"in {samples} of {len(logits)} samples"
        )
    if draws > 1:
        return found.cpu().numpy().astype(np.int64)
    # numpy's argmax takes the first of equal logits everywhere; torch's does not promise to.
    classes: npt.NDArray[np.int64] = logits.numpy().argmax(axis=1).astype(np.int64)
    return classes


def identify_model(estimator: EventClassifier, name: str) -> ModelIdentity:
    """Who a model is: weights, semantics, readout and the defences in front of it.

    The digest of a black box is that of its name and shape alone: nobody sees more of it.
    """
    network = estimator.network
    semantics: dict[str, Any] = {}
    if network is not None:
        semantics = network.semantics.to_dict()
        semantics |= {f"layer {name}": own.to_text() for name, own in network.layer_semantics.items()}
    if isinstance(estimator, BlackBoxEventClassifier):
        digest, readout = digest_of([name, *estimator.input_shape, estimator.nb_classes]), "black-box"
    else:
        digest = _state_digest(estimator.model) if network is None else network.digest()
        readout = str(estimator.readout)
    # Defences may be None, one, or several, as ART keeps them.
    defences = estimator.preprocessing_defences or []
    return ModelIdentity(
        name=name,
        digest=digest,
        readout=readout,
        semantics=semantics,
        defences=tuple(_described(defence) for defence in defences),
    )


def identify_data(data: EventData) -> DataIdentity:
    """Which samples these are."""
    grid = {field: getattr(data.grid, field) for field in ("steps", "dt_us", "height", "width", "polarities")}
    return DataIdentity(
        name=data.name,
        split=data.split,
        digest=data.digest(),
        samples=len(data.y),
        grid={**{field: int(value) for field, value in grid.items()}, "binary": bool(data.grid.binary)},
    )


def _late_flag(data: EventData) -> Flag | None:
    """A flag when many events come after the grid's end."""
    share = float(data.late.mean())
    if share <= LATE_SHARE:
        return None
    text = (
        f"{share:.1%} of the events of the {data.split} samples come after the grid's end at "
        f"{data.grid.duration_us} µs and are counted into its last step: give more or wider steps"
    )
    return Flag(code="events-beyond-grid", text=text, value=share)


def _limited(data: EventData, most: int | None) -> EventData:
    return data if most is None or len(data.y) <= most else data.subset(most)


def _check_data(data: EventData, estimator: EventClassifier) -> None:
    expected, found = tuple(estimator.input_shape), tuple(data.x.shape[1:])
    if found != expected:
        raise InvalidInput(
            f"the {data.split} samples of {data.name} do not fit the model",
            asked=f"(T, C, H, W) = {expected}",
            found=found,
            remedy="give the steps and the step width (dt_us) that the model was trained with",
        )
    if len(data.y) == 0:
        raise InvalidInput(f"the {data.split} split of {data.name} has no samples")
    if int(data.y.min()) < 0 or int(data.y.max()) >= estimator.nb_classes:
        raise InvalidInput(
            f"labels of the {data.split} samples of {data.name} are beyond the model's classes",
            found=f"{int(data.y.min())} to {int(data.y.max())}",
            accepted=f"0 to {estimator.nb_classes - 1}",
        )


def _described(defence: Any) -> str:
    """A defence as its class and the parameters that ART lists for it."""
    values = ", ".join(f"{name}={getattr(defence, name, None)!r}" for name in getattr(defence, "params", ()))
    return f"{type(defence).__name__}({values})"


def _state_digest(model: torch.nn.Module) -> str:
    """SHA-256 over a foreign module's class and its parameters and buffers, by name."""
    content = hashlib.sha256(repr(model).encode())
    for name, value in sorted(model.state_dict().items()):
        array = value.detach().cpu().contiguous().numpy()
        content.update(f"{name} {array.dtype} {array.shape}".encode())
        content.update(array.tobytes())
    return "sha256:" + content.hexdigest()


def package_versions() -> dict[str, str]:
    """The installed versions of Python and of the packages that decide a result."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def checkout_commit() -> str | None:
    """The commit of the checkout that the package runs from; None when it was installed from a wheel."""
    source = Path(art_spiking.__file__)
    tracked = ["git", "-C", str(source.parent), "ls-files", "--error-unmatch", source.name]
    describe = [
        "git",
        "-C",
        str(source.parent),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
        "--exclude=*",
    ]
    try:
        for command in (tracked, describe):
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
            if done.returncode != 0:
                return None
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
