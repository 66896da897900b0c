"""Stage 9: SAM's prompts from a region of interest.

The only module that converts (row, column) to SAM's (x, y).
"""

from __future__ import annotations

import numpy as np

from clisc_nnunet.settings import PromptSettings
from clisc_nnunet.stages.sam.prompts_and_masks import Prompts


def make_prompts(pixels: np.ndarray, rois: np.ndarray, settings: PromptSettings) -> Prompts:
    """Box and point prompts of several slices.

    Parameters
    ----------
    pixels : uint8 ndarray of shape (n, row, column)
    rois : bool ndarray of the same shape
        Not empty.
    settings : PromptSettings

    Returns
    -------
    Prompts
    """
    boxes = [box_prompt(roi, settings.margin) for roi in rois]
    points = [
        np.concatenate(
            [
                positive_points(image, roi, settings.positive_points, settings.bright_fraction),
                corner_points(box)[: 4 if settings.negative_corners else 0],
            ]
        )
        for image, roi, box in zip(pixels, rois, boxes, strict=True)
    ]
    negatives = 4 if settings.negative_corners else 0
    labels = np.array([1] * settings.positive_points + [0] * negatives, np.int64)
    return Prompts(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(points, np.float32).reshape(len(boxes), len(labels), 2),
        np.tile(labels, (len(boxes), 1)),
        settings.box,
    )


def box_prompt(roi: np.ndarray, margin: int) -> np.ndarray:
    """Smallest box around a region, widened and clipped to the slice.

    Parameters
    ----------
    roi : bool ndarray of shape (row, column)
        Region of interest of one slice.
    margin : int
        Pixels added on every side (the paper: 10 for pseudo-labels, 0 for S3F).

    Returns
    -------
    float32 ndarray of shape (4,)
        XYXY in pixels, both corners inclusive, as for `SamPredictor`.

    Raises
    ------
    ValueError
        If the region is empty.
    """
    rows, columns = np.flatnonzero(roi.any(axis=1)), np.flatnonzero(roi.any(axis=0))
    if not len(rows):
        raise ValueError("the region of interest is empty")
    height, width = roi.shape
    return np.array(
        [
            max(columns[0] - margin, 0),
            max(rows[0] - margin, 0),
            min(columns[-1] + margin, width - 1),
            min(rows[-1] + margin, height - 1),
        ],
        np.float32,
    )


def positive_points(pixels: np.ndarray, roi: np.ndarray, count: int, bright: float) -> np.ndarray:
    """Points in the bright part of a region (paper, stage 9).

    Parameters
    ----------
    pixels : uint8 ndarray of shape (row, column)
    roi : bool ndarray of shape (row, column)
        Not empty.
    count : int
        Number of points: the first and the last bright pixel in raster order, then pixels evenly
        spaced between 1/3 and 2/3 of that order (for 5 points: at 1/3, 1/2, 2/3).
    bright : float
        Bright pixels are those where image (scaled to 0..1) times region reaches this share of the
        maximum.

    Returns
    -------
    float32 ndarray of shape (count, 2)
        (x, y).
    """
    image = pixels.astype(np.float32)
    image = (image - image.min()) / max(float(image.max() - image.min()), 1.0)
    inside = image * roi
    rows, columns = np.nonzero((inside >= bright * inside.max()) & roi)
    last = len(rows) - 1
    shares = [0.0, 1.0, *np.linspace(1 / 3, 2 / 3, max(count - 2, 0))][:count]
    picks = [round(share * last) for share in shares]
    return np.stack([columns[picks], rows[picks]], axis=1).astype(np.float32)


def corner_points(box: np.ndarray) -> np.ndarray:
    """The corners of an XYXY box as (x, y) points, float32 ndarray of shape (4, 2)."""
    x0, y0, x1, y1 = box
    return np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]], np.float32)
