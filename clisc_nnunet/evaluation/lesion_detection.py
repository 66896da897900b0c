"""Lesion-wise detection: lesions found, and false lesions predicted."""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np

# Smaller components (fewer than 50 voxels of 1 mm) are noise, not lesions.
MIN_LESION_ML = 0.05
# Share of a lesion that must lie in the other mask; a touching corner is no detection.
MIN_OVERLAP = 0.1


@dataclass(frozen=True)
class LesionCounts:
    """Counts of lesions with a volume of at least `MIN_LESION_ML`.

    Parameters
    ----------
    lesions : int
        In the reference.
    lesions_found : int
        Of these, with at least `MIN_OVERLAP` of their voxels in the prediction.
    lesions_predicted : int
        In the prediction.
    lesions_false : int
        Of these, with less than `MIN_OVERLAP` of their voxels in the reference.
    """

    lesions: int
    lesions_found: int
    lesions_predicted: int
    lesions_false: int


def count_lesions(prediction: np.ndarray, reference: np.ndarray, voxel_ml: float) -> LesionCounts:
    """Count lesions, i.e. connected components (26 neighbours).

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
        lesions_found=int((true >= MIN_OVERLAP).sum()),
        lesions_predicted=len(predicted),
        lesions_false=int((predicted < MIN_OVERLAP).sum()),
    )


def _overlaps(mask: np.ndarray, other: np.ndarray, voxel_ml: float) -> np.ndarray:
    """Share of each lesion of `mask` that lies in `other`, float (n,)."""
    labels = cc3d.connected_components(mask, connectivity=26)
    sizes = np.bincount(labels.ravel())
    inside = np.bincount(labels.ravel(), weights=other.ravel(), minlength=len(sizes))
    # The tolerance absorbs rounding errors in the voxel volume.
    counted = sizes * voxel_ml >= MIN_LESION_ML * (1 - 1e-6)
    counted[0] = False  # the background
    return inside[counted] / sizes[counted]
