"""The one place that reads and writes scans.

Arrays are (plane, row, column), as SimpleITK gives them; `Geometry` keeps SimpleITK's own order
(x, y, z) = (column, row, plane), in millimetres and in the LPS coordinates of DICOM.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from clisc_nnunet.errors import ScanError
from clisc_nnunet.io.atomic_write import atomic_file
from clisc_nnunet.io.dicom_series import Series, read_series
from clisc_nnunet.io.geometry import (
    Geometry,
    is_orthogonal,
    max_skew_degrees,
    orthogonalised,
    same_grid,
    smoothing_sigma,
)
from clisc_nnunet.io.hashing import file_sha256
from clisc_nnunet.io.nifti_header import check_nifti, is_nifti
from clisc_nnunet.io.paths import itk_name
from clisc_nnunet.io.sitk_images import geometry_of_image, read_image, read_image_header

# Where a scan comes from: a file, or the files of a DICOM series.
Source = Path | Series
# Millimetres; what lies beyond is a header gone wrong, such as one in metres.
SPACING_LIMITS = (0.01, 100.0)
# Axes further from right angles are not straightened: too much of the shape would change.
MAX_SKEW_DEGREES = 30.0
# Files without voxels: these lie in one or more others, which the header names in many ways.
_BARE_HEADERS = (".mhd", ".nhdr")

__all__ = [
    "Geometry",
    "Source",
    "Volume",
    "grid_text",
    "read_geometry",
    "read_mask",
    "read_volume",
    "recording",
    "resample",
    "same_grid",
    "scan_digest",
    "to_axial",
    "write_volume",
]

_record: ContextVar[list[str] | None] = ContextVar("read_record", default=None)


@dataclass(frozen=True)
class Volume:
    """A scan in memory: float32 array (plane, row, column) and its geometry.

    `repairs` says what of the file's header was mended: ITK, and with it nnU-Net, would not take
    the file as it is.
    """

    array: np.ndarray
    geometry: Geometry
    repairs: tuple[str, ...] = ()


@contextmanager
def recording() -> Iterator[list[str]]:
    """Collect the path of every volume that is read inside the block."""
    paths: list[str] = []
    token = _record.set(paths)
    try:
        yield paths
    finally:
        _record.reset(token)


def read_volume(source: Source) -> Volume:
    """Read a scan.

    Parameters
    ----------
    source : Path or Series
        Any file that SimpleITK reads, or a DICOM series.

    Returns
    -------
    Volume
        Intensities as float32, untouched.

    Raises
    ------
    ScanError
        If the file cannot be read, is not 3D, has but one slice, an impossible geometry, or holds
        NaN, infinite or only equal values.
    """
    read = _read(source)
    with np.errstate(over="ignore"):
        array = read.array.astype(np.float32)
    not_finite = int((~np.isfinite(array)).sum())
    if not_finite:
        raise ScanError(
            source,
            f"{not_finite} voxels that are NaN or infinite (or beyond float32)",
            "finite intensities",
            "write the scan again without them",
        )
    if array.min() == array.max():
        raise ScanError(
            source,
            f"a constant volume ({array.flat[0]:g} everywhere)",
            "an image with contrast",
            "check the export of this scan",
        )
    return Volume(array, read.geometry, read.repairs)


def read_mask(path: Path, grid: Geometry, labels: Collection[int] = ()) -> np.ndarray:
    """Voxels above 0 of a mask, or those of some labels; bool (plane, row, column).

    Raises
    ------
    ScanError
        If the file cannot be read, or its grid is not `grid`.
    """
    read = _read(path)
    check_grid(path, read.geometry, grid)
    return np.isin(read.array, list(labels)) if labels else read.array > 0


def check_grid(source: Source, found: Geometry, scan: Geometry) -> None:
    """Refuse what does not lie on the voxels of its scan.

    Raises
    ------
    ScanError
        If the grids differ.
    """
    if not same_grid(found, scan):
        raise ScanError(
            source,
            f"a grid of {grid_text(found)}",
            f"the scan's: {grid_text(scan)}",
            "resample it to its scan",
        )


def read_geometry(source: Source) -> Geometry:
    """Geometry of a file, from its header alone; a DICOM series is read."""
    if isinstance(source, Series):
        return _mended(source, read_series(source)[1])[0]
    return _mended(source, read_image_header(source))[0]


def write_volume(
    path: Path, array: np.ndarray, geometry: Geometry, folder: Path | None = None
) -> None:
    """Write a volume whole or not at all.

    Parameters
    ----------
    path : Path
        Target; its folder is made. The ending decides the format.
    array : ndarray of shape (plane, row, column)
        Bool is written as uint8.
    geometry : Geometry
        Must fit the array.
    folder : Path, optional
        Where the file lies until it is whole; by default beside the target.

    Raises
    ------
    ValueError
        If array and geometry disagree.
    StorageError
        If the disk is full or the file cannot be written.
    """
    if array.shape != geometry.shape:
        raise ValueError(f"array of shape {array.shape}, geometry of shape {geometry.shape}")
    with atomic_file(path, folder) as temporary:
        try:
            sitk.WriteImage(_image(array, geometry), itk_name(temporary), useCompression=True)
            if is_nifti(temporary):
                check_nifti(temporary)  # ITK may write a part of a file on a full disk in silence
        except (RuntimeError, OSError, EOFError, zlib.error, ScanError):
            _tell_why_not_written(temporary, array.nbytes)
            raise


def to_axial(volume: Volume) -> Volume:
    """Put the axes in the order plane = inferior to superior, row = to posterior, column = to left.

    Axes are exchanged and flipped, never interpolated: an oblique scan goes by its nearest axes.
    """
    image = sitk.DICOMOrient(_image(volume.array, volume.geometry), "LPS")
    return Volume(sitk.GetArrayFromImage(image), geometry_of_image(image))


def resample(
    array: np.ndarray, source: Geometry, target: Geometry, *, outside: float = 0.0
) -> np.ndarray:
    """Linear interpolation of a volume onto another grid.

    Parameters
    ----------
    array : ndarray of shape source.shape
        Taken as float32.
    source, target : Geometry
        Grid of the array, grid of the result.
    outside : float
        Value of voxels outside of the source.

    Returns
    -------
    float32 ndarray of shape target.shape

    Notes
    -----
    Where the target is coarser than the source, the array is smoothed first (`smoothing_sigma`),
    along the source's axes, however these are turned against the target's, so that nothing aliases.
    """
    image = _image(array.astype(np.float32, copy=False), source)
    sigma = smoothing_sigma(source, target)
    for axis in np.flatnonzero(sigma):
        smoothing = sitk.RecursiveGaussianImageFilter()
        smoothing.SetDirection(int(axis))
        smoothing.SetSigma(float(sigma[axis]))
        if source.size[axis] >= 4:  # the recursive filter needs four voxels
            image = smoothing.Execute(image)
    moved = sitk.Resample(
        image,
        target.size,
        sitk.Transform(),
        sitk.sitkLinear,
        target.origin,
        target.spacing,
        target.direction,
        outside,
        sitk.sitkFloat32,
    )
    return sitk.GetArrayFromImage(moved)


def scan_digest(source: Source) -> str:
    """Hash of a scan's file or files, the root of the signatures of what is made from it.

    Raises
    ------
    ScanError
        If one cannot be read.
    """
    try:
        digest = source.digest if isinstance(source, Series) else file_sha256(source)
    except OSError as error:
        raise ScanError(source, str(error.strerror), "a readable scan", "check the path") from None
    if isinstance(source, Series) or not source.name.lower().endswith(_BARE_HEADERS):
        return digest
    voxels = read_image(source)[0].tobytes()
    return hashlib.sha256(digest.encode() + voxels).hexdigest()


def _read(source: Source) -> Volume:
    """Voxels as the file has them, in their own type, with a geometry that can be used."""
    record = _record.get()
    if record is not None:
        record.append(str(source.folder if isinstance(source, Series) else source))
    if isinstance(source, Series):
        array, geometry = read_series(source)
    else:
        array, geometry = read_image(source)
    if min(geometry.size) < 2:
        raise ScanError(
            source,
            f"one slice ({' x '.join(map(str, geometry.size))} voxels)",
            "a volume",
            "export all slices, or take this scan out",
        )
    return Volume(array, *_mended(source, geometry))


def _tell_why_not_written(path: Path, size: int) -> None:
    """Raise the system's own error, if there is one: ITK gives no reason."""
    with path.open("wb") as file:
        for _ in range(0, size, 1 << 20):
            file.write(bytes(1 << 20))


def _mended(source: Source, geometry: Geometry) -> tuple[Geometry, tuple[str, ...]]:
    """The geometry if it can be used, or the nearest that can, and what was done to it."""
    spacing, low, high = geometry.spacing, *SPACING_LIMITS
    if not all(low <= value <= high for value in spacing):
        raise ScanError(
            source,
            f"a voxel spacing of {', '.join(f'{value:g}' for value in spacing)} mm",
            f"spacings from {low:g} to {high:g} mm",
            "mend the header, or export the scan again",
        )
    if not np.isfinite((*geometry.origin, *geometry.direction)).all():
        raise ScanError(
            source,
            "an origin or an orientation that is not made of numbers",
            "a finite position",
            "mend the header, or export the scan again",
        )
    if is_orthogonal(geometry):
        return geometry, ()
    degrees = max_skew_degrees(geometry)
    if degrees > MAX_SKEW_DEGREES:
        raise ScanError(
            source,
            f"axes that are {degrees:.0f} degrees off right angles",
            f"{MAX_SKEW_DEGREES:.0f} degrees or less",
            "resample the scan to a grid with right angles",
        )
    return orthogonalised(geometry), (
        f"header: axes {degrees:.2g} degrees off right angles, straightened about the centre",
    )


def grid_text(geometry: Geometry) -> str:
    """Geometry for people."""
    size, spacing, origin = (
        " x ".join(f"{value:.6g}" for value in values)
        for values in (geometry.size, geometry.spacing, geometry.origin)
    )
    return f"{size} voxels of {spacing} mm at {origin}"


def _image(array: np.ndarray, geometry: Geometry) -> sitk.Image:
    image = sitk.GetImageFromArray(array.astype(np.uint8) if array.dtype == bool else array)
    image.SetSpacing(geometry.spacing)
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    return image
