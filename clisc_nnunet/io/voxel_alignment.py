"""Where the voxels of one grid lie in another: axes permuted or flipped, and cropped, exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clisc_nnunet.io.geometry import Geometry, same_grid

# Largest distance between voxel centres that count as the same, in voxels: rounding of headers.
_MAX_OFFSET = 0.05


@dataclass(frozen=True)
class Alignment:
    """Position of a grid whose voxels are voxels of another grid.

    Parameters
    ----------
    axes : tuple of 3 int
        For plane, row and column of the other grid, the array axis that runs along it.
    flipped : tuple of 3 bool
        Whether that axis runs in the opposite direction.
    start : tuple of 3 int
        First voxel in the other grid, (plane, row, column), after permuting and flipping; negative
        where the grid is larger than the other one.
    """

    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    start: tuple[int, int, int]

    @property
    def reoriented(self) -> bool:
        """Whether axes are permuted or flipped."""
        return self.axes != (0, 1, 2) or any(self.flipped)


def find_alignment(found: Geometry, wanted: Geometry) -> Alignment | None:
    """Position of a grid in another one that has the same voxels, or more, or fewer.

    Returns
    -------
    Alignment or None
        None if the voxels differ, or if both grids exceed each other: one that is merely shifted
        has lost its position.
    """
    if same_grid(found, wanted):
        return Alignment((0, 1, 2), (False, False, False), (0, 0, 0))
    to_voxels = np.linalg.inv(wanted.axes * wanted.spacing)
    steps = to_voxels @ (found.axes * found.spacing)
    origin = to_voxels @ (np.array(found.origin) - wanted.origin)
    whole, first = np.rint(steps).astype(int), np.rint(origin).astype(int)
    if not ((np.abs(whole).sum(axis=0) == 1).all() and (np.abs(whole).sum(axis=1) == 1).all()):
        return None
    size = np.array(found.size)
    corners = np.array(np.meshgrid(*((0, n - 1) for n in size))).reshape(3, -1)
    offset = (steps - whole) @ corners + (origin - first)[:, None]
    if np.abs(offset).max() > _MAX_OFFSET:
        return None
    axes = np.abs(whole).argmax(axis=1)  # for each axis (x, y, z) of the other grid
    flipped = whole[np.arange(3), axes] < 0
    start = np.where(flipped, first - (size[axes] - 1), first)
    beyond = start + size[axes] - wanted.size
    inside, around = (start >= 0) & (beyond <= 0), (start <= 0) & (beyond >= 0)
    if not (inside | around).all():
        return None
    column, row, plane = (2 - axes).tolist()
    return Alignment(
        (plane, row, column),
        tuple(flipped[::-1].tolist()),
        tuple(start[::-1].tolist()),
    )


def move_onto(
    array: np.ndarray, alignment: Alignment, shape: tuple[int, int, int]
) -> tuple[np.ndarray, int]:
    """Put an array onto the grid in which it lies; nothing is interpolated.

    Parameters
    ----------
    array : ndarray of shape (plane, row, column)
    shape : tuple of 3 int
        (plane, row, column) of that grid.

    Returns
    -------
    moved : ndarray of this shape
        In the dtype of the array; 0 outside of it.
    lost : int
        Number of voxels other than 0 that lie outside of the grid.
    """
    turned = array.transpose(alignment.axes)
    turned = np.flip(turned, tuple(axis for axis in range(3) if alignment.flipped[axis]))
    target, source = [], []
    for start, length, wanted in zip(alignment.start, turned.shape, shape, strict=True):
        low, high = max(start, 0), min(start + length, wanted)
        target.append(slice(low, high))
        source.append(slice(low - start, high - start))
    moved = np.zeros(shape, array.dtype)
    moved[tuple(target)] = turned[tuple(source)]
    return moved, int(np.count_nonzero(array) - np.count_nonzero(moved))
