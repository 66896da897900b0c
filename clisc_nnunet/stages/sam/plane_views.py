"""Square windows of all slices of a volume along any axis: cut out, and put back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

AXES = {"axial": 0, "coronal": 1, "sagittal": 2}


@dataclass(frozen=True)
class Window:
    """A square crop of all slices along an axis.

    Parameters
    ----------
    axis : int
        0 axial, 1 coronal, 2 sagittal.
    first : tuple of 2 int
        First row and column; may lie outside the slice.
    side : int
        Pixels.
    """

    axis: int
    first: tuple[int, int]
    side: int

    def cut(self, volume: np.ndarray) -> np.ndarray:
        """Crop a volume; ndarray of shape (n, side, side), 0 outside the volume."""
        planes = np.moveaxis(volume, self.axis, 0)
        squares = np.zeros((len(planes), self.side, self.side), volume.dtype)
        in_square, in_plane = self._common(planes.shape[1:])
        squares[(slice(None), *in_square)] = planes[(slice(None), *in_plane)]
        return squares

    def put_back(
        self, squares: np.ndarray, shape: tuple[int, ...], outside: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Volume with the squares at their position, and a bool volume of their extent.

        Parameters
        ----------
        squares : ndarray of shape (n, side, side)
        shape : tuple of 3 int
            (plane, row, column) of the volume.
        outside : float
            Value outside the squares.
        """
        volume = np.full(shape, outside, squares.dtype)
        seen = np.zeros(shape, bool)
        planes = np.moveaxis(volume, self.axis, 0)
        in_square, in_plane = self._common(planes.shape[1:])
        planes[(slice(None), *in_plane)] = squares[(slice(None), *in_square)]
        np.moveaxis(seen, self.axis, 0)[(slice(None), *in_plane)] = True
        return volume, seen

    def _common(self, lengths: Sequence[int]) -> tuple[list[slice], list[slice]]:
        """Rows and columns of the part inside the slice, in square and in slice coordinates."""
        starts = [max(first, 0) for first in self.first]
        stops = [min(f + self.side, n) for f, n in zip(self.first, lengths, strict=True)]
        in_plane = [slice(start, stop) for start, stop in zip(starts, stops, strict=True)]
        in_square = [
            slice(part.start - f, part.stop - f)
            for part, f in zip(in_plane, self.first, strict=True)
        ]
        return in_square, in_plane


def centred_window(shape: Sequence[int], axis: int, side: int) -> Window:
    """Square window centred on the slices along an axis.

    Parameters
    ----------
    shape : sequence of 3 int
        (plane, row, column) of the volume.
    axis : int
        0 axial, 1 coronal, 2 sagittal.
    side : int
        Pixels.
    """
    rows, columns = (length for i, length in enumerate(shape) if i != axis)
    return Window(axis, (-((side - rows) // 2), -((side - columns) // 2)), side)


def window_around(mask: np.ndarray, axis: int, factor: float, narrowest: int) -> Window:
    """Square window centred on a mask.

    Parameters
    ----------
    mask : bool ndarray of shape (plane, row, column)
        Not empty.
    axis : int
        0 axial, 1 coronal, 2 sagittal.
    factor : float
        Side of the window relative to the longer side of the mask's bounding box.
    narrowest : int
        Smallest side in pixels.
    """
    projection = np.any(mask, axis=axis)
    rows, columns = np.flatnonzero(projection.any(axis=1)), np.flatnonzero(projection.any(axis=0))
    extent = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    side = max(round(factor * extent), narrowest)
    first = [round((part[0] + part[-1] + 1 - side) / 2) for part in (rows, columns)]
    return Window(axis, (int(first[0]), int(first[1])), side)
