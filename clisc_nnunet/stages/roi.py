"""Stage 6: from a CAM volume to a region of interest."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.ndimage import binary_opening, distance_transform_edt

from clisc_nnunet.settings import RoiSettings
from clisc_nnunet.stages.connected_components import large_components

# From this plane spacing on, a lesion of a usual size spans too few planes for an opening across.
THICK_PLANE_MM = 3.0
# Wider gaps are taken for what they seem: two tumours.
MAX_GAP_MM = 10.0


def region_of_interest(
    cam: np.ndarray,
    brain: np.ndarray,
    threshold: float,
    settings: RoiSettings,
    plane_mm: float = 1.0,
) -> np.ndarray:
    """Threshold a CAM volume and drop what is thin or small.

    Parameters
    ----------
    cam : float32 ndarray of shape (plane, row, column)
        0..1.
    brain : bool ndarray of the same shape
        The region lies inside.
    threshold : float
        CAM above it is region.
    settings : RoiSettings
        `threshold` and `candidates` are for the caller, who chooses between them.
    plane_mm : float
        Distance of planes.

    Returns
    -------
    bool ndarray of the same shape
        Empty if nothing exceeds the threshold or survives.
    """
    region = (cam > threshold) & brain
    if settings.opening:
        region = open_region(region, plane_mm)
    region = large_components(region, settings.component_ratio)
    if settings.fill_gaps:
        region = fill_gaps(region, max_planes=int(MAX_GAP_MM / plane_mm)) & brain
    return region


def open_region(region: np.ndarray, plane_mm: float) -> np.ndarray:
    """Binary opening by a 3x3x3 cube (26 neighbours), or 1x3x3 where planes are thick or few.

    Parameters
    ----------
    region : bool ndarray of shape (plane, row, column)
    plane_mm : float
        Distance of planes.

    Returns
    -------
    bool ndarray of the same shape

    Notes
    -----
    The paper's scans have planes 1 mm apart, and a cube of three asks for 3 mm of tumour. With
    planes 5 mm apart it would ask for 15 mm and erase most regions; thick planes (`THICK_PLANE_MM`
    or more) are therefore opened one by one, and so is a stack of one or two.
    """
    across = 1 if plane_mm >= THICK_PLANE_MM or len(region) < 3 else 3
    return binary_opening(region, np.ones((across, 3, 3), bool))


def fill_gaps(region: np.ndarray, max_planes: int) -> np.ndarray:
    """Give empty planes between two planes with a region the shape in between.

    Parameters
    ----------
    region : bool ndarray of shape (plane, row, column)
    max_planes : int
        Gaps of more planes stay.

    Returns
    -------
    bool ndarray of the same shape
        Planes that had a region are unchanged. Where the shapes on both sides lie far apart, a
        plane in between stays empty.

    Notes
    -----
    Shape-based interpolation: the signed distances of the two outlines are mixed linearly.
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
    """Distance to the outline in pixels, positive inside; bool (row, column) in, float64 out."""
    return distance_transform_edt(region) - distance_transform_edt(~region)
