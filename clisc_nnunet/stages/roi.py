"""Stage 6: region of interest from a CAM volume."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.ndimage import binary_opening, distance_transform_edt

from clisc_nnunet.settings import RoiSettings
from clisc_nnunet.stages.connected_components import large_components

# From this plane spacing on, typical lesions span too few planes for a 3D opening.
THICK_PLANE_MM = 3.0
# Wider gaps are assumed to separate two tumours.
MAX_GAP_MM = 10.0


def region_of_interest(
    cam: np.ndarray,
    brain: np.ndarray,
    threshold: float,
    settings: RoiSettings,
    plane_mm: float = 1.0,
) -> np.ndarray:
    """Threshold a CAM volume, and remove thin structures and small components.

    Parameters
    ----------
    cam : float32 ndarray of shape (plane, row, column)
        In 0..1.
    brain : bool ndarray of the same shape
        The region is restricted to the brain.
    threshold : float
        Voxels with a higher CAM belong to the region.
    settings : RoiSettings
        `threshold` and `candidates` are not used here.
    plane_mm : float
        Plane spacing.

    Returns
    -------
    bool ndarray of the same shape
        May be empty.
    """
    region = (cam > threshold) & brain
    if settings.opening:
        region = open_region(region, plane_mm)
    region = large_components(region, settings.component_ratio)
    if settings.fill_gaps:
        region = fill_gaps(region, max_planes=int(MAX_GAP_MM / plane_mm)) & brain
    return region


def open_region(region: np.ndarray, plane_mm: float) -> np.ndarray:
    """Binary opening by a 3x3x3 cube, or 1x3x3 where planes are thick or few.

    Parameters
    ----------
    region : bool ndarray of shape (plane, row, column)
    plane_mm : float
        Plane spacing.

    Returns
    -------
    bool ndarray of the same shape

    Notes
    -----
    In the paper's scans planes are 1 mm apart, so the cube keeps regions of 3 mm or more. With
    planes 5 mm apart it would require 15 mm and remove most regions. Stacks with thick planes
    (`THICK_PLANE_MM` or more) or fewer than three planes are therefore opened plane by plane.
    """
    across = 1 if plane_mm >= THICK_PLANE_MM or len(region) < 3 else 3
    return binary_opening(region, np.ones((across, 3, 3), bool))


def fill_gaps(region: np.ndarray, max_planes: int) -> np.ndarray:
    """Interpolate the region in empty planes between two planes that have one.

    Parameters
    ----------
    region : bool ndarray of shape (plane, row, column)
    max_planes : int
        Wider gaps are not filled.

    Returns
    -------
    bool ndarray of the same shape
        Planes that had a region are unchanged. Planes between shapes that do not overlap may stay
        empty.

    Notes
    -----
    Shape-based interpolation: linear interpolation of the signed distances to both outlines.
    """
    filled = region.copy()
    planes = np.flatnonzero(region.any(axis=(1, 2)))
    for below, above in pairwise(planes):
        if not 1 < above - below <= max_planes + 1:
            continue
        low, high = signed_distance(region[below]), signed_distance(region[above])
        for plane in range(below + 1, above):
            share = (plane - below) / (above - below)
            filled[plane] = (1 - share) * low + share * high > 0
    return filled


def signed_distance(region: np.ndarray) -> np.ndarray:
    """Signed distance to the outline in pixels, positive inside; bool (row, column) to float64."""
    return distance_transform_edt(region) - distance_transform_edt(~region)
