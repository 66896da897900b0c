"""All scores of one case: one row of the results table."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from clisc_nnunet.evaluation.lesion_detection import count_lesions
from clisc_nnunet.evaluation.mask_pairs import Pair
from clisc_nnunet.evaluation.surface_distances import UNDEFINED, surface_scores
from clisc_nnunet.io.volume import Geometry, read_geometry, read_mask
from clisc_nnunet.metrics import dice, precision, sensitivity


@dataclass(frozen=True)
class CaseScores:
    """Scores of one case; NaN where a score is undefined.

    Parameters
    ----------
    dice : float
        0 if one mask is empty, NaN if both are.
    hd95_mm, mean_distance_mm, surface_dice : float
        As in `SurfaceScores`; NaN if a mask is empty.
    precision : float
        NaN if nothing is predicted.
    recall : float
        NaN if the reference is empty.
    volume_difference_ml : float
        Prediction minus reference.
    volume_difference_percent : float
        The difference in percent of the reference volume; NaN if the reference is empty.
    lesions, lesions_found, lesions_predicted, lesions_false : int
        As in `LesionCounts`.
    """

    case: str
    dice: float
    hd95_mm: float
    mean_distance_mm: float
    surface_dice: float
    precision: float
    recall: float
    predicted_ml: float
    reference_ml: float
    volume_difference_ml: float
    volume_difference_percent: float
    lesions: int
    lesions_found: int
    lesions_predicted: int
    lesions_false: int


# MEASURES are summarised by mean and interval, COUNTS by their sum.
MEASURES = (
    "dice",
    "hd95_mm",
    "mean_distance_mm",
    "surface_dice",
    "precision",
    "recall",
    "predicted_ml",
    "reference_ml",
    "volume_difference_ml",
    "volume_difference_percent",
)
COUNTS = tuple(f.name for f in fields(CaseScores) if f.name.startswith("lesions"))


def score_masks(
    case: str,
    prediction: np.ndarray,
    reference: np.ndarray,
    grid: Geometry,
    tolerance_mm: float,
) -> CaseScores:
    """Score a prediction, bool (plane, row, column), against a reference on the same grid."""
    x, y, z = grid.spacing
    predicted_ml = float(prediction.sum()) * grid.voxel_ml
    reference_ml = float(reference.sum()) * grid.voxel_ml
    difference = predicted_ml - reference_ml
    return CaseScores(
        case=case,
        dice=dice(prediction, reference),
        **asdict(surface_scores(prediction, reference, (z, y, x), tolerance_mm)),
        precision=precision(prediction, reference),
        recall=sensitivity(prediction, reference),
        predicted_ml=predicted_ml,
        reference_ml=reference_ml,
        volume_difference_ml=difference,
        volume_difference_percent=100 * difference / reference_ml if reference_ml else UNDEFINED,
        **asdict(count_lesions(prediction, reference, grid.voxel_ml)),
    )


def score_pair(pair: Pair, labels: tuple[int, ...], tolerance_mm: float) -> CaseScores:
    """Read both masks of a case and score them; a missing prediction counts as empty.

    Raises
    ------
    ScanError
        If a mask cannot be read, or their grids differ.
    """
    grid = read_geometry(pair.reference)
    reference = read_mask(pair.reference, grid, labels)
    prediction = read_prediction(pair.prediction, grid, labels)
    return score_masks(pair.case, prediction, reference, grid, tolerance_mm)


def read_prediction(path: Path | None, grid: Geometry, labels: tuple[int, ...]) -> np.ndarray:
    """Mask of a prediction, bool (plane, row, column); empty if there is none."""
    return np.zeros(grid.shape, bool) if path is None else read_mask(path, grid, labels)
