"""Stage 7: adaptive masking (AMDA) of the regions that the first classifier relied on."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import find_objects

from clisc_nnunet.settings import MaskingSettings


def mask_slice(
    pixels: np.ndarray, cam: np.ndarray, roi: np.ndarray, settings: MaskingSettings
) -> np.ndarray:
    """Mask the most discriminative part of a slice.

    Parameters
    ----------
    pixels : uint8 ndarray of shape (row, column)
    cam : float32 ndarray of the same shape
        Raw CAM.
    roi : bool ndarray of the same shape
        Raw region of interest.
    settings : MaskingSettings

    Returns
    -------
    uint8 ndarray of the same shape
        A copy in which masked pixels are 0.

    Notes
    -----
    Mode `text`, as in the paper's text: in a slice with a region, pixels of the region's bounding
    box whose CAM exceeds `min + cam_fraction (max - min)` of the box are masked; in a slice
    without, pixels brighter than `min + image_fraction (max - min)` of the slice. Mode
    `brightness`, as in the published code: the latter in every slice. Mode `off`: no masking.
    """
    masked = pixels.copy()
    if settings.mode == "off":
        return masked
    if settings.mode == "text" and roi.any():
        (box,) = find_objects(roi.astype(np.uint8))
        masked[box][_exceeds(cam[box], settings.cam_fraction)] = 0
    else:
        masked[_exceeds(pixels.astype(np.float32), settings.image_fraction)] = 0
    return masked


def mask_stack(
    pixels: np.ndarray, cam: np.ndarray, roi: np.ndarray, settings: MaskingSettings
) -> np.ndarray:
    """`mask_slice` for every plane; all arrays of shape (plane, row, column)."""
    return np.stack(
        [mask_slice(p, c, r, settings) for p, c, r in zip(pixels, cam, roi, strict=True)]
    )


def _exceeds(values: np.ndarray, fraction: float) -> np.ndarray:
    """Where values exceed a fraction of their range; nowhere if all are equal."""
    low, high = values.min(), values.max()
    return values > low + fraction * (high - low)
