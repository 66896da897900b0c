"""Smooth random fields and blurs on volumes: what deformations, textures and biases are made of."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter


def smooth_noise(shape: tuple[int, int, int], knots: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise that varies smoothly, of mean near 0 and standard deviation 1.

    Parameters
    ----------
    shape : tuple of 3 int
        (plane, row, column).
    knots : int
        Values along each axis between which it varies; few make a slow field, many a fine texture.
    rng : numpy.random.Generator

    Returns
    -------
    float32 ndarray of shape `shape`
    """
    # Each doubling is a step towards a quadratic B-spline; without it, creases run along the axes.
    # That blurs, so that a quarter more values give what `knots` would give linearly.
    values = 5 * knots // 4
    coarse = torch.from_numpy(rng.standard_normal((1, 1, values, values, values), np.float32))
    for _ in range(1 if knots > 20 else 2):
        coarse = F.interpolate(coarse, scale_factor=2, mode="trilinear", align_corners=False)
    field = F.interpolate(coarse, shape, mode="trilinear", align_corners=True)[0, 0].numpy()
    return field / (field.std() + 1e-6)


def blur(volume: np.ndarray, sigma: float | tuple[float, float, float]) -> np.ndarray:
    """Gaussian blur, sigma in voxels (one for all axes, or one each); float32."""
    return gaussian_filter(volume.astype(np.float32), sigma, truncate=3.0)


def step(values: np.ndarray, width: float = 1.0) -> np.ndarray:
    """Soft step from 0 to 1 about 0, over `width`."""
    return torch.from_numpy(np.ascontiguousarray(values / width)).sigmoid().numpy()
