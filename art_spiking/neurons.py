# SPDX-License-Identifier: MIT
"""Spiking neurons: one pure time step for all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from art_spiking.errors import InvalidInput
from art_spiking.neuron_types import IF, LI, LIF, CubaLI, CubaLIF, I, Neuron, Threshold
from art_spiking.semantics import PRESETS, NeuronSemantics
from art_spiking.surrogates import Surrogate

__all__ = [
    "IF",
    "LI",
    "LIF",
    "PRESETS",
    "Coefficients",
    "CubaLI",
    "CubaLIF",
    "I",
    "Neuron",
    "NeuronSemantics",
    "State",
    "Threshold",
    "coefficients",
    "distance",
    "reset_kind",
    "spike_counts",
    "step",
]


_DECAYS = 1 << 12  # Loihi's decays are whole multiples of 1 / 4096
_STATES_PER_WEIGHT = 1 << 6  # and states have 6 bits more than weights and thresholds


@dataclass(frozen=True)
class Coefficients:
    """A neuron layer in one time step's linear form, shared by all neuron models; see `step`.

    Tensors of the layer's shape, or of one element for the whole layer.

    Attributes:
        decay: Share of the potential that is left after a step.
        gain: What the current adds to the potential.
        offset: What a step adds by itself.
        threshold: Potential at which a neuron fires; infinity where it never does.
        v_reset: Potential after a reset to a value.
        synapse_decay: Share of the synaptic current left after a step; None without a synapse.
        synapse_gain: What the input adds to the synaptic current; None without a synapse.
        stateless: Whether nothing is carried from step to step, whatever the semantics.
        fires: Whether the neuron fires at all; without, its output is its potential.
        grid: Whole numbers per unit of input and states in "fixed-point"; None where they are real.
    """

    decay: Tensor
    gain: Tensor
    offset: Tensor
    threshold: Tensor
    v_reset: Tensor
    synapse_decay: Tensor | None = None
    synapse_gain: Tensor | None = None
    stateless: bool = False
    fires: bool = True
    grid: int | None = None

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that are there, by name."""
        items = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {name: value for name, value in items.items() if isinstance(value, Tensor)}

    def map(self, change: Callable[[Tensor], Tensor]) -> Coefficients:
        """A copy with `change(tensor)` in the place of every tensor."""
        changed: dict[str, Any] = {name: change(value) for name, value in self.tensors().items()}
        return dataclasses.replace(self, **changed)


def coefficients(neuron: Neuron, semantics: NeuronSemantics, dt_us: float | None = None) -> Coefficients:
    r"""The linear form of a neuron under a semantics, in float64.

    With q = dt / tau, dt in seconds, a leaky membrane becomes

    | integration | decay | gain | offset |
    | --- | --- | --- | --- |
    | euler, delayed-reset | 1 - q | q r | q v_leak |
    | exponential | e = exp(-q) | (1 - e) r | (1 - e) v_leak |
    | impulse | e | r | (1 - e) v_leak |

    and a synapse the same with w_in for r and no offset, but for "impulse", where the input decays once as it
    arrives: gain e w_in (sinabs). IF and I have decay 1, gain r, offset 0.

    "fixed-point" is lava-dl's CUBA neuron, whose gains are 1: the coefficients are those of "euler" in units
    in which this is so. With g = q_syn w_in q r (r for IF, q r for LIF) the threshold is divided by g and cut
    to a multiple of 1 / scale, the offset likewise to one of 1 / (64 scale), and decays are rounded to 12
    bits. The NIR paper takes IF and CubaLIF to lava-dl so. Potentials come in these units.

    Args:
        neuron: Parameters of a layer, tensors of its shape or of one element.
        semantics: What the parameters leave open.
        dt_us: Length of a step in µs; needed by leaky neurons.

    Raises:
        InvalidInput: dt_us is missing, not above 0, or longer than a time constant that Euler would have to
            step over; in "fixed-point" also a gain or a reset that it does not have.
    """
    c = _linear(neuron, semantics, dt_us)
    return c if semantics.scale is None or c.stateless else _on_grid(c, semantics.scale)


def _linear(neuron: Neuron, semantics: NeuronSemantics, dt_us: float | None) -> Coefficients:
    """The real numbers of the table in `coefficients`."""
    parameters = {f.name: getattr(neuron, f.name).to(torch.float64) for f in dataclasses.fields(neuron)}
    one = torch.ones((), dtype=torch.float64)
    if isinstance(neuron, IF):
        return Coefficients(one, parameters["r"], 0 * one, parameters["v_threshold"], parameters["v_reset"])
    never = one * torch.inf, 0 * one
    if isinstance(neuron, I):
        return Coefficients(one, parameters["r"], 0 * one, *never, fires=False)
    if isinstance(neuron, Threshold):
        return Coefficients(0 * one, one, 0 * one, parameters["threshold"], 0 * one, stateless=True)
    tau = parameters["tau_mem"] if isinstance(neuron, CubaLIF | CubaLI) else parameters["tau"]
    decay, gain, rest = _leak(tau, semantics, dt_us)
    membrane = decay, gain * parameters["r"], rest * parameters["v_leak"]
    if isinstance(neuron, LI):
        return Coefficients(*membrane, *never, fires=False)
    fires = not isinstance(neuron, CubaLI)
    spike = (parameters["v_threshold"], parameters["v_reset"]) if fires else never
    c = Coefficients(*membrane, *spike)
    if isinstance(neuron, LIF):
        return c
    decay, gain, _ = _leak(parameters["tau_syn"], semantics, dt_us)
    if semantics.integration == "impulse":
        gain = decay
    gain = gain * parameters["w_in"]
    return dataclasses.replace(c, synapse_decay=decay, synapse_gain=gain, fires=fires)


def _leak(tau: Tensor, semantics: NeuronSemantics, dt_us: float | None) -> tuple[Tensor, Tensor, Tensor]:
    """Decay, gain for r = 1, and offset for v_leak = 1."""
    if dt_us is None or not 0 < dt_us < float("inf"):
        raise InvalidInput(
            "neurons with a time constant need the length of a step",
            asked=f"dt_us={dt_us}",
            accepted="µs, above 0",
            remedy="pass dt_us, as in dt_us=1000 for frames of 1 ms",
        )
    share = dt_us * 1e-6 / tau
    if semantics.integration in ("euler", "delayed-reset", "fixed-point"):
        if bool((share > 1).any()):
            raise InvalidInput(
                "a step is longer than a time constant, which an Euler step cannot follow",
                asked=f"dt_us={dt_us:g}, integration '{semantics.integration}'",
                found=f"a time constant of {float(tau.min()) * 1e6:g} µs",
                accepted="dt_us up to the shortest time constant",
                remedy="bin at shorter steps, or use integration 'exponential'; a file that was written by "
                "another step than it is run at is written anew by `art-spiking pack --written-dt-us`",
            )
        return 1 - share, share, share
    decay = torch.exp(-share)
    gain = 1 - decay if semantics.integration == "exponential" else torch.ones_like(decay)
    return decay, gain, 1 - decay


def _on_grid(c: Coefficients, scale: int) -> Coefficients:
    """Coefficients in the whole numbers of Loihi, see `coefficients`."""
    g = c.gain if c.synapse_gain is None else c.gain * c.synapse_gain
    one_gain = bool((g == g.reshape(-1)[:1]).all())
    if not bool((g > 0).all()) or not (c.fires or one_gain) or bool((c.v_reset != 0).any()):
        raise InvalidInput(
            "the neurons cannot be brought to fixed point",
            found=f"gains from {float(g.min()):g} to {float(g.max()):g}, "
            f"v_reset from {float(c.v_reset.min()):g} to {float(c.v_reset.max()):g}",
            accepted="gains above 0, one for all where potentials are put out, and v_reset 0",
        )
    grid = _STATES_PER_WEIGHT * scale
    threshold = _cut_down(c.threshold / g * scale) / scale
    if bool((threshold <= 0).any()):
        raise InvalidInput(
            "a threshold is lost in fixed point",
            found=f"{float((c.threshold / g).min()):g}",
            accepted=f"1 / scale = {1 / scale:g} or more, after division by the gain",
            remedy="state a larger scale",
        )

    def decay(value: Tensor) -> Tensor:
        return 1 - ((1 - value) * _DECAYS).round() / _DECAYS

    return dataclasses.replace(
        c,
        decay=decay(c.decay),
        gain=torch.ones_like(c.gain),
        offset=_cut_down(c.offset / g * grid) / grid,
        threshold=threshold,
        synapse_decay=None if c.synapse_decay is None else decay(c.synapse_decay),
        synapse_gain=None if c.synapse_gain is None else torch.ones_like(c.synapse_gain),
        grid=grid,
    )


def _cut_down(value: Tensor) -> Tensor:
    """Whole numbers towards zero; one that a file's float32 misses by its rounding counts as met."""
    near = value.round()
    return torch.where((value - near).abs() <= near.abs() * 2.0**-20, near, value.trunc())


@dataclass(frozen=True)
class State:
    """What a layer carries from one step to the next: tensors (N, *F).

    Attributes:
        potential: Membrane potential after the immediate reset.
        current: Synaptic current; None without a synapse.
        spikes: Spikes of the last step, which a delayed reset still has to take account of.
    """

    potential: Tensor
    current: Tensor | None
    spikes: Tensor

    @classmethod
    def start(cls, like: Tensor, c: Coefficients) -> State:
        """The state before the first step: all zeros, of the shape of one step's input `like`."""
        zeros = torch.zeros_like(like)
        return cls(zeros, None if c.synapse_decay is None else zeros, zeros)


def reset_kind(semantics: NeuronSemantics, c: Coefficients) -> str:
    """Which of the five resets of `step` applies: none, subtract, value, subtract-later or blank-later."""
    if semantics.reset == "none" or c.stateless or not c.fires:
        return "none"
    if semantics.integration == "delayed-reset":
        if semantics.reset == "subtract":
            return "subtract-later"
        if c.synapse_decay is not None:
            return "blank-later"
    return semantics.reset


def spike_counts(u: Tensor, threshold: Tensor, semantics: NeuronSemantics) -> Tensor:
    """How often a neuron at potential u fires, as numbers like u.

    One spike: 1 where u >= threshold ("gt": u > threshold). Several: the number of whole thresholds in u,
    floor(u / threshold) ("gt": ceil(u / threshold) - 1), at least 0.
    """
    if semantics.spikes == "several":
        ratio = u / threshold
        whole = ratio.floor() if semantics.fires == "ge" else ratio.ceil() - 1
        return whole.clamp(min=0)
    return (u >= threshold if semantics.fires == "ge" else u > threshold).to(u.dtype)


def distance(u: Tensor, threshold: Tensor, semantics: NeuronSemantics) -> Tensor:
    """How far u is above the step that its spike count is nearest to; what a surrogate is asked about.

    One spike: u - threshold. Several: the counts step at every multiple k of the threshold, k >= 1, and the
    nearest counts, so that a neuron that fires ten times has a gradient as one that fires once.
    """
    if semantics.spikes == "several":
        return u - threshold * (u / threshold).round().clamp(min=1)
    return u - threshold


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, u: Tensor, threshold: Tensor, semantics: NeuronSemantics, surrogate: Surrogate
    ) -> Tensor:
        ctx.save_for_backward(u, threshold)
        ctx.semantics, ctx.surrogate = semantics, surrogate
        return spike_counts(u, threshold, semantics)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        u, threshold = ctx.saved_tensors
        return (
            gradients[0] * ctx.surrogate.derivative(distance(u, threshold, ctx.semantics)),
            None,
            None,
            None,
        )


class _Cut(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, factor: Tensor | None, grid: int) -> Tensor:
        ctx.factor = factor
        exact = value.double() if factor is None else value.double() * factor.double()
        return ((exact * grid).trunc() / grid).to(value.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0] if ctx.factor is None else gradients[0] * ctx.factor, None, None


def _cut(value: Tensor, factor: Tensor | None, grid: int) -> Tensor:
    """Value, times a factor if there is one, cut towards zero to a multiple of 1 / grid."""
    result: Tensor = _Cut.apply(value, factor, grid)  # type: ignore[no-untyped-call]
    return result


def _share(decay: Tensor, state: Tensor, grid: int | None) -> Tensor:
    """What a step leaves of a state."""
    return decay * state if grid is None else _cut(state, decay, grid)


def step(
    x: Tensor, state: State, c: Coefficients, semantics: NeuronSemantics, surrogate: Surrogate
) -> tuple[Tensor, Tensor, State]:
    r"""One time step of a layer of any of the neurons; the equations that every kernel must agree with.

    With input x[t], potential v, spikes s, and i[t] = x[t] where there is no synapse:

        i[t] = synapse_decay * i[t-1] + synapse_gain * x[t]
        u[t] = decay * v[t-1] + gain * i[t] + offset          potential before the reset
        u[t] = v_min where u[t] <= v_min                      if the semantics has a v_min
        s[t] = spike_counts(u[t], threshold)
        v[t] = u[t]                         reset "none"
             = u[t] - threshold * s[t]      reset "subtract"
             = v_reset where s[t] > 0       reset "value"

    Under "delayed-reset" v[t] = u[t], and the next step does it, before the clamp:

        u[t] = decay * v[t-1] + gain * i[t] + offset - threshold * s[t-1]      "subtract"
        u[t] = v_reset where s[t-1] > 0                                        "value", with a synapse

    while "value" without a synapse comes to the same now or later. (snnTorch's Leaky and Synaptic do so.)

    On a grid of G whole numbers per unit, with z cut to a multiple of 1 / G towards zero written [z]:

        i[t] = [synapse_decay * i[t-1]] + [x[t]]
        u[t] = [decay * v[t-1]] + i[t] + offset               without a synapse [x[t]] for i[t]

    as lava-dl documents its CUBA neuron and leaky integrator. The products are exact, and so are the sums in
    float32 as long as potentials stay below 2^24 / G. Backward, [z] counts as z.

    All is evaluated from left to right without fused multiply-add, so that spikes can be compared bit by bit.

    Backward, ds/du is the surrogate at `distance`; where u was clamped the derivative is 0; the reset's s is
    a constant unless the surrogate says `through_reset`.

    Args:
        x: Input (N, *F).
        state: From `State.start` or the step before.
        c: From `coefficients`; tensors that broadcast against (*F).
        semantics: What the neuron's parameters leave open.
        surrogate: The derivative of the spike.

    Returns:
        Spikes (N, *F) (zeros if the neuron never fires), the potential u before the reset (N, *F), and the
        state after the step.
    """
    kind = reset_kind(semantics, c)
    current = x if c.grid is None else _cut(x, None, c.grid)
    if c.synapse_decay is not None and c.synapse_gain is not None and state.current is not None:
        current = _share(c.synapse_decay, state.current, c.grid) + c.synapse_gain * current
    u = _share(c.decay, state.potential, c.grid) + c.gain * current + c.offset
    past = state.spikes if surrogate.through_reset else state.spikes.detach()
    if kind == "subtract-later":
        u = u - c.threshold * past
    elif kind == "blank-later":
        u = _set_where_fired(u, past, c.v_reset)
    if semantics.v_min is not None and c.fires and not c.stateless:
        u = torch.where(u <= semantics.v_min, torch.full_like(u, semantics.v_min), u)
    carried = None if state.current is None else current
    if not c.fires:
        return torch.zeros_like(u), u, State(u, carried, state.spikes)
    if c.stateless:
        semantics = dataclasses.replace(semantics, spikes="one")
    spikes: Tensor = _Spike.apply(u, c.threshold, semantics, surrogate)  # type: ignore[no-untyped-call]
    now = spikes if surrogate.through_reset else spikes.detach()
    v = u
    if kind == "subtract":
        v = u - c.threshold * now
    elif kind == "value":
        v = _set_where_fired(u, now, c.v_reset)
    return spikes, u, State(v, carried, spikes)


def _set_where_fired(u: Tensor, spikes: Tensor, value: Tensor) -> Tensor:
    """`value` where spikes > 0, else u; its derivative by the spikes is value - u."""
    kept = torch.where(spikes > 0, value, u)
    if not spikes.requires_grad:
        return kept
    # Adds the path through the spikes and no number: the bracket is zero.
    return kept + (value - u).detach() * (spikes - spikes.detach())
