"""Tumours: where they grow, their outline, and how they look in FLAIR."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clisc_nnunet.phantoms.fields import blur, smooth_noise, step
from clisc_nnunet.phantoms.head import Grid, rotation
from clisc_nnunet.phantoms.settings import TumourSettings


@dataclass(frozen=True)
class Seed:
    """Place and size of a tumour before it grows into the tissue.

    Parameters
    ----------
    centre : float32 ndarray of shape (3,)
        Millimetres, (plane, row, column).
    distance : float32 ndarray of shape (plane, row, column)
        Distance to the centre, 1 on the ellipsoid.
    """

    centre: np.ndarray
    distance: np.ndarray


def plant(
    grid: Grid, white: np.ndarray, settings: TumourSettings, rng: np.random.Generator
) -> Seed:
    """Choose a centre in white matter, a size and a direction.

    Parameters
    ----------
    grid : Grid
    white : float ndarray of shape (plane, row, column)
        Share of white matter.
    """
    places = np.argwhere(blur(white, 2.0) > 0.45)
    if not len(places):
        places = np.argwhere(white > 0.5)
    centre = grid.positions[tuple(places[rng.integers(len(places))])]
    radius = np.exp(rng.uniform(*np.log(settings.radius_mm)))
    radii = radius * np.exp(rng.normal(0, 0.22, 3))
    turn = rotation(rng.uniform(0, np.pi, 3))
    scaled = (grid.positions - centre) @ (turn / radii).astype(np.float32)
    return Seed(centre, np.sqrt((scaled**2).sum(axis=-1)))


def push(
    positions: np.ndarray,
    grid: Grid,
    seed: Seed,
    settings: TumourSettings,
    rng: np.random.Generator,
) -> np.ndarray:
    """Mass effect: tissue around the tumour is pushed outwards; positions (…, 3) in and out, mm."""
    strength = rng.uniform(*settings.mass_effect)
    near = strength * np.exp(-((seed.distance / 0.9) ** 2))
    return positions - (grid.positions - seed.centre) * near[..., None]


def grow(grid: Grid, seed: Seed, tissues: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Warped distance: below 1 is tumour.

    Parameters
    ----------
    grid : Grid
    seed : Seed
    tissues : float32 ndarray of shape (tissue, plane, row, column)
    rng : numpy.random.Generator

    Returns
    -------
    float32 ndarray of shape (plane, row, column)
        Tumours spread along white matter; grey matter and fluid resist, and so does the midline.
    """
    ventricle, fluid, grey, white = tissues[:4]
    distance = (
        seed.distance
        + rng.uniform(0.08, 0.3) * smooth_noise(grid.shape, 7, rng)
        + rng.uniform(0.03, 0.14) * smooth_noise(grid.shape, 16, rng)
        + rng.uniform(0.0, 0.06) * smooth_noise(grid.shape, 34, rng)
    )
    distance = distance + rng.uniform(0, 0.55) * blur(grey, 0.7)
    distance = distance - rng.uniform(0, 0.4) * blur(white, 0.7)
    distance = distance + rng.uniform(0.1, 0.8) * blur(np.clip(ventricle + fluid, 0, 1), 0.5)
    if rng.random() < 0.7:
        beyond = grid.positions[..., 2] * np.sign(seed.centre[2] + 1e-3) < -4
        distance = distance + rng.uniform(0, 0.6) * beyond
    return distance.astype(np.float32)


def appearance(
    grid: Grid,
    seed: Seed,
    distance: np.ndarray,
    grey: np.ndarray,
    brightest: float,
    settings: TumourSettings,
    rng: np.random.Generator,
) -> tuple[np.ndarray, str]:
    """Intensity that the tumour would have everywhere, and a word for its kind.

    Parameters
    ----------
    grid, seed, distance
        As in `grow`.
    grey : float ndarray of shape (plane, row, column)
        Share of grey matter.
    brightest : float
        Intensity of the brightest healthy tissue.
    """
    shape = grid.shape
    value = brightest * rng.uniform(*settings.brightness) * np.ones(shape, np.float32)
    value *= 1 + rng.uniform(0.02, 0.14) * smooth_noise(shape, 10, rng)
    value *= 1 + rng.uniform(0.0, 0.06) * smooth_noise(shape, 24, rng)
    value *= 1 - rng.uniform(0, 0.12) * blur(grey, 0.7)
    kind = "solid"
    chance = rng.random()
    if chance < settings.core:
        kind = "core"
        inner = seed.distance * rng.uniform(0.9, 1.2) / rng.uniform(0.35, 0.75)
        inner = inner + rng.uniform(0.1, 0.35) * smooth_noise(shape, 9, rng)
        inner = inner + rng.uniform(0.0, 0.25) * smooth_noise(shape, 18, rng)
        core = step(1 - inner, rng.uniform(0.03, 0.15))
        inside = rng.uniform(0.25, 1.25) if rng.random() < 0.75 else rng.uniform(1.0, 2.2)
        texture = 1 + rng.uniform(0.05, 0.2) * smooth_noise(shape, 12, rng)
        value = value * (1 - core) + inside * texture * core
        if rng.random() < 0.4:
            value = value + rng.uniform(-0.3, 0.5) * np.exp(-(((1 - inner) / 0.18) ** 2))
    elif chance < settings.core + settings.mottled:
        kind = "mottled"
        spots = step(smooth_noise(shape, 14, rng) - rng.uniform(0.0, 0.6), 0.25)
        value = value * (1 - rng.uniform(0.1, 0.45) * spots)
    if rng.random() < settings.dull_half:
        kind += ", one side dull"
        towards = rng.standard_normal(3)
        towards = (towards / np.linalg.norm(towards)).astype(np.float32)
        side = (grid.positions - seed.centre) @ towards
        dull = step(side + 4 * smooth_noise(shape, 8, rng), 5.0)
        value = value * (1 - dull) + brightest * rng.uniform(1.05, 1.25) * dull
    return value.astype(np.float32), kind
