"""Scans in memory, of the libraries that users have them in: SimpleITK, nibabel, NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from nibabel import Nifti1Image
from nibabel.spatialimages import SpatialImage

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.geometry import Geometry, geometry_of_image, geometry_of_steps
from clisc_nnunet.io.nifti_geometry import TO_LPS
from clisc_nnunet.io.volume import Volume, checked_geometry, checked_intensities, read_volume

ImageObject = str | Path | Volume | sitk.Image | SpatialImage | np.ndarray

_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def to_volume(image: ImageObject, spacing: Sequence[float] | None = None) -> Volume:
    """A scan as a `Volume`, with the checks of `read_volume`.

    Parameters
    ----------
    image : SimpleITK.Image, nibabel image, ndarray, path or Volume
        An ndarray is (plane, row, column): planes from inferior to superior, rows towards
        posterior, columns towards the patient's left.
    spacing : sequence of 3 float, optional
        Of an ndarray: millimetres, in the order of its axes.

    Raises
    ------
    ScanError
        If it is not 3D, its geometry is not that of a scan, or its values are constant or not all
        finite.
    """
    if isinstance(image, np.ndarray):
        array, geometry = _of_array(image, spacing)
    elif spacing is not None:
        found = f"one for an image of type {type(image).__name__}, which has its own"
        raise ScanError("spacing", found, "one for an ndarray", "leave it out")
    elif isinstance(image, Volume):
        array, geometry = image.array, image.geometry
    elif isinstance(image, (str, Path)):
        return read_volume(Path(image))
    elif isinstance(image, sitk.Image):
        _check_3d(image, image.GetSize(), image.GetNumberOfComponentsPerPixel())
        array, geometry = sitk.GetArrayFromImage(image), geometry_of_image(image)
    elif isinstance(image, SpatialImage):
        array, geometry = _of_nibabel(image)
    else:
        raise ScanError(
            "image",
            f"an object of type {type(image).__name__}",
            "a path, a SimpleITK or nibabel image, or an ndarray with spacing",
            "convert it",
        )
    where = f"image ({type(image).__name__})"
    if min(array.shape) < 2:
        shape = " x ".join(map(str, array.shape))
        raise ScanError(where, f"one slice ({shape} voxels)", "a volume", "give all slices")
    return Volume(checked_intensities(where, array), *checked_geometry(where, geometry))


def to_nibabel(array: np.ndarray, geometry: Geometry) -> Nifti1Image:
    """A nibabel image, indexed (column, row, plane); bool becomes uint8."""
    affine = np.eye(4)
    # From LPS to RAS is the same flip.
    affine[:3, :3] = TO_LPS @ geometry.axes @ np.diag(geometry.spacing)
    affine[:3, 3] = TO_LPS @ np.asarray(geometry.origin)
    values = array.astype(np.uint8) if array.dtype == bool else array
    return Nifti1Image(values.transpose(), affine)


def _of_array(image: np.ndarray, spacing: Sequence[float] | None) -> tuple[np.ndarray, Geometry]:
    _check_3d(image, image.shape)
    if spacing is None or len(spacing) != 3:
        found = "none" if spacing is None else f"{len(spacing)} numbers"
        expected = "3 numbers: millimetres between planes, rows and columns"
        raise ScanError("spacing", found, expected, "give spacing=(plane, row, column)")
    planes, rows, columns = image.shape
    plane, row, column = (float(mm) for mm in spacing)
    return image, Geometry((columns, rows, planes), (column, row, plane), (0.0, 0.0, 0.0), _AXIAL)


def _of_nibabel(image: Any) -> tuple[np.ndarray, Geometry]:
    array = np.asanyarray(image.dataobj)
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    _check_3d(image, array.shape)
    steps = TO_LPS @ image.affine[:3, :3]
    if not np.isfinite(image.affine).all() or not np.linalg.norm(steps, axis=0).all():
        raise ScanError("image", "an affine that is not valid", "three axes", "fix the affine")
    return array.transpose(), geometry_of_steps(array.shape, steps, TO_LPS @ image.affine[:3, 3])


def _check_3d(image: Any, shape: Sequence[int], components: int = 1) -> None:
    if len(shape) != 3 or components != 1:
        found = f"{len(shape)} dimensions" + (f", {components} components" * (components != 1))
        where = f"image ({type(image).__name__})"
        raise ScanError(where, found, "one 3D scan", "give a single FLAIR volume")
