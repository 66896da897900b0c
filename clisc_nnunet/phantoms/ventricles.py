"""Age-related changes of the lateral ventricles: widening, and bright caps at their horns."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects

from clisc_nnunet.phantoms.anatomy import BRAIN_TISSUES
from clisc_nnunet.phantoms.head import Grid
from clisc_nnunet.phantoms.random_fields import blur, smooth_noise, step
from clisc_nnunet.phantoms.settings import ContrastSettings, HeadSettings

# Largest distance that is computed; caps are narrower.
FAR_MM = 30.0
# Within this radius, lateral ventricles are surrounded mainly by white matter, other CSF by cortex.
_NEIGHBOURHOOD_MM = 4.5


def distance_to_lateral_ventricles(tissues: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Distance to the lateral ventricles in mm, at most `FAR_MM`.

    Parameters
    ----------
    tissues : float32 ndarray of shape (tissue, plane, row, column)
    spacing_mm : float

    Returns
    -------
    float32 ndarray of shape (plane, row, column)
        0 inside the ventricles.
    """
    sigma = _NEIGHBOURHOOD_MM / spacing_mm
    lateral = (tissues[0] >= 0.5) & (blur(tissues[3], sigma) > blur(tissues[2], sigma))
    distance = np.full(lateral.shape, FAR_MM, np.float32)
    if lateral.any():
        margin = int(np.ceil(FAR_MM / spacing_mm))
        (found,) = find_objects(lateral.astype(np.uint8))
        box = tuple(slice(max(s.start - margin, 0), s.stop + margin) for s in found)
        near = distance_transform_edt(~lateral[box], sampling=spacing_mm)
        distance[box] = np.minimum(near, FAR_MM)
    return distance


def widen_ventricles(
    tissues: np.ndarray, distance: np.ndarray, settings: HeadSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Randomly widen the lateral ventricles by turning adjacent brain into fluid.

    Parameters
    ----------
    tissues : float32 ndarray of shape (tissue, plane, row, column)
    distance : float32 ndarray of shape (plane, row, column)
        From `distance_to_lateral_ventricles`.
    settings : HeadSettings
    rng : numpy.random.Generator

    Returns
    -------
    tissues, distance
        Updated for the widened ventricles; same shapes.
    """
    if rng.random() >= settings.wide_ventricles:
        return tissues, distance
    reach = rng.uniform(*settings.widen_mm) * np.exp(0.3 * smooth_noise(distance.shape, 5, rng))
    fluid = step(reach - distance, 0.5)
    widened = tissues.copy()
    widened[0] += fluid * tissues[1:BRAIN_TISSUES].sum(axis=0)
    widened[1:BRAIN_TISSUES] *= 1 - fluid
    # Distances at the limit are unknown and stay at it.
    return widened, np.where(distance < FAR_MM, np.maximum(distance - reach, 0), FAR_MM)


def caps(
    grid: Grid,
    tissues: np.ndarray,
    distance: np.ndarray,
    settings: ContrastSettings,
    rng: np.random.Generator,
) -> np.ndarray:
    """Intensity added by periventricular caps.

    Bands along the ventricles, thin at their bodies, widest at the frontal or occipital horns.

    Parameters
    ----------
    grid : Grid
    tissues : float32 ndarray of shape (tissue, plane, row, column)
    distance : float32 ndarray of shape (plane, row, column)
        Distance to the lateral ventricles in mm.
    settings : ContrastSettings
    rng : numpy.random.Generator

    Returns
    -------
    float32 ndarray of shape (plane, row, column)
    """
    rows = np.flatnonzero((distance == 0).any(axis=(0, 2)))
    if not len(rows):
        return np.zeros(grid.shape, np.float32)
    # -1 at the most anterior row of the ventricles, 1 at the most posterior.
    along = np.interp(np.arange(grid.shape[1]), [rows[0], rows[-1]], [-1.0, 1.0])
    front, back = rng.uniform(0.2, 1.0, 2)
    horns = np.clip((np.abs(along) - 0.4) / 0.4, 0, 1) * np.where(along < 0, front, back)
    reach = rng.uniform(0, 2.5) + rng.uniform(*settings.caps_mm) * horns[None, :, None]
    reach = np.minimum(reach * np.exp(0.3 * smooth_noise(grid.shape, 7, rng)), 0.7 * FAR_MM)
    band = step(reach - distance, rng.uniform(0.4, 2.0))
    band = band * np.clip(tissues[3] + 0.2 * tissues[2], 0, 1)
    texture = 1 + rng.uniform(0, 0.15) * smooth_noise(grid.shape, 16, rng)
    return (rng.uniform(*settings.caps_brightness) * band * texture).astype(np.float32)
