"""Look at a volume along its other axes: coronal and sagittal slices as SAM's square pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Window:
    """A square cut out of all planes across an axis, at one place.

    Parameters
    ----------
    axis : int
        0 axial, 1 coronal, 2 sagittal.
    first : tuple of 2 int
        Its first row and column; may lie outside of the plane.
    side : int
        Pixels.
    """

    axis: int
    first: tuple[int, int]
    side: int

    def cut(self, volume: np.ndarray) -> np.ndarray:
        """The squares of a volume, ndarray of shape (n, side, side); outside of it 0."""
        planes = np.moveaxis(volume, self.axis, 0)
        squares = np.zeros((len(planes), self.side, self.side), volume.dtype)
        inside, there = self._common(planes.shape[1:])
        squares[(slice(None), *inside)] = planes[(slice(None), *there)]
        return squares

    def put_back(
        self, squares: np.ndarray, shape: tuple[int, ...], outside: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Volume with the squares in their place, and a bool volume of where they are."""
        volume = np.full(shape, outside, squares.dtype)
        seen = np.zeros(shape, bool)
        planes = np.moveaxis(volume, self.axis, 0)
        inside, there = self._common(planes.shape[1:])
        planes[(slice(None), *there)] = squares[(slice(None), *inside)]
        np.moveaxis(seen, self.axis, 0)[(slice(None), *there)] = True
        return volume, seen

    def _common(self, lengths: Sequence[int]) -> tuple[list[slice], list[slice]]:
        """The part that lies in the plane: as rows and columns of the square, and of the plane."""
        starts = [max(first, 0) for first in self.first]
        stops = [min(f + self.side, n) for f, n in zip(self.first, lengths, strict=True)]
        there = [slice(start, stop) for start, stop in zip(starts, stops, strict=True)]
        inside = [
            slice(part.start - f, part.stop - f) for part, f in zip(there, self.first, strict=True)
        ]
        return inside, there


def window_around(mask: np.ndarray, axis: int, factor: float, narrowest: int) -> Window:
    """Square window about a mask.

    Parameters
    ----------
    mask : bool ndarray of shape (plane, row, column)
        Not empty.
    axis : int
        Across which the window looks.
    factor : float
        Side of the window over the longer side of the mask's box.
    narrowest : int
        Smallest side, pixels.
    """
    shadow = np.any(mask, axis=axis)
    rows, columns = np.flatnonzero(shadow.any(axis=1)), np.flatnonzero(shadow.any(axis=0))
    extent = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    side = max(round(factor * extent), narrowest)
    first = [round((part[0] + part[-1] + 1 - side) / 2) for part in (rows, columns)]
    return Window(axis, (int(first[0]), int(first[1])), side)


def _overlap(length: int, side: int) -> tuple[slice, slice]:
    """Where a line of `length` lies in one of `side` about the same centre, and the reverse."""
    shift = (side - length) // 2
    common = min(length, side)
    start = max(shift, 0)
    offset = max(-shift, 0)
    return slice(start, start + common), slice(offset, offset + common)
