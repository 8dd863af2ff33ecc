# SPDX-License-Identifier: MIT
"""Which adapter a model gets, what is missing or too new, and layouts and inputs that do not fit."""

import subprocess
import sys

import pytest
import snntorch as snn
import torch
from framework_samples import SHAPE, Looping, dense, sequential
from torch import nn

from art_spiking.errors import InvalidInput, InvalidModel, MissingDependency, PluginError, UnknownName
from art_spiking.estimators import SpikingClassifier
from art_spiking.frameworks import (
    FrameworkNetwork,
    FrameworkWarning,
    check_installed,
    framework_adapter,
    lookup,
)
from art_spiking.frameworks.snntorch_adapter import SnnTorchAdapter
from art_spiking.registry import Catalogue, catalogue

ADAPTER = SnnTorchAdapter()


def test_the_framework_is_recognised_and_listed():
    assert framework_adapter(None, sequential()).name == "snntorch"
    assert framework_adapter(ADAPTER, nn.Linear(1, 1)) is ADAPTER
    assert "snntorch" in catalogue("frameworks")


def test_a_model_of_no_framework():
    with pytest.raises(InvalidModel, match=r"no framework recognises the model.*modules of torch.*snntorch"):
        FrameworkNetwork(nn.Linear(2, 2))
    with pytest.raises(InvalidModel, match=r"torch module.*found: int"):
        FrameworkNetwork(3)
    with pytest.raises(UnknownName, match="did you mean snntorch"):
        FrameworkNetwork(sequential(), "snntroch")


def test_a_framework_whose_plugin_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setattr(lookup, "catalogue", lambda kind: Catalogue.of(kind, {}))
    with pytest.raises(MissingDependency, match="pip install art-spiking-norse"):
        framework_adapter("norse", sequential())
    stranger = type("IFNode", (nn.Module,), {"__module__": "spikingjelly.activation_based.neuron"})()
    with pytest.raises(MissingDependency, match="pip install art-spiking-spikingjelly"):
        framework_adapter(None, nn.Sequential(stranger))


def test_a_framework_that_is_not_installed_and_one_that_is_too_new(monkeypatch):
    missing = type("Missing", (SnnTorchAdapter,), {"distribution": "no-such-framework"})()
    with pytest.raises(MissingDependency, match=r'not installed.*pip install "snntorch>=1.0,<1.1"'):
        check_installed(missing)
    old = type("Old", (SnnTorchAdapter,), {"tested": "0.9.4"})()
    with pytest.warns(FrameworkWarning, match=r"newer than any .* 0\.9\.4 being the last"):
        check_installed(old)
    monkeypatch.setattr(lookup, "catalogue", lambda kind: Catalogue.of(kind, {"snntorch": dict}))
    with pytest.raises(PluginError, match=r"'snntorch' is no adapter.*found: dict"):
        framework_adapter("snntorch", sequential())


@pytest.mark.parametrize(
    ("model", "layout", "problem"),
    [
        (Looping, "NT", "depends on another sample"),
        (Looping, "step", "does not take a recording in the layout 'step'"),
        (sequential, "TN", "does not take a recording in the layout 'TN'"),
    ],
)
def test_a_wrong_layout_is_told(model, layout, problem):
    with pytest.raises((InvalidInput, InvalidModel), match=problem):
        SpikingClassifier.wrap(model(), layout=layout, input_shape=SHAPE)


def test_a_layout_that_does_not_exist():
    with pytest.raises(InvalidInput, match=r"no such layout.*asked: 'NTC'.*step, step-state, TN, NT, merged"):
        FrameworkNetwork(sequential(), layout="NTC")


@pytest.mark.parametrize("x", [torch.zeros(2, 3), torch.zeros(2, 0, 6), [[[0.0]]]])
def test_a_recording_that_does_not_fit(x):
    with pytest.raises(InvalidInput, match="a recording does not fit"):
        FrameworkNetwork(dense(snn.Leaky))(x)


def test_importing_the_adapters_does_not_import_the_framework():
    code = (
        "import sys, art_spiking.frameworks.snntorch_adapter as a, art_spiking.frameworks as f\n"
        "sys.exit('snntorch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
