"""Lesions that are no tumours: confluent hyperintensities, plaques, infarcts and cavities.

They stay outside of the label. What tells them from tumours: hyperintensities of small vessels lie
along both ventricles, plaques (multiple sclerosis) are many and small, infarcts are wedges of
cortex and the white matter beneath, cavities after an operation reach the surface of the brain.
"""

from __future__ import annotations

import numpy as np

from clisc_nnunet.phantoms.head import Grid, rotation
from clisc_nnunet.phantoms.random_fields import blur, smooth_noise, step
from clisc_nnunet.phantoms.settings import LesionSettings

# Plaques touch ventricles or cortex more often than they lie in deep white matter.
_AT_VENTRICLES, _AT_CORTEX = 0.5, 0.25


def add_lesions(
    image: np.ndarray,
    grid: Grid,
    tissues: np.ndarray,
    distance: np.ndarray,
    settings: LesionSettings,
    rng: np.random.Generator,
) -> np.ndarray:
    """Randomly add lesions of each kind to an image without a tumour.

    Parameters
    ----------
    image : float32 ndarray of shape (plane, row, column)
        Intensities; white matter is about 1.
    grid : Grid
    tissues : float32 ndarray of shape (tissue, plane, row, column)
    distance : float32 ndarray of shape (plane, row, column)
        Distance to the lateral ventricles in mm.
    settings : LesionSettings
    rng : numpy.random.Generator

    Returns
    -------
    float32 ndarray of shape (plane, row, column)
    """
    # A share of 0 draws no random number, so that other kinds of phantoms stay as they are.
    if settings.confluent and rng.random() < settings.confluent:
        image = image + _confluent(grid, tissues[3], distance, settings, rng)
    if settings.plaques and rng.random() < settings.plaques:
        image = image + _plaques(grid, tissues, distance, settings, rng)
    if settings.infarcts and rng.random() < settings.infarcts:
        for _ in range(int(rng.integers(1, 4))):
            image = _with_infarct(image, grid, tissues, settings, rng)
    if settings.cavity and rng.random() < settings.cavity:
        image = _with_cavity(image, grid, tissues, settings, rng)
    return image.astype(np.float32)


def _confluent(
    grid: Grid,
    white: np.ndarray,
    distance: np.ndarray,
    settings: LesionSettings,
    rng: np.random.Generator,
) -> np.ndarray:
    """Bands along all of the lateral ventricles, patchy at their outer border."""
    width = rng.uniform(*settings.confluent_mm)
    reach = width * np.exp(0.35 * smooth_noise(grid.shape, int(rng.integers(7, 14)), rng))
    band = step(reach - distance, rng.uniform(0.5, 2.0)) * np.clip(white, 0, 1)
    texture = 1 + rng.uniform(0.05, 0.25) * smooth_noise(grid.shape, 18, rng)
    return rng.uniform(*settings.confluent_brightness) * band * texture


def _plaques(
    grid: Grid,
    tissues: np.ndarray,
    distance: np.ndarray,
    settings: LesionSettings,
    rng: np.random.Generator,
) -> np.ndarray:
    """Many small ellipsoids in white matter."""
    grey, white = tissues[2], tissues[3]
    inside = white > 0.6
    places = [inside & (distance < 6), inside & (blur(grey, 1.5) > 0.3), inside]
    choices = [np.argwhere(place) for place in places]
    added = np.zeros(grid.shape, np.float32)
    low, high = np.log(settings.plaque_radius_mm)
    for _ in range(int(rng.integers(*settings.plaque_count))):
        shares = [_AT_VENTRICLES, _AT_CORTEX, 1 - _AT_VENTRICLES - _AT_CORTEX]
        where = choices[int(rng.choice(3, p=shares))]
        if not len(where):
            continue
        centre = where[rng.integers(len(where))]
        blob = _ellipsoid(grid, centre, np.exp(rng.uniform(low, high)), rng)
        added[blob[0]] = np.maximum(added[blob[0]], rng.uniform(0.6, 1.0) * blob[1])
    return rng.uniform(*settings.plaque_brightness) * added * np.clip(white + 0.5 * grey, 0, 1)


def _with_infarct(
    image: np.ndarray,
    grid: Grid,
    tissues: np.ndarray,
    settings: LesionSettings,
    rng: np.random.Generator,
) -> np.ndarray:
    """Wedge of cortex and white matter: bright if recent, else fluid with a bright border."""
    grey, white = tissues[2], tissues[3]
    where = np.argwhere(grey > 0.6)
    if not len(where):
        return image
    centre = where[rng.integers(len(where))]
    radius = np.exp(rng.uniform(*np.log(settings.infarct_radius_mm)))
    box, wedge = _ellipsoid(grid, centre, radius, rng, sharpness=6.0)
    tissue = np.clip(grey + white, 0, 1)[box]
    image = image.copy()
    if rng.random() < 0.5:
        image[box] += rng.uniform(0.25, 0.9) * wedge * tissue
        return image
    inner = np.clip(2.5 * wedge - 1.5, 0, 1)
    image[box] += rng.uniform(0.2, 0.8) * wedge * tissue
    image[box] = image[box] * (1 - inner) + rng.uniform(0.1, 0.5) * inner
    return image


def _with_cavity(
    image: np.ndarray,
    grid: Grid,
    tissues: np.ndarray,
    settings: LesionSettings,
    rng: np.random.Generator,
) -> np.ndarray:
    """Fluid that reaches the surface, with a thin, hardly brighter border."""
    brain = tissues[:4].sum(axis=0) > 0.5
    where = np.argwhere(brain & (blur(brain, 2.0) < 0.75))
    if not len(where):
        return image
    centre = where[rng.integers(len(where))]
    radius = rng.uniform(*settings.cavity_radius_mm)
    box, ball = _ellipsoid(grid, centre, radius, rng, sharpness=10.0)
    rim = np.exp(-(((ball - 0.4) / 0.25) ** 2)) * (ball > 0.02)
    image = image.copy()
    image[box] += rng.uniform(0.0, 0.4) * rim * brain[box]
    image[box] = image[box] * (1 - ball) + rng.uniform(0.05, 0.4) * ball
    return image


def _ellipsoid(
    grid: Grid,
    centre: np.ndarray,
    radius_mm: float,
    rng: np.random.Generator,
    sharpness: float = 5.0,
) -> tuple[tuple[slice, ...], np.ndarray]:
    """Box around a voxel, and an irregular ellipsoid in it: 1 inside, 0 outside, soft border."""
    reach = int(np.ceil(2.2 * radius_mm / grid.spacing_mm)) + 1
    box = tuple(slice(max(int(c) - reach, 0), int(c) + reach + 1) for c in centre)
    turn = rotation(rng.uniform(0, np.pi, 3))
    radii = radius_mm * np.exp(rng.normal(0, 0.25, 3))
    offset = grid.positions[box] - grid.positions[tuple(centre)]
    scaled = offset @ (turn / radii).astype(np.float32)
    inner = np.sqrt((scaled**2).sum(axis=-1))
    inner = inner + 0.12 * smooth_noise(inner.shape, 5, rng)
    return box, step(sharpness * (1 - inner))
