"""Models with a known weakness, and event batches, that the tests of attacks share."""

import numpy as np
import torch

from art_spiking.estimators import SpikingClassifier
from art_spiking.threats import EventEdits, ObjectRegion, PatchRegion, PixelRate

SHAPE = (6, 2, 8, 8)
STEPS, CHANNELS, HEIGHT, WIDTH = SHAPE


class WeakCells(torch.nn.Module):
    """Says class 0 until enough events lie in the cells where `weights` is above 0.

    Logits are (0, weighted events - bar): linear, so that the best edits are known exactly.
    """

    def __init__(self, weights: torch.Tensor, bar: float) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.bar = bar

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        evidence = (x * self.weights).flatten(1).sum(1) - self.bar
        return torch.stack([torch.zeros_like(evidence), evidence], 1)


def planted_cells(count: int, seed: int = 0) -> torch.Tensor:
    """A mask of `count` cells at random places."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.zeros(SHAPE).flatten()
    mask[torch.randperm(mask.numel(), generator=generator)[:count]] = 1.0
    return mask.view(SHAPE)


def weak(weights: torch.Tensor, bar: float) -> SpikingClassifier:
    """A classifier with the planted weakness."""
    return SpikingClassifier(WeakCells(weights, bar), input_shape=tuple(weights.shape))


def recordings(samples: int, seed: int = 0, rate: float = 0.1, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Binary events at random."""
    draw = np.random.default_rng(seed)
    return (draw.random((samples, *shape)) < rate).astype(np.float32)


EDIT_THREATS = {
    "plain": EventEdits(12),
    "share": EventEdits(0.2),
    "insert only": EventEdits(12, delete=False),
    "delete only": EventEdits(5, insert=False),
    "on only": EventEdits(12, polarity="on", delete=False),
    "same polarity": EventEdits(12, polarity="same"),
    "refractory within a step": EventEdits(12, refractory_us=1000, dt_us=1000),
    "refractory over steps": EventEdits(12, refractory_us=2500, dt_us=1000),
    "rate": EventEdits(12) & PixelRate(200.0, dt_us=1000),
    "region": EventEdits(12) & PatchRegion(0.3),
}

PATCH_THREATS = {
    "plain": PatchRegion(0.15),
    "insert only": PatchRegion(0.15, delete=False),
    "delete only": PatchRegion(0.15, insert=False),
    "with a budget": PatchRegion(0.15) & EventEdits(20),
    "object": ObjectRegion(0.15, velocity=(150.0, -400.0), flicker_hz=250.0, dt_us=1000)
    & PixelRate(400.0, dt_us=1000),
}
