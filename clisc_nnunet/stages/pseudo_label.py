"""Stage 11: pseudo-label on the grid of the scan, from the logits of the slices."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_fill_holes

from clisc_nnunet.io.volume import Geometry
from clisc_nnunet.settings import PseudoLabelSettings
from clisc_nnunet.stages.connected_components import large_components
from clisc_nnunet.stages.sam.mask_stacking import OUTSIDE_LOGIT
from clisc_nnunet.stages.slice_extraction import SliceStack, to_scan_grid

# Logit of filled holes, a typical value of mask pixels.
FILLED_LOGIT = 2.0


def make_pseudo_label(
    logits: np.ndarray,
    stack: SliceStack,
    scan: Geometry,
    brain: np.ndarray,
    settings: PseudoLabelSettings,
) -> np.ndarray:
    """Resample mask logits to the grid of the scan and threshold them.

    Parameters
    ----------
    logits : float32 ndarray of shape stack.pixels.shape
        Mask where above 0.
    stack : SliceStack
    scan : Geometry
        Grid of the scan.
    brain : bool ndarray of shape scan.shape
        The label is background outside (paper: multiplied by volume != 0).
    settings : PseudoLabelSettings

    Returns
    -------
    uint8 ndarray of shape scan.shape
        1 tumour, 0 background.
    """
    # Interpolating logits instead of masks keeps the outline smooth between planes.
    if settings.fill_holes:
        logits = fill_holes(logits)
    mask = (to_scan_grid(logits, stack, scan, outside=OUTSIDE_LOGIT) > 0) & brain
    return large_components(mask, settings.component_ratio).astype(np.uint8)


def fill_holes(logits: np.ndarray) -> np.ndarray:
    """Fill holes of the mask in each plane; logits, float32 (plane, row, column), in and out."""
    mask = logits > 0
    filled = np.stack([binary_fill_holes(plane) for plane in mask])
    return np.where(filled & ~mask, np.float32(FILLED_LOGIT), logits)
