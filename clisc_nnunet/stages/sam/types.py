"""What SAM's stages hand to each other: prompts and masks of several slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Prompts:
    """Prompts of several slices, in the pixels of the slice.

    Parameters
    ----------
    boxes : float32 ndarray of shape (n, 4)
        XYXY.
    points : float32 ndarray of shape (n, k, 2)
        (x, y).
    labels : int64 ndarray of shape (n, k)
        1 tumour, 0 not tumour, -1 no point at all (as in segment_anything).
    use_boxes : bool
        Whether SAM sees the boxes.
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
    """SAM's answer for several slices.

    Parameters
    ----------
    logits : float32 ndarray of shape (n, row, column)
        Mask where above 0.
    predicted_iou : float32 ndarray of shape (n,)
        SAM's own estimate of each mask's IoU.
    """

    logits: np.ndarray
    predicted_iou: np.ndarray


# Logit where SAM was not asked, or where its mask was dropped: surely background.
OUTSIDE_LOGIT = -10.0


def stack_masks(
    masks: Masks,
    planes: np.ndarray,
    shape: tuple[int, int, int],
    min_predicted_iou: float = -np.inf,
) -> np.ndarray:
    """Logit volume of a case.

    Parameters
    ----------
    masks : Masks
        n of them.
    planes : int ndarray of shape (n,)
        Plane of each mask.
    shape : tuple of 3 int
        (plane, row, column).
    min_predicted_iou : float
        Masks that SAM rates lower are dropped.

    Returns
    -------
    float32 ndarray of shape `shape`
        `OUTSIDE_LOGIT` in planes without a mask.
    """
    logits = np.full(shape, OUTSIDE_LOGIT, np.float32)
    sure = masks.predicted_iou >= min_predicted_iou
    logits[planes[sure]] = np.clip(masks.logits[sure], OUTSIDE_LOGIT, -OUTSIDE_LOGIT)
    return logits


def case_iou(masks: Masks) -> float:
    """SAM's own estimate for a case: the mean over the slices it drew on; 0 if there are none."""
    drawn = (masks.logits > 0).any(axis=(1, 2))
    return float(masks.predicted_iou[drawn].mean()) if drawn.any() else 0.0
