# SPDX-License-Identifier: MIT
"""The discrete dynamics that a graph file leaves open, and those of the frameworks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

from art_spiking.errors import InvalidInput, UnknownName

Reset = Literal["subtract", "value", "none"]
Spikes = Literal["one", "several"]
Fires = Literal["ge", "gt"]
Integration = Literal["euler", "exponential", "impulse", "delayed-reset", "fixed-point"]
PoolGradient = Literal["average", "lp"]

_CHOICES = MappingProxyType(
    {
        "reset": get_args(Reset),
        "spikes": get_args(Spikes),
        "fires": get_args(Fires),
        "integration": get_args(Integration),
        "pool_gradient": get_args(PoolGradient),
    }
)

_SCALES = tuple(1 << k for k in range(17))
# What came later: left out where it says nothing, so that what was stated before keeps its digest.
_OPTIONAL: Mapping[str, int | None] = MappingProxyType({"scale": None, "spike_delay": 0})


@dataclass(frozen=True)
class NeuronSemantics:
    """The discrete dynamics that a graph file leaves open; part of a model's identity.

    Attributes:
        reset: What a spike does to the potential: "subtract" takes the threshold off (once per spike),
            "value" sets it to the neuron's v_reset, "none" leaves it.
        spikes: "one" per step at most, or "several": as many as whole thresholds fit into the potential.
        v_min: Lower clamp of the potential of every spiking neuron, applied before the comparison; None is no
            clamp.
        fires: Whether a potential equal to the threshold fires ("ge") or only one above it ("gt").
        integration: How a differential equation becomes a step of length dt, with time constant tau:
            "euler", a forward Euler step, input scaled by dt / tau; "exponential", the exact solution for an
            input that is constant over the step; "impulse", exponential decay, input added unscaled;
            "delayed-reset", Euler, but a spike resets at the next step, after the leak; "fixed-point", Euler
            in the whole numbers of Loihi. The equations are in `neurons.coefficients` and `neurons.step`.
        pool_gradient: The backward pass of a sum pooling: "average" is the true one; "lp" is that of
            LPPool2d(norm_type=1), which is zero where a window is silent. The forward pass is the same.
        scale: Of "fixed-point" alone, and needed there: thresholds are whole multiples of 1 / scale, input
            and states of 1 / (64 scale); what lava-dl's neurons call `scale`.
        spike_delay: Steps that a spike takes to wherever it goes, 0 or 1, the Output included; lava-dl's
            blocks call it `delay_shift`. An edge that leads back takes one step either way.
    """

    reset: Reset = "value"
    spikes: Spikes = "one"
    v_min: float | None = None
    fires: Fires = "gt"
    integration: Integration = "euler"
    pool_gradient: PoolGradient = "average"
    scale: int | None = None
    spike_delay: int = 0

    def __post_init__(self) -> None:
        """Checks every choice."""
        for name, accepted in _CHOICES.items():
            found = getattr(self, name)
            if found not in accepted:
                raise InvalidInput(
                    f"the semantics' {name} does not fit", found=repr(found), accepted=", ".join(accepted)
                )
        self._check_numbers()
        low = self.v_min
        if low is None:
            return
        if isinstance(low, bool) or not isinstance(low, int | float) or not -float("inf") < low <= 0:
            raise InvalidInput(
                "the semantics' v_min does not fit",
                found=repr(low),
                accepted="None, or a finite number up to 0",
            )
        object.__setattr__(self, "v_min", float(low))

    def _check_numbers(self) -> None:
        fixed = self.integration == "fixed-point"
        if fixed and (self.spikes, self.v_min) != ("one", None):
            raise InvalidInput(
                "neurons in fixed point fire once a step and know no lower clamp",
                found=f"spikes={self.spikes}, v_min={self.v_min}",
                accepted="spikes=one, v_min=none",
            )
        for name, choices in (("scale", _SCALES if fixed else (None,)), ("spike_delay", (0, 1))):
            value = getattr(self, name)
            if value not in choices or isinstance(value, bool | float):
                accepted = "0, 1"
                if name == "scale":
                    accepted = (
                        "a power of two up to 65536" if fixed else "none, unless integration=fixed-point"
                    )
                raise InvalidInput(
                    f"the semantics' {name} does not fit", found=repr(value), accepted=accepted
                )

    @classmethod
    def preset(cls, name: str) -> NeuronSemantics:
        """The semantics of that name in `PRESETS`.

        Raises:
            UnknownName: There is none.
        """
        if name not in PRESETS:
            raise UnknownName("no such neuron semantics", asked=repr(name), accepted=", ".join(PRESETS))
        return PRESETS[name]

    def to_dict(self) -> dict[str, Any]:
        """The semantics as plain data, which `from_dict` reads; without `_OPTIONAL` at their defaults."""
        stated = dataclasses.asdict(self)
        return {key: value for key, value in stated.items() if value != _OPTIONAL.get(key, ...)}

    def to_text(self) -> str:
        """The semantics on one line, "reset=value,spikes=one,...", which `semantics_text` reads."""
        pairs = ((key, "none" if value is None else value) for key, value in self.to_dict().items())
        return ",".join(f"{key}={value}" for key, value in pairs)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> NeuronSemantics:
        """The semantics that `to_dict` wrote.

        Raises:
            InvalidInput: A field that is missing, unknown or does not fit.
        """
        known = [item.name for item in dataclasses.fields(cls)]
        if not set(known) >= set(data) >= set(known) - set(_OPTIONAL):
            raise InvalidInput(
                "neuron semantics are stated in full",
                found=", ".join(sorted(data)) or "nothing",
                accepted=f"{', '.join(known)}, of which {' and '.join(_OPTIONAL)} may be left out",
            )
        return cls(**data)


PRESETS: Mapping[str, NeuronSemantics] = MappingProxyType(
    {
        # The equations printed in NIR's node definitions, v > threshold included, stepped by forward Euler.
        "nir": NeuronSemantics(),
        # sinabs clamps an imported IF neuron at minus its threshold, 1 in all models seen, and LIF not at
        # all; it takes time constants as numbers of steps, which is dt_us=1_000_000 here.
        "sinabs": NeuronSemantics(
            reset="subtract",
            spikes="several",
            v_min=-1.0,
            fires="ge",
            integration="impulse",
            pool_gradient="lp",
        ),
        # Leaky and Synaptic as constructed by default; its NIR import resets at once, and its IF leaks.
        "snntorch": NeuronSemantics(
            reset="subtract", fires="gt", integration="delayed-reset", pool_gradient="lp"
        ),
        # LIFBox and IAF cells, which its NIR import makes.
        "norse": NeuronSemantics(fires="gt", pool_gradient="lp"),
        "spikingjelly": NeuronSemantics(fires="ge", pool_gradient="lp"),
        # lava-dl's CUBA blocks as constructed by default; integrate-and-fire neurons are CUBA neurons whose
        # current decays at once and whose potential never does.
        "slayer": NeuronSemantics(fires="gt", integration="fixed-point", scale=64, spike_delay=1),
    }
)
"""The discretisation of each framework, by its name."""
