# SPDX-License-Identifier: MIT
"""Trains the bundled submissions on digits-dvs: `python leaderboard/train_submissions.py`.

Deterministic on one machine: seeds are fixed and one thread is used. Each model takes some minutes on a core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from art_spiking_leaderboard.manifest import MANIFEST, Files, Manifest
from art_spiking_leaderboard.manifest_text import manifest_text
from torch import Tensor

from art_spiking.building import Conv, Dense, Flat, Neurons
from art_spiking.datasets import EventData, load_data
from art_spiking.defences import BackgroundActivityFilter
from art_spiking.estimators import SpikingClassifier
from art_spiking.model_files import load_model, save_model
from art_spiking.network import SpikingNetwork
from art_spiking.threats import EventEdits, PatchRegion

STEPS, DT_US = 30, 10_000
SEMANTICS = "spikingjelly"
FILTER = {"window_us": 20_000, "dt_us": DT_US, "support": 2}
BATCH = 64

Perturb = Callable[[SpikingClassifier, tuple[Tensor, Tensor], float, torch.Generator], Tensor]
"""(classifier, (samples, labels), strength in (0, 1], generator) -> the samples to train on."""


@dataclass(frozen=True)
class Recipe:
    """How one submission is trained; `start` names the one whose weights it starts from."""

    name: str
    title: str
    description: str
    epochs: int
    start: str | None = None
    perturb: Perturb | None = None
    filtered: bool = False


def attacked(
    classifier: SpikingClassifier,
    batch: tuple[Tensor, Tensor],
    strength: float,
    generator: torch.Generator,
) -> Tensor:
    """A batch of which an eighth stays clean and the others are attacked, each share in another way.

    Edits for each sample, in three rounds; insertions that follow the slope of all samples; and a patch. The
    threat models choose the strongest edits they allow. Budgets are drawn anew each time, up to `strength`
    times the largest.
    """
    x, y = batch
    eighth = len(x) // 8
    sizes = [eighth, 3 * eighth, 2 * eighth, len(x) - 6 * eighth]
    clean, edited, shared, patched = x.split(sizes)
    labels = y.split(sizes)

    def budget(most: int) -> int:
        return 1 + int(strength * most * float(torch.rand((), generator=generator)))

    most, found = budget(300), edited
    for share in (1, 2, 3):
        slope, _ = classifier.input_gradient(found, labels[1])
        # Earlier edits are full events and stronger than any soft step, so they are kept.
        found = EventEdits(max(1, most * share // 3)).project(found + _soft(found, slope), edited)
    slope, _ = classifier.input_gradient(torch.cat([shared, patched]), torch.cat(labels[2:]))
    common = slope[: len(shared)].sign().mean(0, keepdim=True).clamp(min=0).expand_as(shared)
    universal = EventEdits(budget(1200), delete=False)
    region = PatchRegion((10 + budget(45)) / 1000)
    return torch.cat(
        [
            clean,
            found,
            universal.project(shared + _soft(shared, common), shared),
            region.project(patched + _soft(patched, slope[len(shared) :]), patched),
        ]
    )


def _soft(x: Tensor, slope: Tensor) -> Tensor:
    """Changes of binary samples that raise the loss, in proportion to their slope, below 1/2 in size."""
    rising = torch.where((x < 1) == (slope > 0), slope, 0.0)
    return 0.4 * rising / rising.abs().flatten(1).amax(1).clamp(min=1e-12).view(-1, 1, 1, 1, 1)


RECIPES = (
    Recipe(
        "digits-plain",
        "Plain spiking CNN",
        "Three spiking convolutions and a spiking output layer, trained on clean recordings with "
        "cross entropy on the spike counts, Adam and an arctangent surrogate.",
        epochs=20,
    ),
    Recipe(
        "digits-adversarial",
        "Adversarially trained spiking CNN",
        "digits-plain, trained on. An eighth of each batch is clean; the others carry event edits "
        "chosen for each sample in three rounds, insertions chosen for all samples, or a patch.",
        epochs=30,
        start="digits-plain",
        perturb=attacked,
    ),
    Recipe(
        "digits-filtered",
        "Spiking CNN behind a background-activity filter",
        "The same network as digits-plain, trained through the filter that it is deployed with.",
        epochs=20,
        filtered=True,
    ),
)


def new_network(generator: torch.Generator) -> SpikingNetwork:
    """Three spiking convolutions and a spiking output; about 18 thousand weights."""
    # With tau = 5 steps and r = tau / dt a step is v <- 0.8 v + input.
    neurons = Neurons("LIF", tau_us=5 * DT_US, r=5.0)
    return SpikingNetwork.sequential(
        (2, 34, 34),
        [
            Conv(12, 5, stride=2, padding=2, gain=3.0),
            neurons,
            Conv(24, 3, stride=2, padding=1, gain=2.0),
            neurons,
            Conv(32, 3, stride=2, padding=1, gain=2.0),
            neurons,
            Flat(),
            Dense(10, gain=2.0),
            neurons,
        ],
        semantics=SEMANTICS,
        dt_us=DT_US,
        generator=generator,
    )


def new_classifier(recipe: Recipe, folder: Path, generator: torch.Generator) -> SpikingClassifier:
    """The classifier that training starts from, with the defence that the recipe asks for."""
    return SpikingClassifier(
        new_network(generator) if recipe.start is None else load_model(folder / recipe.start),
        input_shape=(STEPS, 2, 34, 34),
        preprocessing_defences=[BackgroundActivityFilter(**FILTER)] if recipe.filtered else None,
    )


def shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """The batch moved by up to two pixels along each axis; what leaves the sensor is lost."""
    down, right = (int(n) for n in torch.randint(0, 5, (2,), generator=generator))
    height, width = x.shape[-2:]
    return torch.nn.functional.pad(x, (2, 2, 2, 2))[..., down : down + height, right : right + width]


def train(
    recipe: Recipe, data: EventData, folder: Path, *, epochs: int | None = None, seed: int = 0
) -> SpikingClassifier:
    """Trains a classifier on a training split; prints a line per epoch."""
    generator = torch.Generator().manual_seed(seed)
    classifier = new_classifier(recipe, folder, generator)
    epochs = recipe.epochs if epochs is None else epochs
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
    optimizer = torch.optim.Adam(classifier.model.network.parameters(), lr=1e-3)
    batches = -(-len(y) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, epochs * batches, pct_start=0.15)
    for epoch in range(epochs):
        total = 0.0
        # Weak attacks first: under the full ones an untrained network learns nothing.
        strength = min(1.0, (epoch + 1) / (0.7 * epochs))
        for chosen in torch.randperm(len(y), generator=generator).split(BATCH):
            batch = shifted(x[chosen], generator)
            if recipe.perturb is not None:
                batch = recipe.perturb(classifier, (batch, y[chosen]), strength, generator)
            with classifier.trainable():
                loss = torch.nn.functional.cross_entropy(classifier.logits(batch), y[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            schedule.step()
            total += loss.item() * len(chosen)
        print(f"{recipe.name}: epoch {epoch + 1} of {epochs}, loss {total / len(y):.3f}", flush=True)
    return classifier


def clean_accuracy(classifier: SpikingClassifier, data: EventData) -> float:
    """The share of samples classified correctly."""
    logits = classifier.predict_torch(torch.from_numpy(data.x), batch_size=100)
    return float((logits.argmax(1) == torch.from_numpy(data.y)).double().mean())


def write_submission(recipe: Recipe, classifier: SpikingClassifier, accuracy: float, folder: Path) -> None:
    """Writes the three files of a submission."""
    network = classifier.network
    if network is None:
        raise TypeError("only a SpikingNetwork can be written")
    save_model(network, folder, steps=STEPS)
    defences = [{"name": "background-activity-filter", "parameters": FILTER}] if recipe.filtered else []
    manifest = Manifest.model_validate(
        {
            "schema_version": 1,
            "name": recipe.name,
            "title": recipe.title,
            "authors": ["The art-spiking developers"],
            "licence": "MIT",
            "framework": f"art-spiking {version('art-spiking')}",
            "input_shape": [STEPS, 2, 34, 34],
            "nb_classes": 10,
            "readout": "spike-count",
            "semantics": SEMANTICS,
            "defences": defences,
            "data": {"name": "digits-dvs", "dt_us": DT_US, "steps": STEPS, "binary": True},
            "training": {"description": recipe.description, "claimed_clean_accuracy": round(accuracy, 4)},
            "files": Files.of(folder),
        }
    )
    (folder / MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")


def main() -> None:
    """Trains the recipes that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="which submissions to train; all by default")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "submissions")
    parser.add_argument("--epochs", type=int, help="instead of each recipe's own")
    options = parser.parse_args()
    unknown = set(options.names) - {recipe.name for recipe in RECIPES}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(r.name for r in RECIPES)}")
    torch.set_num_threads(1)
    grid = {"steps": STEPS, "dt_us": DT_US, "binary": True}
    training, test = load_data("digits-dvs", "train", **grid), load_data("digits-dvs", "test", **grid)
    for recipe in RECIPES:
        if not options.names or recipe.name in options.names:
            classifier = train(recipe, training, options.out, epochs=options.epochs)
            accuracy = clean_accuracy(classifier, test)
            write_submission(recipe, classifier, accuracy, options.out / recipe.name)
            print(f"{recipe.name}: clean accuracy {accuracy:.4f} on {len(test)} test samples", flush=True)


if __name__ == "__main__":
    main()
