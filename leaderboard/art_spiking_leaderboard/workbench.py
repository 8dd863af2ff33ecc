# SPDX-License-Identifier: MIT
"""What the cells of one process share: plugins, data, and the model that is under evaluation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from art_spiking.datasets import load_data
from art_spiking.errors import InvalidInput
from art_spiking.evaluate import Providers, Setting, Splits, identify_data, prepare
from art_spiking.records import DataIdentity, SuiteIdentity, cell_key
from art_spiking.suites import Suite
from art_spiking_leaderboard.check import Names, build_classifier, check_submission, model_identity
from art_spiking_leaderboard.claimed_gradients import claimed_gradient_flag
from art_spiking_leaderboard.manifest import Data
from art_spiking_leaderboard.specs import CellSpec, Job


class Workbench:
    """What the cells of one process share: plugins, loaded data, prepared models. It only saves time."""

    def __init__(self, names: Names | None = None, providers: Providers | None = None) -> None:
        """Looks up every installed plugin, unless told where to look names up."""
        self.names = Names.installed() if names is None else names
        self.providers = Providers.installed() if providers is None else providers
        self._splits: dict[tuple[Any, ...], Splits] = {}
        self._setting: tuple[tuple[str, ...], Setting] | None = None

    def splits(self, data: Data, job: Job) -> Splits:
        """The samples that a suite takes."""
        key = (data, job.data_dir, job.suite.craft, job.suite.test)
        if key not in self._splits:

            def load(split: str, limit: int | None) -> Any:
                return load_data(
                    data.name,
                    split,
                    steps=data.steps,
                    dt_us=data.dt_us,
                    binary=data.binary,
                    data_dir=job.data_dir,
                    limit=limit,
                    datasets=self.names.datasets,
                )

            self._splits[key] = Splits(
                craft=load("train", job.suite.craft), test=load("test", job.suite.test)
            )
        return self._splits[key]

    def setting(self, spec: CellSpec) -> Setting:
        """The model of a cell, prepared for its suite; kept until another model is asked for.

        Raises:
            InvalidInput: the submission or its data is not what the cell was planned for.
            InvalidModel: the model returns NaN.
        """
        suite, case = spec.job.suite, spec.job.suite.case(spec.case)
        key = (str(spec.folder), suite.digest(), spec.identity.device_class)
        if self._setting is not None and self._setting[0] == key:
            kept = self._setting[1]
            if cell_key(kept.model, kept.suite, case, (kept.craft, kept.test)) == spec.identity.result:
                return kept
        submission = check_submission(spec.folder, self.names)
        classifier = build_classifier(submission, self.names, device=spec.identity.device_class)
        if submission.manifest is None:
            raise TypeError("a classifier was built without a manifest")
        is_code, splits = submission.stored is None, self.splits(submission.manifest.data, spec.job)
        model = model_identity(submission, self.names)
        if cell_key(model, suite_identity(suite), case, data_identity(splits)) != spec.identity.result:
            raise InvalidInput(
                f"the files or the data of {spec.model} changed since the run was planned",
                remedy="run the same command again",
            )
        setting = prepare(
            classifier,
            splits,
            suite,
            name=spec.model,
            providers=self.providers,
            command=spec.job.command,
        )
        doubt = claimed_gradient_flag(classifier, splits.craft.x, splits.craft.y) if is_code else None
        setting = replace(setting, model=model, flags=(*setting.flags, *([doubt] if doubt else [])))
        self._setting = (key, setting)
        return setting


def suite_identity(suite: Suite) -> SuiteIdentity:
    """Which suite a cell belongs to."""
    return SuiteIdentity(name=suite.name, version=suite.version, digest=suite.digest())


def data_identity(splits: Splits) -> tuple[DataIdentity, DataIdentity]:
    """Which craft and test samples a cell has."""
    return identify_data(splits.craft), identify_data(splits.test)
