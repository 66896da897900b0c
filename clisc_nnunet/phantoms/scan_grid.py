"""Phantoms with the voxels of a user's scans: their size, and the order of their axes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from clisc_nnunet.io.volume import Geometry, resample
from clisc_nnunet.phantoms.phantom import Phantom


@dataclass(frozen=True)
class ScanGrid:
    """Voxel size and axis order of scans.

    Parameters
    ----------
    spacing_mm : tuple of 3 float
        (x, y, z) of the file, as in `Geometry`.
    orientation : str
        Where the axes of the file point to, such as `LPS` for axial scans.
    """

    spacing_mm: tuple[float, float, float]
    orientation: str


def typical_grid(scans: Sequence[Geometry]) -> ScanGrid:
    """Most frequent axis order of scans, and the median spacing of those that have it.

    Parameters
    ----------
    scans : sequence of Geometry
        At least one; the axes of oblique scans count as those of the body that are nearest.
    """
    codes = [_orientation(scan) for scan in scans]
    counts = Counter(codes)
    orientation = min(counts, key=lambda code: (-counts[code], code))
    spacings = [s.spacing for s, code in zip(scans, codes, strict=True) if code == orientation]
    x, y, z = (round(float(median), 4) for median in np.median(spacings, axis=0))
    return ScanGrid((x, y, z), orientation)


def on_grid(phantom: Phantom, grid: ScanGrid) -> tuple[np.ndarray, np.ndarray, Geometry]:
    """Resample a phantom to the voxels of scans.

    Returns
    -------
    flair : float32 ndarray of shape (plane, row, column)
        Above 0 in the head, 0 outside, as in `Phantom`.
    tumour : bool ndarray of the same shape
    geometry : Geometry
        Of both; covers the phantom.

    Notes
    -----
    nnU-Net plans for the median spacing of all cases, and does not reorder axes: with other voxels,
    phantoms would change its plan, and show the network heads that lie on their side.
    """
    source = phantom.geometry
    target = _covering(source, grid)
    head = resample((phantom.flair > 0).astype(np.float32), source, target) > 0.5
    flair = np.maximum(resample(phantom.flair, source, target), 1e-3)
    tumour = resample(phantom.tumour.astype(np.float32), source, target) > 0.5
    return np.where(head, flair, 0).astype(np.float32), tumour & head, target


def _orientation(scan: Geometry) -> str:
    return str(sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(scan.direction))


def _covering(source: Geometry, grid: ScanGrid) -> Geometry:
    """Grid with the spacing and axes of scans round the same centre; covers the source."""
    direction = sitk.DICOMOrientImageFilter.GetDirectionCosinesFromOrientation(grid.orientation)
    axes = np.asarray(direction, float).reshape(3, 3)
    lengths = (np.asarray(source.size) - 1) * np.asarray(source.spacing)
    centre = np.asarray(source.origin) + source.axes @ lengths / 2
    # Both grids have axes of the body, so lengths are only permuted.
    wanted = np.abs(axes.T @ source.axes) @ lengths
    spacing = np.asarray(grid.spacing_mm)
    size = np.ceil(wanted / spacing - 1e-6).astype(int) + 1
    origin = centre - axes @ ((size - 1) * spacing) / 2
    columns, rows, planes = (int(n) for n in size)
    x, y, z = (float(o) for o in origin)
    return Geometry((columns, rows, planes), grid.spacing_mm, (x, y, z), tuple(direction))
