"""Connected components of a volume."""

from __future__ import annotations

import cc3d
import numpy as np


def large_components(mask: np.ndarray, ratio: float) -> np.ndarray:
    """Keep components that have at least a share of the largest one's size.

    Parameters
    ----------
    mask : bool ndarray of shape (plane, row, column)
    ratio : float
        Smallest size relative to the largest component; 0 keeps all components.

    Returns
    -------
    bool ndarray of the same shape

    Notes
    -----
    26-connectivity: voxels that share a corner are connected.
    """
    if ratio <= 0 or not mask.any():
        return mask
    labels = cc3d.connected_components(mask, connectivity=26)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0  # the background
    return (sizes >= ratio * sizes.max())[labels] & mask


def count_components(mask: np.ndarray) -> int:
    """Number of 26-connected components of a mask, bool (plane, row, column)."""
    if not mask.any():
        return 0
    return int(cc3d.connected_components(mask, connectivity=26, return_N=True)[1])
