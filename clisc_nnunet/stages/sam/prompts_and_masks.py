"""Prompts and masks of several slices."""

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
