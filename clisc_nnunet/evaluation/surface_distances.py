"""Distances between the surfaces of two masks, by DeepMind's surface-distance.

Surface distances depend on the implementation: across 11 tools, Podobnik and Vrtovec
(arXiv 2410.02630) found HD95 and related measures to differ by more than 100 mm on the same masks.
We use surface-distance 0.1 because it weights each surface element by its area in mm2, so that
thick planes do not distort percentiles and means; because its authors introduced the normalised
surface Dice; and because it is small (40 kB, depends on numpy and scipy only). Alternatives:
MONAI 1.6.1 counts voxels instead of areas, and importing it takes 9 s and 1 GB per process;
panoptica 2.1.7 requires numpy below 2.3 and pools both directions in its percentile; medpy 0.5.2
is licensed under the GPL. For balls of 20 mm, 4 mm apart, HD95 is 3.6 mm here and 3.7 mm with
MONAI; with one ball 5 mm wider, 5.0 and 5.1 mm. A test compares the distances with SimpleITK's
distance maps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

UNDEFINED = float("nan")


@dataclass(frozen=True)
class SurfaceScores:
    """Distances between two surfaces; all NaN if a mask is empty.

    Parameters
    ----------
    hd95_mm : float
        The larger of the two directed 95th percentiles of the distance.
    mean_distance_mm : float
        Average symmetric surface distance: over both surfaces, by area.
    surface_dice : float
        Normalised surface Dice: share of both surfaces, by area, within the tolerance.
    """

    hd95_mm: float = UNDEFINED
    mean_distance_mm: float = UNDEFINED
    surface_dice: float = UNDEFINED


def surface_scores(
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing: tuple[float, float, float],
    tolerance_mm: float,
) -> SurfaceScores:
    """Compare the surfaces of two masks.

    Parameters
    ----------
    prediction, reference : bool ndarray of shape (plane, row, column)
    spacing : tuple of 3 float
        In millimetres, ordered plane, row, column.
    tolerance_mm : float
        Tolerance of the normalised surface Dice.

    Returns
    -------
    SurfaceScores
        All NaN if one or both masks are empty, since a distance is undefined without a surface.
        Some tools return 0, which would reward empty predictions.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if prediction.shape != reference.shape:
        raise ValueError(f"prediction of shape {prediction.shape}, reference {reference.shape}")
    if not prediction.any() or not reference.any():
        return SurfaceScores()
    import surface_distance

    # Padding closes surfaces at the border of the field of view.
    found = surface_distance.compute_surface_distances(
        np.pad(reference, 1), np.pad(prediction, 1), spacing
    )
    distances = [found["distances_gt_to_pred"], found["distances_pred_to_gt"]]
    areas = [found["surfel_areas_gt"], found["surfel_areas_pred"]]
    return SurfaceScores(
        hd95_mm=float(surface_distance.compute_robust_hausdorff(found, 95)),
        mean_distance_mm=float(
            np.average(np.concatenate(distances), weights=np.concatenate(areas))
        ),
        surface_dice=float(surface_distance.compute_surface_dice_at_tolerance(found, tolerance_mm)),
    )
