# SPDX-License-Identifier: MIT
"""The four image functions that ART's patch attack takes from torchvision, for environments without it.

Only what an upright, undistorted patch needs; all else is refused, so that no test passes on a wrong image.
"""

from enum import Enum
from types import SimpleNamespace

import torch

BILINEAR = 2


class InterpolationMode(Enum):
    NEAREST = "nearest"


def resize(img: torch.Tensor, size: tuple[int, int], interpolation: int) -> torch.Tensor:
    assert interpolation == BILINEAR
    return torch.nn.functional.interpolate(
        img, size=size, mode="bilinear", align_corners=False, antialias=True
    )


def pad(img: torch.Tensor, padding: list[int], fill: float, padding_mode: str) -> torch.Tensor:
    assert padding_mode == "constant"
    left, top, right, bottom = padding
    return torch.nn.functional.pad(img, (left, right, top, bottom), value=fill)


def perspective(img: torch.Tensor, startpoints: list, endpoints: list, interpolation: int, fill: None):
    assert startpoints == endpoints
    assert interpolation == BILINEAR
    assert fill is None
    return img


def affine(img: torch.Tensor, *, angle, translate, scale, shear, interpolation, fill) -> torch.Tensor:
    """Scales about the centre, then shifts by `translate` pixels (x, y); img is (C, H, W)."""
    assert (angle, shear, interpolation, fill) == (0.0, [0, 0], InterpolationMode.NEAREST, None)
    height, width = img.shape[-2:]
    shift_x, shift_y = (float(shift) for shift in translate)
    theta = torch.tensor(
        [[1 / scale, 0.0, -2 * shift_x / width / scale], [0.0, 1 / scale, -2 * shift_y / height / scale]]
    )
    grid = torch.nn.functional.affine_grid(theta[None], (1, *img.shape), align_corners=False)
    sampled = torch.nn.functional.grid_sample(
        img[None], grid, mode="nearest", padding_mode="zeros", align_corners=False
    )
    return sampled[0]


__version__ = "0.28.0"
transforms = SimpleNamespace(
    InterpolationMode=InterpolationMode,
    functional=SimpleNamespace(resize=resize, pad=pad, perspective=perspective, affine=affine),
)
