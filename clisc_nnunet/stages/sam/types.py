"""Prompts and masks of several slices, and the conversion of masks to a volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Prompts:
    """Prompts of several slices, in pixels of the slices.

    Parameters
    ----------
    boxes : float32 ndarray of shape (n, 4)
        XYXY.
    points : float32 ndarray of shape (n, k, 2)
        (x, y).
    labels : int64 ndarray of shape (n, k)
        1 tumour, 0 background, -1 padding (as in segment_anything).
    use_boxes : bool
        Whether SAM is prompted with the boxes.
    """

    boxes: np.ndarray
    points: np.ndarray
    labels: np.ndarray
    use_boxes: bool = True

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, rows: slice) -> Prompts:
        return Prompts(self.boxes[rows], self.points[rows], self.labels[rows], self.use_boxes)


@dataclass(frozen=True)
class Masks:
    """SAM's masks of several slices.

    Parameters
    ----------
    logits : float32 ndarray of shape (n, row, column)
        Mask where above 0.
    predicted_iou : float32 ndarray of shape (n,)
        IoU of each mask as predicted by SAM.
    """

    logits: np.ndarray
    predicted_iou: np.ndarray


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
