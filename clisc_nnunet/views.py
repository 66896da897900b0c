"""Look at a volume along its other axes: coronal and sagittal slices as SAM's square pictures."""

from __future__ import annotations

import numpy as np

AXES = {"axial": 0, "coronal": 1, "sagittal": 2}


def square_planes(volume: np.ndarray, axis: int, side: int) -> np.ndarray:
    """Planes across an axis, padded or cropped about their centre to squares.

    Parameters
    ----------
    volume : ndarray of shape (plane, row, column)
    axis : int
        0 axial, 1 coronal, 2 sagittal.
    side : int

    Returns
    -------
    ndarray of shape (n, side, side)
        n is the length of the axis; padding is 0.
    """
    planes = np.moveaxis(volume, axis, 0)
    square = np.zeros((len(planes), side, side), volume.dtype)
    into, out = zip(*(_overlap(length, side) for length in planes.shape[1:]), strict=True)
    square[(slice(None), *into)] = planes[(slice(None), *out)]
    return square


def from_square_planes(
    squares: np.ndarray, axis: int, shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of `square_planes`.

    Parameters
    ----------
    squares : ndarray of shape (n, side, side)
    axis : int
    shape : tuple of 3 int
        Of the volume.

    Returns
    -------
    volume : ndarray of shape `shape`
        0 where the squares did not reach.
    seen : bool ndarray of shape `shape`
        Where they did.
    """
    turned = tuple(np.delete(shape, axis))
    planes = np.zeros((shape[axis], *turned), squares.dtype)
    seen = np.zeros(planes.shape, bool)
    into, out = zip(*(_overlap(n, squares.shape[-1]) for n in turned), strict=True)
    planes[(slice(None), *out)] = squares[(slice(None), *into)]
    seen[(slice(None), *out)] = True
    return np.moveaxis(planes, 0, axis), np.moveaxis(seen, 0, axis)


def _overlap(length: int, side: int) -> tuple[slice, slice]:
    """Where a line of `length` lies in one of `side` about the same centre, and the reverse."""
    shift = (side - length) // 2
    common = min(length, side)
    start = max(shift, 0)
    offset = max(-shift, 0)
    return slice(start, start + common), slice(offset, offset + common)
