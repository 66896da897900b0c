"""Stage 11: from the masks of slices to a pseudo-label volume on the scan's own grid."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_fill_holes

from clisc_nnunet.io.volume import Geometry
from clisc_nnunet.settings import PseudoLabelSettings
from clisc_nnunet.stages.connected_components import large_components
from clisc_nnunet.stages.sam.types import OUTSIDE_LOGIT
from clisc_nnunet.stages.slice_extraction import SliceStack, to_scan_grid

# Logit of holes that are filled: as sure as an ordinary mask pixel.
FILLED_LOGIT = 2.0


def make_pseudo_label(
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
