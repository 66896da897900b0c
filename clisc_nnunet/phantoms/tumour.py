"""Position, outline and mass effect of tumours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clisc_nnunet.phantoms.head import Grid, rotation
from clisc_nnunet.phantoms.random_fields import blur, smooth_noise, step
from clisc_nnunet.phantoms.settings import TumourSettings

# Cerebellum and brainstem lie below this share of the height of the white matter.
HINDBRAIN = 0.35


@dataclass(frozen=True)
class TumourSite:
    """Place and size of a tumour before it grows into the tissue.

    Parameters
    ----------
    centre : float32 ndarray of shape (3,)
        (plane, row, column) in mm.
    distance : float32 ndarray of shape (plane, row, column)
        Distance to the centre, normalised to 1 on the ellipsoid.
    """

    centre: np.ndarray
    distance: np.ndarray


def place_tumour(
    grid: Grid,
    white: np.ndarray,
    settings: TumourSettings,
    rng: np.random.Generator,
    scale: float = 1.0,
) -> TumourSite:
    """Sample a centre in white matter, radii and an orientation.

    Parameters
    ----------
    grid : Grid
    white : float ndarray of shape (plane, row, column)
        Share of white matter.
    settings : TumourSettings
    rng : numpy.random.Generator
    scale : float
        Factor of the radius.
    """
    positions = np.argwhere(blur(white, 2.0) > 0.45)
    if not len(positions):
        positions = np.argwhere(white > 0.5)
    if rng.random() >= settings.low:
        lowest, highest = positions[:, 0].min(), positions[:, 0].max()
        positions = positions[positions[:, 0] >= lowest + HINDBRAIN * (highest - lowest)]
    centre = grid.positions[tuple(positions[rng.integers(len(positions))])]
    sizes = settings.small_radius_mm if rng.random() < settings.small else settings.radius_mm
    radius = scale * np.exp(rng.uniform(*np.log(sizes)))
    radii = radius * np.exp(rng.normal(0, 0.22, 3))
    turn = rotation(rng.uniform(0, np.pi, 3))
    scaled = (grid.positions - centre) @ (turn / radii).astype(np.float32)
    return TumourSite(centre, np.sqrt((scaled**2).sum(axis=-1)))


def apply_mass_effect(
    positions: np.ndarray,
    grid: Grid,
    site: TumourSite,
    settings: TumourSettings,
    rng: np.random.Generator,
) -> np.ndarray:
    """Displace positions, float (..., 3) in mm, so that the tumour pushes tissue outwards."""
    strength = rng.uniform(*settings.mass_effect)
    near = strength * np.exp(-((site.distance / 0.9) ** 2))
    return positions - (grid.positions - site.centre) * near[..., None]


def grow_tumour(
    grid: Grid,
    site: TumourSite,
    tissues: np.ndarray,
    settings: TumourSettings,
    rng: np.random.Generator,
) -> np.ndarray:
    """Tumour as a warped distance, below 1 inside.

    Tumours spread along white matter; grey matter, fluid and the midline, except for the white
    matter that crosses it, are barriers.

    Parameters
    ----------
    grid : Grid
    site : TumourSite
    tissues : float32 ndarray of shape (tissue, plane, row, column)
    settings : TumourSettings
    rng : numpy.random.Generator

    Returns
    -------
    float32 ndarray of shape (plane, row, column)
    """
    ventricle, fluid, grey, white = tissues[:4]
    distance = (
        site.distance
        + rng.uniform(0.08, 0.3) * smooth_noise(grid.shape, 7, rng)
        + rng.uniform(0.03, 0.14) * smooth_noise(grid.shape, 16, rng)
        + rng.uniform(0.0, 0.06) * smooth_noise(grid.shape, 34, rng)
    )
    fingers = rng.random() < settings.fingers
    # Without fingers the outline crosses gyri smoothly, as in expansive tumours.
    sigma = 0.7 if fingers else rng.uniform(0.7, 2.5)
    along = rng.uniform(0.4, 0.8) if fingers else rng.uniform(0, 0.4)
    distance = distance + rng.uniform(0, 0.55) * blur(grey, sigma)
    distance = distance - along * blur(white, sigma)
    wet = blur(np.clip(ventricle + fluid, 0, 1), sigma)
    distance = distance + rng.uniform(0.1, 0.8) * wet
    if rng.random() < 0.7:
        beyond = -grid.positions[..., 2] * np.sign(site.centre[2] + 1e-3)
        wall = step(beyond - rng.uniform(0, 6) + 2 * smooth_noise(grid.shape, 8, rng), 2.5)
        distance = distance + rng.uniform(0, 0.6) * wall * (1 - 0.8 * blur(white, 1.5))
    return distance.astype(np.float32)
