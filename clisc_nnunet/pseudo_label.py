"""Stage 11: from the masks of slices to a pseudo-label volume on the scan's own grid."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_fill_holes

from clisc_nnunet.components import large_components
from clisc_nnunet.records import Masks
from clisc_nnunet.settings import PseudoLabelSettings
from clisc_nnunet.slices import SliceStack, to_scan_grid
from clisc_nnunet.volume import Geometry

# Logit where SAM was not asked, or where its mask was dropped: surely background.
OUTSIDE_LOGIT = -10.0
# Logit of holes that are filled: as sure as an ordinary mask pixel.
FILLED_LOGIT = 2.0


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


def draw_label(
    logits: np.ndarray,
    stack: SliceStack,
    scan: Geometry,
    brain: np.ndarray,
    settings: PseudoLabelSettings,
) -> np.ndarray:
    """Pseudo-label on the scan's grid.

    Parameters
    ----------
    logits : float32 ndarray of shape stack.pixels.shape
    stack : SliceStack
    scan : Geometry
    brain : bool ndarray of shape scan.shape
        The label is background outside (paper: times volume not 0).
    settings : PseudoLabelSettings

    Returns
    -------
    uint8 ndarray of shape scan.shape
        1 tumour, 0 background.
    """
    # Interpolating logits, not masks, keeps the outline smooth between planes.
    if settings.fill_holes:
        logits = fill_holes(logits)
    mask = (to_scan_grid(logits, stack, scan, outside=OUTSIDE_LOGIT) > 0) & brain
    return large_components(mask, settings.component_ratio).astype(np.uint8)


def fill_holes(logits: np.ndarray) -> np.ndarray:
    """Fill what the mask encloses in each plane; float32 (plane, row, column) in and out."""
    mask = logits > 0
    filled = np.stack([binary_fill_holes(plane) for plane in mask])
    return np.where(filled & ~mask, np.float32(FILLED_LOGIT), logits)
