"""One phantom: a FLAIR-like head, and where its tumour is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import binary_fill_holes

from clisc_nnunet.io.volume import Geometry
from clisc_nnunet.phantoms.anatomy import BRAIN_TISSUES, Anatomy
from clisc_nnunet.phantoms.head import Grid, make_grid, sample_tissues, warped_positions
from clisc_nnunet.phantoms.mimics import add_mimics
from clisc_nnunet.phantoms.random_fields import blur, smooth_noise, step
from clisc_nnunet.phantoms.scanner import field_of_view, scan
from clisc_nnunet.phantoms.settings import ContrastSettings, PhantomSettings
from clisc_nnunet.phantoms.tumour import TumourSite, apply_mass_effect, grow_tumour, place_tumour
from clisc_nnunet.phantoms.tumour_appearance import appearance
from clisc_nnunet.phantoms.ventricles import caps, distance_to_lateral_ventricles, widen_ventricles

# Raise it when the same seed draws another phantom: recipes hold it, so that those drawn before and
# after are not mixed.
GENERATOR_VERSION = 2
# Level of the smoothed mask that is the label's outline: below a half, since experts draw round a
# tumour rather than through its edge.
OUTLINE = 0.3


@dataclass(frozen=True)
class Phantom:
    """A synthetic scan with its truth.

    Parameters
    ----------
    flair : float32 ndarray of shape (plane, row, column)
        Intensities above 0 in the head, 0 outside. Axes as in `Anatomy`.
    tumour : bool ndarray of the same shape
        Whole tumour.
    brain : bool ndarray of the same shape
        Brain with its fluid and its tumour, as far as it is scanned.
    spacing_mm : tuple of 3 float
        (plane, row, column).
    facts : dict
        Seed, anatomy, kind and volume of the tumour.
    """

    flair: np.ndarray
    tumour: np.ndarray
    brain: np.ndarray
    spacing_mm: tuple[float, float, float]
    facts: dict[str, Any]

    @property
    def geometry(self) -> Geometry:
        """Of the arrays, with the origin in the corner; the axes are LPS."""
        planes, rows, columns = self.flair.shape
        plane, row, column = self.spacing_mm
        axes = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
        return Geometry((columns, rows, planes), (column, row, plane), (0.0, 0.0, 0.0), axes)


def make_phantom(seed: int, anatomies: Sequence[Anatomy], settings: PhantomSettings) -> Phantom:
    """Make a phantom; the same seed makes the same phantom.

    Parameters
    ----------
    seed : int
    anatomies : sequence of Anatomy
        One of them is drawn.
    settings : PhantomSettings
    """
    # A tumour that came out too small or too large is drawn again, from a stream of its own; that
    # there is one stays as it is, or those without would come to be more than `free` says.
    free = bool(np.random.default_rng(seed).random() < settings.tumour.free)
    low, high = settings.tumour.volume_ml
    for attempt in range(40):
        rng = np.random.default_rng([seed, attempt])
        phantom = _attempt(rng, anatomies, settings, seed, free)
        if free or low <= phantom.facts["tumour_ml"] <= high:
            return phantom
    raise RuntimeError(f"no tumour of {low:g} to {high:g} ml in 40 attempts, seed {seed}")


def _attempt(
    rng: np.random.Generator,
    anatomies: Sequence[Anatomy],
    settings: PhantomSettings,
    seed: int,
    free: bool,
) -> Phantom:
    anatomy = anatomies[int(rng.integers(len(anatomies)))]
    grid = make_grid(anatomy)
    positions = warped_positions(grid, settings.head, rng)
    seeds: list[TumourSite] = []
    if not free:
        white = sample_tissues(anatomy, positions)[3]
        seeds.append(place_tumour(grid, white, settings.tumour, rng))
        if rng.random() < settings.tumour.satellites:
            smaller = rng.uniform(0.3, 0.8)
            seeds.append(place_tumour(grid, white, settings.tumour, rng, smaller))
        positions = apply_mass_effect(positions, grid, seeds[0], settings.tumour, rng)
    tissues = sample_tissues(anatomy, positions)
    distance = distance_to_lateral_ventricles(tissues, grid.spacing_mm)
    tissues, distance = widen_ventricles(tissues, distance, settings.head, rng)
    brain = tissues[:BRAIN_TISSUES].sum(axis=0) > 0.5

    image, brightest = _healthy(tissues, brain, settings.contrast, rng)
    if rng.random() < settings.contrast.caps:
        image = image + caps(grid, tissues, distance, settings.contrast, rng)
    tumour = np.zeros(grid.shape, bool)
    kinds = []
    for place in seeds:
        image, grown, kind = _with_tumour(image, grid, place, tissues, brightest, settings, rng)
        tumour |= grown & brain
        kinds.append(kind)
    image = scan(image, grid.spacing_mm, settings.scanner, rng)

    # Skull-stripping is never perfect: its edge wanders.
    edge = blur(brain, 1.0) + rng.uniform(0, 0.06) * smooth_noise(grid.shape, 20, rng)
    head = edge > rng.uniform(0.42, 0.62)
    if rng.random() < settings.head.scalp:
        head |= tissues.sum(axis=0) > 0.2
    head &= field_of_view(grid.positions, settings.scanner, rng)
    tumour &= head
    ml = float(tumour.sum()) * grid.spacing_mm**3 / 1000
    facts = {
        "seed": seed,
        "anatomy": anatomy.name,
        "kind": " and ".join(kinds) or "none",
        "tumour_ml": round(ml, 1),
    }
    # The darkest voxel of the head stays above the background's 0.
    flair = np.where(head, np.maximum(image, 1e-3), 0).astype(np.float32)
    return Phantom(flair, tumour, brain & head, (grid.spacing_mm,) * 3, facts)


def _healthy(
    tissues: np.ndarray, brain: np.ndarray, settings: ContrastSettings, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """FLAIR of the head without a tumour, and the intensity of its grey matter."""
    ventricle, fluid, grey, white, skull, scalp = tissues
    shape = brain.shape
    grey_level = rng.uniform(*settings.grey)
    ventricle_level = rng.uniform(*settings.ventricle)
    fluid_level = ventricle_level + rng.uniform(*settings.sulci_above_ventricle)
    texture = 1 + rng.uniform(0.01, 0.05) * smooth_noise(shape, 28, rng)
    regional = 1 + rng.uniform(0.0, 0.09) * smooth_noise(shape, 6, rng)
    image = (white + grey_level * grey * regional) * texture
    image = image + ventricle_level * ventricle + fluid_level * fluid
    image = image + rng.uniform(0.1, 0.3) * skull + rng.uniform(0.6, 2.0) * scalp
    return add_mimics(image, tissues, brain, settings, rng), max(grey_level, 1.1)


def _with_tumour(
    image: np.ndarray,
    grid: Grid,
    seed: TumourSite,
    tissues: np.ndarray,
    brightest: float,
    settings: PhantomSettings,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, str]:
    """Image with a tumour in it, its mask, and a word for its kind."""
    ventricle, _, grey, white = tissues[:BRAIN_TISSUES]
    distance = grow_tumour(grid, seed, tissues, settings.tumour, rng)
    weight = step(1 - distance, rng.uniform(0.015, 0.12)) * (1 - 0.85 * blur(ventricle, 0.4))
    value, kind = appearance(grid, seed, distance, grey, brightest, settings.tumour, rng)
    image = image * (1 - weight) + value * weight
    # Experts outline all that can be seen of a tumour, not what is at least half as bright.
    seen = weight > settings.tumour.visible_share
    if rng.random() < settings.tumour.halo:
        # Oedema that is hardly brighter than brain, and reaches farther into white matter.
        reach = rng.uniform(*settings.tumour.halo_reach)
        zone = step(1 + reach - distance, rng.uniform(0.03, 0.12))
        zone = zone * (1 - 0.85 * blur(ventricle, 0.4)) * (white + 0.4 * grey)
        image = image + rng.uniform(*settings.tumour.halo_brightness) * zone * (1 - weight)
        seen |= zone > 0.5
    mask = blur(seen, rng.uniform(*settings.tumour.smooth_outline)) > OUTLINE
    # Whatever a tumour encloses is part of it.
    return image.astype(np.float32), binary_fill_holes(mask), kind
