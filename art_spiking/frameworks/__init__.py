# SPDX-License-Identifier: MIT
"""Models of spiking frameworks: snnTorch here, others by plugins; run as they are, or compiled."""

from art_spiking.frameworks.adapters import (
    FrameworkAdapter,
    Inexpressible,
    Layout,
    NeuronPlan,
    node_value,
)
from art_spiking.frameworks.compiling import NotCompiled, compile_network
from art_spiking.frameworks.lookup import FrameworkWarning, check_installed, framework_adapter
from art_spiking.frameworks.running import LAYOUTS, FrameworkNetwork
from art_spiking.frameworks.spikes import SurrogateSpike, check_step, replaced
from art_spiking.frameworks.translation import node_of as layer_node

__all__ = [
    "LAYOUTS",
    "FrameworkAdapter",
    "FrameworkNetwork",
    "FrameworkWarning",
    "Inexpressible",
    "Layout",
    "NeuronPlan",
    "NotCompiled",
    "SurrogateSpike",
    "check_installed",
    "check_step",
    "compile_network",
    "framework_adapter",
    "layer_node",
    "node_value",
    "replaced",
]
