"""Scores of a case, and pictures read back."""

import base64
import io

import numpy as np
from matplotlib.image import imread

from clisc_nnunet.evaluation.case_scores import CaseScores

ONE = CaseScores(
    case="a",
    dice=0.9,
    hd95_mm=2.0,
    mean_distance_mm=0.5,
    surface_dice=0.8,
    precision=0.9,
    recall=0.9,
    predicted_ml=10.0,
    reference_ml=10.0,
    volume_difference_ml=0.0,
    volume_difference_percent=0.0,
    lesions=2,
    lesions_found=1,
    lesions_predicted=1,
    lesions_false=0,
)


def pixels(png: bytes) -> np.ndarray:
    return imread(io.BytesIO(png), format="png")[..., :3]


def png_size(text: str) -> tuple[int, ...]:
    return pixels(base64.b64decode(text)).shape[:2]
