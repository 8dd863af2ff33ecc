# SPDX-License-Identifier: MIT
"""How much any patch can do: one of its own for each recording, place and target. A part of strength.py.

An aim is a test recording, a class other than its own, and a place; all three at random. One patch for all
recordings and places reaches no aim that a patch made for that aim alone cannot: the share of aims that are
in reach bounds what a universal patch has on average. Searches give that share from below only. That they
do not miss much is told by how far searches by other gradients and from other starts agree, by exchanges of
events after them, judged by exact forward passes, and by the same search reaching nearly every aim in a
larger window. So it is an indication of a limit, no proof. The one relaxation tried that holds every patch,
spikes of the first layer that are free wherever they depend on the window, is too loose to make one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from art_spiking.attacks import SpikingAdversarialPatch
from art_spiking.attacks.objectives import Towards, gap, soft_gap
from art_spiking.attacks.universal.movements import draw_locations
from art_spiking.attacks.universal.patch_search import places_on_grid
from art_spiking.estimators import SpikingClassifier
from art_spiking.gradient_paths import GradientPath, Mixture, PotentialWidth
from art_spiking.graphs import GraphSpec, NodeSpec
from art_spiking.metrics import wilson_interval
from art_spiking.network import SpikingNetwork
from art_spiking.surrogates import Atan
from art_spiking.threats import PatchRegion

if TYPE_CHECKING:
    from strength import Setting

WIDE = Atan(1.0, through_reset=True)
PATHS: tuple[GradientPath, ...] = (
    WIDE,
    PotentialWidth(through_reset=True),
    Mixture((Atan(3.0, through_reset=True), WIDE), over="layers"),
)
STEPS, MOMENTUM, LEAST_RATE, BATCH = 60, 0.8, 0.05, 50
EXCHANGES = 500
AREA = 0.025
SIDE = 5
SIDES = (6, 7, 9, 12, 16)
SHAPES = ((4, 7), (7, 4), (2, 14), (14, 2), (1, 28), (28, 1))
CRAFT = 100
PLACES = 9


@dataclass(frozen=True, eq=False)
class Aims:
    """What is to be reached, and where events are free.

    Attributes:
        model: the classifier.
        x: (N, T, C, H, W).
        target: int64 (N,).
        free: bool (N, 1, 1, H, W).
    """

    model: SpikingClassifier
    x: Tensor
    target: Tensor
    free: Tensor

    def lead(self, edited: Tensor) -> Tensor:
        """Output spikes by which each target leads, (N,); above 0 it is reached."""
        return -gap(self.model.predict_torch(edited, BATCH), self.target)

    def rows(self, chosen: Tensor) -> Aims:
        """The aims of some rows."""
        return replace(self, x=self.x[chosen], target=self.target[chosen], free=self.free[chosen])


def aims_of(setting: Setting, size: tuple[int, int], repeats: int) -> Aims:
    """Aims at each test recording, the same recordings and targets for every size of the window."""
    generator = torch.Generator().manual_seed(5)
    x, y = torch.tensor(setting.test.x), torch.tensor(setting.test.y)
    rows = torch.arange(len(x)).repeat(repeats)
    classes = setting.model.nb_classes
    target = (y[rows] + torch.randint(1, classes, (len(rows),), generator=generator)) % classes
    places = draw_locations(len(rows), x.shape[3:], size, generator)
    row, column = (torch.arange(length) for length in x.shape[3:])
    inside = [
        (axis >= first[:, None]) & (axis < first[:, None] + length)
        for axis, first, length in zip((row, column), places.unbind(1), size, strict=True)
    ]
    free = inside[0][:, :, None] & inside[1][:, None, :]
    return Aims(setting.model, x[rows], target, free[:, None, None])


def searched(aims: Aims, path: GradientPath, seed: int, *, graded: bool = False) -> tuple[Tensor, Tensor]:
    """Frank and Wolfe's steps as `PatchSearch` takes them, for each aim on its own.

    Args:
        aims: what to reach.
        path: of the gradient.
        seed: of the random patches to start from.
        graded: whether events may be anything in [0, 1], which holds all that whole events can be.

    Returns:
        The best lead of each aim over all iterates, (N,), and what it was with.
    """
    view = aims.model.with_surrogate(path)
    objective = Towards(soft_gap)
    soft = torch.rand(aims.x.shape, generator=torch.Generator().manual_seed(seed))
    velocity = torch.zeros_like(soft)
    best, kept = torch.full((len(soft),), -torch.inf), aims.x.clone()
    for step in range(STEPS):
        edited = torch.where(aims.free, soft if graded else (soft >= 0.5).to(soft.dtype), aims.x)
        gain, leads = [], []
        for part in torch.arange(len(soft)).split(BATCH):
            gradient, logits = view.input_gradient(edited[part], aims.target[part], objective=objective)
            gain.append(gradient * aims.free[part])
            leads.append(-gap(logits, aims.target[part]))
        lead = torch.cat(leads)
        kept[lead > best] = edited[lead > best]
        best = torch.maximum(best, lead)
        slope = torch.cat(gain)
        size = slope.flatten(1).norm(dim=1).clamp(min=1e-30)
        velocity = MOMENTUM * velocity + slope / size[:, None, None, None, None]
        corner = torch.where(velocity == 0, soft, (velocity > 0).to(soft.dtype))
        soft += max(1 / (step + 2), LEAST_RATE) * (corner - soft)
    return best, kept


def exchanged(aims: Aims, edited: Tensor, network: SpikingNetwork, rounds: int) -> Tensor:
    """Random exchanges of events, kept where an exact forward pass finds them no worse; returns the batch.

    What counts is the target's soft lead in output spikes and what is left of the last potentials, which
    tells patches apart that put out equally many.
    """
    generator = torch.Generator().manual_seed(1)

    def value(batch: Tensor) -> Tensor:
        parts = []
        for part in batch.split(BATCH):
            with torch.no_grad():
                potential = network.membrane(part)
            spikes = (potential >= 1).to(potential.dtype)
            parts.append(spikes.sum(1) + 0.2 * (potential[:, -1] - spikes[:, -1]))
        return -soft_gap(torch.cat(parts), aims.target)

    held = value(edited)
    steps = edited.shape[1]
    for turn in range(rounds):
        one, other = torch.randint(0, steps, (2,), generator=generator).tolist()
        offered = edited.clone()
        if turn % 3 == 0:
            offered[:, one] = offered[:, other]
        else:
            drawn = torch.rand(edited.shape, generator=generator)
            flipped = drawn < 0.01 if turn % 3 == 1 else drawn < 0.15
            if turn % 3 == 2:
                flipped &= (torch.arange(steps) == one)[:, None, None, None]
            offered = torch.where(flipped, 1 - offered, offered)
        offered = torch.where(aims.free, offered, edited)
        found = value(offered)
        edited = torch.where((found >= held)[:, None, None, None, None], offered, edited)
        held = torch.maximum(held, found)
    return edited


def own_patches(setting: Setting) -> Iterator[dict[str, Any]]:
    """Every search on the same aims, together, and after exchanges."""
    aims = aims_of(setting, (SIDE, SIDE), 2)
    best, kept = torch.full((len(aims.x),), -torch.inf), aims.x
    reached = []
    for path in PATHS:
        for seed in range(2):
            lead, edited = searched(aims, path, seed)
            reached.append(lead > 0)
            kept = torch.where((lead > best)[:, None, None, None, None], edited, kept)
            best = torch.maximum(best, lead)
    # Of what the other searches reach, how much one reaches as well.
    others = [torch.stack(reached[:k] + reached[k + 1 :]).any(0) for k in range(len(reached))]
    shares = [float((own & all_).sum() / all_.sum()) for own, all_ in zip(reached, others, strict=True)]
    missed = (best <= 0).nonzero()[:, 0]
    rest = aims.rows(missed)
    after = rest.lead(exchanged(rest, kept[missed], setting.network, EXCHANGES)) > 0
    drawn = torch.rand(aims.x.shape, generator=torch.Generator().manual_seed(9))
    chance = torch.where(aims.free, (drawn >= 0.5).to(aims.x.dtype), aims.x)
    total = int((best > 0).sum() + after.sum())
    low, high = wilson_interval(total, len(best))
    yield {
        "attack": f"own patch, {SIDE} x {SIDE}",
        "aims": len(best),
        "one search": float(torch.stack(reached).float().mean()),
        "six searches": float((best > 0).float().mean()),
        "of the others' reached by one": float(np.mean(shares)),
        "and exchanges": total / len(best),
        "95 % interval": f"{low:.2f} to {high:.2f}",
        "median lead, spikes": float(best.median()),
        "random": float((aims.lead(chance) > 0).float().mean()),
    }


def patch_limit(setting: Setting) -> Iterator[dict[str, Any]]:
    """Share of aims that patches reach which are made for one aim each, or for one place each."""
    yield from own_patches(setting)
    sizes = [(side, side) for side in SIDES] + list(SHAPES)
    for size in sizes:
        aims = aims_of(setting, size, 1)
        yield _row(f"own patch, {size[0]} x {size[1]}, one search", searched(aims, WIDE, 0)[0])
    aims = aims_of(setting, (SIDE, SIDE), 1)
    graded = searched(aims, WIDE, 0, graded=True)[0]
    yield _row(f"own patch, {SIDE} x {SIDE}, graded events, one search", graded)
    free = searched(behind_first_layer(aims, setting.network), WIDE, 0)[0]
    yield _row("first-layer spikes free where they depend on it", free)
    yield at_told_places(setting)


def _row(name: str, lead: Tensor) -> dict[str, Any]:
    return {
        "attack": name,
        "aims": len(lead),
        "reached": float((lead > 0).float().mean()),
        "median lead, spikes": float(lead.median()),
    }


def behind_first_layer(aims: Aims, network: SpikingNetwork) -> Aims:
    """The same aims for the network behind its first neurons, their spikes free where the window has a part.

    Raises:
        TypeError: the network does not begin with a convolution and neurons.
    """
    graph = network.to_graph()
    conv, fires, following = network.node_names[:3]
    first = next(name for name, node in graph.nodes.items() if node.type == "Input")
    last = next(name for name, node in graph.nodes.items() if node.type == "Output")
    spec = graph.nodes[conv]
    if spec.type != "Conv2d":
        raise TypeError(f"a network that begins with a convolution, not with {spec.type}")
    kernel = torch.ones((1, 1, *spec.arrays["weight"].shape[2:]))
    options: dict[str, Any] = {name: spec.attributes[name] for name in ("stride", "padding", "dilation")}
    touched = torch.nn.functional.conv2d(aims.free[:, 0].float(), kernel, **options) > 0
    shape = (spec.arrays["weight"].shape[0], *touched.shape[2:])
    head_nodes = {name: graph.nodes[name] for name in (first, conv, fires)}
    head = SpikingNetwork.from_graph(
        GraphSpec(
            head_nodes | {last: NodeSpec("Output", {"shape": shape})},
            ((first, conv), (conv, fires), (fires, last)),
        ),
        semantics=network.semantics,
    )
    rest = {name: node for name, node in graph.nodes.items() if name not in head_nodes}
    edges = tuple(edge for edge in graph.edges if not {conv, fires} & set(edge))
    tail = SpikingNetwork.from_graph(
        GraphSpec(rest | {first: NodeSpec("Input", {"shape": shape})}, (*edges, (first, following))),
        semantics=network.semantics,
    )
    with torch.no_grad():
        spikes = torch.cat([head(part) for part in aims.x.split(BATCH)])
    model = SpikingClassifier(tail, input_shape=tuple(spikes.shape[1:]))
    return Aims(model, spikes, aims.target, touched[:, None])


def at_told_places(setting: Setting) -> dict[str, Any]:
    """One patch for all recordings and for one place, fitted for every target at places on a grid."""
    x, _ = setting.craft(CRAFT)
    grid = places_on_grid(x.shape[3:], SIDE)
    places = [grid[k] for k in np.linspace(0, len(grid) - 1, PLACES).round().astype(int)]
    reached = np.zeros((len(places), setting.model.nb_classes))
    for row, place in enumerate(places):
        for target in range(setting.model.nb_classes):
            attack = SpikingAdversarialPatch(
                setting.model, PatchRegion(AREA), location=place, epochs=4, surrogate=WIDE, targeted=True
            )
            made = attack.fit(x, np.full(len(x), target))
            others = setting.test.x[setting.test.y != target]
            reached[row, target] = (setting.model.predict(made.apply(others)).argmax(1) == target).mean()
    return {
        "attack": f"one patch for all recordings, place told, {PLACES} places, ten targets",
        "reached": float(reached.mean()),
        "best place": float(reached.mean(1).max()),
        "best target": float(reached.mean(0).max()),
    }
