"""Generate one phantom: a synthetic FLAIR scan with tumour and brain masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import binary_fill_holes

from clisc_nnunet.io.volume import Geometry
from clisc_nnunet.phantoms.anatomy import BRAIN_TISSUES, Anatomy
from clisc_nnunet.phantoms.head import Grid, make_grid, sample_tissues, warped_positions
from clisc_nnunet.phantoms.lesions import add_lesions
from clisc_nnunet.phantoms.mimics import add_mimics
from clisc_nnunet.phantoms.random_fields import blur, smooth_noise, step
from clisc_nnunet.phantoms.scanner import field_of_view, scan
from clisc_nnunet.phantoms.settings import ContrastSettings, PhantomSettings
from clisc_nnunet.phantoms.tumour import TumourSite, apply_mass_effect, grow_tumour, place_tumour
from clisc_nnunet.phantoms.tumour_appearance import appearance
from clisc_nnunet.phantoms.ventricles import caps, distance_to_lateral_ventricles, widen_ventricles

# Increase it when a seed gives another phantom. Datasets record it, so that phantoms of different
# versions are not mixed.
GENERATOR_VERSION = 2
# Threshold of the smoothed mask that gives the label: below 0.5, since experts outline tumours
# generously.
OUTLINE = 0.3


@dataclass(frozen=True)
class Phantom:
    """A synthetic scan with its reference masks.

    Parameters
    ----------
    flair : float32 ndarray of shape (plane, row, column)
        Intensities, above 0 in the head, 0 outside. Axes as in `Anatomy`.
    tumour : bool ndarray of the same shape
        Whole tumour.
    brain : bool ndarray of the same shape
        Brain in the field of view, including CSF and tumour.
    spacing_mm : tuple of 3 float
        (plane, row, column).
    facts : dict
        Seed, anatomy, and kind and volume of the tumour.
    """

    flair: np.ndarray
    tumour: np.ndarray
    brain: np.ndarray
    spacing_mm: tuple[float, float, float]
    facts: dict[str, Any]

    @property
    def geometry(self) -> Geometry:
        """Geometry of the arrays: LPS axes, origin at the first voxel."""
        planes, rows, columns = self.flair.shape
        plane, row, column = self.spacing_mm
        axes = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
        return Geometry((columns, rows, planes), (column, row, plane), (0.0, 0.0, 0.0), axes)


def make_phantom(seed: int, anatomies: Sequence[Anatomy], settings: PhantomSettings) -> Phantom:
    """Generate a phantom, determined by its seed.

    Parameters
    ----------
    seed : int
    anatomies : sequence of Anatomy
        One of them is selected at random.
    settings : PhantomSettings

    Raises
    ------
    RuntimeError
        If no tumour within the volume limits results from 40 attempts.
    """
    # Tumours outside the volume limits are generated again from another random stream. Whether
    # there is a tumour is decided once, or more phantoms than `free` would have none.
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
    sites: list[TumourSite] = []
    if not free:
        white = sample_tissues(anatomy, positions)[3]
        sites.append(place_tumour(grid, white, settings.tumour, rng))
        if rng.random() < settings.tumour.satellites:
            smaller = rng.uniform(0.3, 0.8)
            sites.append(place_tumour(grid, white, settings.tumour, rng, smaller))
        positions = apply_mass_effect(positions, grid, sites[0], settings.tumour, rng)
    tissues = sample_tissues(anatomy, positions)
    distance = distance_to_lateral_ventricles(tissues, grid.spacing_mm)
    tissues, distance = widen_ventricles(tissues, distance, settings.head, rng)
    brain = tissues[:BRAIN_TISSUES].sum(axis=0) > 0.5

    image, brightest = _healthy_image(tissues, brain, settings.contrast, rng)
    if rng.random() < settings.contrast.caps:
        image = image + caps(grid, tissues, distance, settings.contrast, rng)
    image = add_lesions(image, grid, tissues, distance, settings.lesions, rng)
    tumour = np.zeros(grid.shape, bool)
    kinds = []
    for site in sites:
        image, grown, kind = _add_tumour(image, grid, site, tissues, brightest, settings, rng)
        tumour |= grown & brain
        kinds.append(kind)
    image = scan(image, grid.spacing_mm, settings.scanner, rng)

    # Imperfect skull-stripping: the edge of the brain is perturbed.
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
    # Voxels of the head stay above 0, the background.
    flair = np.where(head, np.maximum(image, 1e-3), 0).astype(np.float32)
    return Phantom(flair, tumour, brain & head, (grid.spacing_mm,) * 3, facts)


def _healthy_image(
    tissues: np.ndarray, brain: np.ndarray, settings: ContrastSettings, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """FLAIR image without a tumour, and the intensity of the brightest healthy tissue."""
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


def _add_tumour(
    image: np.ndarray,
    grid: Grid,
    site: TumourSite,
    tissues: np.ndarray,
    brightest: float,
    settings: PhantomSettings,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, str]:
    """Image with the tumour added, tumour mask, and description of its kind."""
    ventricle, _, grey, white = tissues[:BRAIN_TISSUES]
    distance = grow_tumour(grid, site, tissues, settings.tumour, rng)
    weight = step(1 - distance, rng.uniform(0.015, 0.12)) * (1 - 0.85 * blur(ventricle, 0.4))
    value, kind = appearance(grid, site, distance, grey, brightest, settings.tumour, rng)
    image = image * (1 - weight) + value * weight
    # Experts outline all visible tumour, not only voxels with at least half of its brightness.
    seen = weight > settings.tumour.visible_share
    if rng.random() < settings.tumour.halo:
        # Faint oedema that extends further into white matter.
        reach = rng.uniform(*settings.tumour.halo_reach)
        zone = step(1 + reach - distance, rng.uniform(0.03, 0.12))
        zone = zone * (1 - 0.85 * blur(ventricle, 0.4)) * (white + 0.4 * grey)
        image = image + rng.uniform(*settings.tumour.halo_brightness) * zone * (1 - weight)
        seen |= zone > 0.5
    mask = blur(seen, rng.uniform(*settings.tumour.smooth_outline)) > OUTLINE
    # Holes enclosed by the tumour are part of it.
    return image.astype(np.float32), binary_fill_holes(mask), kind
