# SPDX-License-Identifier: MIT
"""The contract of a framework's adapter, checked against the framework as it is installed."""

from __future__ import annotations

import contextlib
import copy
import pickle
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from art_spiking.frameworks import FrameworkAdapter, FrameworkNetwork, Layout, NotCompiled, compile_network
from art_spiking.surrogates import Atan, FastSigmoid, Rectangle
from art_spiking.testing.contracts import require, run_contract

OwnLoop = Callable[[nn.Module, Tensor], Tensor]
"""(model, x (N, T, *F)) -> (N, T, K) or (N, K), as the framework's own documentation runs a model."""

# A gradient is equal if it is so to float32's precision over some thousand additions.
_CLOSE = 1e-5


def check_framework(
    adapter: FrameworkAdapter,
    model: nn.Module,
    x: Tensor,
    *,
    own_loop: OwnLoop,
    layout: Layout | None = None,
    told: bool = True,
) -> None:
    """Checks that an adapter runs a model as its framework does, and nothing of it is left behind.

    Args:
        adapter: The adapter.
        model: A model of its framework, never called and in evaluation mode, whose every neuron layer fires
            on x; its last layer may be an integrator.
        x: Recordings (N, T, *F), N of 2 or more, T of 3 or more and not N.
        own_loop: How the framework's users run the model from a fresh state, without art-spiking.
        layout: How the model takes a recording; by default the adapter tells.
        told: Whether the adapter is expected to tell the model's own surrogate, whose gradient is then
            compared too.

    Raises:
        ContractBroken: Names every property that does not hold.
    """
    never_called = {(place, tuple(value.shape)) for place, value in _tensors(model)}
    network = FrameworkNetwork(model, adapter, layout=layout)
    model.requires_grad_(False)
    with torch.no_grad():
        expected = own_loop(model, x.clone())
        adapter.reset(model)
    others = (FastSigmoid(slope=3.0), Rectangle(width=1.5), Atan(alpha=5.0, through_reset=True))

    def logits() -> None:
        with torch.no_grad():
            require(_same(network(x.clone()), expected), "the output differs from that of the own loop")

    def fresh() -> None:
        with torch.no_grad():
            first = network(x.clone())
            network(1 - x)
            require(_same(network(x.clone()), first), "the same input gives another output later")
        adapter.reset(model)
        with torch.no_grad():
            require(_same(own_loop(model, x.clone()), expected), "the own loop differs after a reset")

    def interrupted() -> None:
        with torch.no_grad():
            with contextlib.suppress(Exception):  # whatever a model says to a wrong input
                network(torch.cat([x, x], dim=-1))
            require(_same(network(x.clone()), expected), "a call that failed leaves its state behind")

    def alone() -> None:
        with torch.no_grad():
            parts = torch.cat([network(sample[None]) for sample in x])
            turned = network(x.flip(0)).flip(0)
        require(_near(parts, expected), "a sample's output depends on the others in its batch")
        require(_near(turned, expected), "a sample's output depends on its place in the batch")

    def copies() -> None:
        leaf = x.clone().requires_grad_(True)
        network(leaf).sum().backward()
        twin = copy.deepcopy(network)
        unpickled = pickle.loads(pickle.dumps(network))
        for name, other in {"a deep copy": twin, "an unpickled copy": unpickled}.items():
            with torch.no_grad():
                require(_same(other(x.clone()), expected), f"{name} puts out something else")
            if any(True for _ in model.parameters()):
                shared = {id(p) for p in other.parameters()} & {id(p) for p in model.parameters()}
                require(not shared, f"{name} shares its weights with the model")
            gradient, own = _gradient(other, x), _gradient(network, x)
            require(_near_gradient(gradient, own), f"{name} has another gradient")

    def dropped() -> None:
        network(x.clone().requires_grad_(True))
        kept = [
            place
            for place, value in _tensors(model)
            if value.grad_fn is not None or (place, tuple(value.shape)) not in never_called
        ]
        require(not kept, f"tensors of the last call are left in {', '.join(kept)}")

    def gradient() -> None:
        own = _gradient(lambda value: own_loop(model, value), x)
        adapter.reset(model)
        require(bool((own != 0).any()), "the own loop's gradient is zero everywhere: nothing is compared")
        require(_near_gradient(_gradient(network, x), own), "the gradient differs from the own loop's")

    def gradient_told() -> None:
        surrogate = adapter.surrogate(model)
        require(surrogate is not None or not told, "the adapter does not tell the model's surrogate")
        if surrogate is None:
            return
        own = _gradient(lambda value: own_loop(model, value), x)
        adapter.reset(model)
        found = _gradient(network.with_surrogate(surrogate), x)
        require(_near_gradient(found, own), f"the gradient under {surrogate} differs from the layers' own")

    def exchanged() -> None:
        before = _gradient(network, x)
        gradients = []
        for surrogate in others:
            view = network.with_surrogate(surrogate)
            require(view.surrogate == surrogate, f"a network with {surrogate} says it has {view.surrogate}")
            with torch.no_grad():
                spikes, own = view.activity(x), network.activity(x)
            changed = [name for name in own if not _same(spikes[name], own[name])]
            require(not changed, f"{surrogate} changes spikes of {', '.join(changed)}")
            gradients.append(_gradient(view, x))
        equal = all(torch.equal(gradients[0], other) for other in gradients[1:])
        require(not equal, "three surrogates give one gradient: they are not used")
        require(torch.equal(_gradient(network, x), before), "the layers' own surrogate is not put back")

    def recorded() -> None:
        with torch.no_grad():
            activity = network.activity(x)
        names = set(adapter.neurons(model))
        require(names <= set(activity), f"no activity of {', '.join(sorted(names - set(activity)))}")
        for name, spikes in activity.items():
            require(spikes.shape[:2] == x.shape[:2], f"the activity of '{name}' is {tuple(spikes.shape)}")
            require(bool(spikes.any()), f"'{name}' is silent: nothing is checked of it")
        steps = x.shape[1]
        # What an integrator puts out at the end is no activity.
        fires = list(adapter.units(model))[-1] in names
        if fires and expected.dim() == 3 and expected.shape[1] == steps:
            last = list(activity.values())[-1]
            require(_same(last, expected), "the last layer's activity is not the model's output")

    def compiled() -> None:
        unplanned = set(adapter.neurons(model)) - set(adapter.units(model))
        require(not unplanned, f"the neurons {', '.join(sorted(unplanned))} are no units")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fused = compile_network(model, adapter, probe=x, layout=layout)
        if isinstance(fused, FrameworkNetwork):
            told_why = any(issubclass(warning.category, NotCompiled) for warning in caught)
            require(told_why, "the model is not compiled, and nothing says why")
            return
        with torch.no_grad():
            output = fused(x)
        output = output.sum(dim=1) if expected.dim() == 2 else output
        require(_near(output, expected), "the compiled network puts out something else")

    run_contract(
        f"the adapter {type(adapter).__qualname__} on {type(model).__name__}",
        [
            ("runs the model as the framework does", logits),
            ("keeps no state between calls", fresh),
            ("keeps no state after an error", interrupted),
            ("runs each sample for itself", alone),
            ("drops what a call computed", dropped),
            ("can be copied and pickled", copies),
            ("has the framework's own gradient", gradient),
            ("tells the model's own surrogate", gradient_told),
            ("changes gradients by a surrogate, and never spikes", exchanged),
            ("records every layer's activity", recorded),
            ("is compiled to the same network, or it is said why not", compiled),
        ],
    )


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every tensor that a model's modules hold beside their parameters, with its place."""
    for name, module in model.named_modules():
        held = {key: value for key, value in vars(module).items() if key not in ("_parameters", "_modules")}
        for key, value in held.items():
            inner = value if isinstance(value, dict) else {"": value}
            for part, tensor in inner.items():
                if isinstance(tensor, Tensor):
                    yield ".".join(filter(None, (name, key, str(part)))), tensor


def _same(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and bool(torch.equal(first, second))


def _near(first: Tensor, second: Tensor) -> bool:
    """Equal but for the rounding of a product over another batch size."""
    return first.shape == second.shape and bool(torch.allclose(first, second, atol=1e-5))


def _near_gradient(first: Tensor, second: Tensor) -> bool:
    return float((first - second).norm()) <= _CLOSE * float(second.norm())


def _gradient(run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """d/dx of a sum of the output in which every class and sample has another weight."""
    leaf = x.clone().requires_grad_(True)
    output = run(leaf)
    logits = output.sum(dim=1) if output.dim() == 3 else output
    weights = torch.linspace(0.5, 1.5, logits.numel(), device=logits.device).reshape(logits.shape)
    (gradient,) = torch.autograd.grad((logits * weights).sum(), leaf)
    return gradient
