"""Sample training slices from phantoms in three views, class-balanced, as square images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clisc_nnunet.bundled.phantom_set import TrainingVolume

# Minimum area of tumour on a tumour slice; normal slices have none. Smaller areas are ambiguous,
# and such slices are not sampled.
MIN_TUMOUR_PIXELS = 24
MIN_BRAIN_PIXELS = 600


@dataclass(frozen=True)
class SliceBatch:
    """Slices with their truth.

    Parameters
    ----------
    pixels : uint8 ndarray of shape (n, side, side)
    tumour : bool ndarray of the same shape
    neighbour : bool ndarray of the same shape
        Tumour on a plane one to three planes away.
    """

    pixels: np.ndarray
    tumour: np.ndarray
    neighbour: np.ndarray


class SliceSampler:
    """Random slices of phantoms.

    Parameters
    ----------
    volumes : sequence of TrainingVolume
    side : int
        Side of the square slices in pixels; planes are padded or cropped.
    views : tuple of 3 float
        Probabilities of axial, coronal and sagittal slices.
    """

    def __init__(
        self,
        volumes: Sequence[TrainingVolume],
        side: int = 128,
        views: tuple[float, float, float] = (0.6, 0.2, 0.2),
    ) -> None:
        self._volumes, self._side, self._views = volumes, side, views
        self._with_tumour = [self._planes(v, tumour=True) for v in volumes]
        self._normal = [self._planes(v, tumour=False) for v in volumes]

    def draw(self, n: int, tumour_share: float, rng: np.random.Generator) -> SliceBatch:
        """Draw `n` slices, each with a tumour with probability `tumour_share`.

        Raises
        ------
        ValueError
            If no volume has a slice of the requested class.
        """
        slices = [self._one(rng.random() < tumour_share, rng) for _ in range(n)]
        return SliceBatch(*(np.stack(part) for part in zip(*slices, strict=True)))

    def _one(self, tumour: bool, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        planes = self._with_tumour if tumour else self._normal
        if not any(len(p) for axes in planes for p in axes):
            raise ValueError(f"no volume has a slice {'with' if tumour else 'without'} a tumour")
        while True:
            index = int(rng.integers(len(self._volumes)))
            axis = int(rng.choice(3, p=self._views))
            if len(planes[index][axis]):
                break
        position = int(rng.choice(planes[index][axis]))
        volume = self._volumes[index]
        step = int(rng.choice([-3, -2, -1, 1, 2, 3]))
        beside = min(max(position + step, 0), volume.pixels.shape[axis] - 1)
        arrays = [
            self._square(volume.pixels.take(position, axis)),
            self._square(volume.tumour.take(position, axis)),
            self._square(volume.tumour.take(beside, axis)),
        ]
        # Heads are nearly symmetric left to right; axial slices may also be flipped vertically.
        if rng.random() < 0.5:
            arrays = [a[:, ::-1] for a in arrays]
        if axis == 0 and rng.random() < 0.5:
            arrays = [a[::-1] for a in arrays]
        return tuple(arrays)

    def _square(self, plane: np.ndarray) -> np.ndarray:
        """Pad or crop (row, column) about its centre to the square side."""
        square = np.zeros((self._side, self._side), plane.dtype)
        into, out = [], []
        for length in plane.shape:
            shift = (self._side - length) // 2
            into.append(slice(max(shift, 0), max(shift, 0) + min(length, self._side)))
            out.append(slice(max(-shift, 0), max(-shift, 0) + min(length, self._side)))
        square[tuple(into)] = plane[tuple(out)]
        return square

    @staticmethod
    def _planes(volume: TrainingVolume, tumour: bool) -> list[np.ndarray]:
        """Positions along each axis of slices with a tumour, or of normal slices."""
        positions = []
        for axis in range(3):
            others = tuple(a for a in range(3) if a != axis)
            area = volume.tumour.sum(axis=others)
            brain = (volume.pixels > 0).sum(axis=others)
            fits = area >= MIN_TUMOUR_PIXELS if tumour else area == 0
            positions.append(np.flatnonzero(fits & (brain >= MIN_BRAIN_PIXELS)))
        return positions
