"""Connected components of a volume."""

from __future__ import annotations

import cc3d
import numpy as np


def large_components(mask: np.ndarray, ratio: float) -> np.ndarray:
    """Components of at least a share of the largest.

    Parameters
    ----------
    mask : bool ndarray of shape (plane, row, column)
    ratio : float
        Share of the largest component's voxels that a component needs; 0 keeps all of them.

    Returns
    -------
    bool ndarray of the same shape

    Notes
    -----
    Voxels that share a corner are connected (26 neighbours).
    """
    if ratio <= 0 or not mask.any():
        return mask
    labels = cc3d.connected_components(mask, connectivity=26)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0  # the background
    return (sizes >= ratio * sizes.max())[labels] & mask


def count_components(mask: np.ndarray) -> int:
    """Number of components of a mask, bool (plane, row, column); 26 neighbours."""
    if not mask.any():
        return 0
    return int(cc3d.connected_components(mask, connectivity=26, return_N=True)[1])
