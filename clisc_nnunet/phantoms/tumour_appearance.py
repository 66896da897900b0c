"""Intensities of tumours in FLAIR: solid, cored, cystic or mottled, optionally fading or one-sided.

They model what gliomas show in contrast to a uniform bright ball: grey necrosis, fluid-filled
cavities with a thin rim, spots of different brightness, oedema that fades into the brain, and sides
that are hardly brighter than brain. All of these belong to the whole tumour.
"""

from __future__ import annotations

import numpy as np

from clisc_nnunet.phantoms.head import Grid
from clisc_nnunet.phantoms.random_fields import blur, smooth_noise, step
from clisc_nnunet.phantoms.settings import TumourSettings
from clisc_nnunet.phantoms.tumour import TumourSite


def appearance(
    grid: Grid,
    site: TumourSite,
    distance: np.ndarray,
    grey: np.ndarray,
    brightest: float,
    settings: TumourSettings,
    rng: np.random.Generator,
) -> tuple[np.ndarray, str]:
    """Tumour intensity at every voxel of the grid, and a description of its kind.

    Parameters
    ----------
    grid : Grid
    site : TumourSite
    distance : float32 ndarray of shape (plane, row, column)
        From `grow_tumour`: below 1 inside the tumour.
    grey : float ndarray of the same shape
        Share of grey matter.
    brightest : float
        Intensity of the brightest healthy tissue.
    settings : TumourSettings
    rng : numpy.random.Generator

    Returns
    -------
    float32 ndarray of the same shape, str
    """
    shape = grid.shape
    levels = settings.faint_brightness if rng.random() < settings.faint else settings.brightness
    value = brightest * rng.uniform(*levels) * np.ones(shape, np.float32)
    value *= 1 + rng.uniform(0.02, 0.14) * smooth_noise(shape, 10, rng)
    value *= 1 + rng.uniform(0.0, 0.06) * smooth_noise(shape, 24, rng)
    value *= 1 - rng.uniform(0, 0.12) * blur(grey, 0.7)

    rest = 1 - settings.core - settings.cyst - settings.mottled
    shares = [settings.core, settings.cyst, settings.mottled, rest]
    kind = str(rng.choice(["core", "cyst", "mottled", "solid"], p=shares))
    if rng.random() < settings.fading:
        value = _fading(value, distance, brightest, rng)
        kind += ", fading"
    if kind.startswith("core"):
        value = _with_core(value, site, rng)
    elif kind.startswith("cyst"):
        value = _with_cyst(value, distance, site, rng)
    elif kind.startswith("mottled"):
        value = _mottled(value, rng)
    if rng.random() < settings.dull_half:
        value = _dull_half(value, grid, site, brightest, rng)
        kind += ", one side dull"
    return value.astype(np.float32), kind


def _fading(
    value: np.ndarray, distance: np.ndarray, brightest: float, rng: np.random.Generator
) -> np.ndarray:
    """Brightness that decreases towards the outline, almost to that of brain."""
    start = rng.uniform(0.2, 0.8)
    share = rng.uniform(0.4, 0.95) * np.clip((distance - start) / (1 - start), 0, 1)
    return value * (1 - share) + brightest * rng.uniform(1.08, 1.25) * share


def _with_core(value: np.ndarray, site: TumourSite, rng: np.random.Generator) -> np.ndarray:
    """Distinct core: dark cavity, grey necrosis or solid part, sometimes with a rim."""
    shape = value.shape
    inner = site.distance * rng.uniform(0.9, 1.2) / rng.uniform(0.35, 0.75)
    inner = inner + rng.uniform(0.1, 0.35) * smooth_noise(shape, 9, rng)
    inner = inner + rng.uniform(0.0, 0.25) * smooth_noise(shape, 18, rng)
    core = step(1 - inner, rng.uniform(0.03, 0.15))
    limits = [(0.1, 0.5), (0.6, 1.3), (1.0, 2.2)][rng.choice(3, p=[0.3, 0.45, 0.25])]
    texture = 1 + rng.uniform(0.05, 0.2) * smooth_noise(shape, 12, rng)
    value = value * (1 - core) + rng.uniform(*limits) * texture * core
    if rng.random() < 0.4:
        value = value + rng.uniform(-0.3, 0.5) * np.exp(-(((1 - inner) / 0.18) ** 2))
    return value


def _with_cyst(
    value: np.ndarray, distance: np.ndarray, site: TumourSite, rng: np.random.Generator
) -> np.ndarray:
    """Fluid inside a thin rim, often with solid nodules."""
    shape = value.shape
    # Rounder than the tumour, due to the even pressure of the fluid.
    inner = np.maximum(distance / rng.uniform(0.75, 0.92), site.distance / rng.uniform(0.6, 1.1))
    inner = inner + rng.uniform(0.0, 0.08) * smooth_noise(shape, 9, rng)
    cavity = step(1 - inner, rng.uniform(0.015, 0.05))
    if rng.random() < 0.6:
        nodules = smooth_noise(shape, 5, rng) + 0.7 * smooth_noise(shape, 18, rng)
        cavity = cavity * (1 - step(nodules - rng.uniform(0.0, 1.0), 0.15))
    return value * (1 - cavity) + rng.uniform(0.03, 0.5) * cavity


def _mottled(value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Darker spots, faint to nearly black, fine to coarse."""
    spots = smooth_noise(value.shape, int(rng.integers(10, 32)), rng)
    if rng.random() < 0.5:
        spots = (spots + smooth_noise(value.shape, int(rng.integers(8, 20)), rng)) / 1.4
    spots = step(spots - rng.uniform(-0.4, 0.7), rng.uniform(0.1, 0.3))
    return value * (1 - rng.uniform(0.1, 0.75) * spots)


def _dull_half(
    value: np.ndarray, grid: Grid, site: TumourSite, brightest: float, rng: np.random.Generator
) -> np.ndarray:
    """One side that is hardly brighter than brain."""
    towards = rng.standard_normal(3)
    towards = (towards / np.linalg.norm(towards)).astype(np.float32)
    side = (grid.positions - site.centre) @ towards
    dull = step(side + 4 * smooth_noise(grid.shape, 8, rng), rng.uniform(3.0, 10.0))
    return value * (1 - dull) + brightest * rng.uniform(1.08, 1.3) * dull
