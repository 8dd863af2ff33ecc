# SPDX-License-Identifier: MIT
"""The parameters of spiking neurons; each docstring is the equation, with NIR's names."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class IF:
    """Integrate and fire: v' = r I per step.

    Attributes:
        r: Input gain per time step; no dt enters, as no importer of graphs multiplies by it.
        v_threshold: Potential at which it fires, > 0.
        v_reset: Potential after a spike, if the semantics resets to a value.
    """

    r: Tensor
    v_threshold: Tensor
    v_reset: Tensor


@dataclass(frozen=True)
class LIF:
    """Leaky integrate and fire: tau v' = (v_leak - v) + r I.

    Attributes:
        tau: Time constant of the membrane in seconds, > 0.
        r: Resistance.
        v_leak: Potential at rest.
        v_threshold: Potential at which it fires, > 0.
        v_reset: Potential after a spike, if the semantics resets to a value.
    """

    tau: Tensor
    r: Tensor
    v_leak: Tensor
    v_threshold: Tensor
    v_reset: Tensor


@dataclass(frozen=True)
class CubaLIF:
    """Current-based leaky integrate and fire: tau_syn I' = -I + w_in x, tau_mem v' = (v_leak - v) + r I.

    Attributes:
        tau_syn: Time constant of the synaptic current in seconds, > 0.
        tau_mem: Time constant of the membrane in seconds, > 0.
        r: Resistance.
        v_leak: Potential at rest.
        v_threshold: Potential at which it fires, > 0.
        v_reset: Potential after a spike, if the semantics resets to a value.
        w_in: Gain of the input.
    """

    tau_syn: Tensor
    tau_mem: Tensor
    r: Tensor
    v_leak: Tensor
    v_threshold: Tensor
    v_reset: Tensor
    w_in: Tensor


@dataclass(frozen=True)
class LI:
    """Leaky integrator, which never fires: tau v' = (v_leak - v) + r I.

    Attributes:
        tau: Time constant of the membrane in seconds, > 0.
        r: Resistance.
        v_leak: Potential at rest.
    """

    tau: Tensor
    r: Tensor
    v_leak: Tensor


@dataclass(frozen=True)
class CubaLI:
    """Current-based leaky integrator, which never fires: the equations of `CubaLIF` without its spikes.

    Attributes:
        tau_syn: Time constant of the synaptic current in seconds, > 0.
        tau_mem: Time constant of the membrane in seconds, > 0.
        r: Resistance.
        v_leak: Potential at rest.
        w_in: Gain of the input.
    """

    tau_syn: Tensor
    tau_mem: Tensor
    r: Tensor
    v_leak: Tensor
    w_in: Tensor


@dataclass(frozen=True)
class I:  # noqa: E742 - NIR's name
    """Integrator, which neither leaks nor fires: v' = r I per step, as in `IF`.

    Attributes:
        r: Input gain per time step.
    """

    r: Tensor


@dataclass(frozen=True)
class Threshold:
    """A stateless step: it fires where the input passes the threshold, once, and forgets.

    Attributes:
        threshold: Input at which it fires.
    """

    threshold: Tensor


Neuron = IF | LIF | CubaLIF | LI | CubaLI | I | Threshold
"""Any of them."""
