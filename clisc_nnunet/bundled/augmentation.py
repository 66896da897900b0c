"""Augmentation of 2D slices and their masks, as tensors; grey values stay within 0..1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from clisc_nnunet.bundled.slice_sampler import SliceSampler


@dataclass(frozen=True)
class AugmentSettings:
    """Ranges of the augmentation, sampled uniformly (zooms: log-uniformly) per slice."""

    rotation: float = 0.35
    """Maximum angle in radians, in both directions."""
    zoom: tuple[float, float] = (0.8, 1.3)
    shift: float = 0.1
    """Maximum shift relative to half the image side."""
    close_up: float = 0.4
    """Probability of zooming onto the tumour, or a random brain location without one."""
    close_up_zoom: tuple[float, float] = (1.1, 2.4)
    gamma: float = 0.35
    """Maximum absolute natural logarithm of the exponent."""
    gain: tuple[float, float] = (0.8, 1.25)
    offset: float = 0.08
    bias_field: float = 0.12
    noise: float = 0.05
    blur: float = 1.2
    """Maximum sigma in pixels; 40 % of the slices are blurred."""


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    return low + (high - low) * torch.rand(n, generator=generator)


def _log_uniform(n: int, limits: tuple[float, float], generator: torch.Generator) -> torch.Tensor:
    return _uniform(n, math.log(limits[0]), math.log(limits[1]), generator).exp()


def random_affine(
    images: torch.Tensor, masks: torch.Tensor, settings: AugmentSettings, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotate, zoom and shift slices together with their masks.

    Parameters
    ----------
    images : float Tensor of shape (n, 1, side, side)
        Grey values in 0..1, background 0.
    masks : float Tensor of shape (n, m, side, side)
        0 or 1; close-ups are centred on the first mask.

    Returns
    -------
    images, masks
        Of the same shapes.
    """
    n, side = len(images), images.shape[-1]
    angle = _uniform(n, -settings.rotation, settings.rotation, generator)
    zoom = _log_uniform(n, settings.zoom, generator)
    shift = _uniform(2 * n, -settings.shift, settings.shift, generator).view(n, 2)

    close = torch.rand(n, generator=generator) < settings.close_up
    close_zoom = _log_uniform(n, settings.close_up_zoom, generator)
    jitter = _uniform(2 * n, -0.25, 0.25, generator).view(n, 2) / close_zoom[:, None]
    centre = _close_up_centre(images, masks[:, :1], generator) / (side / 2) - 1 + jitter
    zoom = torch.where(close, close_zoom, zoom)
    shift = torch.where(close[:, None], centre, shift)

    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    matrix = torch.stack(
        [
            torch.stack([cos, -sin, shift[:, 0]], dim=1),
            torch.stack([sin, cos, shift[:, 1]], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    moved = F.grid_sample(torch.cat([images, masks], dim=1), grid, align_corners=False)
    return moved[:, :1], (moved[:, 1:] > 0.5).float()


def random_intensity(
    images: torch.Tensor, settings: AugmentSettings, generator: torch.Generator
) -> torch.Tensor:
    """Random contrast, brightness, bias field, noise and blur; background stays 0.

    Parameters
    ----------
    images : float Tensor of shape (n, 1, side, side)
        Grey values in 0..1.

    Returns
    -------
    float Tensor of the same shape
    """
    n, side = len(images), images.shape[-1]

    def draw(low: float, high: float) -> torch.Tensor:
        return _uniform(n, low, high, generator).view(n, 1, 1, 1)

    inside = images > 0.02
    changed = images ** draw(-settings.gamma, settings.gamma).exp()
    changed = changed * draw(*settings.gain) + draw(-settings.offset, settings.offset)
    coarse = torch.randn(n, 1, 4, 4, generator=generator) * draw(0, settings.bias_field)
    field = F.interpolate(coarse, (side, side), mode="bicubic", align_corners=False)
    changed = changed * field.exp()
    noisy = (draw(0, 1) < 0.6) * draw(0, settings.noise)
    changed = changed + noisy * torch.randn(images.shape, generator=generator)
    blurred = torch.rand(n, generator=generator) < 0.4
    if blurred.any():
        sigma = float(_uniform(1, 0.4, settings.blur, generator))
        changed[blurred] = gaussian_blur(changed[blurred], sigma)
    return (changed * inside).clamp(0, 1)


def gaussian_blur(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of images (n, 1, row, column); `sigma` in pixels."""
    reach = max(1, math.ceil(3 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    images = F.conv2d(images, kernel.view(1, 1, 1, -1), padding=(0, reach))
    return F.conv2d(images, kernel.view(1, 1, -1, 1), padding=(reach, 0))


def _close_up_centre(
    images: torch.Tensor, masks: torch.Tensor, generator: torch.Generator
) -> torch.Tensor:
    """Centre of a close-up, (n, 2) as (x, y): of the tumour, else a random brain location."""
    side = images.shape[-1]
    centres = []
    for image, mask in zip(images[:, 0], masks[:, 0], strict=True):
        places = mask.nonzero().float() if mask.any() else (image > 0.02).nonzero().float()
        if mask.any():
            place = places.mean(dim=0)
        elif len(places):
            place = places[int(torch.randint(len(places), (1,), generator=generator))]
        else:
            place = torch.full((2,), side / 2)
        centres.append(place.flip(0))
    return torch.stack(centres)


def step_rng(seed: int, number: int) -> np.random.Generator:
    """Generator for one step, so that resumed trainings are identical to uninterrupted ones."""
    return np.random.default_rng([seed, number])


def augmented_batch(
    sampler: SliceSampler,
    count: int,
    tumour_share: float,
    augment: AugmentSettings,
    rng: np.random.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw slices and augment them.

    Returns
    -------
    images : float32 Tensor of shape (count, 1, side, side)
        Grey values in 0..1.
    masks : float32 Tensor of shape (count, 2, side, side)
        Tumour on the slice, and on a nearby plane.
    """
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    batch = sampler.draw(count, tumour_share, rng)
    images = torch.from_numpy(batch.pixels)[:, None].float() / 255
    masks = torch.from_numpy(np.stack([batch.tumour, batch.neighbour], axis=1)).float()
    images, masks = random_affine(images, masks, augment, generator)
    return random_intensity(images, augment, generator), masks
