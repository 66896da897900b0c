"""Scanner effects: bias field, slice gain, blur, noise, thick planes, field of view."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter1d

from clisc_nnunet.phantoms.random_fields import blur, smooth_noise
from clisc_nnunet.phantoms.settings import ScannerSettings


def scan(
    image: np.ndarray, spacing_mm: float, settings: ScannerSettings, rng: np.random.Generator
) -> np.ndarray:
    """Apply scanner effects; float32 (plane, row, column) in and out, result not below 0."""
    shape = image.shape
    field = rng.uniform(*settings.bias) * smooth_noise(shape, 3, rng)
    field = field + rng.uniform(0, 0.06) * smooth_noise(shape, 5, rng)
    image = image * np.exp(field)
    if rng.random() < 0.4:
        gain = 1 + rng.uniform(0, 0.06) * rng.standard_normal(shape[0] // 3 + 1)
        image = image * gain.repeat(3)[: shape[0], None, None]
    sigma = np.full(3, rng.uniform(*settings.blur_voxels))
    if rng.random() < 0.6:
        sigma[rng.choice(3, p=[0.7, 0.15, 0.15])] += rng.uniform(0.3, 1.7)
    image = blur(image, tuple(sigma))
    if rng.random() < settings.thick_slices:
        planes = max(2, round(rng.uniform(3.0, 6.0) / spacing_mm))
        image = uniform_filter1d(image, planes, axis=0)
    level = rng.uniform(*settings.noise)
    grain = rng.uniform(0.3, 0.8) if rng.random() < 0.6 else 0.0
    real, imaginary = (_noise(shape, grain, rng) for _ in range(2))
    # Rician noise: magnitude of a complex signal.
    image = np.sqrt((image + level * real) ** 2 + (level * imaginary) ** 2)
    return (image ** np.exp(rng.normal(0, settings.gamma))).astype(np.float32)


def field_of_view(
    positions: np.ndarray, settings: ScannerSettings, rng: np.random.Generator
) -> np.ndarray:
    """Random field of view, which may cut off one end of the head, possibly obliquely.

    Parameters
    ----------
    positions : float32 ndarray of shape (plane, row, column, 3)
        Voxel positions in mm from the centre.
    settings : ScannerSettings
    rng : numpy.random.Generator

    Returns
    -------
    bool ndarray of shape (plane, row, column)
        Voxels that are scanned.
    """
    if rng.random() >= settings.cut_field_of_view:
        return np.ones(positions.shape[:3], bool)
    axis = int(rng.choice(3, p=[0.6, 0.3, 0.1]))
    normal = np.zeros(3, np.float32)
    normal[axis] = rng.choice([-1.0, 1.0])
    if rng.random() < 0.5:
        normal += rng.normal(0, 0.15, 3).astype(np.float32)
    reach = np.abs(positions[-1, -1, -1][axis])
    return positions @ normal < rng.uniform(0.3, 0.75) * reach


def _noise(shape: tuple[int, int, int], grain: float, rng: np.random.Generator) -> np.ndarray:
    noise = rng.standard_normal(shape, np.float32)
    if grain:
        noise = blur(noise, grain)
        noise /= noise.std()
    return noise
