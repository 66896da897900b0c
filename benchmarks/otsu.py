"""Baseline without learning, for `benchmarks.baselines`: three-class Otsu thresholding.

Brightest of three Otsu classes inside the brain, a 3x3x3 opening, the largest component.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_opening
from skimage.filters import threshold_multiotsu

from clisc_nnunet.stages.connected_components import large_components


def brightest_class(array: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Largest component of the brightest Otsu class of a scan.

    Parameters
    ----------
    array : float ndarray of shape (plane, row, column)
    brain : bool ndarray of the same shape

    Returns
    -------
    bool ndarray of the same shape
    """
    # Percentiles, because a few voxels of vessels or fat would stretch the histogram.
    low, high = np.percentile(array[brain], [1, 99.7])
    threshold = threshold_multiotsu(np.clip(array[brain], low, high), classes=3)[-1]
    opened = binary_opening((array > threshold) & brain, np.ones((3, 3, 3), bool))
    return large_components(opened, 1.0)
