"""Lesion by lesion: how many are found, and how many of what is predicted is false."""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np

# Smaller pieces are specks of a few voxels (of 1 mm: 50), not lesions.
SMALLEST_ML = 0.05
# Share of a lesion that must lie in the other mask: a touching corner finds nothing.
LEAST_OVERLAP = 0.1


@dataclass(frozen=True)
class LesionCounts:
    """Counts of lesions of at least `SMALLEST_ML`.

    Parameters
    ----------
    lesions : int
        In the reference.
    lesions_found : int
        Of these, with at least `LEAST_OVERLAP` of their voxels in the prediction.
    lesions_predicted : int
        In the prediction.
    lesions_false : int
        Of these, with less than `LEAST_OVERLAP` of their voxels in the reference.
    """

    lesions: int
    lesions_found: int
    lesions_predicted: int
    lesions_false: int


def count_lesions(prediction: np.ndarray, reference: np.ndarray, voxel_ml: float) -> LesionCounts:
    """Count lesions: pieces whose voxels share at least a corner (26 neighbours).

    Parameters
    ----------
    prediction, reference : bool ndarray of shape (plane, row, column)
    voxel_ml : float
        Volume of a voxel in millilitres.

    Returns
    -------
    LesionCounts
    """
    true, predicted = (
        _overlaps(mask, other, voxel_ml)
        for mask, other in ((reference, prediction), (prediction, reference))
    )
    return LesionCounts(
        lesions=len(true),
        lesions_found=int((true >= LEAST_OVERLAP).sum()),
        lesions_predicted=len(predicted),
        lesions_false=int((predicted < LEAST_OVERLAP).sum()),
    )


def _overlaps(mask: np.ndarray, other: np.ndarray, voxel_ml: float) -> np.ndarray:
    """Share of each lesion of a mask that lies in the other, (n,)."""
    labels = cc3d.connected_components(mask, connectivity=26)
    sizes = np.bincount(labels.ravel())
    inside = np.bincount(labels.ravel(), weights=other.ravel(), minlength=len(sizes))
    # The rounding of a product of spacings must not decide.
    counted = sizes * voxel_ml >= SMALLEST_ML * (1 - 1e-6)
    counted[0] = False  # the background
    return inside[counted] / sizes[counted]
