"""Masks of single slices as a logit volume, and the mean of their predicted IoU."""

from __future__ import annotations

import numpy as np

from clisc_nnunet.stages.sam.prompts_and_masks import Masks

# Logit of planes without a mask, or with a dropped one: certain background.
OUTSIDE_LOGIT = -10.0


def stack_masks(
    masks: Masks,
    planes: np.ndarray,
    shape: tuple[int, int, int],
    min_predicted_iou: float = -np.inf,
) -> np.ndarray:
    """Logit volume from the masks of some planes.

    Parameters
    ----------
    masks : Masks
        n masks.
    planes : int ndarray of shape (n,)
        Plane index of each mask.
    shape : tuple of 3 int
        (plane, row, column).
    min_predicted_iou : float
        Masks with a lower predicted IoU are dropped.

    Returns
    -------
    float32 ndarray of shape `shape`
        `OUTSIDE_LOGIT` in planes without a mask.
    """
    logits = np.full(shape, OUTSIDE_LOGIT, np.float32)
    kept = masks.predicted_iou >= min_predicted_iou
    logits[planes[kept]] = np.clip(masks.logits[kept], OUTSIDE_LOGIT, -OUTSIDE_LOGIT)
    return logits


def case_iou(masks: Masks) -> float:
    """Mean predicted IoU over slices with a non-empty mask; 0 if there are none."""
    segmented = (masks.logits > 0).any(axis=(1, 2))
    return float(masks.predicted_iou[segmented].mean()) if segmented.any() else 0.0
