"""Smooth random fields, blur and soft step, used for deformations, textures and bias fields."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter


def smooth_noise(shape: tuple[int, int, int], knots: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth Gaussian noise with a mean near 0 and a standard deviation of 1.

    Parameters
    ----------
    shape : tuple of 3 int
        (plane, row, column).
    knots : int
        Number of control points along each axis; few give a smooth field, many a fine texture.
    rng : numpy.random.Generator

    Returns
    -------
    float32 ndarray of shape `shape`
    """
    # Each doubling approximates a quadratic B-spline; without it, creases appear along the axes.
    # This blurs, which 25 % more control points compensate.
    values = 5 * knots // 4
    coarse = torch.from_numpy(rng.standard_normal((1, 1, values, values, values), np.float32))
    for _ in range(1 if knots > 20 else 2):
        coarse = F.interpolate(coarse, scale_factor=2, mode="trilinear", align_corners=False)
    field = F.interpolate(coarse, shape, mode="trilinear", align_corners=True)[0, 0].numpy()
    return field / (field.std() + 1e-6)


def blur(volume: np.ndarray, sigma: float | tuple[float, float, float]) -> np.ndarray:
    """Gaussian blur; float32. Sigma in voxels, one for all axes or one per axis."""
    return gaussian_filter(volume.astype(np.float32), sigma, truncate=3.0)


def step(values: np.ndarray, width: float = 1.0) -> np.ndarray:
    """Sigmoid of `values / width`, a soft step from 0 to 1 at 0."""
    return torch.from_numpy(np.ascontiguousarray(values / width)).sigmoid().numpy()
